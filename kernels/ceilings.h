#pragma once
// What the device can do at best, measured, to hold a benchmark against.

#include <cstddef>

namespace voxpop {

/// Bytes a second, read and written, of a copy of `bytes` within the device's memory; the best of several.
double measure_copy(std::size_t bytes);

/// Evaluations a second of smoothed_logistic<kFast>, with all its derivatives, from registers; the best of several.
double measure_logistic();

}  // namespace voxpop
