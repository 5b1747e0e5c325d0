#pragma once
// What is said of pairs and votes once the fit is done.

#include "formulas/vote.h"

namespace voxpop {

/// P(standard normal < x), by Mills' ratio.
template <class Real>
VOXPOP_HD Real normal_cdf(Real x) {
  const Real z = absolute(x);
  const Real tail = exponential(z * z * -0.5f) * 0.3989422804014327f * mills_ratio(z, Real(1) / (z + 3.0f));
  return select(x > Real(0), Real(1) - tail, tail);
}

/// Bits that a binary vote with logit N(mean, variance) tells about its logit: H(E p) - E H(p) (Lindley 1956); the
/// average by Gauss-Hermite, seven nodes: entropies are smooth, and reported to two digits.
template <class Real>
VOXPOP_HD Real information_bits(Real mean, Real variance) {
  constexpr int kNodes = 7;
  constexpr float at[kNodes] = {-3.7504397177257425f, -2.3667594107345415f, -1.1544053947399682f, 0.0f,
                                1.1544053947399682f,  2.3667594107345415f,  3.7504397177257425f};
  constexpr float weight[kNodes] = {5.482688559722180e-04f, 3.075712396758650e-02f, 2.401231786050130e-01f,
                                    4.571428571428570e-01f, 2.401231786050130e-01f, 3.075712396758650e-02f,
                                    5.482688559722180e-04f};
  const Real log_p = smoothed_logistic<kFast>(Real(0) - absolute(mean), variance).log_value;  // of the unlikelier side
  const Real p = exponential(log_p);
  const Real total = Real(0) - p * log_p - (Real(1) - p) * logarithm(Real(1) - p);
  const Real spread = square_root(variance);
  Real expected = Real(0);
  VOXPOP_UNROLL
  for (int k = 0; k < kNodes; ++k) {
    const Real logit_ = absolute(mean + spread * at[k]);
    const Real odds = exponential(Real(0) - logit_);
    expected = expected + (logarithm(odds + 1.0f) + logit_ * odds / (odds + 1.0f)) * weight[k];
  }
  return larger(total - expected, Real(0)) * 1.4426950408889634f;
}

/// What is said of a pair: see PairLabels.
template <class Real>
struct PairLabel {
  Real probability, better, information;
};

/// `mean`, `variance`: posterior of d; `discrimination`: the reference annotator's. `view_variance`: another annotator
/// has its own view of either item; for the information of its vote that is as if it discriminated less (the logistic
/// function averaged over a normal one).
template <class Real>
VOXPOP_HD PairLabel<Real> label_pair(Real mean, Real variance, float discrimination, float view_variance) {
  const float squared = discrimination * discrimination, seen = 2 * view_variance * squared;
  const float shrunk = 1 / (1 + 0.39269908f * seen);
  PairLabel<Real> out;
  out.probability = exponential(smoothed_logistic<kExact>(mean * discrimination, variance * squared + seen).log_value);
  out.better = normal_cdf(mean / square_root(variance));
  out.information = information_bits(mean * (discrimination * sqrtf(shrunk)), variance * (squared * shrunk));
  return out;
}

/// A vote against the rest of the evidence.
template <class Real>
struct VoteReport {
  Real agreement;  ///< 1 where the vote agrees with its cavity's mean, 1/2 where that is even, else 0; of no tie
  Real better;     ///< probability that the vote picked the better item; of no tie
  Real bits;       ///< expected information of such a vote about d
  Real log_scale;  ///< its site's part of the log evidence
};

/// `winner`: 1 the pair's first item, -1 its second. `habit`: of ties, where they are answers of their own. `pair`:
/// posterior of d; `cavity`: what its annotator saw of d, without the vote. `part`: part_of() its weight. Of its
/// annotator and of habits the vote is left out for log_scale alone.
template <int kTerms, Likelihood kKind, class Real>
VOXPOP_HD VoteReport<Real> report_vote(Real winner, const Statement<Real>& vote, const Rater<Real>& rater,
                                       const Habit<Real>& habit, const Cavity<Real>& pair, const Cavity<Real>& cavity,
                                       const Site<Real>& site, Real part = Real(1)) {
  const Rater<Real> known{rater.discrimination, rater.side_bias, Real(0), Real(0), Real(0)};
  const Logit<Real> eta = logit(known, cavity);
  const auto told = smoothed_vote<kTerms, kKind>(vote, eta);
  const auto own = scaled(annotator_terms(known, cavity, told.z), part);
  Statement<Real> by_others = vote;
  if (kKind != Likelihood::kBinary && vote.own_ties)
    by_others.habit = habit_without(habit, scaled(habit_terms(vote.habit, told.habit), part));
  const auto others = smoothed_vote<kTerms, kKind>(by_others, logit(rater_without(rater, own), cavity));
  VoteReport<Real> out;
  out.log_scale = site_log_scale(others.z.log_value, cavity, site);
  // Where nothing else says who is better, rounding must not decide whether the vote agrees.
  const auto even = cavity.mean * cavity.mean < cavity.variance * 1e-6f;
  out.agreement = select(even, Real(0.5f), select(winner * cavity.mean > Real(0), Real(1), Real(0)));
  out.better = normal_cdf(winner * pair.mean / square_root(pair.variance));
  // Of d alone: the annotator's discrimination is taken at its mean.
  out.bits = information_bits(eta.mean, eta.variance);
  return out;
}

}  // namespace voxpop
