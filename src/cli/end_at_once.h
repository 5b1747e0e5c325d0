#pragma once
#include "voxpop/error.h"

namespace voxpop {

/// Said with kInternal by main, and by a signal handler.
inline constexpr const char* kOutOfMemory =
    "out of memory; give it more, lift a limit on it, or, in 'fit', set --memory-limit";

/// Ends the process from a signal handler: no temporary file is left, and "voxpop: " and the message, if any, are a
/// line on stderr.
[[noreturn]] void end_at_once(Exit exit, const char* message = nullptr);

}  // namespace voxpop
