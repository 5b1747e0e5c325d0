#pragma once
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// The program's FileWatch. If the HDF5 library crashes on a file or computes for too long, the process ends as for bad
/// input: one line that names the file, exit code 3, no temporary file left. Only one object at a time, because signal
/// handlers belong to the whole process.
class ProgramFileWatch : public FileWatch {
 public:
  enum class Crashes {
    kOurs,    ///< handled as described above
    kOthers,  ///< left to other handlers, such as a sanitizer's
  };
  /// `patience`: allowed CPU time of the calling thread after begin() for a small file; larger files get more. Time of
  /// other threads and waiting for a disk do not count.
  explicit ProgramFileWatch(std::chrono::milliseconds patience = std::chrono::seconds(5), Crashes crashes = kCrashes);
  ~ProgramFileWatch() override;
  ProgramFileWatch(const ProgramFileWatch&) = delete;
  ProgramFileWatch& operator=(const ProgramFileWatch&) = delete;

  /// Calls may be nested. An inner call has its own allowance; after it the outer call continues with the time that it
  /// had left.
  void begin(const std::string& path, std::uint64_t bytes) override;
  void end() override;

 private:
#if defined(__SANITIZE_ADDRESS__) || VOXPOP_FUZZ  // clang does not define __SANITIZE_ADDRESS__
  static constexpr Crashes kCrashes = Crashes::kOthers;
#else
  static constexpr Crashes kCrashes = Crashes::kOurs;
#endif
  std::chrono::nanoseconds patience_;
  Crashes crashes_;
};

/// The watch of this process. The first call installs the handlers.
ProgramFileWatch& program_file_watch();

}  // namespace voxpop
