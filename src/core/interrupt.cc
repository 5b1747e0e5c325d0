#include "core/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "core/error.h"
#include "core/output_file.h"

namespace voxpop {
namespace {

std::atomic<bool> interrupted{false};

void remember_signal(int) {
  if (interrupted.exchange(true, std::memory_order_relaxed)) {
    remove_unfinished_output();
    _exit(static_cast<int>(Exit::kInterrupted));
  }
}

}  // namespace

void install_interrupt_handler() {
  std::signal(SIGINT, remember_signal);
  std::signal(SIGTERM, remember_signal);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes then is an error of the write, as a full disk is
}

void check_interrupt() {
  if (interrupted.load(std::memory_order_relaxed)) throw Error(Exit::kInterrupted, "interrupted; nothing was written");
}

}  // namespace voxpop
