#include "formulas/likelihood.h"

#include "formulas/fit_state.h"
#include "formulas/vote.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Density;

/// Probability of a vote at a known logit, written out: lower < sign * (eta + logistic noise) < upper, where the vote
/// is no tie.
double probability(const Statement<double>& vote, double eta) {
  const auto sigma = [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); };
  const double at = vote.sign * eta, tie = vote.own_ties ? 4 * vote.habit * sigma(eta) * sigma(-eta) : 0;
  if (vote.own_ties && vote.sign == 0) return tie;
  return (1 - tie) * (at > (vote.lower + vote.upper) / 2 ? sigma(vote.upper - at) - sigma(vote.lower - at)
                                                         : sigma(at - vote.lower) - sigma(at - vote.upper));
}

double mixed_probability(const Statement<double>& vote, double eta) {
  return vote.share * probability(vote, eta) + (1 - vote.share) * probability(vote, -eta);
}

template <class Probability>
double log_average(const Probability& probability_at, double mean, double variance) {
  const double sd = std::sqrt(variance);
  return Density([&](double x) { return std::log(probability_at(x)) + test::log_normal(x, mean, variance); },
                 mean - 12 * sd - variance, mean + 12 * sd + variance, 8001)
      .log_integral();
}

const std::vector<Statement<double>> kStatements = {{1, 0, kFar}, {-1, 0.4, kFar}, {1, -0.4, 0.4},   {-1, 0.4, 1.9},
                                                    {1, 1.9, 2},  {1, 2, kFar},    {1, -0.02, 0.02}, {-1, 0.5, 6}};

/// Ties as answers of their own, decided votes beside them, and grades.
std::vector<Statement<double>> statements_beside_ties() {
  std::vector<Statement<double>> out;
  for (const double habit : {0.02, 0.4, 0.95})
    for (Statement<double> vote : {Statement<double>{0, 0, kFar},
                                   {1, 0, kFar},
                                   {-1, 0, kFar},
                                   {1, 0, 0.8},
                                   {-1, 0.8, 2},
                                   {1, 2, kFar},
                                   {-1, 0, 0.1},
                                   {1, 0.1, kFar}}) {
      vote.habit = habit;
      vote.own_ties = true;
      vote.simple = vote.lower <= 0 && vote.upper >= kFar;
      out.push_back(vote);
    }
  return out;
}

std::vector<Statement<double>> all_statements() {
  std::vector<Statement<double>> out = kStatements;
  for (const Statement<double>& vote : statements_beside_ties()) out.push_back(vote);
  return out;
}

Statement<float> in_single_precision(const Statement<double>& vote) {
  const auto single = [](double x) { return static_cast<float>(x); };
  return {single(vote.sign),  single(vote.lower), single(vote.upper), single(vote.share),
          single(vote.habit), vote.simple,        vote.own_ties,      vote.mirrored};
}

TEST(Likelihood, of_intervals_matches_integration) {
  for (const Statement<double>& vote : all_statements())
    for (const double mean : {-9.0, -2.5, -0.3, 0.0, 1.1, 3.0, 8.0})
      for (const double variance : {0.1, 1.0, 6.0}) {
        SCOPED_TRACE(testing::Message() << vote.sign << " (" << vote.lower << ", " << vote.upper << "), mean " << mean
                                        << ", variance " << variance << ", habit " << vote.habit);
        const double exact = log_average([&](double x) { return probability(vote, x); }, mean, variance);
        const double width = vote.upper - vote.lower;
        const Logit<double> eta{mean, variance};
        // Narrow bands are differences of what is nearly equal: the mixture's relative error counts for more.
        double more = width < 1 ? 1 / width : 1;
        // Beside ties more so, and where nearly all votes are ties.
        if (vote.own_ties) more *= vote.lower == 0.1 || vote.upper == 0.1 ? 60 : 4 + 1 / (1 - vote.habit);
        EXPECT_NEAR((smoothed_vote<kExact, Likelihood::kOrdinal>(vote, eta).z.log_value), exact, 1e-5 * more);
        const Statement<float> single = in_single_precision(vote);
        const Logit<float> single_eta{static_cast<float>(mean), static_cast<float>(variance)};
        EXPECT_NEAR((smoothed_vote<kFast, Likelihood::kOrdinal>(single, single_eta).z.log_value), exact, 2e-3 * more);
      }
}

