#pragma once
// The fit as a state that moves on after each pass over votes. Host and device run the same functions, so that
// iterations on a device need no host in between. An iteration is
//   a pass over votes as next_pass() says      -> sums of each annotator, PassSums
//   update_annotator() for each annotator      -> AnnotatorTotals, by add_mean()
//   population_mean(), then add_spread() for each -> AnnotatorTotals again
//   end_iteration(), then finish_annotator() for each.
// Totals are integers, so annotators may come in any order.

#include "voxpop/annotators.h"

namespace voxpop {

/// What one pass over all votes should bring.
struct PassOptions {
  int sweeps = 1;            ///< EP sweeps over each component: solve, then new sites
  std::uint32_t stride = 1;  ///< only every so-manieth batch of small components: a sample, for the first iterations
  float stretch = 1;         ///< all discriminations were multiplied by this since the last pass: sites follow first
  bool annotators = false;   ///< gradients and information of annotators, at the last sweep's cavities
  bool grid = false;         ///< log-likelihood of each annotator on its quadrature nodes
  bool uncertain = false;    ///< sites integrate over the annotators' variances; else annotators are taken as known
  bool exact = false;        ///< the finer mixture: for the last passes
};

/// What solving components adds up: integers and a maximum, so in any order.
struct SolveSums {
  float change = 0;               ///< largest change of a pair's mean in the last sweep, in posterior sds
  std::int64_t squares = 0;       ///< fixed point: posterior E[score^2], scores centred in their component, summed ...
  std::int64_t freedom = 0;       ///< ... over so many degrees of freedom: items minus one, of each component
  std::int64_t log_evidence = 0;  ///< fixed point: the components' part; only with slot moments
};

/// bt: every annotator alike, no side bias (Bradley and Terry 1952). rater: each annotator's discrimination and side
/// bias.
enum class Model { kBradleyTerry, kRater };

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

  Phase phase = Phase::kNewton;
  Population population;
  int iterations = 0, last_sweeps = 0;
  bool converged = false;
  double change = 0;  ///< what still moved in the last iteration

  std::uint32_t stride = 1;
  int sweeps = 4;  ///< of the next pass
  double stretch = 1;
  double damping = 1;    ///< of annotators' moves by quadrature
  double last_step = 0;  ///< of the population's mean
  int swings = 0;
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
  float longest_step = 0;                      ///< of an annotator's gamma, in its posterior sds
};

VOXPOP_HD bool is_warm(const FitState& s) { return s.model == Model::kRater && s.iterations >= kWarmUp; }

VOXPOP_HD PassOptions next_pass(const FitState& s) {
  PassOptions pass;
  pass.sweeps = s.sweeps;
  pass.stride = s.stride;
  pass.stretch = static_cast<float>(s.stretch);
  pass.annotators = s.phase != Phase::kSweeps;
  pass.grid = s.phase == Phase::kQuadrature;
  pass.uncertain = is_warm(s) || (s.phase != Phase::kNewton && s.model == Model::kRater);
  pass.exact = s.phase == Phase::kSweeps;
  return pass;
}

/// Moves one annotator, from what its votes say.
VOXPOP_HD void update_annotator(const FitState& s, AnnotatorPosterior& a, const AnnotatorSums& sums,
                                const GridSums& grid, AnnotatorTotals& totals) {
  if (s.model == Model::kBradleyTerry) {
    totals.gradient += sums.gradient_gamma;
    totals.information += sums.information_gamma;
  } else if (s.phase == Phase::kNewton) {
    const auto step = static_cast<float>(newton_step(a, sums, s.population));
    totals.longest_step = larger(totals.longest_step, step);
  } else if (s.phase == Phase::kQuadrature) {
    integrate_discrimination(a, sums, grid, s.population, s.damping);
  }
}

VOXPOP_HD void add_mean(const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  totals.discrimination += to_fixed(a.discrimination);
}

/// The population's mean given its annotators, with hyperprior N(1, 1).
VOXPOP_HD double population_mean(const Population& before, double voters, const AnnotatorTotals& totals) {
  const double mean = (from_fixed(totals.discrimination) / before.variance + 1) / (voters / before.variance + 1);
  // A population of adversaries is the mirror image of the truth: the sign of all scores is fixed by this.
  return clamped(mean, 0.05, kLargestMean);
}

