#pragma once
// The fit as a state that moves on after each pass over votes. Host and device run the same functions, so that
// iterations on a device need no host in between. An iteration is
//   a pass over votes as next_pass() says      -> sums of each annotator, PassSums
//   update_annotator() for each annotator      -> AnnotatorTotals, by add_mean()
//   with_means(), then add_spread() for each   -> AnnotatorTotals again
//   end_iteration(), then finish_annotator() for each.
// Totals are integers, so annotators may come in any order.

#include "formulas/cholesky.h"
#include "formulas/covariates.h"
#include "formulas/likelihood.h"
#include "formulas/sources.h"
#include "voxpop/model.h"

namespace voxpop {

/// What a vote may be other than meant: nothing, or the other item's.
enum class Blend { kNone, kMirror };

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
  /// What prompts add to annotators' habits of ties has this variance; 0: nothing. See step_prompt().
  float prompt_variance = 0, prompt_shift = 0, prompt_damping = 1;
  float site_step = 1;      ///< how much of the way to their new values sites go
  float view_variance = 0;  ///< of annotators' own views, in units of scores: see views.h; 0: there are none
  float prior_scale = 0;    ///< of what embeddings say: see PriorArrays
};

/// What solving components adds up: integers and a maximum, so in any order.
struct SolveSums {
  float change = 0;  ///< largest change of a pair's mean in the last sweep, in posterior sds
  /// Fixed point: posterior E[s'Ps], scores s relative to prior means (P is I, but for embeddings), summed ...
  std::int64_t squares = 0;
  std::int64_t freedom = 0;       ///< ... over so many degrees of freedom: items minus one, of each component
  std::int64_t log_evidence = 0;  ///< fixed point: the components' part; only with slot moments
};

/// What prompts' habits of ties add up to, of those that moved: how many they are, and in fixed point sums of their
/// means, of their squares, variances included, and of the squares of what share of each the votes tell.
struct PromptTotals {
  std::int64_t prompts = 0, mean = 0, square = 0, told = 0;
};

/// What blocks say of the variance of annotators' own views (views.h); fixed point.
struct ViewTotals {
  std::int64_t score = 0, information = 0;
};

/// What a component's votes say of what their prompt adds to annotators' habits of ties; fixed point.
struct HabitSums {
  std::int64_t gradient, information;
};

inline constexpr double kLongestPromptStep = 0.5;

/// Moves what a component's prompt adds to habits of ties, by a Newton step: tau ~ N(0, pass.prompt_variance). It is to
/// be read less pass.prompt_shift, the mean of all an iteration ago, which annotators' habits take over.
VOXPOP_HD void step_prompt(TieHabit& prompt, const HabitSums& sums, const PassOptions& pass, PromptTotals& totals) {
  const double spread = pass.prompt_variance;
  if (sums.gradient == 0 && sums.information == 0) {  // no vote of it is seen
    prompt = {pass.prompt_shift, pass.prompt_variance};
    return;
  }
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / spread;
  double mean = static_cast<double>(prompt.mean) - pass.prompt_shift;
  const double step =
      clamped((from_fixed(sums.gradient) - mean / spread) / precision, -kLongestPromptStep, kLongestPromptStep);
  const double whole = mean + step;  // the spread goes by it: damped means lag behind the variances, and it would swing
  mean += pass.prompt_damping * step;
  prompt = {static_cast<float>(mean), static_cast<float>(1 / precision)};
  const double told = 1 - 1 / (precision * spread);
  ++totals.prompts;
  totals.mean += to_fixed(mean);
  totals.square += to_fixed(whole * whole + 1 / precision);
  totals.told += to_fixed(told * told);
}

VOXPOP_HD bool has_discriminations(Model model) { return model == Model::kRater; }
VOXPOP_HD Blend blend_of(Model model) { return model == Model::kCrowdBt ? Blend::kMirror : Blend::kNone; }

