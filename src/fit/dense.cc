#include "fit/dense.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "formulas/fixed_point.h"

namespace voxpop {
namespace {

/// What a block of votes adds to H and the shift.
struct Message {
  struct Entry {
    std::uint32_t i, j;
    double x;
  };
  std::vector<Entry> h, shift;
};

/// Calls find(block, scratch) for the blocks of component c in parallel, then take(result) in block order.
template <class Find, class Take>
void for_view_blocks(const FitView& view, std::uint32_t c, const Find& find, const Take& take) {
  constexpr std::uint32_t kAtOnce = 2048;
  using Found = decltype(find(0u, static_cast<double*>(nullptr)));
  const std::uint32_t end = view.views.component_blocks[c + 1];
  for (std::uint32_t first = view.views.component_blocks[c]; first < end; first += kAtOnce) {
    std::vector<Found> found(std::min(kAtOnce, end - first));
    oneapi::tbb::parallel_for(
        oneapi::tbb::blocked_range<std::uint32_t>(0, static_cast<std::uint32_t>(found.size()), 64),
        [&](const auto& range) {
          std::vector<double> scratch(kViewScratch);
          for (std::uint32_t i = range.begin(); i < range.end(); ++i) found[i] = find(first + i, scratch.data());
        });
    for (const Found& one : found) take(one);
  }
}

Eigen::MatrixXd prior_precision(const FitView& view, std::uint32_t c) {
  const std::uint32_t items = view.component_slots[c + 1] - view.component_slots[c];
  Eigen::MatrixXd out(items, items);
  for (std::uint32_t i = 0; i < items; ++i)
    for (std::uint32_t j = 0; j <= i; ++j) out(i, j) = out(j, i) = prior_precision(view, c, i, j);
  return out;
}

/// Same as covariate_terms() and source_terms(), with matrices, for a prior precision P other than I.
void add_terms_beside_prior(const FitView& view, std::uint32_t c, const Eigen::MatrixXd& prior,
                            const Eigen::MatrixXd& inverse, const Eigen::VectorXd& mean, const Eigen::VectorXd& spread,
                            double ridge, CovariateSums* covariates, SourceSums* sources) {
  const std::uint32_t slot0 = view.component_slots[c];
  const auto items = static_cast<std::uint32_t>(mean.size());
  const auto count = static_cast<double>(items);
  const Eigen::VectorXd known = prior * mean;
  if (covariates != nullptr) {
    Eigen::MatrixXd x(items, view.covariate_count);
    for (std::uint32_t i = 0; i < items; ++i)
      for (int k = 0; k < view.covariate_count; ++k)
        x(i, k) = view.covariates[std::size_t{slot0 + i} * view.covariate_count + k];
    const Eigen::MatrixXd px = prior * x, information = px.transpose() * x - px.transpose() * inverse * px;
    for (int k = 0; k < view.covariate_count; ++k) {
      add_fixed(covariates->gradient[k], to_fixed(x.col(k).dot(known)));
      for (int l = 0; l <= k; ++l) add_fixed(covariates->information[triangle(k, l)], to_fixed(information(k, l)));
    }
  }
  for (std::uint32_t i = 0; sources != nullptr && i < items; ++i) {
    auto* fields = reinterpret_cast<std::int64_t*>(&sources[view.slot_source[slot0 + i]]);
    add_fixed(fields[0], to_fixed(known(i)));
    add_fixed(fields[1], to_fixed(prior(i, i) - 1 / count + 1 / (count * (1 + ridge * count)) - spread(i)));
  }
}

}  // namespace

void solve_dense(const FitView& view, std::uint32_t c, float* slot_mean, float* slot_variance, SolveSums& sums,
                 CovariateSums* covariates, SourceSums* sources, ViewTotals* views) {
  const std::uint32_t slot0 = view.component_slots[c];
  const Eigen::Index items = view.component_slots[c + 1] - slot0;
  const std::uint32_t pair0 = view.component_pairs[c], pair_end = view.component_pairs[c + 1];

  const bool has_views = view.view_variance > 0;
  std::vector<double> precision(pair_end - pair0), shift(pair_end - pair0);
  oneapi::tbb::parallel_for(pair0, has_views ? pair0 : pair_end, [&](std::uint32_t p) {
    const PairSums pair = sum_sites(view, p);
    precision[p - pair0] = pair.precision() * view.stretch * view.stretch;
    shift[p - pair0] = pair.shift() * view.stretch - precision[p - pair0] * prior_difference(view, p);
  });

  Eigen::MatrixXd h = Eigen::MatrixXd::Identity(items, items);
  if (view.prior.mean != nullptr) h = prior_precision(view, c);
  Eigen::VectorXd b = Eigen::VectorXd::Zero(items);
  double trace = 0;
  for (std::uint32_t p = pair0; !has_views && p < pair_end; ++p) {
    const Eigen::Index i = view.pair_first[p] - slot0, j = view.pair_second[p] - slot0;
    h(i, i) += precision[p - pair0];
    h(j, j) += precision[p - pair0];
    h(j, i) -= precision[p - pair0];
    b(i) += shift[p - pair0];
    b(j) -= shift[p - pair0];
    trace += 2 * precision[p - pair0];
  }
  if (has_views)
    for_view_blocks(
        view, c,
        [&](std::uint32_t block, double* scratch) {
          Message message;
          add_view_message(
              view, block, scratch,
              [&](std::uint32_t i, std::uint32_t j, double x) {
                message.h.push_back({i, j, x});
              },
              [&](std::uint32_t i, double x) {
                message.shift.push_back({i, i, x});
              });
          return message;
        },
        [&](const Message& message) {
          for (const auto& [i, j, x] : message.h) {
            h(i - slot0, j - slot0) += x;
            if (i == j) trace += x;
          }
          for (const auto& [i, j, x] : message.shift) b(i - slot0) += x;
        });
  // The ridge along the mean of all scores: see add_ridge().
  const auto count = static_cast<double>(items);
  const double ridge = trace / (count * count);
  h.triangularView<Eigen::Lower>() += Eigen::MatrixXd::Constant(items, items, ridge);
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(h);  // in place
  const Eigen::VectorXd mean = factor.solve(b);

  // The inverse, one block of columns per task. The blocks are fixed, so the result does not depend on the threads.
  Eigen::MatrixXd inverse(items, items);
  constexpr Eigen::Index kBlock = 32;
  oneapi::tbb::parallel_for(Eigen::Index{0}, (items + kBlock - 1) / kBlock, [&](Eigen::Index block) {
    const Eigen::Index first = block * kBlock, width = std::min(kBlock, items - first);
    auto columns = inverse.middleCols(first, width);
    columns.setZero();
    columns.block(first, 0, width, width).setIdentity();
    // Rows of L y = e above `first` stay zero.
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
  double evidence = 0;
  if (has_views) {
    struct Seen {
      ViewTotals totals;
      double evidence;
    };
    const auto mean_of = [&](std::uint32_t slot) { return mean(slot - slot0); };
    const auto covariance = [&](std::uint32_t i, std::uint32_t j) { return inverse(i - slot0, j - slot0); };
    for_view_blocks(
        view, c,
        [&](std::uint32_t block, double* scratch) {
          Seen seen{};
          seen.evidence = set_view_moments(view, block, scratch, mean_of, covariance, &seen.totals);
          return seen;
        },
        [&](const Seen& seen) {
          evidence += seen.evidence;
          if (views == nullptr) return;
          add_fixed(views->score, seen.totals.score);
          add_fixed(views->information, seen.totals.information);
        });
  }
  const double along = 1 / (count * (1 + ridge * count));
  double squares = 0;
  Eigen::MatrixXd prior;   // P, if it is not I
  Eigen::VectorXd spread;  // the diagonal of P H^-1 P
  if (view.prior.mean != nullptr) {
    prior = prior_precision(view, c);
    spread = (prior * inverse).cwiseProduct(prior).rowwise().sum();
    squares = mean.dot(prior * mean) + prior.cwiseProduct(inverse).sum() - count * along;
  }
  for (Eigen::Index i = 0; i < items; ++i) {
    const double variance = std::max(inverse(i, i) - along, 0.0);
    if (view.prior.mean == nullptr) squares += mean(i) * mean(i) + variance;
    if (slot_mean == nullptr) continue;
    slot_mean[slot0 + i] = static_cast<float>(mean(i)) + prior_mean(view, slot0 + static_cast<std::uint32_t>(i));
    slot_variance[slot0 + i] = static_cast<float>(variance);
  }
  sums.change = std::max(sums.change, *std::max_element(changes.begin(), changes.end()));
  add_fixed(sums.squares, to_fixed(squares));
  sums.freedom += items - 1;
  if (slot_mean != nullptr) {
    const double log_determinant = 2 * h.diagonal().array().log().sum() - std::log1p(ridge * count);
    add_fixed(sums.log_evidence, to_fixed(0.5 * (b.dot(mean) + prior_quadratic(view, c) - log_determinant) + evidence));
  }
  if (view.prior.mean != nullptr) {
    add_terms_beside_prior(view, c, prior, inverse, mean, spread, ridge, covariates, sources);
    return;
  }
  const auto size = static_cast<std::uint32_t>(items);
  if (covariates != nullptr) {
    auto* fields = reinterpret_cast<std::int64_t*>(covariates);
    covariate_terms(view, c, size, inverse.data(), mean.data(), 1,
                    [&](int field, float value) { add_fixed(fields[field], to_fixed(value)); });
  }
  if (sources != nullptr) {
    auto* fields = reinterpret_cast<std::int64_t*>(sources);
    source_terms(view, c, size, inverse.data(), mean.data(), ridge, 1,
                 [&](std::uint32_t source, int field, float value) {
                   add_fixed(fields[2 * std::size_t{source} + field], to_fixed(value));
                 });
  }
}

}  // namespace voxpop
