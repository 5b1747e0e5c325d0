#pragma once
// The fit as a state machine that advances after each pass over the votes. Host and device run the same functions, so
// iterations on a device need no host in between. An iteration is:
//   a pass over votes, controlled by next_pass() -> sums per annotator, PassSums
//   update_annotator() for each annotator        -> AnnotatorTotals, by add_mean()
//   with_means(), then add_spread() for each     -> AnnotatorTotals again
//   end_iteration(), then finish_annotator() for each.
// Totals are integers, so the order of annotators does not change the result.

#include "formulas/cholesky.h"
#include "formulas/covariates.h"
#include "formulas/likelihood.h"
#include "formulas/sources.h"
#include "voxpop/model.h"

namespace voxpop {

/// What a vote may be if it is not meant: kNone: every vote is meant; kMirror: a vote for the other item (crowd-bt).
enum class Blend { kNone, kMirror };

/// What one pass over the votes should do.
struct PassOptions {
  int sweeps = 1;            ///< EP sweeps over each component; a sweep is a solve, then new sites
  std::uint32_t stride = 1;  ///< only every `stride`-th batch of small components: a sample
  float stretch = 1;         ///< factor of all discriminations since the last pass; sites are read accordingly
  bool annotators = false;   ///< compute gradients and information of annotators, from the last sweep's cavities
  bool grid = false;         ///< compute the log-likelihood of each annotator at its quadrature nodes
  bool uncertain = false;    ///< sites integrate over the annotators' variances; false: annotators are taken as known
  bool exact = false;        ///< use the finer mixture kExact; for the last passes
  Blend blend = Blend::kNone;
  VoteScale scale{};
  float coefficient[kMaxCovariates] = {};  ///< c: the prior means of scores are X c
  /// Variance of what prompts add to annotators' tie habits; 0: prompts add nothing. See step_prompt().
  float prompt_variance = 0, prompt_shift = 0, prompt_damping = 1;
  float site_step = 1;      ///< part of the way to their new values that sites move
  float view_variance = 0;  ///< of annotators' own views, in squared units of scores: see views.h; 0: no views
  float prior_scale = 0;    ///< factor of the prior means by embeddings: see PriorArrays
};

/// Sums over solved components. Integers and a maximum, so the order does not matter.
struct SolveSums {
  float change = 0;  ///< largest change of a pair's mean in the last sweep, in posterior sds; infinite if it was NaN
  /// Sum of E[s'Ps] under the posterior, in fixed point. s: scores relative to their prior means. P: prior precision, I
  /// without embeddings.
  std::int64_t squares = 0;
  std::int64_t freedom = 0;       ///< degrees of freedom of `squares`: items minus one, summed over components
  std::int64_t log_evidence = 0;  ///< the components' part of the log evidence, in fixed point; only if slot moments
                                  ///< are computed
};

/// Sums over the prompts that moved. `prompts`: their number. The others are in fixed point: sums of the means; of the
/// squared means plus variances; and of the squared shares of each prompt's precision that come from the votes.
struct PromptTotals {
  std::int64_t prompts = 0, mean = 0, square = 0, told = 0;
};

/// What the blocks say about the variance of annotators' own views (views.h): the derivative of the log evidence and
/// its information, in fixed point.
struct ViewTotals {
  std::int64_t score = 0, information = 0;
};

/// What a component's votes say about the part that their prompt adds to tie habits; in fixed point.
struct HabitSums {
  std::int64_t gradient, information;
};

inline constexpr double kLongestPromptStep = 0.5;

/// Newton step on a prompt's part tau of tie habits, with prior N(0, pass.prompt_variance). The stored mean must be
/// read minus pass.prompt_shift. This shift is the mean over all prompts one iteration ago, which annotators' habits
/// absorb.
VOXPOP_HD void step_prompt(TieHabit& prompt, const HabitSums& sums, const PassOptions& pass, PromptTotals& totals) {
  const double spread = pass.prompt_variance;
  if (sums.gradient == 0 && sums.information == 0) {  // no vote of this prompt is seen
    prompt = {pass.prompt_shift, pass.prompt_variance};
    return;
  }
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / spread;
  double mean = static_cast<double>(prompt.mean) - pass.prompt_shift;
  const double step =
      clamped((from_fixed(sums.gradient) - mean / spread) / precision, -kLongestPromptStep, kLongestPromptStep);
  const double whole = mean + step;  // the undamped mean: damped means lag behind the variances, and the spread would
                                     // oscillate
  mean += pass.prompt_damping * step;
  prompt = {static_cast<float>(mean), static_cast<float>(1 / precision)};
  const double told = 1 - 1 / (precision * spread);
  ++totals.prompts;
  add_fixed(totals.mean, to_fixed(mean));
  add_fixed(totals.square, to_fixed(whole * whole + 1 / precision));
  add_fixed(totals.told, to_fixed(told * told));
}

VOXPOP_HD bool has_discriminations(Model model) { return model == Model::kRater; }
VOXPOP_HD Blend blend_of(Model model) { return model == Model::kCrowdBt ? Blend::kMirror : Blend::kNone; }

/// Prior of the population's mean eta, as a logit: 0.85, with an sd of one logit.
inline constexpr double kPriorShareMean = 1.73;

enum class Phase {
  kNewton,      ///< annotators move to their modes by Newton steps, which are cheap
  kQuadrature,  ///< then to their posterior means by quadrature; the population's moments need means
  kSweeps,      ///< at the end only components, with the finer mixture
  kDone
};

struct FitState {
  Model model = Model::kRater;
  int max_iterations = 200;  ///< limit on annotator iterations in total
  double tolerance = 0.2;    ///< see FitOptions
  double voters = 0;         ///< number of annotators with votes
  int levels = 1;            ///< largest strength of a vote
  bool own_ties = false;     ///< ties are a separate answer, with tie habits
  bool by_prompt = false;    ///< prompts add to tie habits
  double lowest_share_logit = -kLargestShareLogit;
  int covariates = 0;  ///< number of columns of X
  int tastes = 0;      ///< the first `tastes` covariates are features, for which annotators have tastes
  /// Annotators have priors of their own, from an earlier fit. These also fix the scale. The population is then not
  /// estimated; its moments only show what still moves.
  bool own_priors = false;
  bool some_known = false;   ///< some annotators have priors of their own in addition to the population's: prior_of()
  bool own_tastes = false;   ///< tastes have priors of their own, from an earlier fit
  bool known_scale = false;  ///< thresholds are those of the earlier fit
  int sources = 0;
  bool own_sources = false;  ///< sources have priors of their own, from an earlier fit, which also fix their level

