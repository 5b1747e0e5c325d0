#include "formulas/elementary.h"

#include <gtest/gtest.h>

#include <array>

#include "formulas/calibration_error.h"

namespace voxpop {
namespace {

TEST(Elementary, literal_values) {
  EXPECT_NEAR(sigmoid(2), 0.8807970779778823, 1e-16);  // scipy.special.expit
  EXPECT_EQ(sigmoid(0), 0.5);
  EXPECT_EQ(sigmoid(-1000), 0);
  EXPECT_EQ(sigmoid(1000), 1);
  EXPECT_NEAR(logit(0.8807970779778823), 2, 1e-14);
  EXPECT_NEAR(clamped_logit(0), -13.815509557963773, 1e-9);  // log(1e-6 / (1 - 1e-6))
  EXPECT_NEAR(clamped_logit(1), 13.815509557963773, 1e-9);
  EXPECT_NEAR(normal_cdf(1.96, 0, 1), 0.9750021048517795, 1e-15);  // scipy.stats.norm.cdf
  EXPECT_NEAR(normal_cdf(3, 5, 2), 0.15865525393145707, 1e-15);
  EXPECT_NEAR(normal_cdf_of_variance(3, 5, 4), 0.15865525393145707, 1e-15);
}

TEST(CalibrationError, by_hand) {
  EXPECT_EQ(calibration_bin(0, 15), 0);
  EXPECT_EQ(calibration_bin(1, 15), 14);
  EXPECT_EQ(calibration_bin(0.5f, 10), 5);
  EXPECT_EQ(calibration_bin(0.49f, 10), 4);
  EXPECT_DOUBLE_EQ(calibration_error(std::array{1.0, -2.0, 0.0}, 10), 0.3);
  EXPECT_TRUE(std::isnan(calibration_error({}, 0)));
}

}  // namespace
}  // namespace voxpop
