#pragma once
#include <string>

#include "fit/fit.h"

namespace voxpop {

/// Checks a fit that was read from a checkpoint. Returns the name of a part that cannot belong to the fit that begins
/// as `start`, or "" if all parts can. Anyone may have made the file, and its numbers bound loops and index arrays, so
/// they must be checked. `kept`: as read; its bool members may hold bytes other than 0 and 1. The columns must have the
/// sizes that `start` and its engine give them.
std::string improper_part(const FitRun& start, const FitRun& kept, const EngineState& state);

}  // namespace voxpop