/// Where a population's etas are thought to lie before the votes are seen: 0.85, give or take one logit.
inline constexpr double kPriorShareMean = 1.73;

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
  bool own_ties = false;     ///< ties are an answer of their own, with habits
  bool by_prompt = false;    ///< to which prompts add
  double lowest_share_logit = -kLargestShareLogit;
  int covariates = 0;  ///< columns of X
  int tastes = 0;      ///< the first so many are features for which annotators have tastes
  /// Annotators have priors of their own, from an earlier fit, which fix the scale, too: the population is not
  /// estimated, only what their moments are, as a sign of what still moves.
  bool own_priors = false;
  bool some_known = false;   ///< some annotators have priors of their own beside the population's: prior_of()
  bool own_tastes = false;   ///< and so have their tastes
  bool known_scale = false;  ///< thresholds are the earlier fit's
  int sources = 0;
  bool own_sources = false;  ///< sources have priors of their own, which fix their level, too

  Phase phase = Phase::kNewton;
  Population population;
  VoteScale scale{};
  double prompt_variance = 0.1, prompt_shift = 0;  ///< see step_prompt()
  double prompt_step = 0.7, last_prompt_move = 0;  ///< see settle_prompts()
  bool tests_views = false;                        ///< whether annotators have own views is not known yet
  double view_variance = 0;                        ///< 0: they have none
  /// Of what embeddings say of scores (src/fit/score_prior.h), in prior units; 0: nothing is said yet; and its sd at
  /// scale 1.
  double prior_scale = 0, prior_explained = 0;
  double haste = 1;  ///< of the scores' sd: see expansion()
  double coefficient[kMaxCovariates] = {}, coefficient_variance[kMaxCovariates] = {};
  double last_coefficient[kMaxCovariates] = {};  ///< an iteration ago, before the stretch
  double coefficient_prior[kMaxCovariates] = {}, coefficient_prior_variance[kMaxCovariates] = {};
  double taste_variance[kMaxCovariates] = {};     ///< of annotators' tastes
  double taste_shift[kMaxCovariates] = {};        ///< what the last iteration moved from tastes to coefficients
  double source_variance = kFirstSourceVariance;  ///< of sources' scores
  int iterations = 0, last_sweeps = 0;
  bool converged = false;
  double change = 0;  ///< what still moved in the last iteration

  std::uint32_t stride = 1;
  int sweeps = 4;  ///< of the next pass
  double stretch = 1;
  double damping = 1;          ///< of annotators' moves, thresholds' moves and the stretch
  double last_step = 0;        ///< of the population's mean, before the stretch
  double last_move = 0;        ///< and with it
  double last_habit_step = 0;  ///< of the habits' mean
  int swings = 0;              ///< any of them from side to side, one time after another
  bool creeps = true;          ///< spreads go one way: see hastened()
  double last_spread = 0, last_side_spread = 0;
};

/// While the sites are young, the spread of annotators stays small: else one may settle on the mirrored side.
inline constexpr int kWarmUp = 5;

/// A pair's mean may still move by this, in posterior sds, when EP counts as settled.
inline constexpr float kSettled = 1e-2f;
inline constexpr int kMostLastSweeps = 50;
/// After so many, all sites go half of the way: some answer each other's last values for good, as where an item wins
/// all its votes; after twice as many, a quarter.
inline constexpr int kFreeLastSweeps = 8;

struct AnnotatorTotals {
  std::int64_t gradient = 0, information = 0;  ///< bt
  std::int64_t discrimination = 0;             ///< sum over annotators who have votes
  std::int64_t gamma2 = 0, beta2 = 0;          ///< squares about the population's mean, variances included
  std::int64_t share = 0, share2 = 0;          ///< logits of shares, and their squares about the population's mean
  std::int64_t habit = 0, habit2 = 0;          ///< the same of habits of ties
  std::int64_t gradient_habit = 0, information_habit = 0;           ///< where all have one
  std::int64_t taste2[kMaxCovariates] = {};                         ///< squares of tastes, variances included
  std::int64_t gamma_taste[kMaxCovariates] = {}, gamma_square = 0;  ///< see share_tastes()
  float longest_step = 0;  ///< of an annotator's gamma, in its posterior sds; with own priors also of its share
  std::int64_t source = 0, source2 = 0;  ///< sources' scores, and their squares once centred, variances included
  float source_step = 0;                 ///< the longest of a source, in its posterior sds
};

