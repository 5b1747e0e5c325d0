#pragma once
#include <cstdint>
#include <vector>

#include "fit/component_kernel.h"
#include "group/group.h"

namespace voxpop {

/// Solves component `c` from its sites, with all threads. Sets the pair moments in `view`. Optional outputs (null: not
/// wanted): slot moments, and what the component adds to `covariates`, `sources` and `views`. Always adds to `sums`.
/// Time: items^3. Memory: 16 items^2 bytes.
void solve_dense(const FitView& view, std::uint32_t c, float* slot_mean, float* slot_variance, SolveSums& sums,
                 CovariateSums* covariates, SourceSums* sources, ViewTotals* views);

}  // namespace voxpop