/// Derivatives in the mean and in both thresholds, against differences.
/// Second derivatives in thresholds lack the ties' part.
template <Likelihood kKind>
void expect_derivatives(const Statement<double>& vote, double mean, double variance) {
  const double h = 1e-4;
  const auto at = [&](double m, double low = 0, double high = 0) {
    Statement<double> moved = vote;
    moved.lower -= low;  // outwards
    moved.upper += high;
    return smoothed_vote<kExact, kKind>(moved, Logit<double>{m, variance}).z;
  };
  const VoteLikelihood<double> got = smoothed_vote<kExact, kKind>(vote, Logit<double>{mean, variance});
  const Smoothed<double> low = at(mean - h), z = at(mean), high = at(mean + h);
  EXPECT_NEAR((high.log_value - low.log_value) / (2 * h), z.first, 1e-6);
  EXPECT_NEAR((high.first - low.first) / (2 * h), z.second - z.first * z.first, 1e-6 * (1 + std::abs(z.second)));
  EXPECT_NEAR((high.second - low.second) / (2 * h), z.third - z.second * z.first, 1e-6 * (1 + std::abs(z.third)));
  EXPECT_NEAR((high.third - low.third) / (2 * h), z.fourth - z.third * z.first, 1e-5 * (1 + std::abs(z.fourth)));
  const auto expect_edge = [&](double first, double second, double before, double after) {
    EXPECT_NEAR((after - before) / (2 * h), first, 1e-5 * (1 + std::abs(first)));
    if (!vote.own_ties) {
      EXPECT_NEAR((after - 2 * z.log_value + before) / (h * h), second - first * first, 1e-3 * (1 + std::abs(second)));
    }
  };
  if (vote.own_ties) {
    const double logit = std::log(vote.habit / (1 - vote.habit)), step = 1e-4;
    const auto with_habit = [&](double by) {
      Statement<double> moved = vote;
      moved.habit = 1 / (1 + std::exp(-logit - by));
      return smoothed_vote<kExact, kKind>(moved, Logit<double>{mean, variance}).z.log_value;
    };
    const double before = with_habit(-step), after = with_habit(step);
    const HabitTerms<double> terms = habit_terms(vote.habit, got.habit);
    EXPECT_NEAR(terms.gradient, (after - before) / (2 * step), 1e-6);
    EXPECT_NEAR(terms.information, -(after - 2 * z.log_value + before) / (step * step), 1e-5);
  }
  if (vote.lower == 0 && vote.own_ties) return;  // that threshold does not move
  expect_edge(got.edges.lower, got.edges.lower2, at(mean, -h).log_value, at(mean, h).log_value);
  if (vote.upper < kFar)
    expect_edge(got.edges.upper, got.edges.upper2, at(mean, 0, -h).log_value, at(mean, 0, h).log_value);
}

TEST(Likelihood, derivatives_agree_with_differences) {
  for (const Statement<double>& vote : all_statements())
    for (const double mean : {-6.0, -0.3, 0.7, 4.0}) {
      SCOPED_TRACE(testing::Message() << vote.sign << " (" << vote.lower << ", " << vote.upper << "), mean " << mean);
      expect_derivatives<Likelihood::kOrdinal>(vote, mean, 1.5);
      Statement<double> mixed = vote;
      mixed.share = 0.8;
      mixed.mirrored = true;
      expect_derivatives<Likelihood::kMixture>(mixed, mean, 1.5);
    }
}

TEST(Likelihood, of_mixtures_matches_integration) {
  for (Statement<double> vote : all_statements())
    for (const double share : {0.02, 0.6, 0.999}) {
      vote.share = share;
      vote.mirrored = true;
      SCOPED_TRACE(testing::Message() << vote.sign << " (" << vote.lower << ", " << vote.upper << "), share " << share);
      const Logit<double> eta{0.9, 2};
      const auto mixed = [&](double s) {
        return log_average(
            [&, s](double x) {
              Statement<double> other = vote;
              other.share = s;
              return mixed_probability(other, x);
            },
            eta.mean, eta.variance);
      };
      const VoteLikelihood<double> got = smoothed_vote<kExact, Likelihood::kMixture>(vote, eta);
      const double exact = mixed(share);
      EXPECT_NEAR(got.z.log_value, exact, 2e-4);
      // The gradient in the share's logit, by differences of the integral itself.
      const double logit = std::log(share / (1 - share)), h = 1e-2;
      const auto share_at = [&](double x) { return 1 / (1 + std::exp(-x)); };
      const double low = mixed(share_at(logit - h)), high = mixed(share_at(logit + h));
      const ShareTerms terms = share_terms(static_cast<float>(share), static_cast<float>(got.share));
      EXPECT_NEAR(terms.gradient, (high - low) / (2 * h), 2e-4);
      EXPECT_NEAR(terms.information, -(high - 2 * exact + low) / (h * h), 2e-3);
    }
}