/// The larger move; NaN where either is, or a diverged fit would look settled.
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

/// How far an annotator went, in its posterior sds.
VOXPOP_HD double distance(const AnnotatorPosterior& from, const AnnotatorPosterior& to) {
  const double gamma = fabs(to.discrimination - from.discrimination), share = fabs(to.share_logit - from.share_logit);
  return farther(to.discrimination_variance <= 0 ? 0.0 : gamma / sqrt(to.discrimination_variance),
                 to.share_variance <= 0 ? 0.0 : share / sqrt(to.share_variance));
}

/// What is known of one annotator where FitState::some_known: its discrimination, as of gold; that it is good, so that
/// it lies about the population's root mean square; or nothing but the population.
VOXPOP_HD Population known_discrimination(double discrimination) { return {.mean = discrimination, .variance = 0}; }
VOXPOP_HD Population known_to_be_good() { return {.mean = 1, .variance = 0.25}; }
VOXPOP_HD Population not_known() { return {.mean = 0, .variance = -1}; }

/// How strong discriminations of a population are, of either sign.
VOXPOP_HD double root_mean_square(const Population& population) {
  return sqrt(population.mean * population.mean + population.variance);
}

/// An annotator's prior. `own`: as an earlier fit has it, where s.own_priors; or one of those above.
VOXPOP_HD Population prior_of(const FitState& s, const Population* own) {
  if (s.own_priors) return *own;
  Population prior = s.population;
  if (!s.some_known || own->variance < 0) return prior;
  const double unit = own->variance > 0 ? root_mean_square(prior) : 1;
  prior.mean = own->mean * unit;
  prior.variance = own->variance * unit * unit;
  return prior;
}

/// Whoever stands for known answers never ties; whoever is taken to say nothing ties as the others do.
VOXPOP_HD AnnotatorPosterior known_annotator(const Population& prior, const Population& population) {
  return {.discrimination = prior.mean, .habit_logit = prior.mean > 0 ? -20 : population.habit_mean};
}

/// Whether nothing is left to be learnt of it.
VOXPOP_HD bool is_known(const AnnotatorPosterior& a) { return a.discrimination_variance == 0; }

/// Moves one annotator, from what its votes say. `own`: see prior_of(); may be null where nobody has such a one.
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
    totals.gradient += sums.gradient_gamma;
    totals.information += sums.information_gamma;
    totals.gradient_habit += sums.gradient_habit;
    totals.information_habit += sums.information_habit;
  } else if (s.phase == Phase::kNewton) {
    newton_step(a, sums, prior, s.damping);
    // From where it was an iteration ago: a step that only undoes the stretch is none.
    const double moved = fabs(a.discrimination - before.discrimination / s.stretch);
    totals.longest_step = farther(totals.longest_step, static_cast<float>(moved / sqrt(a.discrimination_variance)));
  } else if (s.phase == Phase::kQuadrature) {
    integrate_discrimination(a, sums, grid, prior, s.damping);
  }
  if (s.own_priors) totals.longest_step = farther(totals.longest_step, static_cast<float>(distance(before, a)));
}

