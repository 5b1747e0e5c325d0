#include "formulas/vote.h"

#include <Eigen/Dense>
#include <random>

#include "formulas/annotators.h"
#include "formulas/label.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Density;
using test::tilted;

TEST(VoteCode, round_trip) {
  for (const std::uint32_t annotator : {0u, 5u, VoteCode::kMaxAnnotators - 1})
    for (const int level : {-9, -1, 0, 1, 9, kUnseen})
      for (const bool first_on_left : {false, true}) {
        const VoteCode code = VoteCode::make(annotator, level, first_on_left);
        EXPECT_EQ(code.annotator(), annotator);
        EXPECT_EQ(code.level(), level);
        EXPECT_EQ(code.first_on_left(), first_on_left);
        EXPECT_EQ(code.winner(), level == kUnseen || level == 0 ? 0 : level > 0 ? 1 : -1);
        EXPECT_EQ(code.seen(), level != kUnseen);
      }
  EXPECT_EQ(VoteCode::make(5, -1, true).bits, 5u * 128 + 15u * 4 + 2 + 1);
}

TEST(Logit, moments_of_a_product) {
  const Logit<double> eta = logit(Rater<double>{2, 1, 0.5, 0.25, 0.125}, Cavity<double>{3, 4});
  EXPECT_DOUBLE_EQ(eta.mean, 7);
  EXPECT_DOUBLE_EQ(eta.variance, 4 * 4 + 0.5 * (9 + 4) + 2 * 0.25 * 3 + 0.125);
}

TEST(Cavity, product_with_the_site_gives_the_posterior_back) {
  const Cavity<double> cavity = cavity_without(0.7, 1.0, Site<double>{0.2, 0.3});
  EXPECT_DOUBLE_EQ(cavity.mean, 0.5);
  EXPECT_DOUBLE_EQ(cavity.variance, 1.25);
}

TEST(Cavity, is_never_wider_than_the_prior) {
  EXPECT_NEAR(cavity_without(0.0, 1.0, Site<double>{0.9, 0.0}).variance, 2, 1e-3);
  EXPECT_NEAR(cavity_without(0.0, 1.0, Site<double>{7.0, 0.0}).variance, 2, 1e-3);
}

/// In single precision, too: a vote against the rest, where rounding leaves nothing of the variance.
TEST(MatchedSite, is_no_narrower_than_allowed_and_keeps_the_mean) {
  for (const float at : {-0.5f, -2.0f, -6.0f}) {
    const Cavity<float> cavity{at, 0.01f};
    const Rater<float> rater{50, 0, 900, 0, 5};
    const auto z = smoothed_vote<kFast, Likelihood::kBinary>(Statement<float>{1, 0, kFar}, logit(rater, cavity)).z;
    const Rater<float> known{50, 0, 0, 0, 0};
    for (const auto& of :
         {z, smoothed_vote<kFast, Likelihood::kBinary>(Statement<float>{1, 0, kFar}, logit(known, cavity)).z}) {
      const Site<float> site = matched_site(known, cavity, of);
      EXPECT_GT(site.precision, 0);
      EXPECT_LE(site.precision, kLargestPrecision);
      const float with = (cavity.mean / cavity.variance + site.shift) / (1 / cavity.variance + site.precision);
      EXPECT_NEAR(with, cavity.mean + cavity.variance * 50 * of.first, 1e-3f * std::abs(at));
    }
  }
}

/// Half the way for annotators of strong discrimination, and for those of whom the vote is a good part.
TEST(Damped, literal_steps) {
  const Site<double> before{1, 0.5}, matched{3, -0.5};
  const Rater<double> plain{1.5, 0, 0.2, 0, 0.1}, known{1.5, 0, 0, 0, 0}, wider{1.5, 0, 0.21, 0, 0.1};
  const Rater<double> strong{-4.5, 0, 0.2, 0, 0.1};
  const auto step = [&](const Rater<double>& whole, const Rater<double>& others) {
    const Site<double> site = damped(whole, others, before, matched, 1);
    EXPECT_NEAR((site.precision - before.precision) / 2, before.shift - site.shift, 1e-12);
    return before.shift - site.shift;
  };
  EXPECT_EQ(step(plain, plain), 1);
  EXPECT_EQ(step(known, known), 1);
  EXPECT_EQ(step(plain, wider), 0.5);
  EXPECT_EQ(step(strong, strong), 0.5);
}

