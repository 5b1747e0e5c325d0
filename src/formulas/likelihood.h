#pragma once
// The likelihood of a vote given its logit eta, averaged over a normal distribution: binary votes, ties and grades.
//
// Without ties, a vote for an item has probability sigma(eta). A tie is a separate answer with P(tie) = 4 h sigma(eta)
// sigma(-eta), where the *habit* h is the probability of a tie if no difference is seen. The habit depends on the
// annotator and on the prompt: h = sigma(kappa_a + tau_c). So a tie shows that the items are close, and how close does
// not depend on how often the annotator ties. A decided vote has the probability that it would have without ties, times
// 1 - P(tie). Both are polynomials in sigma, so their averages have closed forms in F = E sigma and its derivatives.
// Grades: a logistic variable centred at eta fell between two thresholds, given that the vote is no tie (cumulative
// logit; Agresti 1992).

#include "formulas/smoothed.h"

namespace voxpop {

/// Largest strength of a graded vote.
inline constexpr int kMaxLevels = 9;

/// Level of a held-out vote. Its likelihood is 1.
inline constexpr int kUnseen = 15;

/// A value beyond any logit: used for thresholds that do not exist.
inline constexpr float kFar = 1e6f;

/// The thresholds shared by all votes, in logits. A decided vote of strength k for an item means: the latent variable,
/// towards that item, is between edge[k] and edge[k + 1]. edge[1] is 0.
struct VoteScale {
  float edge[kMaxLevels + 2] = {0, 0, kFar, kFar, kFar, kFar, kFar, kFar, kFar, kFar, kFar};
  bool own_ties = false;  ///< ties are a separate answer; else a tie is half a vote for each side
};

/// What one vote states: lower < latent < upper, with the latent variable counted towards `sign`. Sign 0: a tie. With
/// probability 1 - share, the vote is the mirror image of the meant vote.
template <class Real>
struct Statement {
  Real sign, lower, upper;
  Real share = Real(1);
  Real habit = Real(0);   ///< h; only with own ties
  bool simple = false;    ///< needs only one evaluation of F, which is faster. The same for all votes of a pack
  bool own_ties = false;  ///< VoteScale::own_ties, the same for all votes
  bool mirrored = false;  ///< whether `share` is used
};

VOXPOP_HD Statement<float> statement_of(const VoteScale& scale, int level) {
  const int strength = level < 0 ? -level : level;
  Statement<float> said{level < 0 ? -1.0f : level > 0 ? 1.0f : 0.0f, 0, kFar};
  if (level == kUnseen) {
    said.lower = -kFar;
  } else if (level != 0) {
    said.lower = scale.edge[strength];
    said.upper = scale.edge[strength + 1];
  }
  said.own_ties = scale.own_ties;
  said.simple = scale.own_ties ? !(said.upper < kFar) && said.lower <= 0 : !(said.upper < kFar) && level != 0;
  return said;
}

/// Which terms the likelihood needs. Binary: one F. Ordinal: also ties, grades, unseen votes. Mixture: also share < 1.
enum class Likelihood { kBinary, kOrdinal, kMixture };

/// Derivatives of a vote's log Z as a threshold moves outwards, and second derivatives of Z divided by Z. The second
/// derivatives lack the factor 1 - P(tie), which is accurate enough for step lengths.
template <class Real>
struct EdgeTerms {
  Real lower, upper, lower2, upper2;
};

template <class Real>
struct VoteLikelihood {
  Smoothed<Real> z;       ///< derivatives in the logit's mean
  EdgeTerms<Real> edges;  ///< not for kBinary
  Real habit;             ///< d log Z / d logit(h); only with own ties
  Real share;             ///< kMixture: posterior probability that the vote was meant
};

/// Mean and variance of eta = gamma d + beta under cavity and rater; used as a normal distribution (exact if gamma is
/// known).
template <class Real>
struct Logit {
  Real mean, variance;
};

namespace detail {

template <class Real>
VOXPOP_HD void face(Smoothed<Real>& z, Real sign) {
  z.first = z.first * sign;
  z.third = z.third * sign;
}

/// Lower limit of a difference of probabilities, relative to the larger one. Below this, rounding errors dominate.
inline constexpr float kLeastDifference = 1e-5f;

/// Binary votes and half ties. A half tie has the likelihood sqrt(sigma(eta) sigma(-eta)) = exp(-eta / 2) sigma(eta).
/// The factor exp only moves the normal distribution: the average is exp(variance / 8 - mean / 2) F(mean - variance /
/// 2). So votes and ties share one evaluation of F.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> interval_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  const auto halved = vote.sign == 0.0f;
  const Real sign = select(halved, select(eta.mean < 0.0f, Real(-1), Real(1)), vote.sign);
  const Real mean = sign * eta.mean;
  // The difference of two F's is computed on the side where both are small, which avoids cancellation.
  const auto bounded = vote.upper < kFar;
  const auto flipped = select(bounded, mean * 2.0f - vote.lower - vote.upper, Real(-1)) > Real(0);
  const Real near_point = select(flipped, vote.upper - mean, mean - vote.lower);
  const Real moved = select(halved, eta.variance, Real(0)), rate = select(halved, Real(-0.5f), Real(0));
  Smoothed<Real> z = smoothed_logistic<kTerms>(near_point - moved * 0.5f, eta.variance);
  z = tilted(z.log_value + moved * 0.125f + rate * near_point, rate, z);
  Real near1 = z.first, near2 = z.second, far1 = Real(0), far2 = Real(0);
  if (any(bounded)) {
    const Real far_point = select(bounded, select(flipped, vote.lower - mean, mean - vote.upper), near_point - 1.0f);
    const Smoothed<Real> far = smoothed_logistic<kTerms>(far_point, eta.variance);
    const Real ratio = select(bounded, exponential(smaller(far.log_value - z.log_value, Real(0))), Real(0));
    const Real rest = larger(Real(1) - ratio, Real(kLeastDifference)), scale = Real(1) / rest, less = ratio * scale;
    z.log_value = z.log_value + logarithm(rest);
    z.first = z.first * scale - far.first * less;
    z.second = z.second * scale - far.second * less;
    z.third = z.third * scale - far.third * less;
    z.fourth = z.fourth * scale - far.fourth * less;
    near1 = near1 * scale;
    near2 = near2 * scale;
    far1 = far.first * less;
    far2 = Real(0) - far.second * less;
  }
  face(z, select(flipped, Real(0) - sign, sign));
  return {z,
          {select(flipped, far1, near1), select(flipped, near1, far1), select(flipped, far2, near2),
           select(flipped, near2, far2)},
          Real(0),
          Real(1)};
}

/// Ties and decided votes without grades, with one F: E[4 h sigma(eta) sigma(-eta)] = 4 h F', and E[sigma(eta) (1 - 4 h
/// sigma(eta) sigma(-eta))] = F - 2 h (F' - F''). F' is even, so ties evaluate it where F is small, which avoids
/// cancellation.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> tie_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  const auto tie = vote.sign == 0.0f;
  const Real sign = select(tie, select(eta.mean > 0.0f, Real(-1), Real(1)), vote.sign);
  const Smoothed6<Real> f = smoothed_logistic6<kTerms>(sign * eta.mean - vote.lower, eta.variance);
  const Real twice = vote.habit * 2.0f, not_habit = Real(1) - vote.habit;
  const Real decided = larger(Real(1) - twice * (f.first - f.second), Real(kLeastDifference));
  const Real scale = Real(1) / select(tie, f.first, decided);
  const auto ratio = [&](Real of_decided, Real next, Real after) {
    return select(tie, next, of_decided - twice * (next - after)) * scale;
  };
  Smoothed<Real> z{f.log_scale + logarithm(f.value * select(tie, twice * 2.0f * f.first, decided)),
                   ratio(f.first, f.second, f.third), ratio(f.second, f.third, f.fourth),
                   ratio(f.third, f.fourth, f.fifth), ratio(f.fourth, f.fifth, f.sixth)};
  face(z, sign);
  const Real moved = Real(0) - twice * not_habit * (f.first - f.second) * scale;
  return {z, {Real(0), Real(0), Real(0), Real(0)}, select(tie, not_habit, moved), Real(1)};
}

