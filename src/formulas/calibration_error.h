#pragma once
// The expected calibration error (Guo et al. 2017), on the host.

#include <algorithm>
#include <cmath>
#include <span>

namespace voxpop {

/// Index of the bin that contains the predicted probability; `bins` equal bins from 0 to 1.
inline int calibration_bin(float predicted, int bins) {
  return std::clamp(static_cast<int>(predicted * static_cast<float>(bins)), 0, bins - 1);
}

/// Expected calibration error: mean over trials of |mean predicted - mean outcome| in the trial's bin. `off` [bins]:
/// sums of predicted - outcome. NaN if there are no trials.
inline double calibration_error(std::span<const double> off, double trials) {
  double total = 0;
  for (const double bin : off) total += std::abs(bin);
  return total / trials;
}

}  // namespace voxpop