  Phase phase = Phase::kNewton;
  Population population;
  VoteScale scale{};
  double prompt_variance = 0.1, prompt_shift = 0;  ///< see step_prompt()
  double prompt_step = 0.7, last_prompt_move = 0;  ///< see settle_prompts()
  bool tests_views = false;                        ///< it is not yet known whether annotators have own views
  double view_variance = 0;                        ///< of annotators' own views; 0: no views
  /// `prior_scale`: factor of the prior means by embeddings (src/fit/score_prior.h), in prior units; 0: no prior means
  /// yet. `prior_explained`: sd of these means at scale 1.
  double prior_scale = 0, prior_explained = 0;
  double haste = 1;  ///< factor that lengthens the steps of the scores' sd: see settle_population()
  double coefficient[kMaxCovariates] = {}, coefficient_variance[kMaxCovariates] = {};
  double last_coefficient[kMaxCovariates] = {};  ///< one iteration ago, before the stretch
  double coefficient_prior[kMaxCovariates] = {}, coefficient_prior_variance[kMaxCovariates] = {};
  double taste_variance[kMaxCovariates] = {};     ///< variance of annotators' tastes
  double taste_shift[kMaxCovariates] = {};        ///< moved from tastes to coefficients in the last iteration
  double source_variance = kFirstSourceVariance;  ///< variance of sources' scores
  int iterations = 0, last_sweeps = 0;
  bool converged = false;
  double change = 0;  ///< how much still moved in the last iteration

  std::uint32_t stride = 1;
  int sweeps = 4;  ///< sweeps of the next pass
  double stretch = 1;
  double damping = 1;          ///< of steps of annotators, thresholds and the stretch
  double last_step = 0;        ///< of the population's mean, before the stretch
  double last_move = 0;        ///< of the population's mean, including the stretch
  double last_habit_step = 0;  ///< of the mean tie habit
  int swings = 0;              ///< consecutive iterations in which one of these changed direction
  bool creeps = true;          ///< whether the spreads still move in one direction: see hastened()
  double last_spread = 0, last_side_spread = 0;
};

/// Iterations before annotators' spread may grow. While sites still change much, an annotator could converge to the
/// solution with the opposite sign.
inline constexpr int kWarmUp = 5;

/// EP has converged if no pair's mean moves by more than this, in posterior sds.
inline constexpr float kSettled = 1e-2f;
inline constexpr int kMostLastSweeps = 50;
/// After this many last sweeps, all sites move only half of the way; after twice as many, a quarter. Otherwise some
/// sites alternate forever, for example if an item wins all its votes.
inline constexpr int kFreeLastSweeps = 8;

struct AnnotatorTotals {
  std::int64_t gradient = 0, information = 0;  ///< for Bradley-Terry
  std::int64_t discrimination = 0;             ///< sum over annotators with votes
  std::int64_t gamma2 = 0, beta2 = 0;          ///< sums of squares around the population's mean, plus variances
  std::int64_t share = 0, share2 = 0;  ///< logits of shares: sum, and sum of squares around the population's mean, plus
                                       ///< variances
  std::int64_t habit = 0, habit2 = 0;  ///< the same for tie habits
  std::int64_t gradient_habit = 0, information_habit = 0;           ///< if all annotators share one habit
  std::int64_t taste2[kMaxCovariates] = {};                         ///< sums of squares of tastes, plus variances
  std::int64_t gamma_taste[kMaxCovariates] = {}, gamma_square = 0;  ///< see share_tastes()
  float longest_step = 0;  ///< longest step of an annotator's gamma, in its posterior sds; with own priors also of its
                           ///< share
  std::int64_t source = 0, source2 = 0;  ///< sources' scores: sum, and sum of squares after centring, plus variances
  float source_step = 0;                 ///< longest step of a source, in its posterior sds
};

/// The larger move. NaN if either is NaN; otherwise a diverged fit would look converged.
template <class Real>
VOXPOP_HD Real farther(Real a, Real b) {
  return a > b || a != a ? a : b;
}

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
  if (s.by_prompt) pass.prompt_variance = static_cast<float>(s.prompt_variance);
  pass.prompt_shift = static_cast<float>(s.prompt_shift);
  pass.prompt_damping = static_cast<float>(s.damping);
  pass.view_variance = static_cast<float>(s.view_variance);
  pass.prior_scale = static_cast<float>(s.prior_scale);
  if (s.last_sweeps >= kFreeLastSweeps) pass.site_step = s.last_sweeps < 2 * kFreeLastSweeps ? 0.5f : 0.25f;
  return pass;
}

