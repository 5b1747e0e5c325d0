#pragma once
// The likelihood of a vote given its logit, averaged over a Gaussian: binary votes, ties and grades are one likelihood.
//
// A vote says between which two thresholds a logistic variable fell that is centred at the logit eta: one threshold at
// 0 for binary votes, a band around 0 for ties (Rao and Kupper 1967), more of them for grades (cumulative logit;
// Agresti 1992). So a vote's probability is a difference of two logistic functions, and its average one of two F's.

#include "voxpop/smoothed.h"

namespace voxpop {

/// Largest strength of a graded vote.
inline constexpr int kMaxLevels = 9;

/// A vote that is there but not seen, held out: it says nothing.
inline constexpr int kUnseen = 15;

/// Beyond any logit: what a threshold is where there is none.
inline constexpr float kFar = 1e6f;

/// The shared thresholds, in logits. A vote of strength k for an item says that the latent variable, towards that item,
/// lies between edge[k] and edge[k + 1]; a tie is strength 0, and half a vote to each side where its band, edge[0] =
/// -edge[1] to edge[1], has no width.
struct VoteScale {
  float edge[kMaxLevels + 2] = {0, 0, kFar, kFar, kFar, kFar, kFar, kFar, kFar, kFar, kFar};
};

/// What one vote says: lower < latent < upper, the latent variable counted towards `sign`; sign 0: half a vote to each
/// side. With probability 1 - share the vote comes from something else: a click, or its mirror image.
template <class Real>
struct Statement {
  Real sign, lower, upper;
  Real share = Real(1);
  Real click = Real(0);    ///< probability of this vote among the annotator's clicks (Blend::kClick)
  bool one_sided = false;  ///< known to have no upper end and a sign: costs less. The same for all votes of a pack
  bool mirrored = false;   ///< else the vote is that of an annotator who means the other item (Blend::kMirror)
};

VOXPOP_HD Statement<float> statement_of(const VoteScale& scale, int level) {
  if (level == kUnseen) return {1, -kFar, kFar};
  if (level == 0 && scale.edge[1] <= 0) return {0, 0, kFar};
  const int strength = level < 0 ? -level : level;
  Statement<float> said{level < 0 ? -1.0f : 1.0f, scale.edge[strength], scale.edge[strength + 1]};
  said.one_sided = !(said.upper < kFar);
  return said;
}

/// Which terms a vote has. Binary: one F. Ordinal: ties, grades and unseen votes too. Mixture: also share < 1.
enum class Likelihood { kBinary, kOrdinal, kMixture };

/// A vote's threshold derivatives: of log Z as a threshold moves outwards, and second derivatives of Z over Z.
template <class Real>
struct EdgeTerms {
  Real lower, upper, lower2, upper2;
};

template <class Real>
struct VoteLikelihood {
  Smoothed<Real> z;       ///< in the logit's mean
  EdgeTerms<Real> edges;  ///< not of kBinary
  Real share;             ///< kMixture: posterior probability that the vote was meant so
};

/// The moments of eta = gamma d + beta under cavity and rater, matched by a Gaussian (exact when gamma is known).
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

/// Half ties are sqrt(sigma(eta) sigma(-eta)) = exp(-eta / 2) sigma(eta), and exp only moves the Gaussian: its average
/// is exp(variance / 8 - mean / 2) F(mean - variance / 2), so that votes and ties share one evaluation of F.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> interval_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  const auto halved = vote.sign == 0.0f;
  const Real sign = select(halved, select(eta.mean < 0.0f, Real(-1), Real(1)), vote.sign);
  const Real mean = sign * eta.mean;
  // A difference of two F's is taken on the side where both are small, so that nothing cancels.
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
    const Real rest = larger(Real(1) - ratio, Real(1e-5f)), scale = Real(1) / rest, less = ratio * scale;
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
          Real(1)};
}

template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> meant_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  if (!vote.one_sided) return interval_likelihood<kTerms>(vote, eta);
  Smoothed<Real> z = smoothed_logistic<kTerms>(vote.sign * eta.mean - vote.lower, eta.variance);
  const EdgeTerms<Real> edges{z.first, Real(0), z.second, Real(0)};
  face(z, vote.sign);
  return {z, edges, Real(1)};
}

template <class Real>
VOXPOP_HD Real blend(Real a, Real b, Real share) {
  return a * share + b * (Real(1) - share);
}

/// Z = share A + (1 - share) B.
template <int kTerms, class Real>
VOXPOP_HD VoteLikelihood<Real> mixture_likelihood(const Statement<Real>& vote, const Logit<Real>& eta) {
  VoteLikelihood<Real> a = meant_likelihood<kTerms>(vote, eta);
  VoteLikelihood<Real> b{{Real(0), Real(0), Real(0), Real(0), Real(0)}, {Real(0), Real(0), Real(0), Real(0)}, Real(0)};
  if (vote.mirrored) {
    b = meant_likelihood<kTerms>(vote, {Real(0) - eta.mean, eta.variance});
    face(b.z, Real(-1));
  } else {
    b.z.log_value = logarithm(vote.click);
  }
  const Real log_a = a.z.log_value + logarithm(vote.share), log_b = b.z.log_value + logarithm(Real(1) - vote.share);
  const Real high = larger(log_a, log_b), low = smaller(log_a, log_b);
  const Real log_z = high + logarithm(Real(1) + exponential(low - high));
  const Real share = exponential(log_a - log_z);
  return {{log_z, blend(a.z.first, b.z.first, share), blend(a.z.second, b.z.second, share),
           blend(a.z.third, b.z.third, share), blend(a.z.fourth, b.z.fourth, share)},
          {blend(a.edges.lower, b.edges.lower, share), blend(a.edges.upper, b.edges.upper, share),
           blend(a.edges.lower2, b.edges.lower2, share), blend(a.edges.upper2, b.edges.upper2, share)},
          share};
}

}  // namespace detail

/// log Z of a vote, Z its probability averaged over the logit, and its derivatives.
template <int kTerms, Likelihood kKind, class Real>
VOXPOP_HD VoteLikelihood<Real> smoothed_vote(const Statement<Real>& vote, const Logit<Real>& eta) {
  if constexpr (kKind == Likelihood::kMixture) {
    return detail::mixture_likelihood<kTerms>(vote, eta);
  } else if constexpr (kKind == Likelihood::kOrdinal) {
    return detail::meant_likelihood<kTerms>(vote, eta);
  } else {
    VoteLikelihood<Real> out{
        smoothed_logistic<kTerms>(vote.sign * eta.mean, eta.variance), {Real(0), Real(0), Real(0), Real(0)}, Real(1)};
    detail::face(out.z, vote.sign);
    return out;
  }
}

}  // namespace voxpop
