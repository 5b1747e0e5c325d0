#pragma once
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// The program's FileWatch: where the HDF5 library crashes over a file, or computes for too long, the process ends as
/// bad input should: one line that names the file, exit code 3, no temporary file left behind. There may be one at a
/// time: signal handlers are the whole process's.
class ProgramFileWatch : public FileWatch {
 public:
  enum class Crashes {
    kOurs,    ///< handled as above
    kOthers,  ///< left to whoever handles them, such as a sanitizer
  };
  /// `patience`: CPU time of the calling thread from begin() on, for a file that asks for little. What other threads do
  /// does not count, nor does waiting for a disk.
  explicit ProgramFileWatch(std::chrono::milliseconds patience = std::chrono::seconds(5), Crashes crashes = kCrashes);
  ~ProgramFileWatch() override;
  ProgramFileWatch(const ProgramFileWatch&) = delete;
  ProgramFileWatch& operator=(const ProgramFileWatch&) = delete;

  /// Within another call it has patience of its own; the outer call then has what it had left.
  void begin(const std::string& path, std::uint64_t bytes) override;
  void end() override;

 private:
#if defined(__SANITIZE_ADDRESS__) || VOXPOP_FUZZ  // clang does not define the former
  static constexpr Crashes kCrashes = Crashes::kOthers;
#else
  static constexpr Crashes kCrashes = Crashes::kOurs;
#endif
  std::chrono::nanoseconds patience_;
  Crashes crashes_;
};

/// That of this process; its handlers are installed by the first call.
ProgramFileWatch& program_file_watch();

}  // namespace voxpop
