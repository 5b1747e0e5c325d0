#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace voxpop {

/// Progress of one long phase, on stderr: a bar on a terminal, a line every five seconds elsewhere, nothing when quiet.
/// update() may be called often; it looks at the clock only. Also where long loops notice an interrupt.
class Progress {
 public:
  Progress(std::string what, std::uint64_t total, bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of `total`; `detail` is shown behind it, e.g. "change 3e-4". Throws Error(kInterrupted) after a signal.
  void update(std::uint64_t done, const std::string& detail = {});

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::uint64_t total_;
  bool quiet_, terminal_, drawn_ = false;
  Clock::time_point next_;
};

/// Writes to stderr, unless nobody takes it: work is not given up for that.
void tell(const std::string& text);

/// A remark that the user should read but that is not an error, on stderr unless quiet: "note: ...".
void note(bool quiet, const std::string& text);

}  // namespace voxpop
