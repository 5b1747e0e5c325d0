#pragma once
// The posterior of a small component from its sites: H = P + sum of precisions (P is I without embeddings), Cholesky,
// mean and covariance. Callers interleave the matrices of several components: element e of one is at data[e * stride].

#include "formulas/cholesky.h"
#include "formulas/views.h"

namespace voxpop {

/// A component with at most this many items and votes is small: one worker solves it alone.
inline constexpr std::uint32_t kSmallItems = 32;
inline constexpr std::uint32_t kSmallVotes = 8192;

/// Precision and shift summed over a pair's votes; in fixed point, so the order of votes does not matter.
struct PairSums {
  std::int64_t fixed_precision = 0, fixed_shift = 0;
  float unsound = 0;  ///< NaN if a site is NaN or infinite, which fixed point could not show; else 0
  VOXPOP_HD double precision() const { return from_fixed(fixed_precision) + unsound; }
  VOXPOP_HD double shift() const { return from_fixed(fixed_shift) + unsound; }
};
VOXPOP_HD PairSums sum_sites(const FitView& view, std::uint32_t pair) {
  PairSums sums;
  for (std::uint32_t v = view.pair_votes[pair]; v < view.pair_votes[pair + 1]; ++v) {
    const float weight = weight_of(view, v);
    const float precision = weight * view.site_precision[v], shift = weight * view.site_shift[v];
    add_fixed(sums.fixed_precision, to_fixed(precision));
    add_fixed(sums.fixed_shift, to_fixed(shift));
    sums.unsound += 0 * (precision + shift);
  }
  return sums;
}

/// Initialises the lower triangle h [size][size] and `shift` [size] of a component before its votes are added. The
/// component has at most `size` items; the padding items are not connected to it.
VOXPOP_HD void clear_component(const FitView& view, std::uint32_t c, std::uint32_t size, float* h, float* shift,
                               std::uint32_t stride) {
  for (std::uint32_t i = 0; i < size; ++i) {
    for (std::uint32_t j = 0; j <= i; ++j) h[(i * size + j) * stride] = i == j ? 1.0f : 0.0f;
    shift[i * stride] = 0;
  }
  if (view.prior.mean == nullptr) return;
  for (std::uint32_t i = 0; i < view.component_slots[c + 1] - view.component_slots[c]; ++i)
    for (std::uint32_t j = 0; j <= i; ++j) h[(i * size + j) * stride] = prior_precision(view, c, i, j);
}

/// Adds the ridge. H = I + L gives the mean of all scores precision 1, however many votes there are. Differences of
/// scores do not depend on this precision, but rounding errors do. A ridge along the mean keeps H as well conditioned
/// as the graph. finish_component() takes the ridge out again. `trace`: of L. Returns the ridge.
VOXPOP_HD float add_ridge(const FitView& view, std::uint32_t c, std::uint32_t size, float* h, std::uint32_t stride,
                          float trace) {
  const std::uint32_t items = view.component_slots[c + 1] - view.component_slots[c];
  const float ridge = trace / static_cast<float>(items * items);
  for (std::uint32_t i = 0; i < items; ++i)
    for (std::uint32_t j = 0; j <= i; ++j) h[(i * size + j) * stride] += ridge;
  return ridge;
}

/// Fills h and `shift` of component c from its votes. Scores are relative to their prior means. `views_scratch`:
/// kViewScratch numbers if votes are in blocks, else null. Returns the ridge.
VOXPOP_HD float assemble_component(const FitView& view, std::uint32_t c, std::uint32_t size, float* h, float* shift,
                                   std::uint32_t stride, double* views_scratch = nullptr) {
  const std::uint32_t slot0 = view.component_slots[c];
  clear_component(view, c, size, h, shift, stride);
  float trace = 0;
  if (views_scratch != nullptr) {
    for (std::uint32_t b = view.views.component_blocks[c]; b < view.views.component_blocks[c + 1]; ++b)
      add_view_message(
          view, b, views_scratch,
          [&](std::uint32_t i, std::uint32_t j, double x) {
            h[((i - slot0) * size + j - slot0) * stride] += static_cast<float>(x);
            if (i == j) trace += static_cast<float>(x);
          },
          [&](std::uint32_t i, double x) { shift[(i - slot0) * stride] += static_cast<float>(x); });
  }
  for (std::uint32_t p = view.component_pairs[c]; views_scratch == nullptr && p < view.component_pairs[c + 1]; ++p) {
    const PairSums sums = sum_sites(view, p);
    const float precision = static_cast<float>(sums.precision()) * view.stretch * view.stretch;
    const float moved = static_cast<float>(sums.shift()) * view.stretch - precision * prior_difference(view, p);
    const std::uint32_t i = view.pair_first[p] - slot0, j = view.pair_second[p] - slot0;  // i < j
    h[(i * size + i) * stride] += precision;
    h[(j * size + j) * stride] += precision;
    h[(j * size + i) * stride] -= precision;
    shift[i * stride] += moved;
    shift[j * stride] -= moved;
    trace += 2 * precision;
  }
  return add_ridge(view, c, size, h, stride, trace);
}

/// Mean of the scores, after h has been inverted.
template <class Real>
VOXPOP_HD void multiply_component(const Real* h, const Real* shift, Real* mean, std::uint32_t size,
                                  std::uint32_t stride) {
  for (std::uint32_t i = 0; i < size; ++i) {
    Real sum = Real(0);
    for (std::uint32_t j = 0; j < size; ++j)
      sum = sum + h[(i >= j ? i * size + j : j * size + i) * stride] * shift[j * stride];
    mean[i * stride] = sum;
  }
}

/// Twice the change of component c's log evidence when its scores are moved by their prior means.
VOXPOP_HD float prior_quadratic(const FitView& view, std::uint32_t c) {
  float sum = 0;
  if (!has_prior_means(view)) return sum;
  for (std::uint32_t p = view.component_pairs[c]; p < view.component_pairs[c + 1]; ++p) {
    const PairSums sums = sum_sites(view, p);
    const float offset = prior_difference(view, p);
    sum += offset * (2 * static_cast<float>(sums.shift()) * view.stretch -
                     offset * static_cast<float>(sums.precision()) * view.stretch * view.stretch);
  }
  return sum;
}

/// The i-th element of P x; P as in prior_precision().
template <class Real>
VOXPOP_HD Real prior_product(const FitView& view, std::uint32_t c, std::uint32_t i, const Real* x,
                             std::uint32_t stride) {
  if (view.prior.mean == nullptr) return x[i * stride];
  Real sum = 0;
  for (std::uint32_t j = 0; j < view.component_slots[c + 1] - view.component_slots[c]; ++j)
    sum += prior_precision(view, c, i, j) * x[j * stride];
  return sum;
}

/// The i-th diagonal element of P h P; `h` as in covariate_terms().
template <class Real>
VOXPOP_HD Real prior_spread(const FitView& view, std::uint32_t c, std::uint32_t i, std::uint32_t size, const Real* h,
                            std::uint32_t stride) {
  if (view.prior.mean == nullptr) return h[(i * size + i) * stride];
  const std::uint32_t items = view.component_slots[c + 1] - view.component_slots[c];
  Real sum = 0;
  for (std::uint32_t j = 0; j < items; ++j)
    for (std::uint32_t k = 0; k < items; ++k)
      sum += prior_precision(view, c, i, j) * prior_precision(view, c, i, k) *
             h[(j >= k ? j * size + k : k * size + j) * stride];
  return sum;
}

/// What the solved component c says about the coefficients, as calls add(field of CovariateSums, value). `h`: the
/// inverse, only its lower triangle is read. `mean`: scores relative to their prior means. The gradient is X' P
/// E[scores] by Fisher's identity; the information is X' (P - P covariance P) X by Louis' identity. The ridge has no
/// effect, because the columns of X are centred.
template <class Real, class Add>
VOXPOP_HD void covariate_terms(const FitView& view, std::uint32_t c, std::uint32_t size, const Real* h,
                               const Real* mean, std::uint32_t stride, const Add& add) {
  const std::uint32_t slot0 = view.component_slots[c], items = view.component_slots[c + 1] - slot0;
  const auto x = [&](std::uint32_t i, int k) {
    return view.covariates[std::size_t{slot0 + i} * view.covariate_count + k];
  };
  const auto px = [&](std::uint32_t i, int k) {  // element of P X
    if (view.prior.mean == nullptr) return x(i, k);
    float sum = 0;
    for (std::uint32_t j = 0; j < items; ++j) sum += prior_precision(view, c, i, j) * x(j, k);
    return sum;
  };
  for (int k = 0; k < view.covariate_count; ++k) {
    Real gradient = 0;
    for (std::uint32_t i = 0; i < items; ++i) gradient += px(i, k) * mean[i * stride];
    add(k, static_cast<float>(gradient));
    for (int l = 0; l <= k; ++l) {
      Real information = 0;
      for (std::uint32_t i = 0; i < items; ++i) {
        Real moved = 0;
        for (std::uint32_t j = 0; j < items; ++j)
          moved += h[(i >= j ? i * size + j : j * size + i) * stride] * px(j, l);
        information += px(i, k) * (x(i, l) - moved);
      }
      add(kMaxCovariates + triangle(k, l), static_cast<float>(information));
    }
  }
}

/// What the solved component c says about its items' sources, as calls add(source, field of SourceSums, value). As
/// covariate_terms(), but for each item separately. `ridge`: from assemble_component().
template <class Real, class Add>
VOXPOP_HD void source_terms(const FitView& view, std::uint32_t c, std::uint32_t size, const Real* h, const Real* mean,
                            Real ridge, std::uint32_t stride, const Add& add) {
  const std::uint32_t slot0 = view.component_slots[c], items = view.component_slots[c + 1] - slot0;
  const auto count = static_cast<Real>(items);
  const Real known = 1 - 1 / count + 1 / (count * (1 + ridge * count));  // 1, with the ridge in h taken out
  for (std::uint32_t i = 0; i < items; ++i) {
    const std::uint32_t source = view.slot_source[slot0 + i];
    const Real prior = prior_precision(view, c, i, i) - 1;
    add(source, 0, static_cast<float>(prior_product(view, c, i, mean, stride)));
    add(source, 1, static_cast<float>(known + prior - prior_spread(view, c, i, size, h, stride)));
  }
}

/// Item i's part of E[s' P s], with scores s relative to their prior means; the expected square of s_i if P is I.
/// `along`: variance of the mean score, which is left out.
VOXPOP_HD float expected_square(const FitView& view, std::uint32_t c, std::uint32_t i, std::uint32_t size,
                                const float* h, const float* mean, float along, std::uint32_t stride) {
  const float m = mean[i * stride];
  if (view.prior.mean == nullptr) return m * m + (h[(i * size + i) * stride] - along);
  float spread = 0;
  for (std::uint32_t j = 0; j < view.component_slots[c + 1] - view.component_slots[c]; ++j)
    spread += prior_precision(view, c, i, j) * h[(i >= j ? i * size + j : j * size + i) * stride];
  return m * prior_product(view, c, i, mean, stride) + spread - along;
}

/// Sets the pair moments in `view`. Optional outputs (null: not wanted): slot moments, centred, and what the component
/// adds to `sums`.
VOXPOP_HD void finish_component(const FitView& view, std::uint32_t c, std::uint32_t size, const float* h,
                                const float* shift, const float* mean, float ridge, float log_determinant,
                                std::uint32_t stride, float* slot_mean, float* slot_variance, SolveSums* sums) {
  const std::uint32_t slot0 = view.component_slots[c], items = view.component_slots[c + 1] - slot0;
  float change = 0;
  for (std::uint32_t p = view.component_pairs[c]; p < view.component_pairs[c + 1]; ++p) {
    const std::uint32_t i = view.pair_first[p] - slot0, j = view.pair_second[p] - slot0;
    const float pair_mean = mean[i * stride] - mean[j * stride] + prior_difference(view, p);
    const float apart = h[(i * size + i) * stride] + h[(j * size + j) * stride];
    float pair_variance = apart - 2 * h[(j * size + i) * stride];
    if (pair_variance < 1e-7f * apart) pair_variance = 1e-7f * apart;  // rounding leaves no less
    const float difference = pair_mean - view.pair_mean[p], square = difference * difference / pair_variance;
    if (!(square <= change)) change = square >= 0 ? square : INFINITY;  // NaN must not count as converged
    view.pair_mean[p] = pair_mean;
    view.pair_variance[p] = pair_variance;
  }
  if (sums == nullptr) return;
  const auto count = static_cast<float>(items);
  const float along = 1 / (count * (1 + ridge * count));  // variance of the mean score, including the ridge
  float squares = 0;
  for (std::uint32_t i = 0; i < items; ++i) {
    const float m = mean[i * stride], variance = h[(i * size + i) * stride] - along;
    squares += expected_square(view, c, i, size, h, mean, along, stride);
    if (slot_mean == nullptr) continue;
    slot_mean[slot0 + i] = m + prior_mean(view, slot0 + i);
    slot_variance[slot0 + i] = variance > 0 ? variance : 0;
  }
  add_fixed(sums->squares, to_fixed(squares));
  sums->freedom += items - 1;
  if (slot_mean != nullptr) {
    float quadratic = 0;
    for (std::uint32_t i = 0; i < items; ++i) quadratic += shift[i * stride] * mean[i * stride];
    quadratic += prior_quadratic(view, c);
    add_fixed(sums->log_evidence, to_fixed(0.5f * (quadratic - (log_determinant - logf(1 + ridge * count)))));
  }
  const float largest = sqrtf(change);
  if (largest > sums->change) sums->change = largest;
}

/// Sets the votes' moments of the solved component c; call after finish_component(). Optional outputs (null: not
/// wanted): the blocks' part of the log evidence, added to `sums`, and what the blocks say about the views' variance,
/// added to `totals`. `scratch`: kViewScratch numbers.
VOXPOP_HD void finish_views(const FitView& view, std::uint32_t c, std::uint32_t size, const float* h, const float* mean,
                            std::uint32_t stride, double* scratch, SolveSums* sums, ViewTotals* totals) {
  const std::uint32_t slot0 = view.component_slots[c];
  double evidence = 0;
  const auto mean_of = [&](std::uint32_t slot) { return double{mean[(slot - slot0) * stride]}; };
  const auto covariance = [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t i = a - slot0, j = b - slot0;
    return double{h[(i >= j ? i * size + j : j * size + i) * stride]};
  };
  for (std::uint32_t b = view.views.component_blocks[c]; b < view.views.component_blocks[c + 1]; ++b)
    evidence += set_view_moments(view, b, scratch, mean_of, covariance, totals);
  if (sums != nullptr) add_fixed(sums->log_evidence, to_fixed(evidence));
}

}  // namespace voxpop
