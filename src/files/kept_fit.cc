#include "files/kept_fit.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace voxpop {
namespace {

// The bound is larger than any value in a fit, and small enough that sums of squares in fixed point do not overflow.
// NaN fails every check.
constexpr double kLargest = 1e6;
bool is_number(double x) { return std::abs(x) <= kLargest; }
bool is_variance(double x) { return x >= 0 && x <= kLargest; }
bool is_positive(double x) { return x > 0 && x <= kLargest; }

/// Whether all bool members have the bytes 0 or 1. Reading any other byte as bool is undefined behaviour.
bool has_truth_values(const FitState& state) {
  constexpr std::size_t kPlaces[] = {
      offsetof(FitState, own_ties),    offsetof(FitState, by_prompt),
      offsetof(FitState, own_priors),  offsetof(FitState, some_known),
      offsetof(FitState, own_tastes),  offsetof(FitState, known_scale),
      offsetof(FitState, own_sources), offsetof(FitState, scale) + offsetof(VoteScale, own_ties),
      offsetof(FitState, tests_views), offsetof(FitState, converged),
      offsetof(FitState, creeps)};
  const auto* bytes = reinterpret_cast<const unsigned char*>(&state);
  return std::ranges::all_of(kPlaces, [&](std::size_t place) { return bytes[place] <= 1; });
}

/// Compares the members that never change during a fit.
bool same_work(const FitState& a, const FitState& b) {
  return a.model == b.model && a.max_iterations == b.max_iterations && a.tolerance == b.tolerance &&
         a.voters == b.voters && a.levels == b.levels && a.own_ties == b.own_ties && a.by_prompt == b.by_prompt &&
         a.lowest_share_logit == b.lowest_share_logit && a.covariates == b.covariates && a.tastes == b.tastes &&
         a.own_priors == b.own_priors && a.some_known == b.some_known && a.own_tastes == b.own_tastes &&
         a.known_scale == b.known_scale && a.sources == b.sources && a.own_sources == b.own_sources &&
         a.scale.own_ties == b.scale.own_ties && std::ranges::equal(a.coefficient_prior, b.coefficient_prior) &&
         std::ranges::equal(a.coefficient_prior_variance, b.coefficient_prior_variance) &&
         // A fit with embeddings has no checkpoints. So these three keep their initial values.
         a.prior_scale == b.prior_scale && a.prior_explained == b.prior_explained && a.haste == b.haste;
}

bool is_course(const FitState& start, const FitState& kept) {
  const bool is_phase = kept.phase == Phase::kNewton || kept.phase == Phase::kQuadrature ||
                        kept.phase == Phase::kSweeps || kept.phase == Phase::kDone;
  // Annotators move in these phases only while iterations are left.
  const bool moves = kept.phase == Phase::kNewton || kept.phase == Phase::kQuadrature;
  const int most = moves ? kept.max_iterations - 1 : kept.max_iterations;
  return is_phase && kept.iterations >= 0 && kept.iterations <= most && kept.last_sweeps >= 0 &&
         kept.last_sweeps <= kMostLastSweeps && kept.sweeps >= 1 && kept.sweeps <= 4 &&
         (kept.stride == 1 || kept.stride == start.stride) && kept.swings >= 0 && kept.swings <= 3 &&
         kept.change >= 0 && is_positive(kept.stretch) && kept.damping > 0 && kept.damping <= 1 &&
         std::ranges::none_of(std::initializer_list<double>{kept.last_step, kept.last_move, kept.last_habit_step,
                                                            kept.last_spread, kept.last_side_spread},
                              [](double x) { return std::isnan(x); });
}

bool is_population(const Population& p) {
  return std::ranges::all_of(
             std::initializer_list<double>{p.mean, p.habit_mean, p.share_mean, p.side_bias_mean, p.share_votes},
             is_number) &&
         std::ranges::all_of(
             std::initializer_list<double>{p.variance, p.side_bias_variance, p.habit_variance, p.share_variance},
             is_variance);
}

/// The thresholds from the second on may have moved, but must ascend. All others must be unchanged.
bool is_scale(const FitState& start, const FitState& kept) {
  for (int k = 0; k < static_cast<int>(std::size(kept.scale.edge)); ++k) {
    const bool moves = k >= 2 && k <= start.levels && !start.known_scale;
    if (moves ? !is_number(kept.scale.edge[k]) || kept.scale.edge[k] < kept.scale.edge[k - 1]
              : kept.scale.edge[k] != start.scale.edge[k])
      return false;
  }
  return true;
}

bool is_covariates(const FitState& start, const FitState& kept) {
  for (int k = 0; k < kMaxCovariates; ++k) {
    const bool used = k < start.covariates, tasted = k < start.tastes;
    const auto holds = [&](double x, double before, bool is_used) { return is_used ? is_number(x) : x == before; };
    if (!holds(kept.coefficient[k], start.coefficient[k], used) ||
        !holds(kept.coefficient_variance[k], start.coefficient_variance[k], used) ||
        !holds(kept.last_coefficient[k], start.last_coefficient[k], used) ||
        !holds(kept.taste_shift[k], start.taste_shift[k], tasted) ||
        (tasted ? !is_variance(kept.taste_variance[k]) : kept.taste_variance[k] != start.taste_variance[k]))
      return false;
  }
  return true;
}

bool is_annotator(const AnnotatorPosterior& a) {
  constexpr double kLongest = 1e4;
  return std::ranges::all_of(std::initializer_list<double>{a.discrimination, a.side_bias, a.habit_logit, a.share_logit},
                             [](double x) { return std::abs(x) <= kLongest; }) &&
         is_number(a.covariance) &&
         std::ranges::all_of(std::initializer_list<double>{a.discrimination_variance, a.side_bias_variance,
                                                           a.habit_variance, a.share_variance},
                             is_variance);
}

bool are_sources(const FitRun& start, const FitRun& kept) {
  for (std::size_t g = 0; g < kept.sources.size(); ++g) {
    const Source &own = kept.sources[g], &before = start.sources[g];
    const bool same_prior = !start.state.own_sources || own.prior_variance == before.prior_variance;
    if (!is_number(own.score) || !is_positive(own.variance) || !is_number(own.last) || own.prior != before.prior ||
        !is_positive(own.prior_variance) || !same_prior)
      return false;
  }
  return true;
}

bool are_sites(const Sites& sites) {
  for (std::size_t v = 0; v < sites.precision.size(); ++v) {
    const float precision = sites.precision[v];
    if (!(precision >= 0 && precision <= 16 * kLargestPrecision) ||
        !(std::abs(sites.shift[v]) <= static_cast<float>(kLargest) * (1 + precision)))
      return false;
  }
  return true;
}

}  // namespace