/// E[sigma(eta) sigma(-eta) sigma(eta - t)] and its derivatives, n = 0 to 4. F may be in any unit, the same for both
/// arrays. `zero` [7]: F and its derivatives at the logit itself. `at` [5]: at the threshold. By partial fractions,
/// with u = 1 / (1 - e^t) and c = e^t u, the value is u (F' + c (F - F_t)); for t = 0 it is (F' - F'') / 2.
template <class Real>
struct TieFactor {
  Real u, c;
  Real by_threshold;  ///< derivative in t, for n = 0
  Real value[5];
  VOXPOP_HD TieFactor(Real t, const Real* zero, const Real* at) {
    const auto even = t == 0.0f;
    const Real grown = exponential(select(even, Real(1), t));
    u = Real(1) / (Real(1) - grown);
    c = grown * u;
    for (int n = 0; n < 5; ++n)
      value[n] = select(even, (zero[n + 1] - zero[n + 2]) * 0.5f, u * (zero[n + 1] + c * (zero[n] - at[n])));
    by_threshold = select(even, Real(0), u * (c * (at[1] + zero[1]) + (c + c * c * 2.0f) * (zero[0] - at[0])));
  }
};

/// Grades with ties as a separate answer: the interval's probability given a decided vote, times 1 - P(tie), averaged.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> grade_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  const Real mean = vote.sign * eta.mean;
  const auto bounded = vote.upper < kFar;
  const auto flipped = select(bounded, mean * 2.0f - vote.lower - vote.upper, Real(-1)) > Real(0);
  const Real near_t = select(flipped, Real(0) - vote.upper, vote.lower);
  const Real far_t = select(bounded, select(flipped, Real(0) - vote.lower, vote.upper), near_t + 1.0f);
  const Real point = select(flipped, Real(0) - mean, mean);
  const Smoothed6<Real> z = smoothed_logistic6<kTerms>(point, eta.variance);
  const Smoothed<Real> a = smoothed_logistic<kTerms>(point - near_t, eta.variance);
  const Smoothed<Real> b = smoothed_logistic<kTerms>(point - far_t, eta.variance);
  const Real zero_size = exponential(smaller(z.log_value - a.log_value, Real(60)));
  const Real far_size = exponential(smaller(b.log_value - a.log_value, Real(0)));
  const Real zero[7] = {zero_size,           zero_size * z.first,  zero_size * z.second,
                        zero_size * z.third, zero_size * z.fourth, zero_size * z.fifth,
                        zero_size * z.sixth};
  const Real near[5] = {Real(1), a.first, a.second, a.third, a.fourth};
  const Real far[5] = {far_size, far_size * b.first, far_size * b.second, far_size * b.third, far_size * b.fourth};
  const TieFactor<Real> near_ties(near_t, zero, near), far_ties(far_t, zero, far);
  const Real ties = vote.habit * 4.0f;
  Real value[5];
  for (int n = 0; n < 5; ++n)
    value[n] = near[n] - ties * near_ties.value[n] - select(bounded, far[n] - ties * far_ties.value[n], Real(0));
  value[0] = larger(value[0], Real(kLeastDifference));
  const Real scale = Real(1) / value[0];
  VoteLikelihood<Real> out;
  out.z = {a.log_value + logarithm(value[0]), value[1] * scale, value[2] * scale, value[3] * scale, value[4] * scale};
  face(out.z, select(flipped, Real(0) - vote.sign, vote.sign));
  const Real near1 = (near[1] + ties * near_ties.by_threshold) * scale, near2 = near[2] * scale;
  const Real far1 = select(bounded, (far[1] + ties * far_ties.by_threshold) * scale, Real(0));
  const Real far2 = select(bounded, Real(0) - far[2] * scale, Real(0));
  out.edges = {select(flipped, far1, near1), select(flipped, near1, far1), select(flipped, far2, near2),
               select(flipped, near2, far2)};
  const Real tied = near_ties.value[0] - select(bounded, far_ties.value[0], Real(0));
  out.habit = Real(0) - ties * (Real(1) - vote.habit) * tied * scale;
  out.share = Real(1);
  return out;
}

