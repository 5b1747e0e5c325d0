#include "fit/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "fit/require_numbers.h"
#include "formulas/elementary.h"

namespace voxpop {
namespace {

/// With fewer components, prompts' parts of tie habits cannot be separated from annotators' habits.
constexpr std::size_t kPromptsForHabits = 5;

/// Starting value of tie habits, in logits: 1.5 times the share of ties. The habit is the tie probability at no
/// difference, so it is above the average share.
double starting_habit(const Answers& answers) { return logit(std::clamp(1.5 * answers.tie_share, 1e-3, 0.9)); }

/// An annotator's initial state, from its prior.
AnnotatorPosterior start_from(const Population& prior, const FitState& state) {
  const bool rates = has_discriminations(state.model);
  return {.discrimination = prior.mean,
          .side_bias = prior.side_bias_mean,
          .discrimination_variance = rates ? prior.variance : 0,
          .side_bias_variance = rates ? prior.side_bias_variance : 0,
          .habit_logit = prior.habit_mean,
          .habit_variance = rates ? prior.habit_variance : 0,
          .share_logit = std::max(prior.share_mean, state.lowest_share_logit),
          .share_variance = prior.share_variance};
}

/// Sets the earlier fit's estimates as priors and starting values of annotators, tastes and coefficients.
void start_warm(FitRun& run, const WarmStart& earlier, const Answers& answers) {
  FitState& state = run.state;
  state.own_priors = true;
  state.population = earlier.population;
  state.stride = 1;
  run.priors = earlier.annotators;
  if (state.own_ties && !earlier.knows_habits) {
    const double habit = starting_habit(answers);
    const auto forget = [&](Population& prior) {
      prior.habit_mean = habit;
      prior.habit_variance = 1;
    };
    forget(state.population);
    std::ranges::for_each(run.priors, forget);
  }
  run.priors.resize(run.annotators.size(), state.population);
  std::transform(run.priors.begin(), run.priors.end(), run.annotators.begin(),
                 [&](const Population& prior) { return start_from(prior, state); });
  state.known_scale = earlier.scale.has_value();
  if (state.known_scale) state.scale = *earlier.scale;
  state.scale.own_ties = state.own_ties;
  for (std::size_t k = 0; k < earlier.coefficient.size(); ++k) {
    state.coefficient[k] = state.coefficient_prior[k] = earlier.coefficient[k];
    state.coefficient_prior_variance[k] = earlier.coefficient_se[k] * earlier.coefficient_se[k];
  }
  state.own_sources = state.sources > 0 && !earlier.sources.empty();
  if (state.own_sources) run.sources = earlier.sources;
  state.own_tastes = state.tastes > 0 && !earlier.tastes.empty();
  if (!state.own_tastes) return;
  run.taste_priors = earlier.tastes;
  run.taste_priors.resize(run.tastes.size());
  run.tastes = run.taste_priors;
  for (int k = 0; k < state.tastes; ++k) state.taste_variance[k] = earlier.taste_sd[k] * earlier.taste_sd[k];
}

/// Changes the sign of all scores and discriminations. This solution is as probable as the original, except for the
/// population's prior.
void mirror(Engine& engine, FitRun& run) {
  EngineState kept = engine.save(run);
  for (auto* column : {&kept.sites.shift, &kept.pair_mean, &kept.solutions})
    for (float& x : *column) x = -x;
  engine.load(kept);
  for (AnnotatorPosterior& a : run.annotators) {
    if (is_known(a)) continue;
    a.discrimination = -a.discrimination;
    a.covariance = -a.covariance;
  }
  for (double& c : run.state.coefficient) c = -c;
  run.state.prior_scale = -run.state.prior_scale;
  for (Source& source : run.sources) source.score = -source.score;
  double sum = 0;
  for (std::size_t a = 0; a < run.annotators.size(); ++a)
    if (run.votes_of[a] > 0) sum += run.annotators[a].discrimination;
  run.state.population.mean = std::max(sum / std::max(run.state.voters, 1.0), 0.05);
}

using Report = std::function<void(int, double)>;

FitRun start_run(const std::vector<std::uint32_t>& votes_of, const FitOptions& options) {
  FitRun run;
  run.votes_of = votes_of;
  run.annotators.resize(votes_of.size());
  FitState& state = run.state;
  state.model = options.model;
  state.max_iterations = options.max_iterations;
  state.tolerance = options.tolerance;
  state.some_known = has_discriminations(options.model) && !options.known.empty();
  for (std::size_t a = 0; state.some_known && a < votes_of.size(); ++a)
    if (options.known[a].variance >= 0) run.votes_of[a] = 0;
  state.voters = static_cast<double>(std::ranges::count_if(run.votes_of, [](std::uint32_t n) { return n > 0; }));
  state.stride = sample_stride(votes_of, options.sample_votes);
  state.levels = options.answers.levels();
  state.own_ties = options.answers.own_ties();
  state.by_prompt = state.own_ties && options.answers.components >= kPromptsForHabits;
  state.population.habit_mean = starting_habit(options.answers);
  state.scale = starting_scale(state.levels, state.own_ties);
  if (options.views != ViewUse::kNone && has_discriminations(options.model)) {
    state.tests_views = options.views == ViewUse::kTested;
    state.view_variance = state.tests_views ? kTestedViewVariance : kFirstViewVariance;
    state.stride = 1;
  }
  state.covariates = options.covariates;
  state.tastes = has_discriminations(options.model) ? options.tastes : 0;
  state.sources = options.sources;
  run.sources.resize(options.sources);
  std::fill_n(state.taste_variance, state.tastes, kFirstTasteVariance);
  std::fill_n(state.coefficient_prior_variance, state.covariates, kCoefficientVariance);
  run.tastes.resize(run.annotators.size() * state.tastes);
  state.population.share_mean = kPriorShareMean;
  for (AnnotatorPosterior& a : run.annotators) {
    a.share_logit = state.population.share_mean;
    a.habit_logit = state.population.habit_mean;
  }
  if (!options.adversaries) state.lowest_share_logit = 0;
  if (state.some_known) run.priors = options.known;
  if (options.warm_start) start_warm(run, *options.warm_start, options.answers);
  for (std::size_t a = 0; state.some_known && a < votes_of.size(); ++a) {
    const Population& known = options.known[a];
    if (options.warm_start && known.variance >= 0) {  // with own priors, prior_of() would return the earlier prior
      FitState apart = state;
      apart.own_priors = false;
      const Population prior = prior_of(apart, &known);
      if (prior.variance < run.priors[a].variance) {  // else the earlier fit knows more about this annotator
        run.priors[a] = prior;
        run.annotators[a] = start_from(prior, state);
      }
    }
    if (known.variance == 0) run.annotators[a] = known_annotator(known, state.population);
  }
  return run;
}

void settle(Engine& engine, FitRun& run, const Report& report, FitKeeper* keeper = nullptr) {
  while (run.state.phase != Phase::kDone) {
    engine.iterate(run);
    if (keeper != nullptr) keeper->keep(run, engine);
    report(run.state.iterations, run.state.change);
  }
}

/// Continues a converged fit from `phase`, after something else has changed.
void settle_again(FitState& state, Phase phase) {
  state.phase = phase;
  state.converged = false;
  state.last_sweeps = 0;
  state.sweeps = 4;
  state.max_iterations += state.iterations;
}

/// A converged fit.
struct Solution {
  FitRun run;
  Posterior posterior;
  Standing standing;
  bool mirrored = false;
  std::vector<bool> apart = {};  ///< see Fit
};

Posterior posterior_of(Engine& engine, const FitRun& run) {
  PassOptions last = next_pass(run.state);
  last.stretch = 1;
  last.uncertain = has_discriminations(run.state.model);
  Posterior out = engine.posterior(run.raters(), last);
  if (run.prior != nullptr) out.log_evidence += run.prior->log_evidence;
  return out;
}

/// Converges and selects the sign that more annotators follow, or that known answers support. After mirror() the fit
/// must converge again: known answers do not change sign, and the population's mean, which is above 0, draws annotators
/// the other way.
Solution solve(Engine& engine, FitRun run, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
               const Report& report) {
  Solution out{std::move(run), {}, {}, false};
  const bool has_sign = has_discriminations(options.model) && !options.warm_start;
  const auto look = [&] {
    if (options.known.empty() && has_sign)
      out.standing = find_standing(out.run.annotators, votes_of, options.known, nullptr);
    if (options.known.empty()) return;
    out.posterior = posterior_of(engine, out.run);
    if (has_sign) out.standing = find_standing(out.run.annotators, votes_of, options.known, &out.posterior.annotators);
  };
  look();
  if (out.standing.wrong_way_round()) {
    out.mirrored = true;
    mirror(engine, out.run);
    settle_again(out.run.state, Phase::kQuadrature);
    settle(engine, out.run, report);
    look();
  }
  if (options.known.empty()) out.posterior = posterior_of(engine, out.run);
  return out;
}

double ordered_alike(const Posterior& a, const Posterior& b) {
  double alike = 0;
  for (std::size_t p = 0; p < a.pair_mean.size(); ++p) alike += a.pair_mean[p] * b.pair_mean[p] > 0;
  return alike / static_cast<double>(std::max<std::size_t>(a.pair_mean.size(), 1));
}

/// Estimates the annotators that were held at discrimination 0, from their votes on the solution's scores. The scores
/// do not change.
void estimate_apart(Engine& engine, Solution& solution, const std::vector<bool>& apart,
                    const std::vector<Population>& known) {
  constexpr int kMostSteps = 50;
  constexpr double kEnough = 0.02;  // of a standard error
  FitRun& run = solution.run;
  const FitState& state = run.state;
  const EngineState kept = engine.save(run);
  PassOptions pass = next_pass(state);
  pass.annotators = true;
  pass.stretch = 1;
  pass.prompt_variance = 0;  // prompts do not change either
  for (std::size_t a = 0; a < apart.size(); ++a)
    if (apart[a]) {
      const AnnotatorPosterior held = run.annotators[a];
      run.annotators[a] = start_from(state.population, state);
      run.annotators[a].discrimination = 0;
      run.annotators[a].habit_logit = held.habit_logit;
    }
  double longest = 1;
  for (int step = 0; step < kMostSteps && longest > kEnough; ++step) {
    const PassResult sums = engine.update_components(run.raters(), pass);
    longest = 0;
    for (std::size_t a = 0; a < apart.size(); ++a) {
      if (!apart[a]) continue;
      AnnotatorPosterior& own = run.annotators[a];
      const Population prior = known.empty() ? state.population : prior_of(state, &known[a]);
      longest = std::max(longest, newton_step(own, sums.annotators[a], prior));
      if (!state.own_ties) continue;
      const double before = own.habit_logit;
      step_habit(own, sums.annotators[a], state.population, 1);
      longest = std::max(longest, std::abs(own.habit_logit - before) / std::sqrt(own.habit_variance));
    }
    engine.load(kept);  // undoes the sites' changes of this pass
  }
  solution.posterior = posterior_of(engine, run);
  solution.apart = apart;
}

/// Searches for a second solution if many annotators do not follow the scores of `first`. Annotators who follow are a
/// camp. The second fit leaves the camp out, by holding its discriminations at 0; otherwise a camp that always agrees
/// with itself would win from any start. There is a second solution if the others agree with one another on scores that
/// the camp does not follow. Then returns the solution that known answers prefer by two sds, else the solution with
/// more followers; `rival` describes the other one. Otherwise returns `first`. The engine holds the returned solution.
Solution better_of_rivals(Engine& engine, Solution first, const std::vector<std::uint32_t>& votes_of,
                          const FitOptions& options, const Report& report, std::optional<Rival>& rival) {
  constexpr double kFollows = 0.5;
  const double little = kUnrelated * strength_of(first.run.annotators, votes_of);
  FitOptions apart = options;
  apart.known.resize(votes_of.size(), not_known());
  std::vector<bool> camp(votes_of.size()), others(votes_of.size());
  bool some_others = false;
  for (std::size_t a = 0; a < votes_of.size(); ++a) {
    camp[a] = votes_of[a] > 0 && std::abs(first.run.annotators[a].discrimination) >= little;
    others[a] = votes_of[a] > 0 && !camp[a];
    some_others = some_others || others[a];
    if (camp[a]) apart.known[a] = known_discrimination(0);
  }
  if (!some_others) return first;
  EngineState kept = engine.save(first.run);
  EngineState fresh = kept;
  for (auto* column : {&fresh.sites.precision, &fresh.sites.shift, &fresh.pair_mean, &fresh.solutions})
    std::ranges::fill(*column, 0.0f);
  std::ranges::fill(fresh.pair_variance, 2.0f);
  std::ranges::fill(fresh.prompts, TieHabit{});
  engine.load(fresh);
  FitRun run = start_run(votes_of, apart);
  settle(engine, run, report);
  Solution second = solve(engine, std::move(run), votes_of, apart, report);
  const double alike = ordered_alike(first.posterior, second.posterior);
  const auto following = [&](const Solution& solution, const std::vector<bool>& of) {
    return find_following(solution.posterior.annotators, votes_of, of);
  };
  if (following(second, others) < kFollows || following(second, camp) > kFollows) {
    engine.load(kept);
    return first;
  }
  const double known = second.standing.known - first.standing.known;
  const double own = find_followers(first.run.annotators, votes_of);
  const double new_one = find_followers(second.run.annotators, votes_of);
  const bool takes_second = known >= 2 || (known > -2 && new_one > own);
  const Solution& other = takes_second ? first : second;
  rival = Rival{takes_second ? own : new_one, other.posterior.log_evidence, alike};
  if (!takes_second) {
    engine.load(kept);
    return first;
  }
  estimate_apart(engine, second, camp, options.known);
  second.standing = find_standing(second.run.annotators, votes_of, options.known, &second.posterior.annotators);
  return second;
}

}  // namespace

Raters::Raters(const std::vector<AnnotatorPosterior>& annotators, std::vector<Taste> t, std::vector<float> s)
    : records(annotators.size()), habits(annotators.size()), tastes(std::move(t)), source_score(std::move(s)) {
  std::ranges::transform(annotators, records.begin(), record_of);
  std::ranges::transform(annotators, habits.begin(), tie_habit_of);
}

Raters FitRun::raters() const {
  Raters out(annotators, tastes, scores_of(sources));
  out.prior = prior;
  return out;
}

std::vector<float> scores_of(const std::vector<Source>& sources) {
  std::vector<float> scores(sources.size());
  std::ranges::transform(sources, scores.begin(), [](const Source& s) { return static_cast<float>(s.score); });
  return scores;
}

std::string why_not_told(const Fit& fit) {
  if (!fit.standing.known_tells() && fit.standing.agreement < kLeastAgreement)
    return fmt::format(
        "The votes do not show the sign of the scores: about as many annotators contradict the scores as follow them "
        "(the difference of the shares is {:.2f}; at least {} is needed). Every label may be reversed.{}",
        fit.standing.agreement, kLeastAgreement,
        fit.standing.known == 0
            ? ""
            : fmt::format(" The known answers do not show it, either: they agree with the scores by {:.1f} standard "
                          "errors, and 2 are needed. One trusted annotator is enough, or 4 known pairs that agree.",
                          fit.standing.known));
  return "The unit of the scores cannot be estimated: the votes of the reference annotator hardly depend on them.";
}

std::uint32_t sample_stride(const std::vector<std::uint32_t>& votes_of, std::size_t sample_votes) {
  const std::size_t votes = std::accumulate(votes_of.begin(), votes_of.end(), std::size_t{0});
  return static_cast<std::uint32_t>(std::max<std::size_t>(votes / sample_votes, 1));
}

void Engine::iterate(FitRun& run) {
  FitState& state = run.state;
  const PassResult pass = update_components(run.raters(), next_pass(state));
  const bool moves = state.phase != Phase::kSweeps;
  AnnotatorTotals totals;
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a) {
    update_annotator(state, run.annotators[a], run.priors.empty() ? nullptr : &run.priors[a], pass.annotators[a],
                     pass.grid.empty() ? GridSums{} : pass.grid[a], totals);
    if (state.tastes > 0) {
      const std::size_t first = a * state.tastes;
      update_tastes(state, run.annotators[a], &run.tastes[first], state.own_tastes ? &run.taste_priors[first] : nullptr,
                    &pass.tastes[first], run.votes_of[a], totals);
    }
    if (run.votes_of[a] > 0) add_mean(run.annotators[a], totals);
  }
  for (std::size_t g = 0; moves && g < run.sources.size(); ++g)
    update_source(state, run.sources[g], pass.sources[g], totals);
  const Population centre = with_means(state, totals);
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a)
    if (run.votes_of[a] > 0) add_spread(centre, run.annotators[a], totals);
  if (moves)
    for (Source& source : run.sources) centre_source(state, totals.source, source, totals);
  end_iteration(state, pass.solved, totals, centre, pass.thresholds.data(), pass.covariates, pass.prompts, pass.views);
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a) {
    finish_tastes(state, run.annotators[a], run.tastes.data() + a * state.tastes);
    finish_annotator(state, run.annotators[a]);
  }
  if (moves)
    for (Source& source : run.sources) finish_source(state, source);
}

