#pragma once
#include "fit/fit.h"

namespace voxpop {

/// Throws Error(kNotConverged) if a number of the fit is NaN or infinite, or if a pair's variance is not positive. Such
/// labels must not be used for training.
void require_numbers(const Fit& fit);

}  // namespace voxpop
