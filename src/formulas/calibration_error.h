#pragma once
// The expected calibration error (Guo et al. 2017), on the host.

#include <algorithm>
#include <cmath>
#include <span>

namespace voxpop {

/// Which of so many equal bins from 0 to 1 a predicted probability lies in.
inline int calibration_bin(float predicted, int bins) {
  return std::clamp(static_cast<int>(predicted * static_cast<float>(bins)), 0, bins - 1);
}

/// Mean over trials of |mean predicted - mean outcome| of the trial's bin. `off` [bins]: sums of predicted - outcome.
/// NaN without trials.
inline double calibration_error(std::span<const double> off, double trials) {
  double total = 0;
  for (const double bin : off) total += std::abs(bin);
  return total / trials;
}

}  // namespace voxpop
