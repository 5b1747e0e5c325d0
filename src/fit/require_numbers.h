#pragma once
#include "fit/fit.h"

namespace voxpop {

/// Throws Error(kNotConverged) where a number of the fit is NaN or infinite, or a variance of a pair is not positive:
/// labels made from it must not reach anybody's training.
void require_numbers(const Fit& fit);

}  // namespace voxpop
