#include "hdf5/damage_guard.h"

#include <sys/mman.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "core/error.h"
#include "core/output_file.h"

namespace voxpop {
namespace {

#if VOXPOP_FUZZ
constexpr int kPatienceSeconds = 1;  // damaged files come one after the other
#else
constexpr int kPatienceSeconds = 5;
#endif
#if defined(__SANITIZE_ADDRESS__) || VOXPOP_FUZZ  // clang does not define the former
constexpr std::array kSignals = {SIGVTALRM};      // crashes are the sanitizer's to report
#else
constexpr std::array kSignals = {SIGVTALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#endif
static_assert(kSignals.size() <= DamageGuard::kMostSignals);

// What a signal handler may read: no allocation, no locks.
char message[4400];
alignas(16) char handler_stack[1 << 16];

void give_up(int) {
  // Where there is no memory, the library crashes on sound files, too.
  constexpr std::size_t kSpare = std::size_t{64} << 20;
  if (mmap(nullptr, kSpare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
    end_at_once(Exit::kInternal, kOutOfMemory);
  end_at_once(Exit::kBadInput, message);
}

void set_timer(int seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = seconds;
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);  // computing time: waiting for a slow disk does not count
}

}  // namespace

DamageGuard::DamageGuard(const std::string& path) {
  const std::string text =
      fmt::format("{}: the HDF5 library fails on this file: it is damaged; copy or write it again", path);
  message[text.copy(message, sizeof message - 1)] = '\0';
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = give_up;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before_[i]);
  still_alive();
}

DamageGuard::~DamageGuard() {
  set_timer(0);
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
}

void DamageGuard::still_alive() const { set_timer(kPatienceSeconds); }

}  // namespace voxpop
