// How a fit moves on: formulas/fit_state.h. NaN must never look settled.

#include "formulas/fit_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace voxpop {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(FitState, the_farther_move_is_nan_where_either_is) {
  EXPECT_EQ(farther(1.0, 2.0), 2.0);
  EXPECT_EQ(farther(2.0, 1.0), 2.0);
  EXPECT_TRUE(std::isnan(farther(kNaN, 1.0)));
  EXPECT_TRUE(std::isnan(farther(1.0, kNaN)));
}

/// The longest step of annotators of whom one is no number, wherever it comes.
float longest_step(FitState state, std::size_t place) {
  AnnotatorTotals totals;
  std::vector<AnnotatorPosterior> annotators(5);
  for (AnnotatorPosterior& a : annotators) a.discrimination_variance = 0.1;
  const std::vector<Population> own(annotators.size());
  annotators[place].discrimination = kNaN;
  for (std::size_t a = 0; a < annotators.size(); ++a)
    update_annotator(state, annotators[a], &own[a], AnnotatorSums{}, GridSums{}, totals);
  return totals.longest_step;
}

TEST(FitState, one_annotator_who_diverged_is_not_lost_among_others) {
  for (std::size_t place = 0; place < 5; ++place) {
    EXPECT_TRUE(std::isnan(longest_step({}, place))) << place;
    FitState warm;
    warm.own_priors = true;
    warm.phase = Phase::kQuadrature;
    EXPECT_TRUE(std::isnan(longest_step(warm, place))) << place;
  }
}

TEST(FitState, a_variance_that_is_no_number_is_far) {
  const AnnotatorPosterior before{.discrimination = 1, .discrimination_variance = 0.1};
  AnnotatorPosterior after = before;
  after.discrimination_variance = kNaN;
  EXPECT_TRUE(std::isnan(distance(before, after)));
  after.discrimination_variance = 0;  // known: it does not move
  EXPECT_EQ(distance(before, after), 0);
  EXPECT_NEAR(distance(before, {.discrimination = 2, .discrimination_variance = 0.25}), 2, 1e-12);
}

TEST(FitState, does_not_settle_where_a_source_diverged) {
  FitState state;
  state.own_priors = true;
  state.sources = 2;
  state.voters = 3;
  AnnotatorTotals totals;
  Source broken, sound;
  broken.score = kNaN;
  sound.last = sound.score;
  state.own_sources = true;
  centre_source(state, 0, broken, totals);
  centre_source(state, 0, sound, totals);
  EXPECT_TRUE(std::isnan(totals.source_step));
  const ThresholdSums thresholds[kMaxLevels + 1] = {};
  end_iteration(state, {}, totals, state.population, thresholds, {}, {}, {});
  EXPECT_EQ(state.phase, Phase::kNewton);
  EXPECT_TRUE(std::isnan(state.change));
}

}  // namespace
}  // namespace voxpop
