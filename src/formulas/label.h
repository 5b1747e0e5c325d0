#pragma once
// Labels of pairs and reports on votes, computed after the fit.

#include "formulas/vote.h"

namespace voxpop {

/// P(standard normal < x), by Mills' ratio.
template <class Real>
VOXPOP_HD Real normal_cdf(Real x) {
  const Real z = absolute(x);
  const Real tail = exponential(z * z * -0.5f) * 0.3989422804014327f * mills_ratio(z, Real(1) / (z + 3.0f));
  return select(x > Real(0), Real(1) - tail, tail);
}

/// Information in bits that a binary vote with logit N(mean, variance) gives about its logit: H(E p) - E H(p) (Lindley
/// 1956). The average uses seven Gauss-Hermite nodes; this is enough, because entropies are smooth and only two digits
/// are reported.
template <class Real>
VOXPOP_HD Real information_bits(Real mean, Real variance) {
  constexpr int kNodes = 7;
  constexpr float at[kNodes] = {-3.7504397177257425f, -2.3667594107345415f, -1.1544053947399682f, 0.0f,
                                1.1544053947399682f,  2.3667594107345415f,  3.7504397177257425f};
  constexpr float weight[kNodes] = {5.482688559722180e-04f, 3.075712396758650e-02f, 2.401231786050130e-01f,
                                    4.571428571428570e-01f, 2.401231786050130e-01f, 3.075712396758650e-02f,
                                    5.482688559722180e-04f};
  const Real log_p = smoothed_logistic<kFast>(Real(0) - absolute(mean), variance).log_value;  // of the less likely side
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

/// Labels of a pair: see PairLabels.
template <class Real>
struct PairLabel {
  Real probability, better, information;
};

/// `mean`, `variance`: posterior of d. `discrimination`: of the reference annotator. `view_variance`: another annotator
/// has its own view of each item. For the information of that annotator's vote, this is equivalent to a lower
/// discrimination (a logistic function averaged over a normal distribution).
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

/// Comparison of a vote with the rest of the evidence.
template <class Real>
struct VoteReport {
  Real agreement;  ///< 1 if the vote agrees with the sign of its cavity's mean, 1/2 if the mean is about 0, else 0; not
                   ///< for ties
  Real better;     ///< probability that the vote picked the better item; not for ties
  Real bits;       ///< expected information of this vote about d, in bits
  Real log_scale;  ///< the part of the vote's site in the log evidence
};

/// `winner`: 1 the pair's first item, -1 the second. `habit`: tie habit, if ties are a separate answer. `pair`:
/// posterior of d. `cavity`: the difference that the annotator saw, without the vote. `part`: part_of() the vote's
/// weight. The vote is left out of its annotator and the habits only for log_scale.
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
  // If nothing else shows which item is better, rounding must not decide about agreement.
  const auto even = cavity.mean * cavity.mean < cavity.variance * 1e-6f;
  out.agreement = select(even, Real(0.5f), select(winner * cavity.mean > Real(0), Real(1), Real(0)));
  out.better = normal_cdf(winner * pair.mean / square_root(pair.variance));
  // Information about d alone, so the annotator's discrimination is fixed at its mean.
  out.bits = information_bits(eta.mean, eta.variance);
  return out;
}

}  // namespace voxpop
