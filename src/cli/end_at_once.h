#pragma once
#include "voxpop/error.h"

namespace voxpop {

/// Message for exit code kInternal, used by main and by a signal handler.
inline constexpr const char* kOutOfMemory =
    "out of memory; raise the limit on memory, use a larger machine, or, in 'fit', set --memory-limit";

/// Ends the process; safe in a signal handler. Removes temporary files and writes "voxpop: " and the message, if any,
/// as a line to stderr.
[[noreturn]] void end_at_once(Exit exit, const char* message = nullptr);

}  // namespace voxpop