/// N(1.2, 0.25) is the product of what the vote says, and of the rest: precision 4 = 1.5 + 2.5.
TEST(ShareWithout, literal) {
  const double before = 1.2 - 0.3 / 2.5;  // the vote's gradient at 1.2 is 0.3
  EXPECT_NEAR(share_without(1.2, 0.25, {.gradient = 0.3f, .information = 1.5f}), before, 1e-7);
  // At most seven tenths of the precision are taken out.
  EXPECT_NEAR(share_without(1.2, 0.25, {.gradient = 0.3f, .information = 3.9f}), 1.2 - 0.3 / 1.2, 1e-7);
}

/// Precisions and precision-weighted means of the annotator, less the vote's.
TEST(RaterWithout, is_what_remains_of_the_normal_distribution) {
  const Rater<double> rater{1.5, -0.4, 0.3, -0.1, 0.5};
  const AnnotatorTerms<double> own{0.7, -0.2, 0.9, 0.3, 0.4};
  Eigen::Matrix2d covariance, information;
  covariance << 0.3, -0.1, -0.1, 0.5;
  information << 0.9, 0.3, 0.3, 0.4;
  const Eigen::Matrix2d left = (covariance.inverse() - information).inverse();
  const Eigen::Vector2d mean = Eigen::Vector2d(1.5, -0.4) - left * Eigen::Vector2d(0.7, -0.2);
  const Rater<double> out = rater_without(rater, own);
  EXPECT_NEAR(out.discrimination, mean(0), 1e-12);
  EXPECT_NEAR(out.side_bias, mean(1), 1e-12);
  EXPECT_NEAR(out.discrimination_variance, left(0, 0), 1e-12);
  EXPECT_NEAR(out.covariance, left(0, 1), 1e-12);
  EXPECT_NEAR(out.side_bias_variance, left(1, 1), 1e-12);
}

/// An annotator of a single vote, for a pair's first item: at its posterior's mode, by Newton steps.
struct OneVote {
  Population population{.mean = 1.2, .variance = 0.4, .side_bias_variance = 0.3};
  Cavity<double> cavity{0.8, 0.5};
  Statement<double> vote{1, 0, kFar};
  Rater<double> posterior;

  OneVote() {
    AnnotatorPosterior a{.discrimination = 1.2};
    for (int step = 0; step < 30; ++step) {
      const AnnotatorTerms<double> own = terms(a.discrimination, a.side_bias);
      newton_step(a,
                  {to_fixed(own.gradient_gamma), to_fixed(own.gradient_beta), to_fixed(own.information_gamma),
                   to_fixed(own.information_cross), to_fixed(own.information_beta), 0, 0, 0, 0},
                  population);
    }
    posterior = {a.discrimination, a.side_bias, a.discrimination_variance, a.covariance, a.side_bias_variance};
  }
  Smoothed<double> smoothed(const Rater<double>& rater) const {
    return smoothed_vote<kExact, Likelihood::kOrdinal>(vote, logit(rater, cavity)).z;
  }
  AnnotatorTerms<double> terms(double gamma, double beta) const {
    const Rater<double> known{gamma, beta, 0, 0, 0};
    return annotator_terms(known, cavity, smoothed(known));
  }
};

TEST(RaterWithout, of_one_vote_is_the_population) {
  const OneVote one;
  EXPECT_GT(one.posterior.discrimination, 1.25);  // the vote agreed
  const Rater<double> out =
      rater_without(one.posterior, one.terms(one.posterior.discrimination, one.posterior.side_bias));
  EXPECT_NEAR(out.discrimination, 1.2, 1e-5);
  EXPECT_NEAR(out.side_bias, 0, 1e-5);
  EXPECT_NEAR(out.discrimination_variance, 0.4, 1e-5);
  EXPECT_NEAR(out.covariance, 0, 1e-5);
  EXPECT_NEAR(out.side_bias_variance, 0.3, 1e-5);
}

