#pragma once
// The fit as a state that moves on after each pass over votes. Host and device run the same functions, so that
// iterations on a device need no host in between. An iteration is
//   a pass over votes as next_pass() says      -> sums of each annotator, PassSums
//   update_annotator() for each annotator      -> AnnotatorTotals, by add_mean()
//   with_means(), then add_spread() for each   -> AnnotatorTotals again
//   end_iteration(), then finish_annotator() for each.
// Totals are integers, so annotators may come in any order.

#include "voxpop/cholesky.h"
#include "voxpop/covariates.h"
#include "voxpop/likelihood.h"

namespace voxpop {

/// What a vote may be other than meant: nothing; a click, by the annotator's own habit; or the other item's.
enum class Blend { kNone, kClick, kMirror };

/// What one pass over all votes should bring.
struct PassOptions {
  int sweeps = 1;            ///< EP sweeps over each component: solve, then new sites
  std::uint32_t stride = 1;  ///< only every so-manieth batch of small components: a sample, for the first iterations
  float stretch = 1;         ///< all discriminations were multiplied by this since the last pass: sites follow first
  bool annotators = false;   ///< gradients and information of annotators, at the last sweep's cavities
  bool grid = false;         ///< log-likelihood of each annotator on its quadrature nodes
  bool uncertain = false;    ///< sites integrate over the annotators' variances; else annotators are taken as known
  bool exact = false;        ///< the finer mixture: for the last passes
  Blend blend = Blend::kNone;
  VoteScale scale{};
  float coefficient[kMaxCovariates] = {};  ///< c: scores are normal about X c
};

/// What solving components adds up: integers and a maximum, so in any order.
struct SolveSums {
  float change = 0;               ///< largest change of a pair's mean in the last sweep, in posterior sds
  std::int64_t squares = 0;       ///< fixed point: posterior E[score^2], scores centred in their component, summed ...
  std::int64_t freedom = 0;       ///< ... over so many degrees of freedom: items minus one, of each component
  std::int64_t log_evidence = 0;  ///< fixed point: the components' part; only with slot moments
};

/// bt: every annotator alike, no side bias (Bradley and Terry 1952). crowd-bt: alike, but each votes as meant with a
/// probability eta of its own, else for the other item (Chen et al. 2013). rater: each annotator's discrimination and
/// side bias. lapse: as rater, and each lapses at a rate of its own (Wichmann and Hill 2001): then it clicks by habit.
enum class Model { kBradleyTerry, kCrowdBt, kRater, kLapse };
VOXPOP_HD bool has_discriminations(Model model) { return model == Model::kRater || model == Model::kLapse; }
VOXPOP_HD Blend blend_of(Model model) {
  return model == Model::kLapse ? Blend::kClick : model == Model::kCrowdBt ? Blend::kMirror : Blend::kNone;
}

/// Where a population's share of meant votes is thought to lie before the votes are seen: lapse rates of 5 %, etas of
/// 0.85; give or take one logit.
VOXPOP_HD double prior_share_mean(Model model) { return model == Model::kLapse ? 2.94 : 1.73; }

enum class Phase {
  kNewton,      ///< annotators near their modes, by Newton steps, which are cheap
  kQuadrature,  ///< then to their posterior means, whose moments the population's are
  kSweeps,      ///< at last components alone, with the finer mixture
  kDone
};

struct FitState {
  Model model = Model::kRater;
  int max_iterations = 200;  ///< of annotators, in all
  double tolerance = 0.2;    ///< see FitOptions
  double voters = 0;         ///< annotators who have votes
  int levels = 1;            ///< largest strength of a vote
  bool tie_band = false;     ///< ties are a band around 0, whose width is estimated
  double lowest_share_logit = -kLargestShareLogit;
  int covariates = 0;  ///< columns of X
  int tastes = 0;      ///< the first so many are features for which annotators have tastes
  /// Annotators have priors of their own, from an earlier fit, which fix the scale, too: the population is not
  /// estimated, only what their moments are, as a sign of what still moves.
  bool own_priors = false;
  bool own_tastes = false;   ///< and so have their tastes
  bool known_scale = false;  ///< thresholds are the earlier fit's

