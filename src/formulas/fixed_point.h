#pragma once
// Sums that come out the same in any order, on any number of threads: 64-bit fixed point, as XGBoost sums its
// histograms.

#include "formulas/portable.h"

namespace voxpop {

/// Resolution 2^-24 (6e-8, a float's), range +-2^39: a billion terms of size 500.
inline constexpr double kFixedScale = 16777216.0;

/// To the nearest, halves to even: cut off, or with halves to one side, each term would lose up to 3e-8 on average, and
/// the likelihood of 1e8 votes 3 nats.
VOXPOP_HD std::int64_t to_fixed(float value) { return llrintf(value * 16777216.0f); }
VOXPOP_HD std::int64_t to_fixed(double value) { return llrint(value * kFixedScale); }
VOXPOP_HD double from_fixed(std::int64_t sum) { return static_cast<double>(sum) / kFixedScale; }

}  // namespace voxpop
