#pragma once
#include <array>
#include <csignal>
#include <string>

namespace voxpop {

/// HDF5's own parser is not hardened: a damaged file can crash it, or send it round in circles. While a guard lives, a
/// crash, or 5 seconds of computing without a call of still_alive(), ends the process as bad input should: one line
/// that names the file, exit code 3, no temporary file left behind. Guards may nest.
class DamageGuard {
 public:
  explicit DamageGuard(const std::string& path);
  ~DamageGuard();
  DamageGuard(const DamageGuard&) = delete;
  DamageGuard& operator=(const DamageGuard&) = delete;

  /// To be called before and between the library's longer jobs.
  void still_alive() const;

  static constexpr std::size_t kMostSignals = 6;

 private:
  std::array<struct sigaction, kMostSignals> before_;
};

}  // namespace voxpop