template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> meant_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  if (vote.own_ties) return vote.simple ? tie_likelihood<kTerms>(vote, eta) : grade_likelihood<kTerms>(vote, eta);
  if (!vote.simple) return interval_likelihood<kTerms>(vote, eta);
  Smoothed<Real> z = smoothed_logistic<kTerms>(vote.sign * eta.mean - vote.lower, eta.variance);
  const EdgeTerms<Real> edges{z.first, Real(0), z.second, Real(0)};
  face(z, vote.sign);
  return {z, edges, Real(0), Real(1)};
}

template <class Real>
VOXPOP_HD Real blend(Real a, Real b, Real share) {
  return a * share + b * (Real(1) - share);
}

/// Z = share A + (1 - share) B, where B is the mirror image of A.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> mixture_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  const VoteLikelihood<Real> a = meant_likelihood<kTerms>(vote, eta);
  if (!vote.mirrored) return a;
  VoteLikelihood<Real> b = meant_likelihood<kTerms>(vote, {Real(0) - eta.mean, eta.variance});
  face(b.z, Real(-1));
  const Real log_a = a.z.log_value + logarithm(vote.share), log_b = b.z.log_value + logarithm(Real(1) - vote.share);
  const Real high = larger(log_a, log_b), low = smaller(log_a, log_b);
  const Real log_z = high + logarithm(Real(1) + exponential(low - high));
  const Real share = exponential(log_a - log_z);
  return {{log_z, blend(a.z.first, b.z.first, share), blend(a.z.second, b.z.second, share),
           blend(a.z.third, b.z.third, share), blend(a.z.fourth, b.z.fourth, share)},
          {blend(a.edges.lower, b.edges.lower, share), blend(a.edges.upper, b.edges.upper, share),
           blend(a.edges.lower2, b.edges.lower2, share), blend(a.edges.upper2, b.edges.upper2, share)},
          blend(a.habit, b.habit, share),
          share};
}

}  // namespace detail

/// log Z of a vote and its derivatives. Z is the vote's probability, averaged over the logit.
template <int kTerms, Likelihood kKind, class Real>
VOXPOP_HD VoteLikelihood<Real> smoothed_vote(const Statement<Real>& vote, const Logit<Real>& eta) {
  if constexpr (kKind == Likelihood::kMixture) {
    return detail::mixture_likelihood<kTerms>(vote, eta);
  } else if constexpr (kKind == Likelihood::kOrdinal) {
    return detail::meant_likelihood<kTerms>(vote, eta);
  } else {
    VoteLikelihood<Real> out{smoothed_logistic<kTerms>(vote.sign * eta.mean, eta.variance),
                             {Real(0), Real(0), Real(0), Real(0)},
                             Real(0),
                             Real(1)};
    detail::face(out.z, vote.sign);
    return out;
  }
}

}  // namespace voxpop