/// Distance that an annotator moved, in its posterior sds.
VOXPOP_HD double distance(const AnnotatorPosterior& from, const AnnotatorPosterior& to) {
  const double gamma = fabs(to.discrimination - from.discrimination), share = fabs(to.share_logit - from.share_logit);
  return farther(to.discrimination_variance <= 0 ? 0.0 : gamma / sqrt(to.discrimination_variance),
                 to.share_variance <= 0 ? 0.0 : share / sqrt(to.share_variance));
}

/// What is known about one annotator if FitState::some_known. In order: its discrimination, as for gold; that the
/// annotator is good, so its prior lies around the population's root mean square; or nothing beyond the population.
VOXPOP_HD Population known_discrimination(double discrimination) { return {.mean = discrimination, .variance = 0}; }
VOXPOP_HD Population known_to_be_good() { return {.mean = 1, .variance = 0.25}; }
VOXPOP_HD Population not_known() { return {.mean = 0, .variance = -1}; }

/// Typical size of a population's discriminations, whatever their sign.
VOXPOP_HD double root_mean_square(const Population& population) {
  return sqrt(population.mean * population.mean + population.variance);
}

/// An annotator's prior. `own`: with s.own_priors the prior from an earlier fit; with s.some_known one of the three
/// above.
VOXPOP_HD Population prior_of(const FitState& s, const Population* own) {
  if (s.own_priors) return *own;
  Population prior = s.population;
  if (!s.some_known || own->variance < 0) return prior;
  const double unit = own->variance > 0 ? root_mean_square(prior) : 1;
  prior.mean = own->mean * unit;
  prior.variance = own->variance * unit * unit;
  return prior;
}

/// State of an annotator with known discrimination. Gold (discrimination above 0) never ties; an annotator held at 0
/// ties like the population.
VOXPOP_HD AnnotatorPosterior known_annotator(const Population& prior, const Population& population) {
  return {.discrimination = prior.mean, .habit_logit = prior.mean > 0 ? -20 : population.habit_mean};
}

/// Whether the annotator is fixed: its discrimination has variance 0.
VOXPOP_HD bool is_known(const AnnotatorPosterior& a) { return a.discrimination_variance == 0; }

/// Moves one annotator by what its votes say. `own`: see prior_of(); may be null if neither own_priors nor some_known.
VOXPOP_HD void update_annotator(const FitState& s, AnnotatorPosterior& a, const Population* own,
                                const AnnotatorSums& sums, const GridSums& grid, AnnotatorTotals& totals) {
  const bool mixes = blend_of(s.model) != Blend::kNone, rates = has_discriminations(s.model);
  const Population prior = prior_of(s, own);
  if (rates && prior.variance == 0) {
    a = known_annotator(prior, s.population);
    return;
  }
  const AnnotatorPosterior before = a;
  if (mixes) step_share(a, sums, prior, s.lowest_share_logit);
  if (rates && s.own_ties) step_habit(a, sums, prior, s.damping);
  if (!rates) {
    add_fixed(totals.gradient, sums.gradient_gamma);
    add_fixed(totals.information, sums.information_gamma);
    add_fixed(totals.gradient_habit, sums.gradient_habit);
    add_fixed(totals.information_habit, sums.information_habit);
  } else if (s.phase == Phase::kNewton) {
    newton_step(a, sums, prior, s.damping);
    // Measured from the value one iteration ago, so that a step that only undoes the stretch counts as 0.
    const double moved = fabs(a.discrimination - before.discrimination / s.stretch);
    totals.longest_step = farther(totals.longest_step, static_cast<float>(moved / sqrt(a.discrimination_variance)));
  } else if (s.phase == Phase::kQuadrature) {
    integrate_discrimination(a, sums, grid, prior, s.damping);
  }
  if (s.own_priors) totals.longest_step = farther(totals.longest_step, static_cast<float>(distance(before, a)));
}