Likelihood likelihood_kind(const Groups& groups, Blend blend) {
  if (blend != Blend::kNone) return Likelihood::kMixture;
  return groups.answers.binary() && groups.all_seen ? Likelihood::kBinary : Likelihood::kOrdinal;
}

std::vector<std::uint32_t> count_votes(const Groups& groups) {
  std::vector<std::uint32_t> count(groups.annotators, 0);
  if (groups.weight.empty()) {
    for (const VoteCode vote : groups.votes)
      if (vote.seen()) ++count[vote.annotator()];
    return count;
  }
  const std::vector<double> weight = weigh_annotators(groups);
  std::ranges::transform(weight, count.begin(), rounded_votes);
  return count;
}

std::vector<double> weigh_annotators(const Groups& groups) {
  std::vector<double> weight(groups.annotators, 0.0);
  for (std::uint32_t v = 0; v < groups.votes.size(); ++v)
    if (groups.votes[v].seen()) weight[groups.votes[v].annotator()] += groups.weight_of(v);
  return weight;
}

std::vector<std::string> warnings_at_caps(const Fit& fit) {
  std::vector<std::string> warnings;
  const auto check = [&](const char* name, double value, double largest, const char* why) {
    if (value > 0.999 * largest)
      warnings.push_back(fmt::format("{} reached its largest value, {:g}: {}", name, largest, why));
  };
  check("discrimination_sd", std::sqrt(fit.population.variance), std::sqrt(kLargestVariance),
        "the votes of some annotators agree with each other far more than with other annotators' votes, as in a "
        "ranking. Labels may be overconfident; check this with folds by block (voxpop evaluate --folds-by block).");
  check("discrimination_mean", fit.population.mean, kLargestMean,
        "votes hardly ever contradict each other, so they do not show how certain labels may be.");
  return warnings;
}

