#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "cli/file_watch.h"
#include "cli/interrupt.h"
#include "core/strings.h"

namespace voxpop {
namespace {

/// Shows the progress of the current phase.
class ProgressLine {
 public:
  void show(const ProgressReport& report) {
    const auto now = Clock::now();
    if (report.phase != phase_) {
      phase_ = report.phase;
      // Short phases stay silent: the first output comes after a delay.
      next_ = now + (terminal_ ? std::chrono::milliseconds(300) : std::chrono::seconds(5));
    }
    if (report.ended) {
      if (drawn_ && terminal_) tell("\r\033[K");
      drawn_ = false;
      phase_.clear();
      return;
    }
    if (now < next_) return;
    const double share = static_cast<double>(report.done) / static_cast<double>(report.total);
    if (terminal_) {
      const int filled = static_cast<int>(share * 30);
      tell(fmt::format("\r\033[K{:<12} [{:#<{}}{:.<{}}] {:3.0f} % {}", report.phase, "", filled, "", 30 - filled,
                       share * 100, shown(report.detail)));
      next_ = now + std::chrono::milliseconds(100);
    } else {
      tell(fmt::format("{}: {:.0f} % {}\n", report.phase, share * 100, shown(report.detail)));
      next_ = now + std::chrono::seconds(5);
    }
    drawn_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool drawn_ = false;
  std::string phase_;
  Clock::time_point next_;
};

}  // namespace

void tell(const std::string& text) { std::fputs(text.c_str(), stderr); }

Context terminal_context(const CommonOptions& common) {
  Context context;
  context.stop = interrupted;
  context.watch = &program_file_watch();
  if (common.quiet) return context;
  context.note = [](const std::string& text) { tell("note: " + text + '\n'); };
  context.progress = [line = std::make_shared<ProgressLine>()](const ProgressReport& report) { line->show(report); };
  return context;
}

}  // namespace voxpop