/// Moves one annotator's tastes [tastes] by what its votes say. `votes`: number of its votes. `own` [tastes]: priors of
/// the tastes, if s.own_tastes; else unused.
VOXPOP_HD void update_tastes(const FitState& s, const AnnotatorPosterior& a, Taste* tastes, const Taste* own,
                             const TasteSums* sums, std::uint32_t votes, AnnotatorTotals& totals) {
  for (int k = 0; k < s.tastes && !is_known(a); ++k) {
    if (s.own_tastes)
      step_taste(tastes[k], sums[k], own[k].mean, own[k].variance);
    else
      step_taste(tastes[k], sums[k], 0, s.taste_variance[k]);
    const double mean = tastes[k].mean;
    if (votes == 0) continue;
    add_fixed(totals.taste2[k], to_fixed(mean * mean + tastes[k].variance));
    add_fixed(totals.gamma_taste[k], to_fixed(a.discrimination * mean));
  }
  if (s.tastes > 0 && votes > 0) add_fixed(totals.gamma_square, to_fixed(a.discrimination * a.discrimination));
}

VOXPOP_HD void add_mean(const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  add_fixed(totals.discrimination, to_fixed(a.discrimination));
  add_fixed(totals.share, to_fixed(a.share_logit));
  add_fixed(totals.habit, to_fixed(a.habit_logit));
}

/// One habit for all annotators: a step towards its maximum a posteriori, prior N(0, 25).
VOXPOP_HD double common_habit(const FitState& s, const AnnotatorTotals& totals) {
  const double before = s.population.habit_mean;
  const double information = larger(from_fixed(totals.information_habit) + 0.04, 1.0);
  return before + clamped((from_fixed(totals.gradient_habit) - 0.04 * before) / information, -kLongestPromptStep,
                          kLongestPromptStep);
}

/// Precision of the hyperprior of the discriminations' mean, N(1, 100). The prior is weak, so that votes that agree
/// almost always can lead to a large mean.
inline constexpr double kMeanPrecision = 0.01;

/// The population with its means estimated from its annotators. Hyperpriors: discriminations N(1, 100), logits of
/// shares N(kPriorShareMean, 1).
VOXPOP_HD Population with_means(const FitState& s, const AnnotatorTotals& totals) {
  Population next = s.population;
  const double weight = 1 / s.population.variance, share_weight = 1 / s.population.share_variance;
  const double mean =
      (from_fixed(totals.discrimination) * weight + kMeanPrecision) / (s.voters * weight + kMeanPrecision);
  // Votes cannot distinguish adversaries from a mirrored solution with good annotators. Keeping the mean above 0 fixes
  // the sign of all scores.
  if (has_discriminations(s.model)) next.mean = clamped(mean, 0.05, kLargestMean);
  if (blend_of(s.model) != Blend::kNone)
    next.share_mean = (from_fixed(totals.share) * share_weight + kPriorShareMean) / (s.voters * share_weight + 1);
  if (s.own_ties && s.voters > 0)
    next.habit_mean = has_discriminations(s.model) ? from_fixed(totals.habit) / s.voters : common_habit(s, totals);
  return next;
}

/// `centre`: the population with its new means.
VOXPOP_HD void add_spread(const Population& centre, const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  const double off = a.discrimination - centre.mean, share_off = a.share_logit - centre.share_mean;
  const double habit_off = a.habit_logit - centre.habit_mean;
  add_fixed(totals.gamma2, to_fixed(off * off + a.discrimination_variance));
  add_fixed(totals.beta2, to_fixed(a.side_bias * a.side_bias + a.side_bias_variance));
  add_fixed(totals.share2, to_fixed(share_off * share_off + a.share_variance));
  add_fixed(totals.habit2, to_fixed(habit_off * habit_off + a.habit_variance));
}

/// Moment estimates of the variances. Hyperprior: as if two more annotators with variance 0.1 had been seen (0.5 for
/// shares).
VOXPOP_HD Population with_spreads(const FitState& s, Population next, const AnnotatorTotals& totals) {
  if (is_warm(s)) {
    next.variance = smaller((from_fixed(totals.gamma2) + 0.2) / (s.voters + 2), kLargestVariance);
    next.side_bias_variance = (from_fixed(totals.beta2) + 0.2) / (s.voters + 2);
    if (s.own_ties) next.habit_variance = (from_fixed(totals.habit2) + 0.2) / (s.voters + 2);
  }
  if (blend_of(s.model) != Blend::kNone && s.iterations >= kWarmUp)
    next.share_variance = (from_fixed(totals.share2) + 1) / (s.voters + 2);
  return next;
}

/// Moment estimates of the tastes' variances. Hyperprior: as if two more annotators with variance 0.02 had been seen.
/// Returns how far the sds moved at most.
VOXPOP_HD double spread_tastes(FitState& s, const AnnotatorTotals& totals) {
  if (s.own_tastes || s.iterations < kWarmUp) return 0;
  double moved = 0;
  for (int k = 0; k < s.tastes; ++k) {
    const double next = (from_fixed(totals.taste2[k]) + 0.04) / (s.voters + 2);
    moved = farther(moved, fabs(sqrt(next) - sqrt(s.taste_variance[k])));
    s.taste_variance[k] = next;
  }
  return moved;
}

