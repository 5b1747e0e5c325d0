#pragma once
// An annotator's own view of items. Votes of one annotator that are connected by shared items (a ranking, both orders
// of a pair, repeats) form a *block*. They depend on the same impressions y = s + e, with e ~ N(0, w) for each item of
// the block, in the units of scores. So they agree with each other more than with other annotators' votes.
//
// The votes' sites add up to exp(-y' L y / 2 + h' y). Their message to the scores is exp(-s' M s / 2 + t' s) with
//   M = L (I + w L)^-1,  t = (I + w L)^-1 h.
// If the scores' posterior, including all blocks, is N(m, S), the block's impressions have
//   mean m + w x,  x = t - M m,  and covariance w A + A S A,  A = I - w M.
// The derivative of the log evidence in w is (x' x - tr P) / 2, P = M - M S M. Its Fisher information is tr(P P) / 2.

#include "formulas/cholesky.h"
#include "formulas/fit_view.h"

namespace voxpop {

/// Largest number of items of a block. In larger blocks votes depend on the scores alone (w = 0).
inline constexpr std::uint32_t kMostViewItems = 32;

/// In larger components there are no views, because the covariances of scores are not computed there.
inline constexpr std::uint32_t kMostItemsWithViews = 2048;

/// Size of the scratch for one block, in numbers.
inline constexpr std::uint32_t kViewScratch = 3 * kMostViewItems * kMostViewItems + 3 * kMostViewItems;

/// A block as passes use it.
struct ViewBlock {
  std::uint32_t items, slot0, vote0, vote_end;  ///< slot0, vote0: begin of its slots and votes
  bool plain;                                   ///< its votes depend on the scores alone
};
VOXPOP_HD ViewBlock view_block(const FitView& view, std::uint32_t b) {
  const ViewArrays& views = view.views;
  const std::uint32_t slot0 = views.block_slots[b], items = views.block_slots[b + 1] - slot0;
  return {items, slot0, views.block_votes[b], views.block_votes[b + 1],
          items > kMostViewItems || view.view_variance == 0};
}

/// Calls act(i, j, precision, shift) for the site of each vote of a block. i and j: positions within the block of the
/// pair's first and second item. Scores are relative to their prior means.
template <class Act>
VOXPOP_HD void for_view_votes(const FitView& view, const ViewBlock& block, const Act& act) {
  for (std::uint32_t k = block.vote0; k < block.vote_end; ++k) {
    const std::uint32_t v = view.views.vote[k], i = view.views.first[k], j = view.views.second[k];
    const float weight = weight_of(view, v);
    const double precision = double{weight * view.site_precision[v]} * view.stretch * view.stretch;
    const double offset =
        prior_mean(view, view.views.slot[block.slot0 + i]) - double{prior_mean(view, view.views.slot[block.slot0 + j])};
    act(i, j, precision, double{weight * view.site_shift[v]} * view.stretch - precision * offset);
  }
}

/// The arrays of one block, in scratch: m, s, ms [items][items] and h, t, x [items]. Of symmetric matrices only the
/// lower triangle is used, except for m. If several blocks with the same number of items are processed together, Real
/// is a pack of floats.
template <class Real>
struct ViewWork {
  int n;
  Real *m, *s, *ms, *h, *t, *x;
  VOXPOP_HD ViewWork(int items, Real* scratch)
      : n(items), m(scratch), s(m + n * n), ms(s + n * n), h(ms + n * n), t(h + n), x(t + n) {}
  VOXPOP_HD int lower(int i, int j) const { return i >= j ? i * n + j : j * n + i; }

  /// Sets the inputs of add_view_sites() to 0.
  VOXPOP_HD void clear() const {
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j <= i; ++j) s[i * n + j] = Real(0);
      h[i] = Real(0);
    }
  }
};