  Phase phase = Phase::kNewton;
  Population population;
  VoteScale scale{};
  double coefficient[kMaxCovariates] = {}, coefficient_variance[kMaxCovariates] = {};
  double last_coefficient[kMaxCovariates] = {};  ///< an iteration ago, before the stretch
  double coefficient_prior[kMaxCovariates] = {}, coefficient_prior_variance[kMaxCovariates] = {};
  double taste_variance[kMaxCovariates] = {};  ///< of annotators' tastes
  double taste_shift[kMaxCovariates] = {};     ///< what the last iteration moved from tastes to coefficients
  int iterations = 0, last_sweeps = 0;
  bool converged = false;
  double change = 0;  ///< what still moved in the last iteration

  std::uint32_t stride = 1;
  int sweeps = 4;  ///< of the next pass
  double stretch = 1;
  double damping = 1;    ///< of annotators' moves, thresholds' moves and the stretch
  double last_step = 0;  ///< of the population's mean, before the stretch
  double last_move = 0;  ///< and with it
  int swings = 0;        ///< either of them from side to side, one time after another
};

/// While the sites are young, the spread of annotators stays small: else one may settle on the mirrored side.
inline constexpr int kWarmUp = 5;

/// A pair's mean may still move by this, in posterior sds, when EP counts as settled.
inline constexpr float kSettled = 1e-2f;
inline constexpr int kMostLastSweeps = 50;

struct AnnotatorTotals {
  std::int64_t gradient = 0, information = 0;  ///< bt
  std::int64_t discrimination = 0;             ///< sum over annotators who have votes
  std::int64_t gamma2 = 0, beta2 = 0;          ///< squares about the population's mean, variances included
  std::int64_t share = 0, share2 = 0;          ///< logits of shares, and their squares about the population's mean
  std::int64_t taste2[kMaxCovariates] = {};    ///< squares of tastes, variances included
  std::int64_t gamma_taste[kMaxCovariates] = {}, gamma_square = 0;  ///< see share_tastes()
  float longest_step = 0;  ///< of an annotator's gamma, in its posterior sds; with own priors also of its share
};

VOXPOP_HD bool is_warm(const FitState& s) {
  return has_discriminations(s.model) && (s.own_priors || s.iterations >= kWarmUp);
}

VOXPOP_HD PassOptions next_pass(const FitState& s) {
  PassOptions pass;
  pass.sweeps = s.sweeps;
  pass.stride = s.stride;
  pass.stretch = static_cast<float>(s.stretch);
  pass.annotators = s.phase != Phase::kSweeps;
  pass.grid = s.phase == Phase::kQuadrature;
  pass.uncertain = is_warm(s) || (s.phase != Phase::kNewton && has_discriminations(s.model));
  pass.exact = s.phase == Phase::kSweeps;
  pass.blend = blend_of(s.model);
  pass.scale = s.scale;
  for (int k = 0; k < s.covariates; ++k) pass.coefficient[k] = static_cast<float>(s.coefficient[k]);
  return pass;
}

/// How far an annotator went, in its posterior sds.
VOXPOP_HD double distance(const AnnotatorPosterior& from, const AnnotatorPosterior& to) {
  const double gamma = fabs(to.discrimination - from.discrimination), share = fabs(to.share_logit - from.share_logit);
  return larger(to.discrimination_variance > 0 ? gamma / sqrt(to.discrimination_variance) : 0.0,
                to.share_variance > 0 ? share / sqrt(to.share_variance) : 0.0);
}

/// Moves one annotator, from what its votes say. `own`: its prior, where s.own_priors.
VOXPOP_HD void update_annotator(const FitState& s, AnnotatorPosterior& a, const Population* own,
                                const AnnotatorSums& sums, const GridSums& grid, AnnotatorTotals& totals) {
  const bool mixes = blend_of(s.model) != Blend::kNone, rates = has_discriminations(s.model);
  const Population& prior = s.own_priors ? *own : s.population;
  const AnnotatorPosterior before = a;
  ShareRidge ridge;
  if (mixes) ridge = step_share(a, sums, prior, s.lowest_share_logit, !rates);
  if (!rates) {
    totals.gradient += sums.gradient_gamma;
    totals.information += sums.information_gamma;
  } else if (s.phase == Phase::kNewton) {
    newton_step(a, sums, prior, s.damping);
    // From where it was an iteration ago: a step that only undoes the stretch is none.
    const double moved = fabs(a.discrimination - before.discrimination / s.stretch);
    totals.longest_step = larger(totals.longest_step, static_cast<float>(moved / sqrt(a.discrimination_variance)));
  } else if (s.phase == Phase::kQuadrature) {
    integrate_discrimination(a, sums, grid, prior, s.damping);
  }
  if (mixes && rates && s.phase != Phase::kSweeps) widen(a, ridge, prior);
  if (s.own_priors) totals.longest_step = larger(totals.longest_step, static_cast<float>(distance(before, a)));
}

/// Moves one annotator's tastes [tastes], from what its votes say; `votes`: how many those are. `own` [tastes]: their
/// priors, where s.own_tastes.
VOXPOP_HD void update_tastes(const FitState& s, const AnnotatorPosterior& a, Taste* tastes, const Taste* own,
                             const TasteSums* sums, std::uint32_t votes, AnnotatorTotals& totals) {
  for (int k = 0; k < s.tastes; ++k) {
    if (s.own_tastes)
      step_taste(tastes[k], sums[k], own[k].mean, own[k].variance);
    else
      step_taste(tastes[k], sums[k], 0, s.taste_variance[k]);
    const double mean = tastes[k].mean;
    if (votes == 0) continue;
    totals.taste2[k] += to_fixed(mean * mean + tastes[k].variance);
    totals.gamma_taste[k] += to_fixed(a.discrimination * mean);
  }
  if (s.tastes > 0 && votes > 0) totals.gamma_square += to_fixed(a.discrimination * a.discrimination);
}

VOXPOP_HD void add_mean(const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  totals.discrimination += to_fixed(a.discrimination);
  totals.share += to_fixed(a.share_logit);
}

/// The population with its means given its annotators; hyperprior: N(1, 1), shares N(prior_share_mean(), 1).
VOXPOP_HD Population with_means(const FitState& s, const AnnotatorTotals& totals) {
  Population next = s.population;
  const double weight = 1 / s.population.variance, share_weight = 1 / s.population.share_variance;
  const double mean = (from_fixed(totals.discrimination) * weight + 1) / (s.voters * weight + 1);
  // A population of adversaries is the mirror image of the truth: the sign of all scores is fixed by this.
  if (has_discriminations(s.model)) next.mean = clamped(mean, 0.05, kLargestMean);
  if (blend_of(s.model) != Blend::kNone)
    next.share_mean =
        (from_fixed(totals.share) * share_weight + prior_share_mean(s.model)) / (s.voters * share_weight + 1);
  return next;
}

/// `centre`: the population with its means.
VOXPOP_HD void add_spread(const Population& centre, const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  const double off = a.discrimination - centre.mean, share_off = a.share_logit - centre.share_mean;
  totals.gamma2 += to_fixed(off * off + a.discrimination_variance);
  totals.beta2 += to_fixed(a.side_bias * a.side_bias + a.side_bias_variance);
  totals.share2 += to_fixed(share_off * share_off + a.share_variance);
}

/// Moment estimates; hyperprior: as if two more annotators had been seen, each with variance 0.1 (0.5 of shares).
VOXPOP_HD Population with_spreads(const FitState& s, Population next, const AnnotatorTotals& totals) {
  if (is_warm(s)) {
    next.variance = smaller((from_fixed(totals.gamma2) + 0.2) / (s.voters + 2), kLargestVariance);
    next.side_bias_variance = (from_fixed(totals.beta2) + 0.2) / (s.voters + 2);
  }
  if (blend_of(s.model) != Blend::kNone && s.iterations >= kWarmUp)
    next.share_variance = (from_fixed(totals.share2) + 1) / (s.voters + 2);
  return next;
}

/// Moment estimates of the tastes' spread; hyperprior: as if two more annotators had been seen, with variance 0.02.
VOXPOP_HD double spread_tastes(FitState& s, const AnnotatorTotals& totals) {
  if (s.own_tastes || s.iterations < kWarmUp) return 0;
  double moved = 0;
  for (int k = 0; k < s.tastes; ++k) {
    const double next = (from_fixed(totals.taste2[k]) + 0.04) / (s.voters + 2);
    moved = larger(moved, fabs(sqrt(next) - sqrt(s.taste_variance[k])));
    s.taste_variance[k] = next;
  }
  return moved;
}

/// Moving a coefficient by x and every taste by -gamma x changes no vote's logit: alone, each would hardly move, held
/// by the others. So the move that leaves tastes smallest is made at once.
VOXPOP_HD void share_tastes(FitState& s, const AnnotatorTotals& totals) {
  for (int k = 0; k < s.tastes && !s.own_tastes; ++k) {
    s.taste_shift[k] = from_fixed(totals.gamma_taste[k]) / larger(from_fixed(totals.gamma_square), 1e-3);
    s.coefficient[k] += s.taste_shift[k];
    s.coefficient_variance[k] += s.taste_variance[k] / larger(from_fixed(totals.gamma_square), 1e-3);
  }
}

/// Where tastes' variance starts, and what coefficients' prior variance is without an earlier fit: both weak.
inline constexpr double kFirstTasteVariance = 0.05, kCoefficientVariance = 9;

/// Coefficients towards their maximum a posteriori: a Newton step.
VOXPOP_HD void settle_coefficients(FitState& s, const CovariateSums& sums) {
  double precision[kMaxCovariates * kMaxCovariates], gradient[kMaxCovariates];
  const int n = s.covariates;
  if (n == 0) return;
  for (int k = 0; k < n; ++k) {
    const double prior = s.coefficient_prior_variance[k];
    for (int l = 0; l <= k; ++l)
      precision[k * n + l] = from_fixed(sums.information[triangle(k, l)]) + (k == l ? 1 / prior : 0.0);
    precision[k * n + k] = larger(precision[k * n + k], 1 / prior);
    gradient[k] = from_fixed(sums.gradient[k]) - (s.coefficient[k] - s.coefficient_prior[k]) / prior;
  }
  invert_positive_definite(precision, n);
  for (int k = 0; k < n; ++k) {
    double step = 0;
    for (int l = 0; l < n; ++l) step += precision[k >= l ? k * n + l : l * n + k] * gradient[l];
    step = clamped(step, -kLongestStep, kLongestStep);
    s.coefficient[k] += step;
    s.coefficient_variance[k] = precision[k * n + k];
  }
}

/// How far the farthest is from where it was an iteration ago: tastes and the stretch may undo a step.
VOXPOP_HD double coefficients_moved(FitState& s) {
  double farthest = 0;
  for (int k = 0; k < s.covariates; ++k) {
    farthest = larger(farthest, fabs(s.coefficient[k] - s.last_coefficient[k]));
    s.last_coefficient[k] = s.coefficient[k];
  }
  return farthest;
}

/// Thresholds that come too close would leave the votes between them no room.
inline constexpr double kNarrowest = 0.02;

/// Where thresholds start: a logit apart.
VOXPOP_HD VoteScale starting_scale(int levels, bool tie_band) {
  VoteScale scale{};
  for (int k = 1; k <= levels; ++k) scale.edge[k] = static_cast<float>(k - 1) + (tie_band ? 0.5f : 0.0f);
  scale.edge[0] = -scale.edge[1];
  return scale;
}

/// Thresholds towards their maximum, prior N(0, 25); `sums` [levels + 1] by number of threshold, from 1. Information is
/// of each threshold alone, with that of its neighbours added: so all may move at once. Returns the longest step.
VOXPOP_HD double settle_thresholds(FitState& s, const ThresholdSums* sums) {
  double longest = 0;
  if (s.known_scale) return longest;
  for (int k = s.tie_band ? 1 : 2; k <= s.levels; ++k) {
    const double before = s.scale.edge[k];
    const double precision = larger(from_fixed(sums[k].information), 1.0) + 0.04;
    const double step =
        clamped((from_fixed(sums[k].gradient) - before * 0.04) / precision, -kLongestStep, kLongestStep);
    const double lowest = (k == 1 ? 0.0 : static_cast<double>(s.scale.edge[k - 1])) + kNarrowest;
    s.scale.edge[k] = static_cast<float>(larger(before + s.damping * step, lowest));
    longest = larger(longest, fabs(s.scale.edge[k] - before));
  }
  s.scale.edge[0] = -s.scale.edge[1];
  return longest;
}

/// The slow direction of the iteration is the common scale of all discriminations, which trades against the spread of
/// all scores: given one, the other hardly moves. So the scores' prior sd is let free for a moment, estimated, and set
/// back to 1 by stretching discriminations instead (parameter expansion; Liu, Rubin and Wu 1998). Returns that factor:
/// where p(scores | sd) N(mean * sd; 1, 1) peaks, with the hyperprior of the discriminations' mean.
VOXPOP_HD double expansion(const SolveSums& solved, double mean) {
  const double squares = from_fixed(solved.squares), freedom = static_cast<double>(solved.freedom);
  double low = 0.7, high = 1.4;
  for (int i = 0; i < 40; ++i) {
    const double sd = 0.5 * (low + high);
    const double gradient = (squares / (sd * sd) - freedom) / sd - mean * (mean * sd - 1);
    if (gradient > 0)
      low = sd;
    else
      high = sd;
  }
  return low;
}

/// Settled when the population moves by less, in an iteration; with own priors, coefficients and a tenth of the longest
/// step.
VOXPOP_HD double allowed_change(const FitState& s) {
  if (s.own_priors) return 0.05 * s.tolerance;
  return smaller(0.01, s.tolerance * sqrt(s.population.variance / s.voters));
}

namespace detail {

/// Where all discriminations are alike: the common one towards its maximum a posteriori under N(1, 1). `others`: how
/// far thresholds and coefficients moved.
VOXPOP_HD bool settle_common(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next,
                             double others) {
  const Population before = s.population;
  const double gradient = from_fixed(totals.gradient) + 1 - before.mean;
  const double information = larger(from_fixed(totals.information) + 1, 1.0);
  const double stepped = before.mean + clamped(gradient / information, -kLongestStep, kLongestStep);
  next.mean = s.own_priors ? before.mean : clamped(stepped * expansion(solved, stepped), 0.01, kLargestMean);
  s.stretch = next.mean / before.mean;
  s.change = fabs(next.mean - before.mean) + fabs(next.share_mean - before.share_mean) + others;
  s.population = next;
  if (s.own_priors) {
    s.change = 0.1 * totals.longest_step + others;
    return s.change < allowed_change(s);
  }
  return s.change < (s.stride > 1 ? 0.02 : 0.002) * s.population.mean;
}

/// `next`: the population as its annotators say.
VOXPOP_HD bool settle_population(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next,
                                 double others) {
  const Population before = s.population;
  const double step = next.mean - before.mean;
  s.stretch = is_warm(s) && !s.own_priors
                  ? smaller(1 + s.damping * (expansion(solved, next.mean) - 1), kLargestMean / next.mean)
                  : 1.0;
  next.mean *= s.stretch;
  next.variance = smaller(next.variance * s.stretch * s.stretch, kLargestVariance);
  // Where a few annotators share most votes, or thresholds and discriminations answer each other, all moving at once
  // may swing from side to side for good. So may scores and discriminations where votes are many: each answers what
  // the other was before, and the stretch, which sets both right, hides it; or it is what swings.
  const double move = next.mean - before.mean;
  const bool back = (step * s.last_step < 0 && fabs(step) > 0.5 * fabs(s.last_step)) ||
                    (move * s.last_move < 0 && fabs(move) > 0.8 * fabs(s.last_move));
  s.swings = back ? s.swings + 1 : 0;
  if (s.swings >= 3) {
    s.damping = larger(0.5 * s.damping, 0.1);
    s.swings = 0;
  }
  s.last_step = step;
  s.last_move = move;
  s.change = fabs(next.mean - before.mean) + fabs(sqrt(next.variance) - sqrt(before.variance)) +
             fabs(sqrt(next.side_bias_variance) - sqrt(before.side_bias_variance)) +
             0.5 * fabs(next.share_mean - before.share_mean) + others;
  s.population = next;
  if (s.own_priors) {
    s.change = 0.1 * totals.longest_step + others;
    return s.change < (s.phase == Phase::kQuadrature ? 1 : 5) * allowed_change(s);
  }
  if (s.phase == Phase::kQuadrature) return s.change < s.damping * allowed_change(s);  // there is more to go
  return s.iterations > kWarmUp && s.change < 5 * allowed_change(s) && totals.longest_step <= 1;
}

}  // namespace detail

/// After a pass and its annotators: what the next iteration will be. `centre`: from with_means(). `thresholds`: see
/// settle_thresholds().
VOXPOP_HD void end_iteration(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals,
                             const Population& centre, const ThresholdSums* thresholds,
                             const CovariateSums& covariates) {
  s.sweeps = 1;
  if (s.phase == Phase::kSweeps) {  // annotators stay as they are
    s.stretch = 1;
    ++s.last_sweeps;
    const bool settled = solved.change <= kSettled;
    if (!settled && s.last_sweeps < kMostLastSweeps) return;
    s.converged = s.converged && settled;
    s.change = larger(s.change, static_cast<double>(solved.change));
    s.phase = Phase::kDone;
    return;
  }
  const double thresholds_moved = settle_thresholds(s, thresholds), tastes_spread = spread_tastes(s, totals);
  settle_coefficients(s, covariates);
  share_tastes(s, totals);
  const double others = thresholds_moved + coefficients_moved(s) + 0.1 * tastes_spread;
  const Population next = with_spreads(s, centre, totals);
  const bool settled = has_discriminations(s.model) ? detail::settle_population(s, solved, totals, next, others)
                                                    : detail::settle_common(s, solved, totals, next, others);
  for (int k = 0; k < s.covariates; ++k) s.coefficient[k] /= s.stretch;  // in units of the scores' sd, as scores are
  ++s.iterations;
  if (settled && s.stride > 1) {
    s.stride = 1;
    s.sweeps = 4;  // on to all votes; most components have not been seen yet
  } else if (settled && has_discriminations(s.model) && s.phase == Phase::kNewton) {
    s.phase = Phase::kQuadrature;
  } else if (settled) {
    s.converged = true;
    s.phase = Phase::kSweeps;
  }
  if (s.iterations >= s.max_iterations) s.phase = Phase::kSweeps;
  if (s.phase == Phase::kSweeps && s.stride > 1) {  // given up on the sample: labels are of all votes
    s.stride = 1;
    s.sweeps = 4;
  }
}

/// Tastes [tastes] follow what end_iteration() moved to coefficients; before finish_annotator().
VOXPOP_HD void finish_tastes(const FitState& s, const AnnotatorPosterior& a, Taste* tastes) {
  for (int k = 0; k < s.tastes; ++k) tastes[k].mean -= static_cast<float>(a.discrimination * s.taste_shift[k]);
}

/// An annotator follows the stretch that end_iteration() decided, within limits: a crowd of few, mostly adversaries,
/// keeps the population's mean at its lowest, and would be stretched for ever. Where all are alike, it takes the common
/// value.
VOXPOP_HD void finish_annotator(const FitState& s, AnnotatorPosterior& a) {
  if (!has_discriminations(s.model)) {
    a.discrimination = s.population.mean;
    return;
  }
  a.discrimination = clamped(a.discrimination * s.stretch, -kLargestDiscrimination, kLargestDiscrimination);
  a.discrimination_variance *= s.stretch * s.stretch;
  a.covariance *= s.stretch;
}

}  // namespace voxpop