/// Moves the common part of the tastes to the coefficients. Adding x to a coefficient and -gamma x to every taste
/// changes no vote's logit, so single steps of either hardly move. This step takes at once the move that minimises the
/// tastes.
VOXPOP_HD void share_tastes(FitState& s, const AnnotatorTotals& totals) {
  for (int k = 0; k < s.tastes && !s.own_tastes; ++k) {
    s.taste_shift[k] = from_fixed(totals.gamma_taste[k]) / larger(from_fixed(totals.gamma_square), 1e-3);
    s.coefficient[k] += s.taste_shift[k];
    s.coefficient_variance[k] += s.taste_variance[k] / larger(from_fixed(totals.gamma_square), 1e-3);
  }
}

/// Starting variance of tastes; prior variance of coefficients without an earlier fit. Both priors are weak.
inline constexpr double kFirstTasteVariance = 0.05, kCoefficientVariance = 9;

/// Limit on the standard deviation of prior means, in units of the remaining sd of scores. If nothing remained,
/// coefficients in prior units would grow without limit and the unit would become 0.
inline constexpr double kMostExplained = 5;

/// Approximate standard deviation of X c plus the prior means by embeddings. Columns of X have sd 1.
VOXPOP_HD double explained(const FitState& s) {
  double squares = s.prior_scale * s.prior_scale * s.prior_explained * s.prior_explained;
  for (int k = 0; k < s.covariates; ++k) squares += s.coefficient[k] * s.coefficient[k];
  return sqrt(squares);
}

/// Newton step of the coefficients towards their maximum a posteriori.
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
  if (s.own_priors) return;
  const double shrink = smaller(1.0, kMostExplained / larger(explained(s), 1e-9));
  for (int k = 0; k < n; ++k) s.coefficient[k] *= shrink;
}

/// Largest change of a coefficient since the last iteration. This includes tastes and the stretch, which may undo a
/// step.
VOXPOP_HD double coefficients_moved(FitState& s) {
  double farthest = 0;
  for (int k = 0; k < s.covariates; ++k) {
    farthest = farther(farthest, fabs(s.coefficient[k] - s.last_coefficient[k]));
    s.last_coefficient[k] = s.coefficient[k];
  }
  return farthest;
}

/// Moves one source by what its items say. Not in the first iteration, when the sites are new.
VOXPOP_HD void update_source(const FitState& s, Source& source, const SourceSums& sums, AnnotatorTotals& totals) {
  if (!s.own_sources) source.prior_variance = s.source_variance;
  if (s.iterations > 0) step_source(source, sums);
  add_fixed(totals.source, to_fixed(source.score));
}

/// Votes compare sources but do not determine their level, so their mean is set to 0. `sum`: AnnotatorTotals::source of
/// all sources.
VOXPOP_HD void centre_source(const FitState& s, std::int64_t sum, Source& source, AnnotatorTotals& totals) {
  if (!s.own_sources) source.score -= from_fixed(sum) / s.sources;
  add_fixed(totals.source2, to_fixed(source.score * source.score + source.variance));
  const double moved = fabs(source.score - source.last) / sqrt(source.variance);
  totals.source_step = farther(totals.source_step, static_cast<float>(moved));
  source.last = source.score;
}

/// Moment estimate of the sources' variance. Hyperprior: as if two more sources with variance 0.1 had been seen.
/// Returns the longest step of a source, in its posterior sds.
VOXPOP_HD double spread_sources(FitState& s, const AnnotatorTotals& totals) {
  if (s.sources > 0 && s.iterations > 0 && !s.own_sources)
    s.source_variance = (from_fixed(totals.source2) + 0.2) / (s.sources + 2);
  return totals.source_step;
}

/// Converts a source's score to the new unit, the scores' sd.
VOXPOP_HD void finish_source(const FitState& s, Source& source) { source.score /= s.stretch; }

/// Estimates the variance of what prompts add to tie habits, by a damped Fisher step on its logarithm. Plain moment
/// estimates converge slowly if prompts have few votes. Prompts follow their variance, so it may oscillate: each change
/// of direction shortens the steps. Hyperprior: as if two more prompts with variance 0.1 had been seen. Returns how far
/// the sd moved.
VOXPOP_HD double settle_prompts(FitState& s, const PromptTotals& totals) {
  if (!s.by_prompt || totals.prompts == 0) return 0;
  const double before = s.prompt_variance, prompts = static_cast<double>(totals.prompts);
  s.prompt_shift = from_fixed(totals.mean) / prompts;
  if (s.iterations < 3) return 0;
  const double gradient = 0.5 * (from_fixed(totals.square) / before - prompts) - 1 + 0.1 / before;
  const double information = 0.5 * from_fixed(totals.told) + 1;
  const double move = clamped(s.prompt_step * gradient / information, -0.5, 0.5);
  if (move * s.last_prompt_move < 0) s.prompt_step = larger(0.5 * s.prompt_step, 0.05);
  s.last_prompt_move = move;
  s.prompt_variance = clamped(before * exp(move), 1e-4, 9);
  return fabs(sqrt(s.prompt_variance) - sqrt(before));
}