std::string improper_part(const FitRun& start, const FitRun& kept, const EngineState& state) {
  const FitState &from = start.state, &to = kept.state;
  if (!has_truth_values(to) || !same_work(from, to)) return "model";
  if (!is_course(from, to)) return "iterations";
  const bool is_spread = is_positive(to.prompt_variance) && is_number(to.prompt_shift) && is_positive(to.prompt_step) &&
                         is_number(to.last_prompt_move) && is_positive(to.source_variance);
  if (!is_population(to.population) || !is_spread) return "population";
  if (!is_scale(from, to)) return "thresholds";
  const bool has_views = from.view_variance > 0;
  if ((to.tests_views && !from.tests_views) || !(has_views ? is_variance(to.view_variance) : to.view_variance == 0))
    return "variance of annotators' views";
  if (!is_covariates(from, to)) return "coefficients";
  if (!std::ranges::all_of(kept.annotators, is_annotator)) return "annotators";
  if (!std::ranges::all_of(kept.tastes, [](const Taste& t) { return is_number(t.mean) && is_variance(t.variance); }))
    return "tastes";
  if (!are_sources(start, kept)) return "sources";
  if (!are_sites(state.sites)) return "sites of votes";
  if (!std::ranges::all_of(state.pair_mean, is_number) || !std::ranges::all_of(state.pair_variance, is_variance))
    return "pairs";
  if (!std::ranges::all_of(state.prompts,
                           [](const TieHabit& t) { return is_number(t.mean) && is_variance(t.variance); }))
    return "prompts";
  if (!std::ranges::all_of(state.solutions, is_number)) return "solutions";
  return "";
}

}  // namespace voxpop
