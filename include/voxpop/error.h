#pragma once
// No fmt here: nvcc does not compile it.

#include <stdexcept>
#include <string>

#include "voxpop/export.h"

namespace voxpop {

/// Kind of an Error. The numbers are the program's exit codes and do not change (docs/exit_codes.md).
enum class Exit : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,         ///< a request that cannot be met with any votes
  kBadInput = 3,      ///< wrong votes or files
  kFileSystem = 4,    ///< a file is missing, or cannot be read or written
  kNotConverged = 5,  ///< the fit diverged, did not converge although it had to, or cannot show which answer is right
  kDevice = 6,        ///< the device cannot be used
  kInterrupted = 130,
};

/// All intended exceptions of the library. The message names the thing, the problem and the remedy, in this order.
class VOXPOP_EXPORT Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

}  // namespace voxpop
