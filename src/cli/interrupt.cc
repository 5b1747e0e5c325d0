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
  action.sa_handler = remember_signal;  // no SA_RESTART: a blocking read from a pipe must end
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup ignores SIGHUP
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then a write error, like a full disk
}

bool interrupted() { return signalled.load(std::memory_order_relaxed); }

}  // namespace voxpop
