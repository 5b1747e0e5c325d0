#include "formulas/likelihood.h"

#include "helpers.h"

namespace voxpop {
namespace {

using test::Density;

/// log F and F^(n) / F by integration of the likelihood and its own derivatives over N(mean, variance).
Smoothed<double> integrate(bool tie, double mean, double variance) {
  using Ratio = double (*)(double);
  // Derivatives of sigma over sigma, in s = sigma(x) and q = 1 - s; of 1 / (2 cosh(x / 2)) over itself, in t = tanh(x /
  // 2).
  static const Ratio logistic[4] = {[](double x) { return 1 / (1 + std::exp(x)); },
                                    [](double x) { return -std::tanh(x / 2) / (1 + std::exp(x)); },
                                    [](double x) {
                                      const double s = 1 / (1 + std::exp(-x));
                                      return (1 - 6 * s + 6 * s * s) / (1 + std::exp(x));
                                    },
                                    [](double x) {
                                      const double s = 1 / (1 + std::exp(-x));
                                      return -std::tanh(x / 2) * (1 - 12 * s + 12 * s * s) / (1 + std::exp(x));
                                    }};
  static const Ratio secant[4] = {
      [](double x) { return -std::tanh(x / 2) / 2; },
      [](double x) { return (2 * std::pow(std::tanh(x / 2), 2) - 1) / 4; },
      [](double x) { return (5 - 6 * std::pow(std::tanh(x / 2), 2)) * std::tanh(x / 2) / 8; },
      [](double x) { return (5 - 28 * std::pow(std::tanh(x / 2), 2) + 24 * std::pow(std::tanh(x / 2), 4)) / 16; }};
  const Ratio* ratio = tie ? secant : logistic;
  const double winner = tie ? 0 : 1;
  if (variance == 0)
    return {test::log_likelihood(winner, mean), ratio[0](mean), ratio[1](mean), ratio[2](mean), ratio[3](mean)};
  const double sd = std::sqrt(variance);
  const Density density([&](double x) { return test::log_likelihood(winner, x) + test::log_normal(x, mean, variance); },
                        mean - 13 * sd - (tie ? variance / 2 : 0), mean + 13 * sd + (tie ? variance / 2 : variance));
  return {density.log_integral(), density.average(ratio[0]), density.average(ratio[1]), density.average(ratio[2]),
          density.average(ratio[3])};
}

template <int kTerms, class Real>
Smoothed<Real> tie_of(Real mean, Real variance) {
  return smoothed_vote<kTerms, Likelihood::kOrdinal>(Statement<Real>{0, 0, Real(kFar)}, Logit<Real>{mean, variance}).z;
}

/// Largest errors over a grid of means and variances.
struct Errors {
  double log_value = 0, first = 0, second = 0, third = 0, fourth = 0;
};

template <int kTerms, class Real, class Covers>
Errors largest_errors(bool tie, const std::vector<double>& variances, const Covers& covers) {
  Errors worst;
  for (const double variance : variances)
    for (double mean = -30; mean <= 30; mean += 0.5) {
      if (!covers(mean, variance)) continue;
      const Smoothed<double> exact = integrate(tie, mean, variance);
      const Smoothed<Real> got = tie ? tie_of<kTerms>(static_cast<Real>(mean), static_cast<Real>(variance))
                                     : smoothed_logistic<kTerms>(static_cast<Real>(mean), static_cast<Real>(variance));
      const auto keep = [](double& largest, double error) { largest = std::max(largest, std::abs(error)); };
      keep(worst.log_value, got.log_value - exact.log_value);
      keep(worst.first, got.first - exact.first);
      keep(worst.second, got.second - exact.second);
      keep(worst.third, got.third - exact.third);
      keep(worst.fourth, got.fourth - exact.fourth);
    }
  return worst;
}

const std::vector<double> kUsual = {0, 0.01, 0.1, 0.5, 1, 2, 4, 8, 12, 18, 25};
const std::vector<double> kWide = {40, 60, 80, 100};

bool everywhere(double, double) { return true; }

TEST(Smoothed, literal_values_at_a_known_logit) {
  const Smoothed<double> even = smoothed_logistic<kExact>(0.0, 0.0);
  EXPECT_NEAR(even.log_value, -0.69314718, 6e-8);
  EXPECT_NEAR(even.first, 0.5, 1e-6);
  EXPECT_NEAR(even.second, 0, 1e-6);
  EXPECT_NEAR(even.third, -0.25, 1e-5);
  EXPECT_NEAR(even.fourth, 0, 1e-5);
  EXPECT_NEAR(smoothed_logistic<kExact>(2.0, 0.0).log_value, -0.12692801, 6e-8);
  EXPECT_NEAR(smoothed_logistic<kExact>(-2.0, 0.0).log_value, -2.12692801, 6e-8);
  EXPECT_NEAR(tie_of<kExact>(0.0, 0.0).log_value, -0.69314718, 6e-8);
  EXPECT_NEAR(tie_of<kExact>(2.0, 0.0).log_value, -1.12692801, 6e-8);  // the two above, averaged
}

TEST(Smoothed, logistic_exact_matches_integration) {
  const Errors usual = largest_errors<kExact, double>(false, kUsual, everywhere);
  EXPECT_LT(usual.log_value, 2e-6);
  EXPECT_LT(usual.first, 1e-6);
  EXPECT_LT(usual.second, 2e-6);
  EXPECT_LT(usual.third, 1e-5);
  EXPECT_LT(usual.fourth, 5e-5);
  const Errors wide = largest_errors<kExact, double>(false, kWide, everywhere);
  EXPECT_LT(wide.log_value, 3e-5);
  EXPECT_LT(wide.first, 5e-6);
}

TEST(Smoothed, tie_exact_matches_integration) {
  const Errors usual = largest_errors<kExact, double>(true, kUsual, everywhere);
  EXPECT_LT(usual.log_value, 2e-6);
  EXPECT_LT(usual.first, 1e-6);
  EXPECT_LT(usual.second, 2e-6);
  EXPECT_LT(usual.third, 1e-5);
  EXPECT_LT(usual.fourth, 5e-5);
  const Errors wide = largest_errors<kExact, double>(true, kWide, everywhere);
  EXPECT_LT(wide.log_value, 3e-5);
  EXPECT_LT(wide.first, 5e-6);
}

TEST(Smoothed, fast_matches_integration) {
  for (const bool tie : {false, true}) {
    SCOPED_TRACE(tie ? "tie" : "logistic");
    const Errors usual = largest_errors<kFast, float>(tie, kUsual, everywhere);
    EXPECT_LT(usual.log_value, 5e-4);
    EXPECT_LT(usual.first, 1e-3);
    EXPECT_LT(usual.second, 2e-3);
    EXPECT_LT(usual.third, 6e-3);
    EXPECT_LT(usual.fourth, 2e-2);
    EXPECT_LT((largest_errors<kFast, float>(tie, kWide, everywhere).log_value), 1e-3);
  }
}

/// Votes within 4 sds of an even one, which is nearly all that a fit meets.
bool plausible(double mean, double variance) { return std::abs(mean) <= 4 * std::sqrt(variance) + 2; }

TEST(Smoothed, plausible_votes_match_integration) {
  for (const bool tie : {false, true}) {
    SCOPED_TRACE(tie ? "tie" : "logistic");
    const Errors exact = largest_errors<kExact, double>(tie, {0, 0.1, 0.5, 1, 2, 4}, plausible);
    EXPECT_LT(exact.log_value, 1e-5);
    EXPECT_LT(exact.first, 2e-5);
    const Errors fast = largest_errors<kFast, float>(tie, {0, 0.1, 0.5, 1, 2, 4}, plausible);
    EXPECT_LT(fast.log_value, 2e-3);
    EXPECT_LT(fast.first, 5e-3);
  }
}

/// Each derivative is that of the one before, and the heat equation holds: gradients of annotators rest on both.
TEST(Smoothed, derivatives_agree_with_differences) {
  const double h = 1e-4;
  for (const bool tie : {false, true})
    for (const double mean : {-25.0, -7.0, -1.5, -0.2, 0.3, 2.0, 9.0})
      for (const double variance : {0.3, 2.0, 20.0}) {
        const auto at = [&](double m, double v) {
          return tie ? tie_of<kExact>(m, v) : smoothed_logistic<kExact>(m, v);
        };
        SCOPED_TRACE(testing::Message() << "tie " << tie << ", mean " << mean << ", variance " << variance);
        const Smoothed<double> low = at(mean - h, variance), z = at(mean, variance), high = at(mean + h, variance);
        EXPECT_NEAR((high.log_value - low.log_value) / (2 * h), z.first, 1e-7);
        EXPECT_NEAR((high.first - low.first) / (2 * h), z.second - z.first * z.first, 1e-7);
        EXPECT_NEAR((high.second - low.second) / (2 * h), z.third - z.second * z.first, 1e-7);
        EXPECT_NEAR((high.third - low.third) / (2 * h), z.fourth - z.third * z.first, 1e-7);
        const double heat = (at(mean, variance + h).log_value - at(mean, variance - h).log_value) / (2 * h);
        EXPECT_NEAR(heat, z.second / 2, 1e-7);
      }
}

template <int kTerms, class Real>
void expect_finite() {
  for (const double mean : {-1e4, -300.0, -40.0, 0.0, 40.0, 300.0, 1e4})
    for (const double variance : {0.0, 1e-6, 1.0, 1e3, 1e6})
      for (const bool tie : {false, true}) {
        const Real m = static_cast<Real>(mean), v = static_cast<Real>(variance);
        const Smoothed<Real> z = tie ? tie_of<kTerms>(m, v) : smoothed_logistic<kTerms>(m, v);
        for (const Real x : {z.log_value, z.first, z.second, z.third, z.fourth})
          EXPECT_TRUE(std::isfinite(x)) << "tie " << tie << ", mean " << mean << ", variance " << variance;
        EXPECT_LE(z.log_value, Real(1e-6)) << "tie " << tie << ", mean " << mean << ", variance " << variance;
        EXPECT_LE(std::abs(z.first), Real(1.01)) << "tie " << tie << ", mean " << mean << ", variance " << variance;
      }
}

TEST(Smoothed, finite_for_extreme_input) {
  expect_finite<kExact, double>();
  expect_finite<kExact, float>();
  expect_finite<kFast, float>();
}

/// By continued fraction, 40 digits.
TEST(Smoothed, mills_ratio_far_out) {
  EXPECT_NEAR(mills_ratio(26.0, 0.0), 0.038404893342102, 1e-10);
  EXPECT_NEAR(mills_ratio(40.0, 0.0), 0.024984404205720, 1e-12);
}

}  // namespace
}  // namespace voxpop