/// Moves one annotator's tastes [tastes], from what its votes say; `votes`: how many those are. `own` [tastes]: their
/// priors, where s.own_tastes.
VOXPOP_HD void update_tastes(const FitState& s, const AnnotatorPosterior& a, Taste* tastes, const Taste* own,
                             const TasteSums* sums, std::uint32_t votes, AnnotatorTotals& totals) {
  for (int k = 0; k < s.tastes && !is_known(a); ++k) {
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
  totals.habit += to_fixed(a.habit_logit);
}

/// Where all annotators have one habit of ties: towards its maximum a posteriori under N(0, 25).
VOXPOP_HD double common_habit(const FitState& s, const AnnotatorTotals& totals) {
  const double before = s.population.habit_mean;
  const double information = larger(from_fixed(totals.information_habit) + 0.04, 1.0);
  return before + clamped((from_fixed(totals.gradient_habit) - 0.04 * before) / information, -kLongestPromptStep,
                          kLongestPromptStep);
}

/// Hyperprior of the discriminations' mean: N(1, 100). It says so little that votes which agree sharply are believed.
inline constexpr double kMeanPrecision = 0.01;

/// The population with its means given its annotators; hyperprior: N(1, 100), shares N(kPriorShareMean, 1).
VOXPOP_HD Population with_means(const FitState& s, const AnnotatorTotals& totals) {
  Population next = s.population;
  const double weight = 1 / s.population.variance, share_weight = 1 / s.population.share_variance;
  const double mean =
      (from_fixed(totals.discrimination) * weight + kMeanPrecision) / (s.voters * weight + kMeanPrecision);
  // A population of adversaries is the mirror image of the truth: the sign of all scores is fixed by this.
  if (has_discriminations(s.model)) next.mean = clamped(mean, 0.05, kLargestMean);
  if (blend_of(s.model) != Blend::kNone)
    next.share_mean = (from_fixed(totals.share) * share_weight + kPriorShareMean) / (s.voters * share_weight + 1);
  if (s.own_ties && s.voters > 0)
    next.habit_mean = has_discriminations(s.model) ? from_fixed(totals.habit) / s.voters : common_habit(s, totals);
  return next;
}

/// `centre`: the population with its means.
VOXPOP_HD void add_spread(const Population& centre, const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  const double off = a.discrimination - centre.mean, share_off = a.share_logit - centre.share_mean;
  const double habit_off = a.habit_logit - centre.habit_mean;
  totals.gamma2 += to_fixed(off * off + a.discrimination_variance);
  totals.beta2 += to_fixed(a.side_bias * a.side_bias + a.side_bias_variance);
  totals.share2 += to_fixed(share_off * share_off + a.share_variance);
  totals.habit2 += to_fixed(habit_off * habit_off + a.habit_variance);
}

/// Moment estimates; hyperprior: as if two more annotators had been seen, each with variance 0.1 (0.5 of shares).
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

/// Moment estimates of the tastes' spread; hyperprior: as if two more annotators had been seen, with variance 0.02.
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

/// What is known of items explains scores at most so far: a standard deviation of X c, in those of what it leaves.
/// Where it left nothing, coefficients in prior units would have no end, and the unit would be nothing.
inline constexpr double kMostExplained = 5;

/// The standard deviation of X c and of what embeddings say, nearly: columns of X have sd 1.
VOXPOP_HD double explained(const FitState& s) {
  double squares = s.prior_scale * s.prior_scale * s.prior_explained * s.prior_explained;
  for (int k = 0; k < s.covariates; ++k) squares += s.coefficient[k] * s.coefficient[k];
  return sqrt(squares);
}

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
  if (s.own_priors) return;
  const double shrink = smaller(1.0, kMostExplained / larger(explained(s), 1e-9));
  for (int k = 0; k < n; ++k) s.coefficient[k] *= shrink;
}

/// How far the farthest is from where it was an iteration ago: tastes and the stretch may undo a step.
VOXPOP_HD double coefficients_moved(FitState& s) {
  double farthest = 0;
  for (int k = 0; k < s.covariates; ++k) {
    farthest = farther(farthest, fabs(s.coefficient[k] - s.last_coefficient[k]));
    s.last_coefficient[k] = s.coefficient[k];
  }
  return farthest;
}

/// Moves one source, from what its items say; not while the sites are new.
VOXPOP_HD void update_source(const FitState& s, Source& source, const SourceSums& sums, AnnotatorTotals& totals) {
  if (!s.own_sources) source.prior_variance = s.source_variance;
  if (s.iterations > 0) step_source(source, sums);
  totals.source += to_fixed(source.score);
}

