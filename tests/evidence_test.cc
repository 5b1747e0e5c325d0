#include "fit/evidence.h"

#include <cmath>
#include <functional>

#include "engine_comparison.h"
#include "fit/refit.h"
#include "label/labels.h"

namespace voxpop {
namespace {

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

/// The average of f(z1, z2) over two independent N(0, 1).
double average(const std::function<double(double, double)>& f) {
  constexpr int kNodes = 60;
  constexpr double kStep = 0.2;
  double sum = 0, all = 0;
  for (int i = -kNodes; i <= kNodes; ++i)
    for (int j = -kNodes; j <= kNodes; ++j) {
      const double x = kStep * i, y = kStep * j, weight = std::exp(-0.5 * (x * x + y * y));
      sum += weight * f(x, y);
      all += weight;
    }
  return sum / all;
}

Fit fit_of(const Groups& groups, Engine& engine) {
  FitOptions options;
  options.answers = groups.answers;
  return fit_model(engine, count_votes(groups), options, [](int, double) {});
}

/// What a vote says, by quadrature over its annotator and finite differences in d.
TEST(Evidence, is_the_likelihoods_gradient_and_curvature) {
  const Groups groups = test::random_groups(test::prompts(40), 12, test::Said::kBinary);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit = fit_of(groups, *engine);
  const VoteEvidence evidence = find_evidence(groups, fit, engine->sites());
  for (std::uint32_t p = 0; p < groups.pairs(); p += 5)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const VoteCode vote = groups.votes[v];
      const AnnotatorPosterior& a = fit.annotators[vote.annotator()];
      const double side = vote.side(), sign = vote.winner();
      const Rater<double> whole{a.discrimination, a.side_bias * side, a.discrimination_variance, a.covariance * side,
                                a.side_bias_variance};
      const Rater<double> certain{whole.discrimination, whole.side_bias, 0, 0, 0};
      const Cavity<double> cavity = cavity_of_vote(groups, fit, engine->sites(), v, p);
      const Statement<double> said{sign, 0, kFar};
      const auto there = smoothed_vote<kExact, Likelihood::kBinary>(said, logit(certain, cavity));
      const Rater<double> others = rater_without(whole, annotator_terms(certain, cavity, there.z));
      const double sd = std::sqrt(others.discrimination_variance), slope = others.covariance / sd;
      const double rest = std::sqrt(std::max(others.side_bias_variance - slope * slope, 0.0));
      const auto log_likelihood = [&](double d) {
        return std::log(average([&](double x, double y) {
          return sigma(sign * ((others.discrimination + sd * x) * d + others.side_bias + slope * x + rest * y));
        }));
      };
      const double d = fit.posterior.pair_mean[p], h = 1e-3;
      const double low = log_likelihood(d - h), middle = log_likelihood(d), high = log_likelihood(d + h);
      EXPECT_NEAR(evidence.gradient[v], (high - low) / (2 * h), 2e-4) << v;
      EXPECT_NEAR(evidence.curvature[v], -(high - 2 * middle + low) / (h * h), 2e-3) << v;
    }
}

TEST(Evidence, of_known_annotators_is_that_of_their_votes) {
  for (const auto said : {test::Said::kBinary, test::Said::kTies}) {
    const Groups groups = test::random_groups(test::prompts(20), 5, said);
    Fit fit;
    fit.model = Model::kBradleyTerry;
    fit.answers = groups.answers;
    fit.annotators.resize(5);
    for (AnnotatorPosterior& a : fit.annotators) a = {.discrimination = 0.7};
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Raters raters(fit.annotators);
    fit.posterior = engine->posterior(raters, {});
    const VoteEvidence evidence = find_evidence(groups, fit, engine->sites());
    for (std::uint32_t p = 0; p < groups.pairs(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const int winner = groups.votes[v].winner();
        const double x = 0.7 * fit.posterior.pair_mean[p];
        const double share = winner == 0 ? 0.5 : winner > 0;  // a half tie is half a vote to each side
        EXPECT_NEAR(evidence.gradient[v], 0.7 * (share - sigma(x)), 1e-4);
        EXPECT_NEAR(evidence.curvature[v], 0.49 * sigma(x) * sigma(-x), 1e-4);
      }
  }
}

/// Votes of one block say together what one impression says: n of curvature c, n c / (1 + 2 w n c).
TEST(Evidence, of_repeats_is_no_more_than_one_view) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, 1}, {0, 1, 0, 1}, {0, 1, 0, -1}});
  Groups groups = group_votes(votes, Ties::kModel);
  groups.views = find_views(groups, votes);
  ASSERT_FALSE(groups.views.empty());
  Fit fit;
  fit.view_variance = 0.8;
  fit.annotators.resize(1);
  fit.annotators[0] = {.discrimination = 1.5};
  fit.posterior.pair_mean.assign(1, 0.3f);
  fit.posterior.pair_variance.assign(1, 1);
  fit.posterior.vote_mean.assign(3, 0.4f);
  fit.posterior.vote_variance.assign(3, 1);
  const Sites sites{Column<float>(3, 0.0f), Column<float>(3, 0.0f)};
  const VoteEvidence evidence = find_evidence(groups, fit, sites);
  const double s = sigma(1.5 * 0.4), c = 1.5 * 1.5 * s * (1 - s);
  for (std::size_t v = 0; v < 3; ++v) {
    EXPECT_NEAR(evidence.curvature[v], c / (1 + 2 * 0.8 * 3 * c), 1e-4);
    EXPECT_NEAR(evidence.gradient[v], 1.5 * ((groups.votes[v].winner() > 0) - s), 1e-4);
  }
}

