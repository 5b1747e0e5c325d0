#pragma once
#include <cstdint>
#include <vector>

#include "fit/component_kernel.h"
#include "group/group.h"

namespace voxpop {

/// Solves component `c` from its sites, all threads together: pair moments in `view`, slot moments where wanted (else
/// null), and what it adds to `sums`, `covariates`, `sources` and `views` (null: not wanted). Time: items^3; memory: 16
/// items^2 bytes.
void solve_dense(const FitView& view, std::uint32_t c, float* slot_mean, float* slot_variance, SolveSums& sums,
                 CovariateSums* covariates, SourceSums* sources, ViewTotals* views);

}  // namespace voxpop