/// Votes tell sources apart, not their level: their mean is 0. `sum`: AnnotatorTotals::source of all.
VOXPOP_HD void centre_source(const FitState& s, std::int64_t sum, Source& source, AnnotatorTotals& totals) {
  if (!s.own_sources) source.score -= from_fixed(sum) / s.sources;
  totals.source2 += to_fixed(source.score * source.score + source.variance);
  const double moved = fabs(source.score - source.last) / sqrt(source.variance);
  totals.source_step = farther(totals.source_step, static_cast<float>(moved));
  source.last = source.score;
}

/// Moment estimate of their variance; hyperprior: as if two more had been seen, with variance 0.1. Returns how far the
/// farthest moved, in its posterior sds.
VOXPOP_HD double spread_sources(FitState& s, const AnnotatorTotals& totals) {
  if (s.sources > 0 && s.iterations > 0 && !s.own_sources)
    s.source_variance = (from_fixed(totals.source2) + 0.2) / (s.sources + 2);
  return totals.source_step;
}

/// In units of the scores' sd, as scores are.
VOXPOP_HD void finish_source(const FitState& s, Source& source) { source.score /= s.stretch; }

/// The spread of what prompts add to habits of ties: a damped Fisher step on the logarithm of its variance, since plain
/// moments creep where prompts have few votes. Prompts follow their variance, so that it may swing: each time it turns
/// round, its steps become shorter. Hyperprior: as if two more prompts had been seen, with variance 0.1.
/// Returns how far it moved.
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

/// Where the variance of annotators' own views starts, and where it is tested whether there are any.
inline constexpr double kFirstViewVariance = 0.05, kTestedViewVariance = 0.01;

/// The variance of annotators' own views: a damped Newton step on its logarithm, which does not swing where votes and
/// views explain each other. Hyperprior: as if two more had been seen, with variance 0.02. Where it is not known that
/// there are any, a score test first: less than three standard errors are none. Returns how far the sd moved, beyond 1
/// as a share of it: what labels say goes by the ratio of scores to views.
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

/// Thresholds that come too close would leave the votes between them no room; beside ties rounding would decide, too.
inline constexpr double kNarrowest = 0.02, kNarrowestBesideTies = 0.1;

/// Where thresholds start: a logit apart.
VOXPOP_HD VoteScale starting_scale(int levels, bool own_ties) {
  VoteScale scale{};
  for (int k = 1; k <= levels; ++k) scale.edge[k] = static_cast<float>(k - 1);
  scale.own_ties = own_ties;
  return scale;
}

/// Thresholds towards their maximum, prior N(0, 25); `sums` [levels + 1] by number of threshold, from 1. Information is
/// of each threshold alone, with that of its neighbours added: so all may move at once. Returns the longest step.
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

/// The slow direction of the iteration is the common scale of all discriminations, which trades against the spread of
/// all scores: given one, the other hardly moves. So the scores' prior sd is let free for a moment, estimated, and set
/// back to 1 by stretching discriminations instead (parameter expansion; Liu, Rubin and Wu 1998). Returns that factor:
/// where p(scores | sd) N(mean * sd; 1, 100) peaks, with the hyperprior of the discriminations' mean. Beside prior
/// means by embeddings, votes tell discriminations from these means, and the sd creeps: there its steps are lengthened
/// by FitState::haste, EM's information to that of the votes.
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

/// Settled when the population moves by less, in an iteration; with own priors, coefficients and a tenth of the longest
/// step.
VOXPOP_HD double allowed_change(const FitState& s) {
  if (s.own_priors) return 0.05 * s.tolerance;
  return smaller(0.01, larger(s.tolerance * sqrt(s.population.variance / s.voters), 0.001 * s.population.mean));
}