/// weight (target - sigma(x)) and weight sigma(x) sigma(-x).
TEST(EvidenceLabels, have_the_gradient_and_the_curvature) {
  for (const double x : {-6.0, -1.0, 0.0, 0.5, 20.0})
    for (const double weight : {0.01, 1.0, 300.0})
      for (const double target : {0.0, 0.2, 0.9, 1.0}) {
        const double s = sigma(x), left = sigma(-x);
        const EvidenceLabel label = evidence_label(weight * (target - s), weight * s * left, x);
        EXPECT_NEAR(label.weight * (label.target - s), weight * (target - s), 1e-4 * weight);
        EXPECT_NEAR(label.weight, weight, 1e-3 * weight) << x << ' ' << target;
        EXPECT_NEAR(label.target, target, 1e-3);
      }
  // A vote for left of an annotator who knows little: no target up to 1 is so steep and bends so little.
  const EvidenceLabel weak = evidence_label(0.15, 0.0225, 0);
  EXPECT_EQ(weak.target, 1);
  EXPECT_NEAR(weak.weight, 0.3, 3e-5);
  const EvidenceLabel against = evidence_label(-0.15, -0.01, 0);  // whose sign is in doubt
  EXPECT_EQ(against.target, 0);
  EXPECT_NEAR(against.weight, 0.3, 3e-5);
  EXPECT_EQ(evidence_label(0, 0, 1).weight, 0);
  // Far away, a vote of discrimination 0.27 for the item ahead, and one against it, would weigh 80 and 20.
  const double s = sigma(0.27 * 8), c = 0.27 * 0.27 * s * (1 - s);
  EXPECT_GT(evidence_label(0.27 * (1 - s), c, 8).weight, 50);
  EXPECT_EQ(evidence_label(0.27 * (1 - s), c, 8, 1).target, 1);
  EXPECT_NEAR(evidence_label(0.27 * (1 - s), c, 8, 1).weight, 1, 1e-3);
  const EvidenceLabel away = evidence_label(-0.27 * s, c, 8, 1);
  EXPECT_NEAR(away.weight, 1, 1e-3);
  EXPECT_NEAR(away.weight * (away.target - sigma(8)), -0.27 * s, 1e-3);
}

}  // namespace
}  // namespace voxpop
