#include "core/error.h"
#include "engine_comparison.h"
#include "helpers.h"
#include "label/truth_comparison.h"

namespace voxpop {
namespace {

using test::random_groups;
using test::Said;

/// EP settled, with everything that a pass then adds up.
struct Settled {
  PassResult pass;
  Posterior posterior;
};
Settled settle(const Groups& groups, const Raters& raters, const std::vector<float>& coefficient) {
  PassOptions options{.sweeps = 80, .annotators = true, .exact = true};
  options.scale = starting_scale(groups.answers.levels(), groups.answers.ties);
  std::copy(coefficient.begin(), coefficient.end(), options.coefficient);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  Settled out;
  out.pass = engine->update_components(raters, options);
  options.stretch = 1;
  out.posterior = engine->posterior(raters, options);
  return out;
}

Raters known_raters(const Groups& groups, float taste) {
  std::vector<RaterRecord> records = test::random_raters(groups.annotators);
  for (RaterRecord& r : records) r.discrimination_variance = r.covariance = r.side_bias_variance = 0;
  std::vector<Taste> tastes = test::random_tastes(groups.annotators * groups.covariates.features);
  for (Taste& t : tastes) t = {taste * t.mean, 0};
  return {records, tastes};
}

/// One vote on two items whose prior means differ: d ~ N(offset, 2), by integration.
TEST(Covariates, prior_means_move_the_posterior) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, -1}});
  Groups groups = group_votes(votes, Ties::kModel);
  groups.covariates = {{0.5f, -0.5f}, {"length"}, {1}, 0};
  RaterRecord rater;
  rater.discrimination = 1.5f;
  rater.side_bias = 0.3f;
  const Settled got = settle(groups, {{rater}}, {1.2f});
  const test::Density exact = test::tilted(-1, 1.5, 0.3, 1.2, 2);
  EXPECT_NEAR(got.posterior.pair_mean[0], exact.mean(), 1e-3);
  EXPECT_NEAR(got.posterior.pair_variance[0], exact.variance(), 1e-3);
  EXPECT_NEAR(got.posterior.log_evidence, exact.log_integral(), 1e-4);
  // Scores lie about their prior means, centred.
  EXPECT_NEAR(got.posterior.slot_mean[0], exact.mean() / 2, 1e-3);
  EXPECT_NEAR(got.posterior.slot_mean[0] + got.posterior.slot_mean[1], 0, 1e-6);
  // X'E[s - Xc], and X'(I - covariance)X.
  EXPECT_NEAR(from_fixed(got.pass.covariates.gradient[0]), 0.5 * (exact.mean() - 1.2), 1e-3);
  EXPECT_NEAR(from_fixed(got.pass.covariates.information[0]), 0.5 - 0.25 * exact.variance(), 1e-3);
}

/// At EP's fixed point the evidence's derivatives are the explicit ones (Minka 2001).
class CovariateGradient : public testing::TestWithParam<std::uint32_t> {};