/// Adds a block's sites: L to s, and h to h. Element e is at [e * stride].
template <class Number>
VOXPOP_HD void add_view_sites(const FitView& view, const ViewBlock& block, Number* s, Number* h, std::uint32_t stride) {
  const std::uint32_t n = block.items;
  for_view_votes(view, block, [&](std::uint32_t i, std::uint32_t j, double precision, double shift) {
    const auto x = static_cast<Number>(precision), y = static_cast<Number>(shift);
    s[(i * n + i) * stride] += x;
    s[(j * n + j) * stride] += x;
    s[(i > j ? i * n + j : j * n + i) * stride] -= x;
    h[i * stride] += y;
    h[j * stride] -= y;
  });
}

/// Computes a block's message to the scores from L in s, and h: M = L A in m (both triangles), and t. Returns what the
/// block adds to the log evidence, (w h' t - log |I + w L|) / 2.
template <class Real>
VOXPOP_HD Real view_message(const ViewWork<Real>& work, double view_variance) {
  const int n = work.n;
  const Real w(view_variance);
  Real quadratic = Real(0), log_determinant = Real(0), *const a = work.ms;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) a[i * n + j] = Real(i == j ? 1 : 0) + w * work.s[i * n + j];
  invert_positive_definite(a, n, 1, [&](Real pivot) { log_determinant = log_determinant + logarithm(pivot); });
  for (int i = 0; i < n; ++i) {
    Real sum = Real(0);
    for (int j = 0; j < n; ++j) sum = sum + a[work.lower(i, j)] * work.h[j];
    work.t[i] = sum;
    quadratic = quadratic + w * work.h[i] * sum;
    for (int j = 0; j <= i; ++j) {
      Real x = Real(0);
      for (int k = 0; k < n; ++k) x = x + work.s[work.lower(i, k)] * a[work.lower(k, j)];
      work.m[i * n + j] = work.m[j * n + i] = x;
    }
  }
  return Real(0.5) * (quadratic - log_determinant);
}

/// What a block says about w: the derivative of the log evidence, and its Fisher information.
template <class Real>
struct ViewTerms {
  Real score, information;
};

/// Call after view_message(). Input: the scores' covariance in the lower triangle of s, their mean in x. Output in the
/// same arrays: covariance and mean of the impressions.
template <class Real>
VOXPOP_HD ViewTerms<Real> view_moments(const ViewWork<Real>& work, double view_variance) {
  const int n = work.n;
  const Real w(view_variance), *m = work.m;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      Real sum = Real(0);
      for (int k = 0; k < n; ++k) sum = sum + m[i * n + k] * work.s[work.lower(k, j)];
      work.ms[i * n + j] = sum;
    }
  Real squares = Real(0), trace = Real(0), information = Real(0);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      Real msm = Real(0);
      for (int k = 0; k < n; ++k) msm = msm + work.ms[i * n + k] * m[k * n + j];
      const Real p = m[i * n + j] - msm, cross = work.ms[i * n + j] + work.ms[j * n + i];
      information = information + Real(i == j ? 1 : 2) * p * p;
      if (i == j) trace = trace + p;
      const Real own = Real(i == j ? 1 : 0) - w * m[i * n + j];
      work.s[i * n + j] = w * own + work.s[i * n + j] - w * cross + w * w * msm;
    }
    Real x = work.t[i];
    for (int k = 0; k < n; ++k) x = x - m[i * n + k] * work.x[k];
    work.h[i] = x;  // h is no longer needed
    squares = squares + x * x;
  }
  for (int i = 0; i < n; ++i) work.x[i] = work.x[i] + w * work.h[i];
  return {Real(0.5) * (squares - trace), Real(0.5) * information};
}

/// Sets the moments of a block's votes from the moments of its impressions, relative to their prior means. Element e is
/// at [e * stride].
template <class Number>
VOXPOP_HD void set_vote_moments(const FitView& view, const ViewBlock& block, const Number* covariance,
                                const Number* mean, std::uint32_t stride) {
  const std::uint32_t* slot = view.views.slot + block.slot0;
  const std::uint32_t n = block.items;
  for (std::uint32_t k = block.vote0; k < block.vote_end; ++k) {
    const std::uint32_t v = view.views.vote[k], i = view.views.first[k], j = view.views.second[k];
    const Number apart = covariance[(i * n + i) * stride] + covariance[(j * n + j) * stride];
    const Number variance = apart - 2 * covariance[(i > j ? i * n + j : j * n + i) * stride];
    view.views.mean[v] =
        static_cast<float>(mean[i * stride] - mean[j * stride]) + prior_mean(view, slot[i]) - prior_mean(view, slot[j]);
    view.views.variance[v] = static_cast<float>(larger(variance, static_cast<Number>(1e-7) * apart));
  }
}

