#pragma once
#include <cstdint>
#include <vector>

#include "fit/component_kernel.h"

namespace voxpop {

/// Components beyond the small ones, up to this many items: one dense Cholesky in double precision.
inline constexpr std::uint32_t kDenseItems = 2048;

/// Sums of one component's posterior beyond its pair moments; null pointers skip.
struct DenseOutput {
  float* slot_mean = nullptr;
  float* slot_variance = nullptr;
  double* log_evidence = nullptr;
};

/// Solves component `c` from its sites, all threads together: pair moments in `view`, and what `output` asks for.
/// Returns the largest change of a pair's mean, in posterior sds. Time: items^3; memory: 16 items^2 bytes.
float solve_dense(const FitView& view, std::uint32_t c, const DenseOutput& output);

}  // namespace voxpop