TEST(RaterWithout, takes_out_nine_tenths_of_the_precision_at_most) {
  Eigen::Matrix2d covariance, information;
  covariance << 0.2, 0.05, 0.05, 0.1;
  information << 50, 10, 10, 80;
  const double part = 0.9 / (information * covariance).eigenvalues().real().maxCoeff();
  const Eigen::Matrix2d left = (covariance.inverse() - part * information).inverse();
  const Eigen::Vector2d mean = Eigen::Vector2d(1, -0.5) - part * left * Eigen::Vector2d(0.7, 0.4);
  const Rater<double> out = rater_without(Rater<double>{1, -0.5, 0.2, 0.05, 0.1}, {0.7, 0.4, 50, 10, 80});
  EXPECT_NEAR(out.discrimination, mean(0), 1e-5);
  EXPECT_NEAR(out.side_bias, mean(1), 1e-5);
  EXPECT_NEAR(out.discrimination_variance, left(0, 0), 1e-5);
  EXPECT_NEAR(out.covariance, left(0, 1), 1e-5);
  EXPECT_NEAR(out.side_bias_variance, left(1, 1), 1e-5);
}

TEST(ReportVote, evidence_of_an_annotators_one_vote_is_by_the_population) {
  const OneVote one;
  const Site<double> site{0.3, 0.2};
  const double precision = 1 / one.cavity.variance + site.precision;
  const auto report = report_vote<kExact, Likelihood::kOrdinal>(
      1.0, one.vote, one.posterior, Habit<double>{0, 0, 0},
      Cavity<double>{(one.cavity.mean / one.cavity.variance + site.shift) / precision, 1 / precision}, one.cavity,
      site);
  const double by_population = one.smoothed(Rater<double>{1.2, 0, 0.4, 0, 0.3}).log_value;
  EXPECT_NEAR(report.log_scale, site_log_scale(by_population, one.cavity, site), 1e-5);
}

TEST(RaterWithout, stays_a_distribution) {
  // A vote that claims more than is known: nine tenths of that are taken out.
  const Rater<double> out = rater_without(Rater<double>{1, 0, 0.2, 0, 0.1}, {1, 0, 50, 0, 0});
  EXPECT_NEAR(out.discrimination_variance, 0.2 / 0.1, 1e-6);
  EXPECT_NEAR(out.side_bias_variance, 0.1, 1e-6);
  EXPECT_NEAR(out.discrimination, 1 - 2.0 * 0.9 / 10, 1e-6);
  const Rater<double> known{2, 1, 0, 0, 0};
  EXPECT_EQ(rater_without(known, {1, 1, 50, 3, 50}).discrimination, 2);
  EXPECT_EQ(rater_without(known, {1, 1, 50, 3, 50}).side_bias, 1);
}

/// Where gamma and beta are hardly known but together, single precision leaves matrices that are no covariances.
TEST(RaterWithout, is_a_distribution_whatever_rounding_does) {
  std::mt19937 random(5);
  const auto uniform = [&](float low, float high) { return std::uniform_real_distribution<float>(low, high)(random); };
  for (int i = 0; i < 1'000'000; ++i) {
    const float v = std::exp(uniform(-3, 15)), w = std::exp(uniform(-3, 15));
    const float c = (i % 2 == 0 ? 1.0f : -1.0f) * std::sqrt(v * w) * (1 + uniform(-1e-6f, 1e-6f));
    const Cavity<float> cavity{uniform(-3, 3), std::exp(uniform(-4, 0.6f))};
    const Rater<float> known{uniform(-2, 2), uniform(-2, 2), 0, 0, 0};
    const auto z = smoothed_vote<kFast, Likelihood::kBinary>(Statement<float>{1, 0, kFar}, logit(known, cavity)).z;
    const Rater<float> out =
        rater_without(Rater<float>{known.discrimination, known.side_bias, v, c, w}, annotator_terms(known, cavity, z));
    const Logit<float> at = logit(out, cavity);
    ASSERT_TRUE(std::isfinite(at.mean) && std::isfinite(at.variance) && at.variance >= 0)
        << i << ": " << at.mean << ", " << at.variance;
  }
}

