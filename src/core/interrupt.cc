#include "core/interrupt.h"

#include <atomic>
#include <csignal>

#include "core/error.h"

namespace voxpop {
namespace {

std::atomic<bool> interrupted{false};

void remember_signal(int signal) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

}  // namespace

void install_interrupt_handler() {
  std::signal(SIGINT, remember_signal);
  std::signal(SIGTERM, remember_signal);
}

void check_interrupt() {
  if (interrupted.load(std::memory_order_relaxed)) throw Error(Exit::kInterrupted, "interrupted; nothing was written");
}

}  // namespace voxpop
