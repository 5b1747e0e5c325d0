#pragma once
#include <ctime>

namespace voxpop {

/// Seconds that some work took.
struct Spent {
  double wall = 0;
  double cpu = 0;          ///< CPU time of all threads of this process
  double main_thread = 0;  ///< CPU time of the thread that asks

  friend Spent operator-(const Spent& a, const Spent& b) {
    return {a.wall - b.wall, a.cpu - b.cpu, a.main_thread - b.main_thread};
  }
};

class Stopwatch {
 public:
  double seconds() const { return spent().wall; }
  Spent spent() const { return now() - start_; }
  /// Returns the time since the start or the last lap, and starts a new lap.
  Spent lap() {
    const Spent before = start_;
    start_ = now();
    return start_ - before;
  }

 private:
  static Spent now() {
    const auto of = [](clockid_t clock) {
      timespec time{};
      clock_gettime(clock, &time);
      return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    };
    return {of(CLOCK_MONOTONIC), of(CLOCK_PROCESS_CPUTIME_ID), of(CLOCK_THREAD_CPUTIME_ID)};
  }
  Spent start_ = now();
};

}  // namespace voxpop