/// Logits of any size: rounding would move exponents by more than all of float's range.
TEST(Vote, is_a_number_of_any_annotator) {
  std::mt19937 random(3);
  const auto any = [&](float largest) {
    const float size = std::pow(10.0f, std::uniform_real_distribution<float>(-2, std::log10(largest))(random));
    return random() % 2 == 0 ? size : -size;
  };
  for (int i = 0; i < 300'000; ++i) {
    const Rater<float> rater{any(1e7f), any(1e3f), std::abs(any(1e10f)), 0, std::abs(any(1e10f))};
    const Cavity<float> cavity{any(1e5f), std::min(std::abs(any(10)), 2.0f)};
    Statement<float> said{static_cast<float>(i % 3 - 1), 0, kFar};
    said.own_ties = i % 2 == 0;
    said.habit = 0.3f;
    said.simple = said.own_ties || i % 3 != 1;  // half a vote to each side otherwise
    const auto z = smoothed_vote<kFast, Likelihood::kOrdinal>(said, logit(rater, cavity)).z;
    const Site<float> site = matched_site(rater, cavity, z);
    ASSERT_TRUE(std::isfinite(z.log_value + z.first + z.second + z.third + z.fourth)) << i;
    ASSERT_TRUE(std::isfinite(site.shift) && site.precision >= 0 && site.precision <= kLargestPrecision) << i;
  }
}

/// A known annotator's vote on a pair that the other votes know as N(mean, variance).
struct Case {
  double winner, gamma, beta;
  Cavity<double> cavity;
  Rater<double> rater() const { return {gamma, beta, 0, 0, 0}; }
  Smoothed<double> smoothed() const {
    return smoothed_vote<kExact, Likelihood::kOrdinal>(Statement<double>{winner, 0, kFar}, logit(rater(), cavity)).z;
  }
  double log_z(double more_gamma, double more_beta) const {
    return tilted(winner, gamma + more_gamma, beta + more_beta, cavity.mean, cavity.variance).log_integral();
  }
};

std::vector<Case> random_cases(double strongest, int count) {
  std::mt19937 random(7);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  std::vector<Case> cases;
  for (int i = 0; i < count; ++i)
    cases.push_back({static_cast<double>(i % 3 - 1),
                     uniform(-strongest, strongest),
                     uniform(-3, 3),
                     {uniform(-2, 2), uniform(0.05, 2)}});
  return cases;
}

std::string describe(const Case& c) {
  return "winner " + std::to_string(c.winner) + ", gamma " + std::to_string(c.gamma) + ", beta " +
         std::to_string(c.beta) + ", mean " + std::to_string(c.cavity.mean) + ", variance " +
         std::to_string(c.cavity.variance);
}

void expect_tilted_moments(const Case& c, double tolerance) {
  const Density exact = tilted(c.winner, c.gamma, c.beta, c.cavity.mean, c.cavity.variance);
  const Site<double> site = matched_site(c.rater(), c.cavity, c.smoothed());
  const double precision = 1 / c.cavity.variance + site.precision;
  const double mean = (c.cavity.mean / c.cavity.variance + site.shift) / precision;
  const double sd = std::sqrt(exact.variance());
  EXPECT_NEAR(c.smoothed().log_value, exact.log_integral(), tolerance) << describe(c);
  EXPECT_NEAR(mean, exact.mean(), tolerance * sd) << describe(c);
  EXPECT_NEAR(1 / std::sqrt(precision), sd, tolerance * sd) << describe(c);
}

TEST(Vote, site_has_the_tilted_moments) {
  for (const Case& c : random_cases(3, 300)) expect_tilted_moments(c, 2e-5);
}

TEST(Vote, site_of_a_strong_annotator_has_the_tilted_moments) {
  for (const Case& c : random_cases(8, 300)) expect_tilted_moments(c, 2e-3);
}