/// Starting variance of annotators' own views; and the variance during the test whether there are any.
inline constexpr double kFirstViewVariance = 0.05, kTestedViewVariance = 0.01;

/// Estimates the variance of annotators' own views, by a damped Newton step on its logarithm. This does not oscillate
/// if votes and views explain each other. Hyperprior: as if two more views with variance 0.02 had been seen. If it is
/// unknown whether there are views, a score test comes first: below three standard errors, there are none. Returns how
/// far the sd moved; for sds above 1 as a share of the sd, because labels depend on the ratio of scores to views.
VOXPOP_HD double settle_views(FitState& s, const ViewTotals& totals) {
  if (s.view_variance == 0 || s.iterations < 3) return 0;
  const double before = s.view_variance, score = from_fixed(totals.score), information = from_fixed(totals.information);
  if (s.tests_views) {
    s.tests_views = false;
    s.view_variance = score > 3 * sqrt(information) ? kFirstViewVariance : 0;
  } else {
    const double gradient = before * score - 1 + 0.02 / before;
    const double step = clamped(0.6 * gradient / (before * before * information + 1), -0.7, 0.7);
    s.view_variance = larger(before * exp(step), 1e-4);
  }
  return fabs(sqrt(s.view_variance) - sqrt(before)) / larger(sqrt(before), 1.0);
}

/// Minimum distance of neighbouring thresholds. Smaller distances leave no room for the votes between them; with ties
/// as a separate answer, rounding errors would matter as well.
inline constexpr double kNarrowest = 0.02, kNarrowestBesideTies = 0.1;

/// Starting values of thresholds: one logit apart.
VOXPOP_HD VoteScale starting_scale(int levels, bool own_ties) {
  VoteScale scale{};
  for (int k = 1; k <= levels; ++k) scale.edge[k] = static_cast<float>(k - 1);
  scale.own_ties = own_ties;
  return scale;
}

/// Steps of the thresholds towards their maximum a posteriori, prior N(0, 25). `sums` [levels + 1]: index is the
/// threshold's number, starting at 1. The information is that of each threshold, plus its cross information with the
/// neighbours, so that all thresholds can move at once. Returns the longest step.
VOXPOP_HD double settle_thresholds(FitState& s, const ThresholdSums* sums) {
  double longest = 0;
  if (s.known_scale) return longest;
  for (int k = 2; k <= s.levels; ++k) {
    const double before = s.scale.edge[k];
    const double precision = larger(from_fixed(sums[k].information), 1.0) + 0.04;
    const double step =
        clamped((from_fixed(sums[k].gradient) - before * 0.04) / precision, -kLongestStep, kLongestStep);
    const double lowest = s.scale.edge[k - 1] + (s.own_ties ? kNarrowestBesideTies : kNarrowest);
    s.scale.edge[k] = static_cast<float>(larger(before + s.damping * step, lowest));
    longest = farther(longest, fabs(s.scale.edge[k] - before));
  }
  return longest;
}

/// Factor that speeds up convergence along the common scale of all discriminations. The scale trades off against the
/// spread of all scores: with one fixed, the other hardly moves. So the scores' prior sd is treated as free, estimated,
/// and set back to 1 by stretching the discriminations instead (parameter expansion; Liu, Rubin and Wu 1998). The
/// estimate maximises p(scores | sd) N(mean * sd; 1, 100), which includes the hyperprior of the discriminations' mean.
/// Returns the sd, in [0.7, 1.4].
///
/// With prior means by embeddings, votes determine discriminations from these means, and the sd converges slowly. Then
/// its steps are lengthened by FitState::haste, the ratio of EM's information to that of the votes.
VOXPOP_HD double expansion(const SolveSums& solved, double mean) {
  const double squares = from_fixed(solved.squares), freedom = static_cast<double>(solved.freedom);
  double low = 0.7, high = 1.4;
  for (int i = 0; i < 40; ++i) {
    const double sd = 0.5 * (low + high);
    const double gradient = (squares / (sd * sd) - freedom) / sd - kMeanPrecision * mean * (mean * sd - 1);
    if (gradient > 0)
      low = sd;
    else
      high = sd;
  }
  return low;
}

/// The fit has converged if FitState::change is below this. With own priors, `change` consists of the coefficients'
/// moves and a tenth of the longest step.
VOXPOP_HD double allowed_change(const FitState& s) {
  if (s.own_priors) return 0.05 * s.tolerance;
  return smaller(0.01, larger(s.tolerance * sqrt(s.population.variance / s.voters), 0.001 * s.population.mean));
}

