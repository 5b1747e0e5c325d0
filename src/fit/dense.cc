#include "fit/dense.h"

#include <oneapi/tbb/parallel_for.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "voxpop/fixed_point.h"

namespace voxpop {

void solve_dense(const FitView& view, std::uint32_t c, float* slot_mean, float* slot_variance, SolveSums& sums,
                 CovariateSums* covariates) {
  const std::uint32_t slot0 = view.component_slots[c];
  const Eigen::Index items = view.component_slots[c + 1] - slot0;
  const std::uint32_t pair0 = view.component_pairs[c], pair_end = view.component_pairs[c + 1];

  std::vector<double> precision(pair_end - pair0), shift(pair_end - pair0);
  oneapi::tbb::parallel_for(pair0, pair_end, [&](std::uint32_t p) {
    const PairSums pair = sum_sites(view, p);
    precision[p - pair0] = pair.precision() * view.stretch * view.stretch;
    shift[p - pair0] = pair.shift() * view.stretch - precision[p - pair0] * prior_difference(view, p);
  });

  Eigen::MatrixXd h = Eigen::MatrixXd::Identity(items, items);
  Eigen::VectorXd b = Eigen::VectorXd::Zero(items);
  double trace = 0;
  for (std::uint32_t p = pair0; p < pair_end; ++p) {
    const Eigen::Index i = view.pair_first[p] - slot0, j = view.pair_second[p] - slot0;
    h(i, i) += precision[p - pair0];
    h(j, j) += precision[p - pair0];
    h(j, i) -= precision[p - pair0];
    b(i) += shift[p - pair0];
    b(j) -= shift[p - pair0];
    trace += 2 * precision[p - pair0];
  }
  // The ridge along the mean of all scores: see assemble_component().
  const auto count = static_cast<double>(items);
  const double ridge = trace / (count * count);
  h.triangularView<Eigen::Lower>() += Eigen::MatrixXd::Constant(items, items, ridge);
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(h);  // in place
  const Eigen::VectorXd mean = factor.solve(b);

  // The inverse, a block of columns a task: blocks are fixed, so the result does not depend on the threads.
  Eigen::MatrixXd inverse(items, items);
  constexpr Eigen::Index kBlock = 32;
  oneapi::tbb::parallel_for(Eigen::Index{0}, (items + kBlock - 1) / kBlock, [&](Eigen::Index block) {
    const Eigen::Index first = block * kBlock, width = std::min(kBlock, items - first);
    auto columns = inverse.middleCols(first, width);
    columns.setZero();
    columns.block(first, 0, width, width).setIdentity();
    // L y = e starts at row `first`: the zeros above it stay zeros.
    const auto lower = factor.matrixL();
    auto tail = columns.bottomRows(items - first);
    h.bottomRightCorner(items - first, items - first).triangularView<Eigen::Lower>().solveInPlace(tail);
    lower.adjoint().solveInPlace(columns);
  });

  std::vector<float> changes(pair_end - pair0);
  oneapi::tbb::parallel_for(pair0, pair_end, [&](std::uint32_t p) {
    const Eigen::Index i = view.pair_first[p] - slot0, j = view.pair_second[p] - slot0;
    const double variance = inverse(i, i) + inverse(j, j) - 2 * inverse(i, j);
    const double difference = mean(i) - mean(j) + prior_difference(view, p);
    const double change = std::abs(difference - view.pair_mean[p]) / std::sqrt(variance);
    changes[p - pair0] = change >= 0 ? static_cast<float>(change) : INFINITY;
    view.pair_mean[p] = static_cast<float>(difference);
    view.pair_variance[p] = static_cast<float>(variance);
  });
  const double along = 1 / (count * (1 + ridge * count));
  double squares = 0;
  for (Eigen::Index i = 0; i < items; ++i) {
    const double variance = std::max(inverse(i, i) - along, 0.0);
    squares += mean(i) * mean(i) + variance;
    if (slot_mean == nullptr) continue;
    slot_mean[slot0 + i] = static_cast<float>(mean(i)) + prior_mean(view, slot0 + static_cast<std::uint32_t>(i));
    slot_variance[slot0 + i] = static_cast<float>(variance);
  }
  sums.change = std::max(sums.change, *std::max_element(changes.begin(), changes.end()));
  sums.squares += to_fixed(squares);
  sums.freedom += items - 1;
  if (slot_mean != nullptr) {
    const double log_determinant = 2 * h.diagonal().array().log().sum() - std::log1p(ridge * count);
    sums.log_evidence += to_fixed(0.5 * (b.dot(mean) + prior_quadratic(view, c) - log_determinant));
  }
  if (covariates == nullptr) return;
  auto* fields = reinterpret_cast<std::int64_t*>(covariates);
  covariate_terms(view, c, static_cast<std::uint32_t>(items), inverse.data(), mean.data(), 1,
                  [&](int field, float value) { fields[field] += to_fixed(value); });
}

}  // namespace voxpop
