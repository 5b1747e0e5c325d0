#include "formulas/fixed_point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace voxpop {
namespace {

TEST(FixedPoint, literal_values) {
  EXPECT_EQ(to_fixed(1.0f), 16777216);
  EXPECT_EQ(to_fixed(-2.5f), -41943040);
  EXPECT_EQ(to_fixed(0.0f), 0);
  EXPECT_EQ(from_fixed(8388608), 0.5);
  EXPECT_EQ(from_fixed(to_fixed(500.0f) * 1000000000), 5e11);  // a billion terms of size 500 fit
}

TEST(FixedPoint, a_float_comes_back_within_the_resolution) {
  for (const float x : {3.14159f, -1e-3f, 123456.0f, 5.9e-8f, -0.1f}) EXPECT_NEAR(from_fixed(to_fixed(x)), x, 6e-8);
}

TEST(FixedPoint, terms_are_rounded_to_the_nearest) {
  EXPECT_EQ(to_fixed(0.4f / 16777216.0f), 0);
  EXPECT_EQ(to_fixed(0.6f / 16777216.0f), 1);
  EXPECT_EQ(to_fixed(-1.6 / kFixedScale), -2);
  EXPECT_EQ(to_fixed(16777217.0 / kFixedScale), 16777217);
  // A million terms of one sign: the sum stays true, be they below the resolution or such that floats hold no more.
  std::mt19937 random(1);
  for (const auto& [low, high] : {std::pair(0.0f, 16 / 16777216.0f), {0.25f, 0.5f}, {0.5f, 1.0f}}) {
    std::uniform_real_distribution<float> uniform(low, high);
    double exact = 0;
    std::int64_t sum = 0;
    for (int i = 0; i < 1000000; ++i) {
      const float term = -uniform(random);
      exact += static_cast<double>(term);
      sum += to_fixed(term);
    }
    EXPECT_NEAR(from_fixed(sum), exact, 1e-4) << low;
  }
}

TEST(FixedPoint, the_order_of_terms_leaves_no_trace) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 100);
  std::vector<float> terms(10000);
  for (float& term : terms) term = normal(random);
  const auto sum = [&] {
    std::int64_t total = 0;
    for (const float term : terms) total += to_fixed(term);
    return total;
  };
  const std::int64_t before = sum();
  std::shuffle(terms.begin(), terms.end(), random);
  EXPECT_EQ(sum(), before);
}

}  // namespace
}  // namespace voxpop
