#pragma once
// Annotators in a fit: sums over an annotator's votes, its posterior, and the population. All in prior units (items' sd
// 1) and double precision. Empirical Bayes: the population is estimated from its annotators.

#include "formulas/fixed_point.h"

namespace voxpop {

/// Upper limits of the population's mean and variance, in prior units. Votes without any noise would otherwise lead to
/// infinite discriminations.
inline constexpr double kLargestMean = 20, kLargestVariance = 25;

/// Upper limit of one annotator's discrimination: six sds of the widest population above its largest mean.
inline constexpr double kLargestDiscrimination = 50;

/// Nodes of the annotator quadrature: Gauss-Hermite in the proposal's standard units.
inline constexpr int kGridNodes = 5;

/// Position of node g. Not a table, because device code would keep a table in slow memory.
VOXPOP_HD constexpr float grid_at(int g) {
  const float size = g == 2 ? 0.0f : g == 1 || g == 3 ? 1.355626179974266f : 2.856970013872806f;
  return g < 2 ? -size : size;
}
VOXPOP_HD constexpr double grid_weight(int g) {
  return g == 2 ? 0.53333333333333333 : g == 1 || g == 3 ? 0.22207592200561264 : 0.011257411327720693;
}

/// Sums over one annotator's votes, in fixed point (fixed_point.h), so that the order does not matter.
struct AnnotatorSums {
  std::int64_t gradient_gamma, gradient_beta, information_gamma, information_cross, information_beta;
  std::int64_t gradient_habit, information_habit;  ///< of tie habits; only with own ties
  std::int64_t gradient_share, information_share;  ///< of logit(share); only mixtures
};
/// Sums over all votes for one threshold, in fixed point.
struct ThresholdSums {
  std::int64_t gradient, information;
};
struct GridSums {
  std::int64_t log_z[kGridNodes];  ///< log-likelihood at each node minus that at the middle node
};
struct ReportSums {
  std::int64_t agreement;  ///< votes that agree with the rest of the evidence; 1/2 each if that evidence is even
  std::int64_t better;     ///< sum of the probabilities that the vote picked the better item; without ties
  std::int64_t bits;       ///< sum of the expected information of a vote about d, in bits
  std::int64_t decided;    ///< votes that are not ties. In all these sums, a vote counts by its weight
};

struct AnnotatorPosterior {
  double discrimination = 1, side_bias = 0;
  double discrimination_variance = 0, covariance = 0, side_bias_variance = 0;
  double habit_logit = 0, habit_variance = 0;  ///< tie habit: logit(h) without the prompt's part
  /// Mixtures: logit of the share of votes that are meant (Crowd-BT's eta).
  double share_logit = 0, share_variance = 0;
};

/// The distribution from which annotators are drawn: gamma ~ N(mean, variance), beta ~ N(side_bias_mean,
/// side_bias_variance), logit(h) ~ N(habit_mean, habit_variance), logit(share) ~ N(share_mean, share_variance). Also
/// used for the prior of one annotator, from an earlier fit.
struct Population {
  double mean = 1, variance = 0.1, side_bias_variance = 0.1;
  double habit_mean = 0, habit_variance = 0.1;
  double share_mean = 0, share_variance = 0.5;
  // Only for the prior of one annotator; 0 for a population:
  double side_bias_mean = 0;
  double share_votes = 0;  ///< precision of the prior of the share, as a number of votes; 0: use share_variance
};

/// An annotator as passes over votes read it.
struct alignas(32) RaterRecord {
  float discrimination = 1, side_bias = 0;
  float discrimination_variance = 0, covariance = 0, side_bias_variance = 0;
  float grid_spread = 0;  ///< node g of the quadrature is at discrimination + grid_spread * grid_at(g)
  float grid_slope = 0;   ///< change of side_bias per unit of discrimination along the nodes
  float share = 1;        ///< of votes that are meant; only mixtures
};
static_assert(sizeof(RaterRecord) == 32);

/// A tie habit as passes read it, in logits: an annotator's habit, or what a prompt adds to it. The habit is the
/// probability of a tie if the annotator sees no difference.
struct TieHabit {
  float mean = 0, variance = 0;
};

VOXPOP_HD double clamped(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

VOXPOP_HD double share_of(double logit) { return 1 / (1 + exp(-logit)); }

VOXPOP_HD TieHabit tie_habit_of(const AnnotatorPosterior& a) {
  return {static_cast<float>(a.habit_logit), static_cast<float>(a.habit_variance)};
}

/// The record with the nodes of the next quadrature: centred on the current posterior, and 1.2 times as wide.
VOXPOP_HD RaterRecord record_of(const AnnotatorPosterior& a) {
  RaterRecord record;
  record.discrimination = static_cast<float>(a.discrimination);
  record.side_bias = static_cast<float>(a.side_bias);
  record.discrimination_variance = static_cast<float>(a.discrimination_variance);
  record.covariance = static_cast<float>(a.covariance);
  record.side_bias_variance = static_cast<float>(a.side_bias_variance);
  record.grid_spread = static_cast<float>(1.2 * sqrt(a.discrimination_variance));
  record.grid_slope =
      a.discrimination_variance > 0 ? static_cast<float>(a.covariance / a.discrimination_variance) : 0.0f;
  record.share = static_cast<float>(share_of(a.share_logit));
  return record;
}

inline constexpr double kLongestStep = 0.3;

/// Posterior precision matrix of (gamma, beta).
struct AnnotatorPrecision {
  double gamma, cross, beta;
  VOXPOP_HD double determinant() const { return gamma * beta - cross * cross; }
};

/// Near the mode, the observed information may be negative, but the posterior precision is at least this part of the
/// prior's.
inline constexpr double kLeastOfPrior = 0.1;

/// Posterior precision. If the matrix is not positive definite (far from the mode), only its diagonal, made positive.
VOXPOP_HD AnnotatorPrecision precision_of(const AnnotatorSums& sums, const Population& population) {
  const double prior_gamma = 1 / population.variance, prior_beta = 1 / population.side_bias_variance;
  AnnotatorPrecision p{from_fixed(sums.information_gamma) + prior_gamma, from_fixed(sums.information_cross),
                       from_fixed(sums.information_beta) + prior_beta};
  if (p.gamma <= kLeastOfPrior * prior_gamma || p.beta <= kLeastOfPrior * prior_beta ||
      p.determinant() <= 1e-3 * p.gamma * p.beta)
    p = {larger(fabs(p.gamma), prior_gamma), 0, larger(fabs(p.beta), prior_beta)};
  return p;
}

/// One annotator's Newton step on (gamma, beta), from its summed gradient and Louis information; the population is the
/// prior. Steps are at most 0.3 in each. If the precision is not positive definite, the step is a gradient step of
/// similar size. `damping`: part of the step that is taken. Returns the undamped length of gamma's step, in posterior
/// sds.
VOXPOP_HD double newton_step(AnnotatorPosterior& a, const AnnotatorSums& sums, const Population& population,
                             double damping = 1) {
  const AnnotatorPrecision p = precision_of(sums, population);
  const double det = p.determinant();
  const double g0 = from_fixed(sums.gradient_gamma) - (a.discrimination - population.mean) / population.variance;
  const double g1 =
      from_fixed(sums.gradient_beta) - (a.side_bias - population.side_bias_mean) / population.side_bias_variance;
  const double step = clamped((p.beta * g0 - p.cross * g1) / det, -kLongestStep, kLongestStep);
  a.discrimination += damping * step;
  a.side_bias += damping * clamped((p.gamma * g1 - p.cross * g0) / det, -kLongestStep, kLongestStep);
  a.discrimination_variance = p.beta / det;
  a.covariance = -p.cross / det;
  a.side_bias_variance = p.gamma / det;
  return fabs(step) / sqrt(p.beta / det);
}

/// Limit of the logits of shares: shares are between 0.05 % and 99.95 %.
inline constexpr double kLargestShareLogit = 7.6;

/// Gradient and precision of the prior of a share's logit, to add to those of the votes. An annotator's own prior is a
/// beta distribution, because near 0 and 1 the logit is far from normal.
struct SharePrior {
  double gradient, precision;
};
VOXPOP_HD SharePrior share_prior(const Population& prior, double logit) {
  if (prior.share_votes == 0) {
    const double precision = 1 / prior.share_variance;
    return {-(logit - prior.share_mean) * precision, precision};
  }
  const double share = share_of(logit);
  return {prior.share_votes * (share_of(prior.share_mean) - share), prior.share_votes * share * (1 - share)};
}

/// One annotator's Newton step on the logit of its share; the population is the prior. The result is at least `lowest`.
VOXPOP_HD void step_share(AnnotatorPosterior& a, const AnnotatorSums& sums, const Population& population,
                          double lowest) {
  const SharePrior prior = share_prior(population, a.share_logit);
  const double gradient = from_fixed(sums.gradient_share) + prior.gradient;
  const double precision = larger(from_fixed(sums.information_share) + prior.precision, prior.precision);
  a.share_logit = clamped(a.share_logit + clamped(gradient / precision, -0.5, 0.5), lowest, kLargestShareLogit);
  a.share_variance = 1 / precision;
}

/// One annotator's Newton step on the logit of its tie habit. Separate from (gamma, beta), because their cross
/// information changed nothing on real votes. `damping`: part of the step that is taken.
VOXPOP_HD void step_habit(AnnotatorPosterior& a, const AnnotatorSums& sums, const Population& population,
                          double damping) {
  const double prior = 1 / population.habit_variance;
  const double precision = larger(from_fixed(sums.information_habit), 0.0) + prior;
  const double gradient = from_fixed(sums.gradient_habit) - (a.habit_logit - population.habit_mean) * prior;
  a.habit_logit += damping * clamped(gradient / precision, -kLongestStep, kLongestStep);
  a.habit_variance = 1 / precision;
}

/// One annotator's posterior mean and variance of gamma, by quadrature over the cavity likelihoods, along the ridge on
/// which beta follows gamma. `grid` must be summed at the nodes of record_of(a), `sums` at the middle node. `damping`:
/// part of the way that means move.
VOXPOP_HD void integrate_discrimination(AnnotatorPosterior& a, const AnnotatorSums& sums, const GridSums& grid,
                                        const Population& population, double damping) {
  const RaterRecord record = record_of(a);
  const double spread = record.grid_spread, ridge = record.grid_slope;
  double log_weight[kGridNodes], largest = -INFINITY;
  VOXPOP_UNROLL
  for (int g = 0; g < kGridNodes; ++g) {
    const double at = grid_at(g);
    const double gamma = a.discrimination + spread * at;
    const double off = a.side_bias + ridge * spread * at - population.side_bias_mean;
    log_weight[g] = from_fixed(grid.log_z[g]) -
                    0.5 * (gamma - population.mean) * (gamma - population.mean) / population.variance -
                    0.5 * off * off / population.side_bias_variance + 0.5 * at * at;
    largest = larger(largest, log_weight[g]);
  }
  double total = 0, first = 0, second = 0;
  VOXPOP_UNROLL
  for (int g = 0; g < kGridNodes; ++g) {
    const double weight = grid_weight(g) * exp(log_weight[g] - largest), at = grid_at(g);
    total += weight;
    first += weight * at;
    second += weight * at * at;
  }
  const double shift = clamped(spread * first / total, -kLongestStep, kLongestStep);
  const double variance = larger(spread * spread * (second / total - first / total * first / total), 1e-8);

  // beta given gamma: one Newton step at the middle node, then a move along the ridge with gamma's mean.
  const double prior_beta = 1 / population.side_bias_variance;
  double beta_precision = from_fixed(sums.information_beta) + prior_beta;
  if (beta_precision <= kLeastOfPrior * prior_beta) beta_precision = larger(fabs(beta_precision), prior_beta);
  const double gradient = from_fixed(sums.gradient_beta) - (a.side_bias - population.side_bias_mean) * prior_beta;
  const double slope = -precision_of(sums, population).cross / beta_precision;
  a.discrimination += damping * shift;
  a.side_bias += damping * (clamped(gradient / beta_precision, -kLongestStep, kLongestStep) + ridge * shift);
  a.discrimination_variance = variance;
  a.covariance = slope * variance;
  a.side_bias_variance = 1 / beta_precision + slope * slope * variance;
}

}  // namespace voxpop