VOXPOP_HD void add_spread(double mean, const AnnotatorPosterior& a, AnnotatorTotals& totals) {
  const double off = a.discrimination - mean;
  totals.gamma2 += to_fixed(off * off + a.discrimination_variance);
  totals.beta2 += to_fixed(a.side_bias * a.side_bias + a.side_bias_variance);
}

/// Moment estimates; hyperprior: as if two more annotators had been seen, each with variance 0.1.
VOXPOP_HD Population population_with_spread(double mean, double voters, const AnnotatorTotals& totals) {
  return {mean, smaller((from_fixed(totals.gamma2) + 0.2) / (voters + 2), kLargestVariance),
          (from_fixed(totals.beta2) + 0.2) / (voters + 2)};
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

/// Settled when the population moves by less, in an iteration.
VOXPOP_HD double allowed_change(const FitState& s) {
  return smaller(0.01, s.tolerance * sqrt(s.population.variance / s.voters));
}

namespace detail {

/// Plain Bradley-Terry: the common discrimination towards its maximum a posteriori under N(1, 1).
VOXPOP_HD bool settle_common(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals) {
  const double before = s.population.mean;
  const double gradient = from_fixed(totals.gradient) + 1 - before;
  const double information = larger(from_fixed(totals.information) + 1, 1.0);
  const double stepped = before + clamped(gradient / information, -kLongestStep, kLongestStep);
  s.population.mean = clamped(stepped * expansion(solved, stepped), 0.01, kLargestMean);
  s.stretch = s.population.mean / before;
  s.change = fabs(s.population.mean - before);
  return s.change < (s.stride > 1 ? 0.02 : 0.002) * s.population.mean;
}

/// `next`: the population as its annotators say.
VOXPOP_HD bool settle_population(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals, Population next) {
  const Population before = s.population;
  s.stretch = is_warm(s) ? smaller(expansion(solved, next.mean), kLargestMean / next.mean) : 1.0;
  next.mean *= s.stretch;
  next.variance *= s.stretch * s.stretch;
  // Where a few annotators share most votes, all moving at once may swing from side to side for good.
  const double step = next.mean - before.mean;
  s.swings = step * s.last_step < 0 && fabs(step) > 0.7 * fabs(s.last_step) ? s.swings + 1 : 0;
  if (s.swings >= 3) {
    s.damping = larger(0.5 * s.damping, 0.1);
    s.swings = 0;
  }
  s.last_step = step;
  s.change = fabs(step) + fabs(sqrt(next.variance) - sqrt(before.variance)) +
             fabs(sqrt(next.side_bias_variance) - sqrt(before.side_bias_variance));
  s.population = next;
  if (s.phase == Phase::kQuadrature) return s.change < allowed_change(s);
  return s.iterations > kWarmUp && s.change < 5 * allowed_change(s) && totals.longest_step <= 1;
}

}  // namespace detail

/// After a pass and its annotators: what the next iteration will be.
VOXPOP_HD void end_iteration(FitState& s, const SolveSums& solved, const AnnotatorTotals& totals) {
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
  bool settled;
  if (s.model == Model::kBradleyTerry) {
    settled = detail::settle_common(s, solved, totals);
  } else {
    Population next = s.population;
    next.mean = population_mean(s.population, s.voters, totals);
    if (is_warm(s)) next = population_with_spread(next.mean, s.voters, totals);
    settled = detail::settle_population(s, solved, totals, next);
  }
  ++s.iterations;
  if (settled && s.stride > 1) {
    s.stride = 1;
    s.sweeps = 4;  // on to all votes; most components have not been seen yet
  } else if (settled && s.model == Model::kRater && s.phase == Phase::kNewton) {
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

/// An annotator follows the stretch that end_iteration() decided; where all are alike, it takes the common value.
VOXPOP_HD void finish_annotator(const FitState& s, AnnotatorPosterior& a) {
  if (s.model == Model::kBradleyTerry) {
    a.discrimination = s.population.mean;
    return;
  }
  a.discrimination *= s.stretch;
  a.discrimination_variance *= s.stretch * s.stretch;
  a.covariance *= s.stretch;
}

}  // namespace voxpop
