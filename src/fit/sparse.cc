#include "fit/sparse.h"

#include <Eigen/Eigenvalues>
#include <cmath>

namespace voxpop {

std::vector<std::uint64_t> row_offsets(const std::vector<std::uint32_t>& pairs_of) {
  std::vector<std::uint64_t> begin(pairs_of.size() + 1, 0);
  for (std::size_t i = 0; i < pairs_of.size(); ++i) begin[i + 1] = begin[i] + pairs_of[i];
  return begin;
}

SparseGraph::SparseGraph(const Groups& groups, std::uint32_t component) {
  const std::uint32_t slot0 = groups.component_slots[component], items = groups.items_of(component);
  const std::uint32_t pair0 = groups.component_pairs[component], pair_end = groups.component_pairs[component + 1];
  std::vector<std::uint32_t> pairs_of(items, 0);
  for (std::uint32_t p = pair0; p < pair_end; ++p) {
    ++pairs_of[groups.pair_first[p] - slot0];
    ++pairs_of[groups.pair_second[p] - slot0];
  }
  row_begin = row_offsets(pairs_of);
  entries.resize(row_begin.back());
  std::vector<std::uint64_t> next(row_begin.begin(), row_begin.end() - 1);
  for (std::uint32_t p = pair0; p < pair_end; ++p) {
    const std::uint32_t i = groups.pair_first[p] - slot0, j = groups.pair_second[p] - slot0;
    entries[next[i]++] = {j, p - pair0};
    entries[next[j]++] = {i, p - pair0};
  }
  const int covariates = groups.covariates.count();
  products.assign(std::max(triangle(covariates, 0), 1), 0.0);
  for (std::size_t slot = slot0; slot < slot0 + items; ++slot)
    for (int k = 0; k < covariates; ++k)
      for (int l = 0; l <= k; ++l)
        products[triangle(k, l)] += static_cast<double>(groups.covariates.value[slot * covariates + k]) *
                                    groups.covariates.value[slot * covariates + l];
}

double lanczos_log_determinant(const std::vector<double>& history, int steps, std::uint32_t items) {
  double sum = 0;
  for (int k = 0; k < kSparseColumns; ++k) {
    const auto alpha = [&](int step) { return history[step * 2 * kSparseColumns + k]; };
    const auto beta = [&](int step) { return history[(step * 2 + 1) * kSparseColumns + k]; };
    int size = 0;
    while (size < steps && alpha(size) > 0) ++size;
    Eigen::VectorXd diagonal(size), beside(std::max(size - 1, 0));
    for (int m = 0; m < size; ++m) {
      diagonal(m) = 1 / alpha(m) + (m > 0 ? beta(m - 1) / alpha(m - 1) : 0.0);
      if (m + 1 < size) beside(m) = std::sqrt(beta(m)) / alpha(m);
    }
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> tridiagonal;
    tridiagonal.computeFromTridiagonal(diagonal, beside);
    for (int m = 0; m < size; ++m) {
      const double weight = tridiagonal.eigenvectors()(0, m);
      sum += weight * weight * std::log(tridiagonal.eigenvalues()(m));
    }
  }
  return items * sum / kSparseColumns;
}

}  // namespace voxpop