void SettledFit::resume(FitRun& run, Engine& engine) {
  if (!run_) {
    if (other_ != nullptr) other_->resume(run, engine);
    if (run.state.phase == Phase::kDone) keep(run, engine);  // the saved fit had converged, so no iteration follows
    return;
  }
  FitRun again = *run_;
  again.votes_of = std::move(run.votes_of);
  again.state.voters = run.state.voters;
  settle_again(again.state, Phase::kNewton);  // annotators whose votes had weight 0 are at their priors
  run = std::move(again);
  engine.load(state_);
}

void SettledFit::keep(FitRun& run, Engine& engine) {
  if (other_ != nullptr && !run_) other_->keep(run, engine);
  if (run.state.phase != Phase::kDone || run_) return;
  state_ = engine.save(run);
  run_ = run;
}

Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report, FitKeeper* keeper) {
  const std::optional<WarmStart>& earlier = options.warm_start;
  std::vector<std::uint32_t> voters = votes_of;  // without the annotators that stand for known answers
  for (std::size_t a = 0; a < options.known.size(); ++a)
    if (options.known[a].variance == 0) voters[a] = 0;
  FitRun run = start_run(votes_of, options);
  if (keeper != nullptr) keeper->resume(run, engine);
  settle(engine, run, report, keeper);
  Fit fit;
  Solution solution = solve(engine, std::move(run), voters, options, report);
  if (has_discriminations(options.model) && !earlier && solution.standing.in_doubt())
    solution = better_of_rivals(engine, std::move(solution), voters, options, report, fit.rival);
  const FitState& state = solution.run.state;
  fit.mirrored = solution.mirrored;
  fit.apart = std::move(solution.apart);
  fit.standing = solution.standing;
  fit.model = options.model;
  fit.answers = options.answers;
  fit.annotators = std::move(solution.run.annotators);
  fit.population = earlier ? earlier->population : state.population;
  fit.scale = state.scale;
  fit.tastes = std::move(solution.run.tastes);
  fit.sources = std::move(solution.run.sources);
  double squares = 0;
  for (const Source& source : fit.sources) squares += source.score * source.score + source.variance;
  if (!fit.sources.empty()) fit.source_sd = std::sqrt(squares / static_cast<double>(fit.sources.size()));
  for (int k = 0; k < state.covariates; ++k) {
    fit.coefficient.push_back(state.coefficient[k]);
    const double shared = earlier && !earlier->shared_se.empty() ? earlier->shared_se[k] : 0;
    fit.coefficient_se.push_back(std::sqrt(state.coefficient_variance[k] + shared * shared));
  }
  for (int k = 0; k < state.tastes; ++k) fit.taste_sd.push_back(std::sqrt(state.taste_variance[k]));
  if (!has_discriminations(options.model))
    fit.population.variance = fit.population.side_bias_variance = fit.population.habit_variance = 0;
  fit.prior = solution.run.prior;
  fit.prior_scale = state.prior_scale;
  fit.view_variance = state.view_variance;
  fit.prompt_variance = state.by_prompt ? state.prompt_variance : 0;
  fit.iterations = state.iterations;
  fit.converged = state.converged;
  fit.change = state.change;
  fit.posterior = std::move(solution.posterior);
  require_numbers(fit);
  std::vector<double> discriminations, shares;
  for (const AnnotatorPosterior& a : fit.annotators) {
    discriminations.push_back(a.discrimination);
    shares.push_back(share_of(a.share_logit));
  }
  fit.reference_discrimination = reference_median(discriminations, voters);
  if (options.model == Model::kCrowdBt) fit.reference_share = std::max(reference_median(shares, voters), 0.505);
  if (earlier) {  // both fits use the same unit
    fit.reference_discrimination = earlier->reference_discrimination;
    fit.reference_share = earlier->reference_share;
  } else if (has_discriminations(options.model)) {
    const bool agreed = fit.standing.known_tells() || fit.standing.agreement >= kLeastAgreement;
    // Scores have sd 1 around their prior means, plus the spread of the prior means.
    const double least = kLeastReference / std::hypot(1.0, explained(state));
    if (fit.standing.known_tells() && fit.reference_discrimination < least) {
      for (std::size_t a = 0; a < voters.size(); ++a)  // most annotators contradict what is known: use only those who
                                                       // do not
        if (discriminations[a] <= 0) voters[a] = 0;
      fit.reference_discrimination = reference_median(discriminations, voters);
    }
    fit.sign_is_told = agreed && fit.reference_discrimination >= least;
    if (fit.reference_discrimination < least) fit.reference_discrimination = root_mean_square(fit.population);
  }
  fit.score_unit = logits_of_votes(fit.reference_discrimination, fit.view_variance);
  return fit;
}

}  // namespace voxpop
