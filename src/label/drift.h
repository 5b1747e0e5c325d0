#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"

namespace voxpop {

/// Annotators over time. Rows by annotator, then by time: windows of equal numbers of votes of its own, about 50 each,
/// 12 at most, of annotators with 100 votes or more.
struct WindowColumns {
  Column<std::uint32_t> annotator, votes;
  Column<std::int64_t> start, end;  ///< of its first and last vote, seconds since 1970
  /// Share of decided votes that picked the better item, expected from all votes.
  Column<float> expected_accuracy, expected_accuracy_se;
  Column<float> discrimination, discrimination_se;  ///< as of annotators, from the window's votes alone, the
  Column<float> side_bias, side_bias_se;            ///< population as prior; bt and crowd-bt: NaN
  Column<float> votes_per_hour;                     ///< gaps of more than half an hour left out
};

struct Drift {
  WindowColumns windows;
  /// [annotators] Score test that discrimination and side bias stay the same against a change between two windows
  /// (Andrews 1993): the largest chi-squared statistic, its p-value for so many bounds (Bonferroni, so somewhat too
  /// large), and that corrected for the number of annotators tested (Holm 1979). NaN: not tested.
  Column<float> statistic, p_value, corrected_p_value;
};

/// `timestamp`: by input row. `sites`: Engine::sites() after the last posterior.
Drift find_drift(const Groups& groups, const Fit& fit, const Sites& sites, const Column<std::int64_t>& timestamp);

/// Chance that a chi-squared variable exceeds `statistic`.
double chi_squared_tail(double statistic, double degrees_of_freedom);

/// Holm's step-down correction; NaN stays NaN and does not count.
Column<float> holm(const Column<float>& p_value);

}  // namespace voxpop
