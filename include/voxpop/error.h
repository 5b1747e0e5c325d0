#pragma once
// Does without fmt, which nvcc does not compile.

#include <stdexcept>
#include <string>

#include "voxpop/export.h"

namespace voxpop {

/// What kind of problem an Error is. The numbers are the program's exit codes, a contract (docs/exit_codes.md).
enum class Exit : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,         ///< a wish that cannot be met, whatever the votes
  kBadInput = 3,      ///< votes or files that are wrong
  kFileSystem = 4,    ///< a file that is missing, or cannot be read or written
  kNotConverged = 5,  ///< the fit diverged, did not converge where it had to, or cannot tell what is right
  kDevice = 6,        ///< the device cannot be used
  kInterrupted = 130,
};

/// What went wrong, in the order thing, problem, remedy. Everything that the library throws on purpose is one.
class VOXPOP_EXPORT Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

}  // namespace voxpop