namespace detail {

/// Halves the damping after repeated oscillations, which can occur because all parameters move at once. `step`: step of
/// the population's mean, before the stretch. `move`: the same including the stretch, which may correct an imbalance of
/// scores and discriminations, or be what oscillates.
VOXPOP_HD void damp_swings(FitState& s, double step, double move, double habit_step = 0) {
  const bool back = (step * s.last_step < 0 && fabs(step) > 0.5 * fabs(s.last_step)) ||
                    (move * s.last_move < 0 && fabs(move) > 0.8 * fabs(s.last_move)) ||
                    (habit_step * s.last_habit_step < 0 && fabs(habit_step) > 0.8 * fabs(s.last_habit_step) &&
                     fabs(habit_step) > 0.01);
  s.swings = back ? s.swings + 1 : 0;
  if (s.swings >= 3) {
    s.damping = larger(0.5 * s.damping, has_discriminations(s.model) ? 0.1 : 0.01);
    s.swings = 0;
  }
  s.last_step = step;
  s.last_move = move;
  s.last_habit_step = habit_step;
}

/// Lengthens the steps of a variance (overrelaxation; Meng and Rubin 1994). Moment estimates converge slowly if
/// annotators have few votes each, because each estimate then depends mostly on the population itself. Starts after
/// kPatience iterations, and ends when the steps change direction. `last`: logarithm of the previous step; updated.
inline constexpr int kPatience = 40;
VOXPOP_HD double hastened(FitState& s, double before, double next, double& last) {
  const double move = log(next / before);
  if (move * last < 0 && s.iterations >= kPatience) s.creeps = false;
  last = move;
  if (!s.creeps || s.iterations < kPatience || s.own_priors || s.model != Model::kRater) return next;
  return before * exp(clamped(smaller(1 + 0.5 * (s.iterations - kPatience), 10.0) * move, -0.5, 0.5));
}

/// For models in which all discriminations are equal: a step of the common one towards its maximum a posteriori, prior
/// N(1, 100). `others`: how far thresholds, coefficients and so on moved. Returns whether the fit has converged.
VOXPOP_HD bool settle_common(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next,
                             double others) {
  const Population before = s.population;
  const double gradient = from_fixed(totals.gradient) + kMeanPrecision * (1 - before.mean);
  const double information = larger(from_fixed(totals.information) + kMeanPrecision, 1.0);
  const double step = clamped(gradient / information, -kLongestStep, kLongestStep);
  const double stepped = before.mean + s.damping * step;
  next.mean = s.own_priors ? before.mean : clamped(stepped * expansion(solved, stepped), 0.01, kLargestMean);
  s.stretch = next.mean / before.mean;
  damp_swings(s, step, next.mean - before.mean);
  s.change = fabs(next.mean - before.mean) + fabs(next.share_mean - before.share_mean) + others;
  s.population = next;
  if (s.own_priors) {
    s.change = 0.1 * totals.longest_step + others;
    return s.change < allowed_change(s);
  }
  if (s.own_ties && s.iterations <= kWarmUp) return false;
  return s.change < (s.stride > 1 ? 0.02 : s.by_prompt ? 0.01 : 0.002) * larger(s.population.mean, 0.1);
}

/// Factor by which own views reduce the effect of a change of discrimination on predictions. The logit has variance 2
/// gamma^2 w, so its slope at 0 is about gamma / sqrt(1 + pi/4 gamma^2 w). Rankings never contradict themselves, so
/// their discriminations grow slowly to values where further changes have no effect.
VOXPOP_HD double blurred(const FitState& s) {
  const double blur = 1 + 0.7853981633974483 * s.population.mean * s.population.mean * s.view_variance;
  return blur * sqrt(blur);
}

/// Moves the population to `next`, estimated from its annotators. `others`: see settle_common(). Returns whether the
/// fit has converged.
VOXPOP_HD bool settle_population(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next,
                                 double others) {
  const Population before = s.population;
  const double step = next.mean - before.mean;
  double sd = expansion(solved, next.mean);
  if (s.haste > 1) sd = exp(clamped(s.haste * log(sd), -0.35, 0.35));
  s.stretch = is_warm(s) && !s.own_priors ? smaller(1 + s.damping * (sd - 1), kLargestMean / next.mean) : 1.0;
  if (explained(s) > 0.999 * kMostExplained) s.stretch = larger(s.stretch, 1.0);  // else coefficients diverge
  next.mean *= s.stretch;
  next.variance =
      smaller(hastened(s, before.variance, next.variance, s.last_spread) * s.stretch * s.stretch, kLargestVariance);
  next.side_bias_variance = hastened(s, before.side_bias_variance, next.side_bias_variance, s.last_side_spread);
  // Oscillations are possible if a few annotators have most votes, if thresholds and discriminations react to each
  // other, or if votes are many: scores and discriminations then react to each other's last values. A single annotator
  // may also oscillate, which the means do not show.
  damp_swings(s, step, next.mean - before.mean, next.habit_mean - before.habit_mean);
  const bool one_swings = !s.own_priors && totals.longest_step > 1;
  if (one_swings && s.iterations >= kPatience && s.iterations % 10 == 0) s.damping = larger(0.5 * s.damping, 0.1);
  s.change = (fabs(next.mean - before.mean) + fabs(sqrt(next.variance) - sqrt(before.variance))) / blurred(s) +
             fabs(sqrt(next.side_bias_variance) - sqrt(before.side_bias_variance)) +
             0.5 * fabs(next.share_mean - before.share_mean) + others;
  s.population = next;
  if (s.own_priors) {
    s.change = 0.1 * totals.longest_step + others;
    return s.change < (s.phase == Phase::kQuadrature ? 1 : 5) * allowed_change(s);
  }
  if (s.phase == Phase::kQuadrature) return s.change < s.damping * allowed_change(s);  // damped steps are shorter
  return s.iterations > kWarmUp && s.change < 5 * allowed_change(s) && totals.longest_step <= 1;
}

}  // namespace detail