TEST(Likelihood, all_answers_have_probability_one) {
  for (const int levels : {1, 3})
    for (const bool ties : {false, true}) {
      const VoteScale scale = starting_scale(levels, ties);
      double total = 0;
      for (int level = -levels; level <= levels; ++level) {
        if (level == 0 && !ties) continue;
        const Statement<float> said = statement_of(scale, level);
        const Statement<double> vote{said.sign, said.lower, said.upper, 1, 0.3, said.simple, said.own_ties};
        total += std::exp(smoothed_vote<kExact, Likelihood::kOrdinal>(vote, Logit<double>{0.7, 2}).z.log_value);
      }
      EXPECT_NEAR(total, 1, 1e-6) << levels << " levels, ties " << ties;
    }
}

TEST(Likelihood, votes_that_are_not_seen_say_nothing) {
  const Statement<float> unseen = statement_of(starting_scale(1, false), kUnseen);
  for (const float mean : {-30.0f, -1.0f, 0.0f, 20.0f}) {
    const VoteLikelihood<float> got = smoothed_vote<kFast, Likelihood::kOrdinal>(unseen, Logit<float>{mean, 3});
    EXPECT_NEAR(got.z.log_value, 0, 1e-6);
    EXPECT_NEAR(got.z.first, 0, 1e-6);
    EXPECT_NEAR(got.z.second, 0, 1e-6);
  }
  const ThresholdTerms terms = threshold_terms(kUnseen, unseen, EdgeTerms<float>{1, 1, 1, 1});
  EXPECT_EQ(terms.lower_gradient, 0);
}

/// log Z of a vote as a threshold moves, against the terms.
TEST(ThresholdTerms, agree_with_differences) {
  const Logit<double> eta{0.65, 1.2};
  for (const int level : {-2, -1, 1, 2, 3}) {
    const auto log_z = [&](int moved, double by, int and_moved = 0, double and_by = 0) {
      const VoteScale scale = starting_scale(3, false);
      double edges[5] = {0, scale.edge[1], scale.edge[2], scale.edge[3], kFar};
      if (moved > 0) edges[moved] += by;
      if (and_moved > 0) edges[and_moved] += and_by;
      const int strength = std::abs(level);
      const Statement<double> vote{level < 0 ? -1.0 : 1.0, edges[strength], edges[strength + 1]};
      return smoothed_vote<kExact, Likelihood::kOrdinal>(vote, eta);
    };
    const VoteLikelihood<double> at = log_z(0, 0);
    const EdgeTerms<float> edges{static_cast<float>(at.edges.lower), static_cast<float>(at.edges.upper),
                                 static_cast<float>(at.edges.lower2), static_cast<float>(at.edges.upper2)};
    const ThresholdTerms terms = threshold_terms(level, statement_of(starting_scale(3, false), level), edges);
    const double h = 1e-4;
    const auto slope = [&](int threshold) {
      return (log_z(threshold, h).z.log_value - log_z(threshold, -h).z.log_value) / (2 * h);
    };
    SCOPED_TRACE(level);
    EXPECT_NEAR(terms.lower_gradient, slope(terms.lower), 1e-4);
    EXPECT_NEAR(terms.upper_gradient, terms.upper > 0 ? slope(terms.upper) : 0, 1e-4);
    EXPECT_EQ(terms.upper, std::abs(level) < 3 ? terms.lower + 1 : 0);
    // Minus the second derivative, and the size of that with the neighbour: so that all may move at once.
    const auto value = [&](int a, double by, int b, double and_by) { return log_z(a, by, b, and_by).z.log_value; };
    const auto information = [&](int threshold) {
      return -(value(threshold, h, 0, 0) - 2 * value(0, 0, 0, 0) + value(threshold, -h, 0, 0)) / (h * h);
    };
    const int i = terms.lower, j = terms.upper;
    const double cross =
        j == 0 ? 0 : (value(i, h, j, h) - value(i, h, j, -h) - value(i, -h, j, h) + value(i, -h, j, -h)) / (4 * h * h);
    EXPECT_NEAR(terms.lower_information, information(i) + std::abs(cross), 1e-3);
    EXPECT_NEAR(terms.upper_information, j > 0 ? information(j) + std::abs(cross) : 0, 1e-3);
  }
}

}  // namespace
}  // namespace voxpop