TEST(Vote, annotator_terms_are_derivatives_of_log_z) {
  const double h = 2e-3;
  for (const Case& c : random_cases(3, 100)) {
    SCOPED_TRACE(describe(c));
    const AnnotatorTerms<double> terms = annotator_terms(c.rater(), c.cavity, c.smoothed());
    const double middle = c.log_z(0, 0), more = c.log_z(h, 0), less = c.log_z(-h, 0), up = c.log_z(0, h),
                 down = c.log_z(0, -h);
    EXPECT_NEAR(terms.gradient_gamma, (more - less) / (2 * h), 1e-5);
    EXPECT_NEAR(terms.gradient_beta, (up - down) / (2 * h), 1e-5);
    EXPECT_NEAR(terms.information_gamma, -(more - 2 * middle + less) / (h * h), 1e-4);
    EXPECT_NEAR(terms.information_beta, -(up - 2 * middle + down) / (h * h), 1e-4);
    const double cross = (c.log_z(h, h) - c.log_z(h, -h) - c.log_z(-h, h) + c.log_z(-h, -h)) / (4 * h * h);
    EXPECT_NEAR(terms.information_cross, -cross, 1e-4);
  }
}

TEST(Vote, site_log_scale_makes_the_normaliser_exact) {
  for (const Case& c : random_cases(3, 30)) {
    SCOPED_TRACE(describe(c));
    const Site<double> site = matched_site(c.rater(), c.cavity, c.smoothed());
    const double sd = std::sqrt(c.cavity.variance);
    const Density product(
        [&](double d) {
          return test::log_normal(d, c.cavity.mean, c.cavity.variance) - site.precision * d * d / 2 + site.shift * d;
        },
        c.cavity.mean - 25 * sd, c.cavity.mean + 25 * sd);
    EXPECT_NEAR(site_log_scale(-1.25, c.cavity, site), -1.25 - product.log_integral(), 1e-10);
  }
}

/// A pair of 100,000 votes: each one's site beside all others', in single precision as in double.
TEST(Vote, site_log_scale_is_exact_where_the_cavity_is_narrow) {
  for (const double mean : {-3.0, 0.1, 4.0}) {
    const Cavity<double> cavity{mean, 1e-5};
    const Site<double> site{0.2, 0.2 * mean + 0.7};
    const double total = 1e5 + site.precision, moved = 1e5 * mean + site.shift;
    const double expected =
        -0.5 + 0.5 * (std::log1p(1e-5 * site.precision) - moved * moved / total + 1e5 * mean * mean);
    EXPECT_NEAR(site_log_scale(-0.5, cavity, site), expected, 1e-9);
    const Cavity<float> narrow{static_cast<float>(cavity.mean), static_cast<float>(cavity.variance)};
    const Site<float> said{static_cast<float>(site.precision), static_cast<float>(site.shift)};
    EXPECT_NEAR(site_log_scale(-0.5f, narrow, said), expected, 2e-6);
  }
}

TEST(Vote, mirrored_votes_say_the_same) {
  const Cavity<double> cavity{0.8, 1.1}, mirrored{-0.8, 1.1};
  const auto says = [](double winner) { return Statement<double>{winner, 0, kFar}; };
  const auto site = [&](double winner, double gamma, double beta, const Cavity<double>& c) {
    const Rater<double> rater{gamma, beta, 0.2, 0.05, 0.1};
    return matched_site(rater, c, smoothed_vote<kExact, Likelihood::kBinary>(says(winner), logit(rater, c)).z);
  };
  // The other item first: d, the winner and beta (and its covariance with gamma) change sign.
  const Rater<double> other{1.3, -0.4, 0.2, -0.05, 0.1};
  const Site<double> a = site(1, 1.3, 0.4, cavity);
  const Site<double> b =
      matched_site(other, mirrored, smoothed_vote<kExact, Likelihood::kBinary>(says(-1), logit(other, mirrored)).z);
  EXPECT_NEAR(a.precision, b.precision, 1e-14);
  EXPECT_NEAR(a.shift, -b.shift, 1e-14);
}

}  // namespace
}  // namespace voxpop
