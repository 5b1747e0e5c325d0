#include "cli/file_watch.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>
#include <memory>
#include <vector>

#include "cli/end_at_once.h"
#include "core/error.h"
#include "core/strings.h"

#ifndef sigev_notify_thread_id  // before glibc 2.38
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace voxpop {
namespace {

constexpr int kTimeIsUp = SIGVTALRM;
constexpr std::array kCrashSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr double kBytesPerSecond = 20e6;     // lowest rate at which an intact file may be read and unpacked
constexpr double kLongestSeconds = 10 * 60;  // limit for files that claim a huge unpacked size

std::array<struct sigaction, kCrashSignals.size()> crash_actions_before;
struct sigaction time_action_before;

// Message of the current call, ready-made because a signal handler must neither allocate nor lock. Null: this thread is
// not inside HDF5.
constinit thread_local const char* volatile message = nullptr;

[[noreturn]] void give_up() {
  // Without free memory the library crashes on intact files too, so test for that first.
  constexpr std::size_t kSpare = std::size_t{64} << 20;
  if (mmap(nullptr, kSpare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
    end_at_once(Exit::kInternal, kOutOfMemory);
  end_at_once(Exit::kBadInput, message);
}

/// A crash outside HDF5 is not handled here: restore the earlier handler and raise the signal again.
void handle_crash(int signal) {
  if (message != nullptr) give_up();
  for (std::size_t i = 0; i < kCrashSignals.size(); ++i)
    if (kCrashSignals[i] == signal) sigaction(signal, &crash_actions_before[i], nullptr);
  raise(signal);
}

void handle_time(int, siginfo_t* info, void*) {
  if (message != nullptr && info->si_code == SI_TIMER) give_up();
}

/// State of a thread: its CPU timer, a stack for signal handlers, and its nested calls.
class Thread {
 public:
  Thread() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kTimeIsUp;
    event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
    // If no timer can be created, the file is read without a time limit.
    has_timer_ = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) == 0;
  }
  ~Thread() {
    if (has_timer_) timer_delete(timer_);
    if (!handler_stack_) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Gives the thread a separate stack for signal handlers, because HDF5 may have used up the normal stack. A thread
  /// that already has such a stack keeps it.
  void provide_handler_stack() {
    if (handler_stack_) return;
    stack_t stack{};
    if (sigaltstack(nullptr, &stack) != 0 || (stack.ss_flags & SS_DISABLE) == 0) return;
    constexpr std::size_t kBytes = 1 << 16;
    handler_stack_ = std::make_unique<std::byte[]>(kBytes);
    stack = {};
    stack.ss_sp = handler_stack_.get();
    stack.ss_size = kBytes;
    sigaltstack(&stack, nullptr);
  }

  void enter(const std::string& path, std::chrono::nanoseconds patience) {
    const itimerspec left_outside = set_timer({});
    const bool is_same = !calls_.empty() && *calls_.back().path == path;
    auto told =
        is_same
            ? calls_.back().told
            : std::make_shared<const std::string>(one_line(fmt::format(
                  "{}: the HDF5 library fails on this file, so the file is damaged; copy or write it again", path)));
    calls_.push_back(
        {is_same ? calls_.back().path : std::make_shared<const std::string>(path), std::move(told), left_outside});
    message = calls_.back().told->c_str();
    itimerspec time{};
    time.it_value.tv_sec = patience.count() / 1'000'000'000;
    time.it_value.tv_nsec = patience.count() % 1'000'000'000;
    set_timer(time);
  }
  void leave() {
    set_timer({});
    itimerspec left = calls_.back().left_outside;
    message = nullptr;
    calls_.pop_back();
    if (calls_.empty()) return;
    message = calls_.back().told->c_str();
    if (left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0) left.it_value.tv_nsec = 1;  // 0 would disarm the timer
    set_timer(left);
  }

 private:
  struct Call {
    std::shared_ptr<const std::string> path, told;
    itimerspec left_outside;
  };
  /// Returns the time that was left on the timer.
  itimerspec set_timer(const itimerspec& time) const {
    itimerspec before{};
    if (has_timer_) timer_settime(timer_, 0, &time, &before);
    return before;
  }
  timer_t timer_{};
  bool has_timer_ = false;
  std::unique_ptr<std::byte[]> handler_stack_;
  std::vector<Call> calls_;
};

Thread& this_thread() {
  static thread_local Thread thread;
  return thread;
}

}  // namespace

ProgramFileWatch::ProgramFileWatch(std::chrono::milliseconds patience, Crashes crashes)
    : patience_(patience), crashes_(crashes) {
  struct sigaction action {};
  action.sa_sigaction = handle_time;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART;
  sigaction(kTimeIsUp, &action, &time_action_before);
  if (crashes_ == Crashes::kOthers) return;
  action = {};
  action.sa_handler = handle_crash;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < kCrashSignals.size(); ++i) sigaction(kCrashSignals[i], &action, &crash_actions_before[i]);
}

ProgramFileWatch::~ProgramFileWatch() {
  sigaction(kTimeIsUp, &time_action_before, nullptr);
  if (crashes_ == Crashes::kOthers) return;
  for (std::size_t i = 0; i < kCrashSignals.size(); ++i) sigaction(kCrashSignals[i], &crash_actions_before[i], nullptr);
}

void ProgramFileWatch::begin(const std::string& path, std::uint64_t bytes) {
  Thread& thread = this_thread();
  if (crashes_ == Crashes::kOurs) thread.provide_handler_stack();
  const double more = std::min(static_cast<double>(bytes) / kBytesPerSecond, kLongestSeconds);
  thread.enter(path, patience_ + std::chrono::nanoseconds(static_cast<std::int64_t>(more * 1e9)));
}

void ProgramFileWatch::end() { this_thread().leave(); }

ProgramFileWatch& program_file_watch() {
  static auto& watch = *new ProgramFileWatch;  // never destroyed, so that it works until the process ends
  return watch;
}

}  // namespace voxpop