/// Adds what a block says about w to the totals, in fixed point.
VOXPOP_HD void add_view_terms(ViewTotals& totals, double score, double information) {
  add_fixed(totals.score, to_fixed(score));
  add_fixed(totals.information, to_fixed(information));
}

/// Adds the message of block b to H and the shift of its component, by add_h(slot, slot, x) and add_shift(slot, x).
/// Slots are indices in the groups. add_h gets elements of the lower triangle: the first slot is not below the second.
/// `scratch`: kViewScratch numbers.
template <class AddH, class AddShift>
VOXPOP_HD void add_view_message(const FitView& view, std::uint32_t b, double* scratch, const AddH& add_h,
                                const AddShift& add_shift) {
  const ViewBlock block = view_block(view, b);
  const std::uint32_t* slot = view.views.slot + block.slot0;  // ascending
  if (block.plain) {
    for_view_votes(view, block, [&](std::uint32_t i, std::uint32_t j, double precision, double shift) {
      add_h(slot[i], slot[i], precision);
      add_h(slot[j], slot[j], precision);
      add_h(slot[i > j ? i : j], slot[i > j ? j : i], -precision);
      add_shift(slot[i], shift);
      add_shift(slot[j], -shift);
    });
    return;
  }
  const ViewWork<double> work(static_cast<int>(block.items), scratch);
  work.clear();
  add_view_sites(view, block, work.s, work.h, 1);
  view_message(work, view.view_variance);
  for (std::uint32_t i = 0; i < block.items; ++i) {
    add_shift(slot[i], work.t[i]);
    for (std::uint32_t j = 0; j <= i; ++j) add_h(slot[i], slot[j], work.m[i * block.items + j]);
  }
}

/// Sets the moments of the votes of block b, after its component is solved. `mean(slot)`: of the score, relative to its
/// prior mean. `covariance(slot, slot)`: of the scores. Adds to `totals` (null: not wanted). Returns what the block
/// adds to the log evidence.
template <class Mean, class Covariance>
VOXPOP_HD double set_view_moments(const FitView& view, std::uint32_t b, double* scratch, const Mean& mean,
                                  const Covariance& covariance, ViewTotals* totals) {
  const ViewBlock block = view_block(view, b);
  const std::uint32_t* slot = view.views.slot + block.slot0;
  if (block.plain) {
    for (std::uint32_t k = block.vote0; k < block.vote_end; ++k) {
      const std::uint32_t v = view.views.vote[k], i = slot[view.views.first[k]], j = slot[view.views.second[k]];
      const double apart = covariance(i, i) + covariance(j, j), variance = apart - 2 * covariance(i, j);
      view.views.mean[v] = static_cast<float>(mean(i) - mean(j) + prior_mean(view, i) - prior_mean(view, j));
      view.views.variance[v] = static_cast<float>(larger(variance, 1e-7 * apart));
    }
    return 0;
  }
  const ViewWork<double> work(static_cast<int>(block.items), scratch);
  work.clear();
  add_view_sites(view, block, work.s, work.h, 1);
  const double evidence = view_message(work, view.view_variance);
  for (int i = 0; i < work.n; ++i) {
    work.x[i] = mean(slot[i]);
    for (int j = 0; j <= i; ++j) work.s[i * work.n + j] = covariance(slot[i], slot[j]);
  }
  const ViewTerms<double> terms = view_moments(work, view.view_variance);
  if (totals != nullptr) add_view_terms(*totals, terms.score, terms.information);
  set_vote_moments(view, block, work.s, work.x, 1);
  return evidence;
}

}  // namespace voxpop
