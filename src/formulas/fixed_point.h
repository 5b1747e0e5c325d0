#pragma once
// Sums that do not depend on the order of addition or the number of threads: 64-bit fixed point, as XGBoost uses for
// its histograms.

#include "formulas/portable.h"

namespace voxpop {

/// Resolution 2^-24 (6e-8, like a float), range +-2^39: enough for a billion terms of size 500.
inline constexpr double kFixedScale = 16777216.0;

/// Rounds to the nearest integer, halves to even. Truncation, or rounding halves in one direction, would bias each term
/// by up to 3e-8 on average, which is 3 nats in the likelihood of 1e8 votes.
VOXPOP_HD std::int64_t to_fixed(float value) { return llrintf(value * 16777216.0f); }
VOXPOP_HD std::int64_t to_fixed(double value) { return llrint(value * kFixedScale); }
/// Adds to a sum in fixed point. Terms that no fit has, such as NaN, can take a sum out of its range. It then wraps
/// around, which is not undefined behaviour; require_numbers() reports a fit that went wrong.
VOXPOP_HD void add_fixed(std::int64_t& sum, std::int64_t more) {
  sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(more));
}
VOXPOP_HD double from_fixed(std::int64_t sum) { return static_cast<double>(sum) / kFixedScale; }

}  // namespace voxpop