/// How far the population's tie habits moved, measured in the probability of ties. Near 0 and 1 the logits drift slowly
/// without effect.
VOXPOP_HD double habits_moved(const Population& before, const Population& next) {
  const double habit = share_of(next.habit_mean), shown = 4 * habit * (1 - habit);
  return shown *
         (fabs(next.habit_mean - before.habit_mean) + fabs(sqrt(next.habit_variance) - sqrt(before.habit_variance)));
}

/// Ends an iteration: decides what the next iteration does. `centre`: from with_means(). `thresholds`: see
/// settle_thresholds().
VOXPOP_HD void end_iteration(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals,
                             const Population& centre, const ThresholdSums* thresholds, const CovariateSums& covariates,
                             const PromptTotals& prompts, const ViewTotals& views) {
  s.sweeps = 1;
  if (s.phase == Phase::kSweeps) {  // annotators do not move
    s.stretch = 1;
    ++s.last_sweeps;
    const bool settled = solved.change <= kSettled;
    if (!settled && s.last_sweeps < kMostLastSweeps) return;
    s.converged = s.converged && settled;
    s.change = farther(s.change, static_cast<double>(solved.change));
    s.phase = Phase::kDone;
    return;
  }
  const double thresholds_moved = settle_thresholds(s, thresholds), tastes_spread = spread_tastes(s, totals);
  settle_coefficients(s, covariates);
  share_tastes(s, totals);
  const Population next = with_spreads(s, centre, totals);
  const double others = thresholds_moved + coefficients_moved(s) + 0.1 * (tastes_spread + spread_sources(s, totals)) +
                        0.3 * (settle_prompts(s, prompts) + settle_views(s, views) + habits_moved(s.population, next));
  const bool at_rest = has_discriminations(s.model) ? detail::settle_population(s, solved, totals, next, others)
                                                    : detail::settle_common(s, solved, totals, next, others);
  // The result of the views test may change all other parameters.
  const bool settled = at_rest && !s.tests_views;
  for (int k = 0; k < s.covariates; ++k) s.coefficient[k] /= s.stretch;  // to the new unit, the scores' sd
  s.prior_scale /= s.stretch;
  s.view_variance /= s.stretch * s.stretch;
  ++s.iterations;
  if (settled && s.stride > 1) {
    s.stride = 1;
    s.sweeps = 4;  // continue with all votes; most components have not been visited yet
  } else if (settled && has_discriminations(s.model) && s.phase == Phase::kNewton) {
    s.phase = Phase::kQuadrature;
  } else if (settled) {
    s.converged = true;
    s.phase = Phase::kSweeps;
  }
  if (s.iterations >= s.max_iterations) s.phase = Phase::kSweeps;
  if (s.phase == Phase::kSweeps && s.stride > 1) {  // not converged on the sample; labels need all votes
    s.stride = 1;
    s.sweeps = 4;
  }
}

/// Subtracts from the tastes [tastes] what end_iteration() moved to coefficients. Call before finish_annotator().
VOXPOP_HD void finish_tastes(const FitState& s, const AnnotatorPosterior& a, Taste* tastes) {
  for (int k = 0; k < s.tastes && !is_known(a); ++k)
    tastes[k].mean -= static_cast<float>(a.discrimination * s.taste_shift[k]);
}

/// Applies the stretch of end_iteration() to an annotator, within limits: for a few annotators who are mostly
/// adversaries, the population's mean stays at its lower limit, and the stretch would never end. If all discriminations
/// are equal, sets the common value.
VOXPOP_HD void finish_annotator(const FitState& s, AnnotatorPosterior& a) {
  if (!has_discriminations(s.model)) {
    a.discrimination = s.population.mean;
    a.habit_logit = s.population.habit_mean;
    return;
  }
  if (is_known(a)) return;
  a.discrimination = clamped(a.discrimination * s.stretch, -kLargestDiscrimination, kLargestDiscrimination);
  a.discrimination_variance *= s.stretch * s.stretch;
  a.covariance *= s.stretch;
}

}  // namespace voxpop
