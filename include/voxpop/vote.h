#pragma once
// One vote: its likelihood, its EP site, and what it says of its annotator.
//
// A vote compares the two items of a pair, first and second; d = score(first) - score(second), prior sd 1 an item.
// Shown with the first item on the left, annotator (gamma, beta) picks it with probability sigma(gamma d + beta); shown
// on the right, beta changes sign. Minka (2001) for EP; Louis (1982) for the observed information under missing data,
// which here is just minus the second derivative of log Z.

#include "voxpop/smoothed.h"

namespace voxpop {

/// Who won, as a number: +1 the pair's first item, -1 its second, 0 a tie.
enum class Outcome : std::uint32_t { kSecond = 0, kFirst = 1, kTie = 2 };

/// A vote in 32 bits: the annotator above, then who won, then whether the pair's first item was shown on the left.
struct VoteCode {
  std::uint32_t bits;
  static constexpr std::uint32_t kMaxAnnotators = 1u << 29;
  VOXPOP_HD static VoteCode make(std::uint32_t annotator, Outcome outcome, bool first_on_left) {
    return {annotator << 3 | static_cast<std::uint32_t>(outcome) << 1 | static_cast<std::uint32_t>(first_on_left)};
  }
  VOXPOP_HD std::uint32_t annotator() const { return bits >> 3; }
  VOXPOP_HD Outcome outcome() const { return static_cast<Outcome>(bits >> 1 & 3u); }
  VOXPOP_HD bool first_on_left() const { return bits & 1u; }
};

/// An annotator as a vote sees it: posterior means, and (co)variances where the vote should integrate over them.
template <class Real>
struct Rater {
  Real discrimination;           ///< gamma, in logits per prior sd of an item
  Real side_bias;                ///< beta, in logits, towards the pair's first item
  Real discrimination_variance;  ///< 0: take gamma as known
  Real covariance;
  Real side_bias_variance;
};

/// The rest of the evidence about d: a Gaussian that leaves this vote out.
template <class Real>
struct Cavity {
  Real mean, variance;
};

/// A vote's Gaussian site exp(-precision d^2 / 2 + shift d).
template <class Real>
struct Site {
  Real precision, shift;
};

/// Gradient of log Z in (gamma, beta), and minus its second derivatives.
template <class Real>
struct AnnotatorTerms {
  Real gradient_gamma, gradient_beta;
  Real information_gamma, information_cross, information_beta;
};

/// The moments of eta = gamma d + beta under cavity and rater, matched by a Gaussian (exact when gamma is known).
template <class Real>
struct Logit {
  Real mean, variance;
};
template <class Real>
VOXPOP_HD Logit<Real> logit(const Rater<Real>& rater, const Cavity<Real>& cavity) {
  const Real second_moment = cavity.mean * cavity.mean + cavity.variance;
  return {rater.discrimination * cavity.mean + rater.side_bias,
          rater.discrimination * rater.discrimination * cavity.variance +
              rater.discrimination_variance * second_moment + rater.covariance * cavity.mean * 2.0f +
              rater.side_bias_variance};
}

/// log Z of a vote and its derivatives in the logit's mean. `winner` is +1, -1 or, only with kTies, 0: half a vote to
/// each side, sqrt(sigma(eta) sigma(-eta)). That root is exp(-eta / 2) sigma(eta), and exp only moves the Gaussian: its
/// average is exp(variance / 8 - mean / 2) F(mean - variance / 2), so that votes and ties share one evaluation of F.
template <int kTerms, bool kTies, class Real>
VOXPOP_HD Smoothed<Real> smoothed_vote(Real winner, const Logit<Real>& eta) {
  Real sign = winner;
  Smoothed<Real> out;
  if constexpr (kTies) {
    const auto tied = winner == 0.0f;
    sign = select(tied, select(eta.mean < 0.0f, Real(-1), Real(1)), winner);
    const Real likelier = sign * eta.mean, moved = select(tied, eta.variance, Real(0));
    const Real rate = select(tied, Real(-0.5f), Real(0));
    out = smoothed_logistic<kTerms>(likelier - moved * 0.5f, eta.variance);
    out = tilted(out.log_value + moved * 0.125f + rate * likelier, rate, out);
  } else {
    out = smoothed_logistic<kTerms>(sign * eta.mean, eta.variance);
  }
  out.first = out.first * sign;
  out.third = out.third * sign;
  return out;
}

/// The site whose product with the cavity has the tilted distribution's mean and variance (Minka 2001, eq. 3.32 ff.).
/// Written with derivatives of log Z, so that nothing cancels where the vote says little.
template <class Real>
VOXPOP_HD Site<Real> matched_site(const Rater<Real>& rater, const Cavity<Real>& cavity, const Smoothed<Real>& z) {
  const Real gamma = rater.discrimination;
  const Real curvature = larger(z.first * z.first - z.second, Real(1e-12f)) * gamma * gamma;
  const Real shrink = Real(1) / larger(Real(1) - curvature * cavity.variance, Real(1e-4f));
  return {curvature * shrink, (gamma * z.first + cavity.mean * curvature) * shrink};
}

/// The way a site goes towards its new value. All sites of a component move at once, and where annotators of strong
/// discrimination contradict each other they would overshoot for good: those move half the way.
template <class Real>
VOXPOP_HD Site<Real> damped(const Rater<Real>& rater, const Site<Real>& before, const Site<Real>& matched) {
  const Real step = select(absolute(rater.discrimination) > 4.0f, Real(0.5f), Real(1));
  return {before.precision + step * (matched.precision - before.precision),
          before.shift + step * (matched.shift - before.shift)};
}

/// The Gaussian that remains of N(mean, variance) when a site is taken out. Precision never falls below the prior's,
/// 1/2.
template <class Real>
VOXPOP_HD Cavity<Real> cavity_without(Real mean, Real variance, const Site<Real>& site) {
  const Real precision = Real(1) / variance;
  const Real cavity_variance = Real(1) / larger(precision - site.precision, Real(0.4999f));
  return {cavity_variance * (mean * precision - site.shift), cavity_variance};
}

/// Gradient and observed information of one vote's log Z, the rater taken as known.
template <class Real>
VOXPOP_HD AnnotatorTerms<Real> annotator_terms(const Rater<Real>& rater, const Cavity<Real>& cavity,
                                               const Smoothed<Real>& z) {
  const Real mean = cavity.mean, pull = rater.discrimination * cavity.variance;
  const Real gamma1 = mean * z.first + pull * z.second;  // (dZ/dgamma) / Z, by the heat equation
  const Real gamma2 =
      (mean * mean + cavity.variance) * z.second + mean * pull * z.third * 2.0f + pull * pull * z.fourth;
  const Real cross2 = mean * z.second + pull * z.third;
  return {gamma1, z.first, gamma1 * gamma1 - gamma2, gamma1 * z.first - cross2, z.first * z.first - z.second};
}

/// What one vote's site adds to EP's log evidence: log Z minus the log integral of cavity times site.
template <class Real>
VOXPOP_HD Real site_log_scale(Real log_z, const Cavity<Real>& cavity, const Site<Real>& site) {
  const Real precision = Real(1) / cavity.variance;
  const Real natural_mean = cavity.mean * precision;
  const Real total = precision + site.precision;
  const Real moved = natural_mean + site.shift;
  return log_z + (logarithm(total * cavity.variance) - moved * moved / total + cavity.mean * natural_mean) * 0.5f;
}

}  // namespace voxpop