TEST_P(CovariateGradient, agrees_with_differences_of_the_evidence) {
  for (const Said said : {Said::kBinary, Said::kTies}) {
    const Groups groups = test::with_covariates(random_groups({{GetParam(), 12 * GetParam()}}, 5, said));
    const Raters raters = known_raters(groups, 1);
    const std::vector<float> at = {0.3f, -0.2f, 0.5f};
    const Settled here = settle(groups, raters, at);
    const float h = 0.05f;
    for (int k = 0; k < 3; ++k) {
      std::vector<float> low = at, high = at;
      low[k] -= h;
      high[k] += h;
      const double slope =
          (settle(groups, raters, high).posterior.log_evidence - settle(groups, raters, low).posterior.log_evidence) /
          (2 * h);
      EXPECT_NEAR(from_fixed(here.pass.covariates.gradient[k]), slope, 0.01 * (1 + std::abs(slope))) << k;
    }
    for (std::size_t t = 0; t < raters.tastes.size(); t += 3) {
      Raters low = raters, high = raters;
      low.tastes[t].mean -= h;
      high.tastes[t].mean += h;
      const double slope =
          (settle(groups, high, at).posterior.log_evidence - settle(groups, low, at).posterior.log_evidence) / (2 * h);
      EXPECT_NEAR(from_fixed(here.pass.tastes[t].gradient), slope, 0.01 * (1 + std::abs(slope))) << t;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(SmallAndDense, CovariateGradient, testing::Values(4u, 33u));

TEST(Covariates, are_centred_within_components) {
  Votes votes = test::make_votes(5, 1, {{0, 1, 0, 1}, {2, 3, 0, 1}, {3, 4, 0, -1}});
  votes.feature_names.push_back("length");
  votes.feature_names.push_back("same");
  votes.feature_names.push_back("tiny");  // a logit a sd would be more than a float holds, a unit
  votes.features = {1, 0.7f, 0, 3, 0.7f, 1e-40f, 10, 0.1f, 0, 20, 0.1f, 1e-40f, 60, 0.1f, 0};
  votes.prior_score = {5, 6, 7, 8, 9};
  Groups groups = group_votes(votes, Ties::kModel);
  const Covariates found = find_covariates(votes, groups, {});
  ASSERT_EQ(found.names, (std::vector<std::string>{"length", "prior_score"}));  // the other tells no pair apart
  EXPECT_EQ(found.features, 1);
  EXPECT_EQ(found.left_out, (std::vector<std::string>{"same", "tiny"}));
  // Lengths -1, 1 and -20, -10, 30 about their means, 3 degrees of freedom.
  EXPECT_NEAR(found.sd[0], std::sqrt((1 + 1 + 400 + 100 + 900) / 3.0), 1e-9);
  for (std::size_t slot = 0; slot < 5; ++slot) {
    const double centred[] = {-1, 1, -20, -10, 30};
    EXPECT_NEAR(found.value[slot * 2], centred[groups.slot_item[slot]] / found.sd[0], 1e-6);
  }
  EXPECT_TRUE(find_covariates(votes, groups, {.prior_score = false, .features = false}).names.empty());
  votes.feature_names = Strings();
  for (int k = 0; k < 8; ++k) votes.feature_names.push_back("f" + std::to_string(k));
  votes.features.assign(40, 0.0f);
  EXPECT_THROW(find_covariates(votes, groups, {}), Error);
}

/// What was simulated is found again: coefficients within three standard errors, tastes within theirs.
TEST(Covariates, are_found_again) {
  Votes votes = simulate_votes({.prompts = 8000,
                                .pairs_per_prompt = 3,
                                .votes_per_pair = 3,
                                .annotators = 100,
                                .mix = {},
                                .features = 2,
                                .taste_sd = 0.5,
                                .prior_score = 0.5,
                                .seed = 2});
  const Truth truth = *votes.truth;
  const std::size_t items = votes.item_ids.size(), rows = votes.size();
  Groups groups = group_votes(votes, Ties::kModel);
  const auto fit_with = [&](const CovariateChoice& choice) {
    groups.covariates = find_covariates(votes, groups, choice);
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Fit fit = fit_model(
        *engine, count_votes(groups),
        {.answers = groups.answers, .covariates = groups.covariates.count(), .tastes = groups.covariates.features},
        [](int, double) {});
    EXPECT_TRUE(fit.converged);
    return make_labels(groups, fit, find_pair_labels(*engine, fit), items, rows);
  };
  const Labels labels = fit_with({.prior_score = false});
  for (int k = 0; k < 2; ++k) {
    EXPECT_NEAR(labels.covariates.coefficient[k], truth.feature_coefficients[k],
                3 * labels.covariates.coefficient_se[k]);
    EXPECT_NEAR(labels.covariates.taste_sd[k], 0.5, 0.1);
  }
  double covered = 0;
  for (std::size_t i = 0; i < truth.taste.size(); ++i)
    covered += std::abs(labels.annotators.taste[i] - truth.taste[i]) < 1.96 * labels.annotators.taste_se[i];
  EXPECT_GT(covered / static_cast<double>(truth.taste.size()), 0.88);

  // A score that is known beforehand helps to order pairs.
  const double with = compare_with_truth(fit_with({}), truth).pairs_ordered;
  const double without = compare_with_truth(fit_with({.prior_score = false, .features = false}), truth).pairs_ordered;
  EXPECT_GT(with, without + 0.005);
}

}  // namespace
}  // namespace voxpop
