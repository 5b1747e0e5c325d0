#pragma once
#include <string>

#include "fit/fit.h"

namespace voxpop {

/// What of a fit that was kept in a file cannot be of the fit that begins as `start`, in a word; "" where all can be. A
/// file may come from anybody: numbers of it bound loops and choose places in arrays. `kept`: as it was read, whose
/// truth values may be no truth values; columns have the sizes that `start` and its engine give them.
std::string improper_part(const FitRun& start, const FitRun& kept, const EngineState& state);

}  // namespace voxpop
