#pragma once
// Measured upper limits of the device, to compare benchmarks with.

#include <cstddef>

namespace voxpop {

/// Bytes per second, read plus written, of a copy of `bytes` within device memory. The best of several runs.
double measure_copy(std::size_t bytes);

/// Evaluations per second of smoothed_logistic<kFast> with all its derivatives, from registers. The best of several
/// runs.
double measure_logistic();

}  // namespace voxpop
