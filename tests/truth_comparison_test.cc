#include "label/truth_comparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace voxpop {
namespace {

TEST(CalibrationError, by_hand) {
  // Bins of a tenth: (0.15 + 0.15) against 0 + 1 is off by 0.7, 0.85 against 1 by 0.15; over 3 predictions.
  EXPECT_NEAR(expected_calibration_error({0.15f, 0.15f, 0.85f}, {0, 1, 1}, 10), (0.7 + 0.15) / 3, 1e-6);
  EXPECT_NEAR(expected_calibration_error({0.25f, 0.25f, 0.25f, 0.25f}, {0, 0, 0, 1}, 10), 0, 1e-7);
  EXPECT_NEAR(expected_calibration_error({0.2f, 0.8f}, {1, 0}, 1), 0, 1e-6);  // one bin for all
  EXPECT_NEAR(expected_calibration_error({0.0f, 1.0f}, {0, 1}), 0, 1e-7);     // both ends have a bin
}

TEST(AreaUnderCurve, by_hand) {
  EXPECT_DOUBLE_EQ(area_under_curve({0.1f, 0.4f, 0.35f, 0.8f}, {false, false, true, true}), 0.75);
  EXPECT_DOUBLE_EQ(area_under_curve({1, 2, 3, 4}, {false, false, true, true}), 1);
  EXPECT_DOUBLE_EQ(area_under_curve({4, 3, 2, 1}, {false, false, true, true}), 0);
  EXPECT_DOUBLE_EQ(area_under_curve({5, 5, 5}, {true, false, true}), 0.5);  // ties count half
  EXPECT_DOUBLE_EQ(area_under_curve({1, 2, 2, 3}, {false, true, false, true}), 3.5 / 4);
  EXPECT_TRUE(std::isnan(area_under_curve({1, 2}, {true, true})));
}

TEST(TruthComparison, by_hand) {
  Labels labels;
  PairColumns& pairs = labels.pairs;
  pairs.left = {0, 0, 1};
  pairs.right = {1, 2, 2};
  pairs.votes = {2, 2, 3};
  pairs.wins_left = {2, 1, 1};
  pairs.margin = {1, 2, -1};
  pairs.probability = {0.7f, 0.9f, 0.3f};
  pairs.probability_better = {0.9f, 0.9f, 0.2f};
  AnnotatorLabels& annotators = labels.annotators;
  annotators.votes = {3, 3, 1, 0};
  annotators.discrimination = {1.1f, -0.5f, 0.8f, 1};
  annotators.discrimination_se = {0.1f, 0.1f, 0.1f, 1};
  Truth truth;
  truth.score = {2, 1, 0};  // so the third pair is the wrong way round
  truth.discrimination = {1, -0.9, 0.7, 1};
  for (const char* kind : {"good", "adversary", "noisy", "good"}) truth.kind.push_back(kind);
  const TruthComparison t = compare_with_truth(labels, truth);
  EXPECT_DOUBLE_EQ(t.pairs_ordered, 2.0 / 3);
  EXPECT_DOUBLE_EQ(t.pairs_ordered_majority, (1 + 0.5 + 0) / 3);
  // Differences 1, 2, 1 make 0.7311, 0.8808, 0.7311; each prediction has a bin of its own.
  EXPECT_NEAR(t.ece_probability, (0.0311 + 0.0192 + 0.4311) / 3, 1e-4);
  EXPECT_NEAR(t.ece_probability_better, (0.2 + 0.8) / 3, 1e-6);  // 0.9 twice against 1 and 1 share a bin
  EXPECT_NEAR(t.margin_correlation, 4.0 / std::sqrt(2.0 / 3 * 42), 1e-6);
  EXPECT_DOUBLE_EQ(t.coverage, 2.0 / 3);  // of those who voted; the adversary is 4 standard errors off
  EXPECT_DOUBLE_EQ(t.auc_bad_annotators, 1);
}

}  // namespace
}  // namespace voxpop
