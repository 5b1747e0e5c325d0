#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "label/labels.h"

namespace voxpop {
namespace {

/// With more sources, or with embeddings, the error of each source assumes that the scores of all others are known.
constexpr std::size_t kMostMatrixSources = 2000;

/// Information in the votes about differences between sources: X'(I - covariance)X, X the sources of the items. The
/// entries of I - covariance off the diagonal are at most 0, and its rows sum to 0: it is a Laplacian. The covariance
/// of two compared items follows from the pair's variance. The rest of each row is shared among the other items, in
/// proportion to the rests of their rows.
Eigen::MatrixXd source_information(const Groups& groups, const Posterior& posterior) {
  const auto count = static_cast<Eigen::Index>(groups.sources);
  Eigen::MatrixXd information = Eigen::MatrixXd::Zero(count, count);
  const auto join = [&](std::uint32_t a, std::uint32_t b, double weight) {
    if (a == b) return;
    information(a, a) += weight;
    information(b, b) += weight;
    information(a, b) -= weight;
    information(b, a) -= weight;
  };
  std::vector<double> rest, by_source(groups.sources, 0.0);
  std::vector<std::uint32_t> met;
  for (std::size_t c = 0; c < groups.components(); ++c) {
    const std::uint32_t slot0 = groups.component_slots[c], items = groups.items_of(c);
    const auto source_of = [&](std::uint32_t i) { return groups.slot_source[slot0 + i]; };
    rest.resize(items);
    for (std::uint32_t i = 0; i < items; ++i) rest[i] = 1 - 1.0 / items - posterior.slot_variance[slot0 + i];
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p) {
      const std::uint32_t i = groups.pair_first[p] - slot0, j = groups.pair_second[p] - slot0;
      const double both = double{posterior.slot_variance[slot0 + i]} + posterior.slot_variance[slot0 + j];
      const double covariance = std::max(0.5 * (both - posterior.pair_variance[p]) + 1.0 / items, 0.0);
      rest[i] -= covariance;
      rest[j] -= covariance;
      join(source_of(i), source_of(j), covariance);
    }
    double total = 0;
    met.clear();
    for (std::uint32_t i = 0; i < items; ++i) {
      if (rest[i] <= 1e-4) continue;  // except for rounding, all of this row is known
      if (by_source[source_of(i)] == 0) met.push_back(source_of(i));
      by_source[source_of(i)] += rest[i];
      total += rest[i];
    }
    for (std::size_t k = 0; k < met.size(); ++k)
      for (std::size_t l = 0; l < k; ++l) join(met[k], met[l], by_source[met[k]] * by_source[met[l]] / total);
    for (const std::uint32_t source : met) by_source[source] = 0;
  }
  return information;
}

}  // namespace

SourceLabels label_sources(const Groups& groups, const Fit& fit) {
  SourceLabels out;
  // One more source may follow, for items whose source is not known.
  const std::size_t known = groups.source_row.size();
  if (known == 0) return out;
  Eigen::MatrixXd covariance;
  if (groups.sources <= kMostMatrixSources && fit.prior == nullptr) {  // with embeddings, the prior of scores is not I
    covariance = source_information(groups, fit.posterior);
    for (std::size_t g = 0; g < groups.sources; ++g) {
      const auto at = static_cast<Eigen::Index>(g);
      covariance(at, at) += 1 / fit.sources[g].prior_variance;
    }
    covariance = covariance.llt().solve(Eigen::MatrixXd::Identity(covariance.rows(), covariance.cols())).eval();
    // Variances of differences from the mean: votes give no information about the mean itself.
    const Eigen::VectorXd row_mean = covariance.rowwise().mean();
    const double mean = row_mean.mean();
    for (Eigen::Index g = 0; g < covariance.rows(); ++g) covariance(g, g) += mean - 2 * row_mean(g);
  }
  double mean = 0;
  for (const Source& source : fit.sources) mean += source.score / static_cast<double>(groups.sources);
  for (std::size_t g = 0; g < known; ++g) {
    const auto at = static_cast<Eigen::Index>(g);
    const double variance = covariance.size() > 0 ? covariance(at, at) : fit.sources[g].variance;
    out.score.push_back(static_cast<float>(fit.score_unit * (fit.sources[g].score - mean)));
    out.std_error.push_back(static_cast<float>(fit.score_unit * std::sqrt(variance)));
  }
  out.row = groups.source_row;
  return out;
}

std::vector<std::size_t> best_sources(const SourceLabels& sources, std::size_t most) {
  std::vector<std::size_t> rows(sources.score.size());
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::ranges::stable_sort(rows, std::greater(), [&](std::size_t row) { return sources.score[row]; });
  rows.resize(std::min(rows.size(), most));
  return rows;
}

}  // namespace voxpop
