#pragma once
// One vote: its EP site, and what it says about its annotator.
//
// A vote compares the two items of a pair, first and second. d = score(first) - score(second); each item's score has
// prior sd 1. If the first item is shown on the left, annotator (gamma, beta) has the logit gamma d + beta. If it is
// shown on the right, beta changes sign. likelihood.h defines the probability of a vote given the logit. EP: Minka
// (2001). Observed information under missing data: Louis (1982); here it is just minus the second derivative of log Z,
// where Z is the vote's probability averaged over the cavity.

#include "formulas/likelihood.h"

namespace voxpop {

/// A vote in 32 bits. From the highest bits: 25 bits annotator, 5 bits level, 1 bit whether the sides are known, 1 bit
/// whether the pair's first item was on the left. Level: 1 to kMaxLevels is strength towards the first item; negative:
/// towards the second; 0: a tie; or kUnseen.
struct VoteCode {
  std::uint32_t bits;
  static constexpr std::uint32_t kMaxAnnotators = 1u << 25;
  VOXPOP_HD static VoteCode make(std::uint32_t annotator, int level, bool first_on_left, bool side_known = true) {
    return {annotator << 7 | static_cast<std::uint32_t>(level + 16) << 2 | static_cast<std::uint32_t>(side_known) << 1 |
            static_cast<std::uint32_t>(first_on_left)};
  }
  VOXPOP_HD std::uint32_t annotator() const { return bits >> 7; }
  VOXPOP_HD int level() const { return static_cast<int>(bits >> 2 & 31u) - 16; }
  VOXPOP_HD bool side_known() const { return bits & 2u; }
  /// If the sides are unknown, this is random, and only selects the direction in which a prediction is written.
  VOXPOP_HD bool first_on_left() const { return bits & 1u; }
  /// Factor from side bias (towards the left) to side bias towards the pair's first item: 1, -1, or 0 if the sides are
  /// unknown.
  VOXPOP_HD float side() const { return !side_known() ? 0.0f : first_on_left() ? 1.0f : -1.0f; }
  VOXPOP_HD bool seen() const { return level() != kUnseen; }
  VOXPOP_HD VoteCode with_level(int level) const { return make(annotator(), level, first_on_left(), side_known()); }
  /// The same vote, held out: the vote is known to exist, but not its answer.
  VOXPOP_HD VoteCode held_out() const { return with_level(kUnseen); }
  /// The same vote with unknown sides.
  VOXPOP_HD VoteCode without_side(bool first_on_left) const { return make(annotator(), level(), first_on_left, false); }
  /// 1: the pair's first item; -1: the second item; 0: a tie, or not seen.
  VOXPOP_HD int winner() const { return !seen() || level() == 0 ? 0 : level() > 0 ? 1 : -1; }
  /// Whether the vote is for one of the items.
  VOXPOP_HD bool decided() const { return winner() != 0; }
};

/// An annotator as one vote sees it: posterior means, and variances and covariance if the vote should integrate over
/// them.
template <class Real>
struct Rater {
  Real discrimination;           ///< gamma, in logits per prior sd of an item
  Real side_bias;                ///< beta, in logits, towards the pair's first item
  Real discrimination_variance;  ///< 0: gamma is taken as known
  Real covariance;
  Real side_bias_variance;
};

/// Normal distribution of d given all evidence except this vote.
template <class Real>
struct Cavity {
  Real mean, variance;
};

/// A vote's Gaussian site exp(-precision d^2 / 2 + shift d).
template <class Real>
struct Site {
  Real precision, shift;
};

/// Gradient of log Z in (gamma, beta), and minus its second derivatives, with the annotator taken as known.
template <class Real>
struct AnnotatorTerms {
  Real gradient_gamma, gradient_beta;
  Real information_gamma, information_cross, information_beta;
};

/// Limit of a logit's variance. Together with kFar for the mean, it keeps logits within the range of
/// smoothed_logistic() (smoothed.h), far beyond any meaningful value.
inline constexpr float kWidestLogit = 1e7f;

template <class Real>
VOXPOP_HD Logit<Real> logit(const Rater<Real>& rater, const Cavity<Real>& cavity) {
  const Real second_moment = cavity.mean * cavity.mean + cavity.variance;
  const Real unknown = rater.discrimination_variance * second_moment + rater.covariance * cavity.mean * 2.0f +
                       rater.side_bias_variance;  // negative only by rounding
  const Real mean = rater.discrimination * cavity.mean + rater.side_bias;
  const Real variance = rater.discrimination * rater.discrimination * cavity.variance + larger(unknown, Real(0));
  return {larger(smaller(mean, Real(kFar)), Real(-kFar)), smaller(variance, Real(kWidestLogit))};
}

/// The part of a site of this weight that is taken out when one vote is left out: one vote of several equal ones, or
/// everything if the weight is below 1.
template <class Real>
VOXPOP_HD Real part_of(Real weight) {
  return smaller(weight, Real(1));
}

/// Upper limit of a site's precision: that of 16 votes with the largest discrimination on an even pair. If such votes
/// contradict all others, rounding would otherwise give sites of any size.
inline constexpr float kLargestPrecision = 1e4f;

/// The site whose product with the cavity has the mean and variance of the tilted distribution (Minka 2001, eq. 3.32
/// ff.). Written with derivatives of log Z, so that there is no cancellation if the vote says little.
template <class Real>
VOXPOP_HD Site<Real> matched_site(const Rater<Real>& rater, const Cavity<Real>& cavity, const Smoothed<Real>& z) {
  const Real gamma = rater.discrimination;
  const Real curvature = larger(z.first * z.first - z.second, Real(1e-12f)) * gamma * gamma;
  const Real narrowed = larger(Real(1) - curvature * cavity.variance, Real(1e-4f));
  const Real precision = smaller(Real(kLargestPrecision), curvature / narrowed);
  return {precision, precision * cavity.mean + gamma * z.first * (precision * cavity.variance + Real(1))};
}

/// Moves a site towards its new value. All sites of a component move at once, so some would overshoot forever. Two
/// kinds of sites move only half of the way. First, those of annotators with strong discrimination, who may contradict
/// each other. Second, those of annotators with few votes: there the annotator as its other votes show it (`others`)
/// is clearly less certain than the full estimate (`whole`), which follows this vote. `longest`: the largest part of
/// the way that any site moves.
template <class Real>
VOXPOP_HD Site<Real> damped(const Rater<Real>& whole, const Rater<Real>& others, const Site<Real>& before,
                            const Site<Real>& matched, float longest) {
  const auto few = others.discrimination_variance > whole.discrimination_variance * 1.02f;
  const Real step =
      select(absolute(others.discrimination) > 4.0f, Real(0.5f), select(few, Real(0.5f), Real(1))) * longest;
  return {before.precision + step * (matched.precision - before.precision),
          before.shift + step * (matched.shift - before.shift)};
}

/// The normal distribution that remains of N(mean, variance) when `part` of a site is taken out. `part`: part_of() the
/// vote's weight. The precision is at least `least`, the prior's precision.
template <class Real>
VOXPOP_HD Cavity<Real> cavity_without(Real mean, Real variance, const Site<Real>& site, Real part = Real(1),
                                      Real least = Real(0.4999f)) {
  const Real precision = Real(1) / variance;
  const Real cavity_variance = Real(1) / larger(precision - part * site.precision, least);
  return {cavity_variance * (mean * precision - part * site.shift), cavity_variance};
}

/// Gradient and observed information of one vote's log Z, with the rater taken as known.
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

/// The terms of `part` of a vote.
template <class Real>
VOXPOP_HD AnnotatorTerms<Real> scaled(const AnnotatorTerms<Real>& terms, Real part) {
  return {terms.gradient_gamma * part, terms.gradient_beta * part, terms.information_gamma * part,
          terms.information_cross * part, terms.information_beta * part};
}

/// Gradient of log Z in logit(share), and minus its second derivative. `meant`: VoteLikelihood::share.
struct ShareTerms {
  float gradient, information;
};
VOXPOP_HD ShareTerms share_terms(float share, float meant) {
  return {meant - share, share * (1 - share) - meant * (1 - meant)};
}

/// The logit of a share as the annotator's other votes show it: the information of this vote is taken out of N(logit,
/// variance), at most 70 % of the precision.
VOXPOP_HD double share_without(double logit, double variance, const ShareTerms& own) {
  return logit - own.gradient / larger(1 / variance - own.information, 0.3 / variance);
}

/// Gradient of log Z in logit(h) of a habit h, and minus its second derivative. Z is linear in h.
template <class Real>
struct HabitTerms {
  Real gradient, information;
};
template <class Real>
VOXPOP_HD HabitTerms<Real> habit_terms(Real habit, Real gradient) {
  return {gradient, gradient * (gradient - Real(1) + habit * 2.0f)};
}

template <class Real>
VOXPOP_HD HabitTerms<Real> scaled(const HabitTerms<Real>& terms, Real part) {
  return {terms.gradient * part, terms.information * part};
}

template <class Real>
VOXPOP_HD Real logistic(Real x) {
  return Real(1) / (exponential(Real(0) - larger(smaller(x, Real(60)), Real(-60))) + 1.0f);
}

/// Approximation of E[logistic(x)], x ~ N(mean, variance), by a normal distribution function (MacKay 1992, eq. 10).
template <class Real>
VOXPOP_HD Real mean_logistic(Real mean, Real variance) {
  return logistic(mean / square_root(variance * 0.39269908f + 1.0f));
}

/// The logits of an annotator's habit and of a prompt's part. Their sum is the logit of the vote's habit.
template <class Real>
struct Habit {
  Real mean;                                 ///< of the sum
  Real annotator_variance, prompt_variance;  ///< 0: known
};
/// h as the other votes show it: the information of this vote is taken out of both parts, at most 90 % of the precision
/// of each.
template <class Real>
VOXPOP_HD Real habit_without(const Habit<Real>& habit, const HabitTerms<Real>& own) {
  const auto rest = [&](Real variance) { return variance / larger(Real(1) - own.information * variance, Real(0.1f)); };
  const Real variance = rest(habit.annotator_variance) + rest(habit.prompt_variance);
  return mean_logistic(habit.mean - own.gradient * variance, variance);
}

/// What a vote says about the annotator's habit, averaged over the prompt's part as its other votes show it; and the
/// reverse. If the other part were taken as known, either part would shrink towards 0. `habit`: of the vote. `h`:
/// logistic(habit.mean). `gradient`: of log Z in logit(h). `part`: part of the vote that is taken out.
template <class Real>
struct HabitsTold {
  HabitTerms<Real> annotator, prompt;
};
template <class Real>
VOXPOP_HD HabitsTold<Real> habits_told(const Habit<Real>& habit, Real h, Real gradient, Real part) {
  const HabitTerms<Real> own = habit_terms(h, gradient);
  const Real one = Real(1);
  const Real rate = gradient / larger(h * (one - h), Real(1e-12f));  // d log Z / dh
  const auto with_other = [&](Real variance) {
    const Real rest = variance / larger(one - part * own.information * variance, Real(0.1f));
    const Real slope = one / square_root(rest * 0.39269908f + 1.0f);
    const Real average = logistic((habit.mean - part * own.gradient * rest) * slope);
    const Real there = rate / larger(one + rate * (average - h), Real(1e-3f));  // Z is linear in h
    const Real first = slope * average * (one - average) * there;
    return HabitTerms<Real>{first, first * (first - slope * (one - average * 2.0f))};
  };
  return {with_other(habit.prompt_variance), with_other(habit.annotator_variance)};
}

/// The annotator as its other votes show it. Like a cavity for d, this is the normal distribution that remains when the
/// information of this vote (`own`) is taken out, to second order. Reason: a vote that is weighted by an annotator whom
/// the same vote made look better would count twice. For annotators with few votes, scores and discriminations would
/// then drive each other up. At most 90 % of the precision is taken out. A rater without variance stays unchanged.
template <class Real>
VOXPOP_HD Rater<Real> rater_without(const Rater<Real>& rater, const AnnotatorTerms<Real>& own) {
  const Real v = rater.discrimination_variance, c = rater.covariance, w = rater.side_bias_variance;
  // The vote's share of the precision: information times covariance matrix. Its eigenvalues are real.
  Real share00 = own.information_gamma * v + own.information_cross * c;
  Real share01 = own.information_gamma * c + own.information_cross * w;
  Real share10 = own.information_cross * v + own.information_beta * c;
  Real share11 = own.information_cross * c + own.information_beta * w;
  const Real middle = (share00 + share11) * 0.5f, half = (share00 - share11) * 0.5f;
  const Real largest = middle + square_root(larger(half * half + share01 * share10, Real(0)));
  const Real part = Real(0.9f) / larger(largest, Real(0.9f));
  share00 = share00 * part;
  share01 = share01 * part;
  share10 = share10 * part;
  share11 = share11 * part;
  // Covariance times the inverse of I - share. The determinant of I - share is at least 0.1 * 0.1, except for rounding.
  const Real rest0 = Real(1) - share00, rest1 = Real(1) - share11;
  const Real scale = Real(1) / larger(rest0 * rest1 - share01 * share10, Real(0.01f));
  Rater<Real> out;
  out.discrimination_variance = (v * rest1 + c * share10) * scale;
  out.covariance = (v * share01 + c * rest0) * scale;
  out.side_bias_variance = (c * share01 + w * rest0) * scale;
  const Real gradient0 = own.gradient_gamma * part, gradient1 = own.gradient_beta * part;
  out.discrimination = rater.discrimination - (out.discrimination_variance * gradient0 + out.covariance * gradient1);
  out.side_bias = rater.side_bias - (out.covariance * gradient0 + out.side_bias_variance * gradient1);
  return out;
}

/// Gradient of log Z in the thresholds on both sides of a vote, and their information, plus the cross information with
/// the neighbour (see settle_thresholds()). `lower`, `upper`: numbers of the thresholds; upper 0: there is no upper
/// threshold.
struct ThresholdTerms {
  int lower, upper;
  float lower_gradient, lower_information, upper_gradient, upper_information;
};
VOXPOP_HD ThresholdTerms threshold_terms(int level, const Statement<float>& vote, const EdgeTerms<float>& edges) {
  ThresholdTerms out{0, 0, 0, 0, 0, 0};
  const bool bounded = vote.upper < kFar;
  if (level == kUnseen || level == 0) return out;
  const float shared = bounded ? edges.lower * edges.upper : 0;
  out.lower = level < 0 ? -level : level;
  out.lower_gradient = -edges.lower;  // a threshold moving outwards is a decrease for the lower one
  out.lower_information = edges.lower * edges.lower - edges.lower2 + shared;
  if (!bounded) return out;
  out.upper = out.lower + 1;
  out.upper_gradient = edges.upper;
  out.upper_information = edges.upper * edges.upper - edges.upper2 + shared;
  return out;
}

/// What one vote's site adds to EP's log evidence: log Z minus the log integral of cavity times site. Avoids division
/// by the cavity's variance: with many votes the variance is small, and the result would be a difference of large
/// numbers.
template <class Real>
VOXPOP_HD Real site_log_scale(Real log_z, const Cavity<Real>& cavity, const Site<Real>& site) {
  const Real narrowed = site.precision * cavity.variance + Real(1);
  const Real moved =
      cavity.mean * (site.precision * cavity.mean - site.shift * 2.0f) - site.shift * site.shift * cavity.variance;
  return log_z + (logarithm(narrowed) + moved / narrowed) * 0.5f;
}

}  // namespace voxpop
