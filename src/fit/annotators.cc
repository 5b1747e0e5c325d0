#include "fit/annotators.h"

#include <algorithm>
#include <cmath>

#include "voxpop/fixed_point.h"

namespace voxpop {
namespace {

constexpr double kLongestStep = 0.3;
constexpr double kLeastVariance = 1e-8;

struct Precision {
  double gamma, cross, beta;
  double determinant() const { return gamma * beta - cross * cross; }
};

/// Posterior precision; its diagonal alone where the observed information is not positive definite (far from the mode).
Precision precision_of(const AnnotatorSums& sums, const Population& population) {
  const double prior_gamma = 1 / population.variance, prior_beta = 1 / population.side_bias_variance;
  Precision p{from_fixed(sums.information_gamma) + prior_gamma, from_fixed(sums.information_cross),
              from_fixed(sums.information_beta) + prior_beta};
  if (p.gamma <= 0 || p.beta <= 0 || p.determinant() <= 1e-3 * std::abs(p.gamma * p.beta))
    p = {std::max(std::abs(p.gamma), prior_gamma), 0, std::max(std::abs(p.beta), prior_beta)};
  return p;
}

// Gauss-Hermite weights for the nodes kGridAt, standard normal.
constexpr double kGridWeight[kGridNodes] = {0.011257411327720693, 0.22207592200561264, 0.53333333333333333,
                                            0.22207592200561264, 0.011257411327720693};

}  // namespace

double newton_step(AnnotatorPosterior& annotator, const AnnotatorSums& sums, const Population& population) {
  const Precision p = precision_of(sums, population);
  const double det = p.determinant();
  const double g0 =
      from_fixed(sums.gradient_gamma) - (annotator.discrimination - population.mean) / population.variance;
  const double g1 = from_fixed(sums.gradient_beta) - annotator.side_bias / population.side_bias_variance;
  const double step = std::clamp((p.beta * g0 - p.cross * g1) / det, -kLongestStep, kLongestStep);
  annotator.discrimination += step;
  annotator.side_bias += std::clamp((p.gamma * g1 - p.cross * g0) / det, -kLongestStep, kLongestStep);
  annotator.discrimination_variance = p.beta / det;
  annotator.covariance = -p.cross / det;
  annotator.side_bias_variance = p.gamma / det;
  return std::abs(step) / std::sqrt(p.beta / det);
}

RaterRecord record_of(const AnnotatorPosterior& a) {
  RaterRecord record;
  record.discrimination = static_cast<float>(a.discrimination);
  record.side_bias = static_cast<float>(a.side_bias);
  record.discrimination_variance = static_cast<float>(a.discrimination_variance);
  record.covariance = static_cast<float>(a.covariance);
  record.side_bias_variance = static_cast<float>(a.side_bias_variance);
  record.grid_spread = static_cast<float>(1.2 * std::sqrt(a.discrimination_variance));
  record.grid_slope =
      a.discrimination_variance > 0 ? static_cast<float>(a.covariance / a.discrimination_variance) : 0.0f;
  return record;
}

void integrate_discrimination(AnnotatorPosterior& a, const RaterRecord& record, const AnnotatorSums& sums,
                              const GridSums& grid, const Population& population, double damping) {
  const double spread = record.grid_spread, ridge = record.grid_slope;
  double log_weight[kGridNodes], largest = -INFINITY;
  for (int g = 0; g < kGridNodes; ++g) {
    const double at = kGridAt[g];
    const double gamma = a.discrimination + spread * at, beta = a.side_bias + ridge * spread * at;
    log_weight[g] = from_fixed(grid.log_z[g]) -
                    0.5 * (gamma - population.mean) * (gamma - population.mean) / population.variance -
                    0.5 * beta * beta / population.side_bias_variance + 0.5 * at * at;
    largest = std::max(largest, log_weight[g]);
  }
  double total = 0, first = 0, second = 0;
  for (int g = 0; g < kGridNodes; ++g) {
    const double weight = kGridWeight[g] * std::exp(log_weight[g] - largest);
    total += weight;
    first += weight * kGridAt[g];
    second += weight * kGridAt[g] * kGridAt[g];
  }
  const double shift = std::clamp(spread * first / total, -kLongestStep, kLongestStep);
  const double variance = std::max(spread * spread * (second / total - first / total * first / total), kLeastVariance);

  // beta, given gamma: one Newton step at the middle node, then along the ridge with gamma's mean.
  const double prior_beta = 1 / population.side_bias_variance;
  double beta_precision = from_fixed(sums.information_beta) + prior_beta;
  if (beta_precision <= 0) beta_precision = prior_beta;
  const double gradient = from_fixed(sums.gradient_beta) - a.side_bias * prior_beta;
  const double cross = precision_of(sums, population).cross;
  const double slope = -cross / beta_precision;
  a.discrimination += damping * shift;
  a.side_bias += damping * (std::clamp(gradient / beta_precision, -kLongestStep, kLongestStep) + ridge * shift);
  a.discrimination_variance = variance;
  a.covariance = slope * variance;
  a.side_bias_variance = 1 / beta_precision + slope * slope * variance;
}

Population estimate_population(const std::vector<AnnotatorPosterior>& annotators,
                               const std::vector<std::uint32_t>& votes_of, const Population& before, bool variances) {
  double count = 0, sum = 0;
  for (std::size_t a = 0; a < annotators.size(); ++a) {
    if (votes_of[a] == 0) continue;
    count += 1;
    sum += annotators[a].discrimination;
  }
  Population next = before;
  next.mean = (sum / before.variance + 1.0) / (count / before.variance + 1.0);
  // A population of adversaries is the mirror image of the truth: the sign of all scores is fixed by this.
  next.mean = std::clamp(next.mean, 0.05, kLargestMean);
  if (!variances) return next;
  double gamma2 = 2 * 0.1, beta2 = 2 * 0.1;
  for (std::size_t a = 0; a < annotators.size(); ++a) {
    if (votes_of[a] == 0) continue;
    const double off = annotators[a].discrimination - next.mean;
    gamma2 += off * off + annotators[a].discrimination_variance;
    beta2 += annotators[a].side_bias * annotators[a].side_bias + annotators[a].side_bias_variance;
  }
  next.variance = std::min(gamma2 / (count + 2), kLargestVariance);
  next.side_bias_variance = beta2 / (count + 2);
  return next;
}

}  // namespace voxpop
