#include "core/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/interrupt.h"
#include "core/strings.h"

namespace voxpop {

Progress::Progress(std::string what, std::uint64_t total, bool quiet)
    : what_(std::move(what)), total_(std::max<std::uint64_t>(total, 1)), quiet_(quiet), terminal_(isatty(2) == 1) {
  // Short phases stay silent: the first word comes after a while.
  next_ = Clock::now() + (terminal_ ? std::chrono::milliseconds(300) : std::chrono::seconds(5));
}

Progress::~Progress() {
  if (drawn_ && terminal_) tell("\r\033[K");
}

void Progress::update(std::uint64_t done, const std::string& detail) {
  check_interrupt();
  if (quiet_) return;
  const auto now = Clock::now();
  if (now < next_) return;
  const std::string line = shown(detail);  // such as a path
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  if (terminal_) {
    const int filled = static_cast<int>(share * 30);
    tell(fmt::format("\r\033[K{:<12} [{:#<{}}{:.<{}}] {:3.0f} % {}", what_, "", filled, "", 30 - filled, share * 100,
                     line));
    next_ = now + std::chrono::milliseconds(100);
  } else {
    tell(fmt::format("{}: {:.0f} % {}\n", what_, share * 100, line));
    next_ = now + std::chrono::seconds(5);
  }
  drawn_ = true;
}

void tell(const std::string& text) { std::fputs(text.c_str(), stderr); }

void note(bool quiet, const std::string& text) {
  if (!quiet) tell("note: " + shown(text, kLongestMessage) + '\n');
}

}  // namespace voxpop
