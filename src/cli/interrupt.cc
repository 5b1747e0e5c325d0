#include "cli/interrupt.h"

#include <atomic>
#include <csignal>

#include "cli/end_at_once.h"
#include "core/error.h"

namespace voxpop {
namespace {

std::atomic<bool> signalled{false};

void remember_signal(int) {
  if (signalled.exchange(true, std::memory_order_relaxed)) end_at_once(Exit::kInterrupted);
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action {
  }, before{};
  action.sa_handler = remember_signal;  // without SA_RESTART: a read from a pipe that gives nothing must end
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup has it ignored
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes then is an error of the write, as a full disk is
}

bool interrupted() { return signalled.load(std::memory_order_relaxed); }

}  // namespace voxpop