namespace detail {

/// Where all moves at once, it may swing from side to side for good: then it moves less far. `step`: the population's
/// mean, before the stretch; `move`: with it, which sets scores and discriminations right, or is what swings.
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

/// Moment estimates creep where annotators have few votes each: most of each is then the population itself. After
/// kPatience iterations their steps are lengthened (overrelaxation; Meng and Rubin 1994), for as long as they go one
/// way. `last`: the logarithm of the step before.
inline constexpr int kPatience = 40;
VOXPOP_HD double hastened(FitState& s, double before, double next, double& last) {
  const double move = log(next / before);
  if (move * last < 0 && s.iterations >= kPatience) s.creeps = false;
  last = move;
  if (!s.creeps || s.iterations < kPatience || s.own_priors || s.model != Model::kRater) return next;
  return before * exp(clamped(smaller(1 + 0.5 * (s.iterations - kPatience), 10.0) * move, -0.5, 0.5));
}

/// Where all discriminations are alike: the common one towards its maximum a posteriori under N(1, 100). `others`: how
/// far thresholds and coefficients moved.
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

/// How much less a discrimination moves predictions because annotators see items in views of their own: with the
/// logit's variance 2 gamma^2 w its slope at 0 is gamma / sqrt(1 + pi/4 gamma^2 w), nearly. Rankings never contradict
/// themselves, so that discriminations creep to where they no longer matter.
VOXPOP_HD double blurred(const FitState& s) {
  const double blur = 1 + 0.7853981633974483 * s.population.mean * s.population.mean * s.view_variance;
  return blur * sqrt(blur);
}

/// `next`: the population as its annotators say.
VOXPOP_HD bool settle_population(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next,
                                 double others) {
  const Population before = s.population;
  const double step = next.mean - before.mean;
  double sd = expansion(solved, next.mean);
  if (s.haste > 1) sd = exp(clamped(s.haste * log(sd), -0.35, 0.35));
  s.stretch = is_warm(s) && !s.own_priors ? smaller(1 + s.damping * (sd - 1), kLargestMean / next.mean) : 1.0;
  if (explained(s) > 0.999 * kMostExplained) s.stretch = larger(s.stretch, 1.0);  // else coefficients would go on
  next.mean *= s.stretch;
  next.variance =
      smaller(hastened(s, before.variance, next.variance, s.last_spread) * s.stretch * s.stretch, kLargestVariance);
  next.side_bias_variance = hastened(s, before.side_bias_variance, next.side_bias_variance, s.last_side_spread);
  // Where a few annotators share most votes, or thresholds and discriminations answer each other, all moving at once
  // may swing. So may scores and discriminations where votes are many: each answers what the other was before. And one
  // annotator alone may, which the means do not show.
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
  if (s.phase == Phase::kQuadrature) return s.change < s.damping * allowed_change(s);  // there is more to go
  return s.iterations > kWarmUp && s.change < 5 * allowed_change(s) && totals.longest_step <= 1;
}

}  // namespace detail

/// How far the population's habits of ties moved, as they show in ties: near 0 and 1 logits creep to where it no longer
/// matters.
VOXPOP_HD double habits_moved(const Population& before, const Population& next) {
  const double habit = share_of(next.habit_mean), shown = 4 * habit * (1 - habit);
  return shown *
         (fabs(next.habit_mean - before.habit_mean) + fabs(sqrt(next.habit_variance) - sqrt(before.habit_variance)));
}

/// After a pass and its annotators: what the next iteration will be. `centre`: from with_means(). `thresholds`: see
/// settle_thresholds().
VOXPOP_HD void end_iteration(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals,
                             const Population& centre, const ThresholdSums* thresholds, const CovariateSums& covariates,
                             const PromptTotals& prompts, const ViewTotals& views) {
  s.sweeps = 1;
  if (s.phase == Phase::kSweeps) {  // annotators stay as they are
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
  // What comes of the test of views may move all.
  const bool settled = at_rest && !s.tests_views;
  for (int k = 0; k < s.covariates; ++k) s.coefficient[k] /= s.stretch;  // in units of the scores' sd, as scores are
  s.prior_scale /= s.stretch;
  s.view_variance /= s.stretch * s.stretch;
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
  for (int k = 0; k < s.tastes && !is_known(a); ++k)
    tastes[k].mean -= static_cast<float>(a.discrimination * s.taste_shift[k]);
}

/// An annotator follows the stretch that end_iteration() decided, within limits: a crowd of few, mostly adversaries,
/// keeps the population's mean at its lowest, and would be stretched for ever. Where all are alike, it takes the common
/// value.
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
