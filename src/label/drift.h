#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "voxpop/labels.h"

namespace voxpop {

/// `timestamp`: by input row, seconds since 1970. `sites`: Engine::sites() after the last posterior.
Drift find_drift(const Groups& groups, const Fit& fit, const Sites& sites, const Column<std::int64_t>& timestamp);

/// Probability that a chi-squared variable exceeds `statistic`.
double chi_squared_tail(double statistic, double degrees_of_freedom);

/// Holm's step-down correction. NaN stays NaN and is not counted as a test.
Column<float> holm(const Column<float>& p_value);

}  // namespace voxpop
