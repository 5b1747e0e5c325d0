#pragma once
// Apart from error.h because nvcc does not compile fmt.

#include <stdexcept>
#include <string>

namespace voxpop {

/// The process's exit codes: a contract (README, "Exit codes").
enum class Exit : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,
  kBadInput = 3,
  kFileSystem = 4,
  kNotConverged = 5,
  kDevice = 6,
  kInterrupted = 130,
};

/// Said with kInternal by main, and by a signal handler.
inline constexpr const char* kOutOfMemory =
    "out of memory; give it more, lift a limit on it, or, in 'fit', set --memory-limit";

/// What went wrong, in the order thing, problem, remedy. Only main turns it into an exit.
class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

}  // namespace voxpop
