#include "fit/fit.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error.h"

namespace voxpop {
namespace {

/// An annotator before its votes are seen.
AnnotatorPosterior start_from(const Population& prior, const FitState& state) {
  const bool rates = has_discriminations(state.model);
  return {.discrimination = prior.mean,
          .side_bias = prior.side_bias_mean,
          .discrimination_variance = rates ? prior.variance : 0,
          .side_bias_variance = rates ? prior.side_bias_variance : 0,
          .share_logit = std::max(prior.share_mean, state.lowest_share_logit),
          .share_variance = prior.share_variance};
}

/// Annotators, tastes and coefficients have the earlier fit's estimates as priors, and start there.
void start_warm(FitRun& run, const WarmStart& earlier) {
  FitState& state = run.state;
  state.own_priors = true;
  state.population = earlier.population;
  state.stride = 1;
  run.priors = earlier.annotators;
  std::transform(run.priors.begin(), run.priors.end(), run.annotators.begin(),
                 [&](const Population& prior) { return start_from(prior, state); });
  state.known_scale = earlier.scale.has_value();
  if (state.known_scale) state.scale = *earlier.scale;
  for (std::size_t k = 0; k < earlier.coefficient.size(); ++k) {
    state.coefficient[k] = state.coefficient_prior[k] = earlier.coefficient[k];
    state.coefficient_prior_variance[k] = earlier.coefficient_se[k] * earlier.coefficient_se[k];
  }
  state.own_tastes = state.tastes > 0 && !earlier.tastes.empty();
  if (!state.own_tastes) return;
  run.tastes = run.taste_priors = earlier.tastes;
  for (int k = 0; k < state.tastes; ++k) state.taste_variance[k] = earlier.taste_sd[k] * earlier.taste_sd[k];
}

/// On all cores: one takes 40 ms over 20M pairs and as many items, a good part of the time in which a device fits them.
template <class Holds>
bool all_of(const Column<float>& column, const Holds& holds) {
  constexpr std::size_t kTask = 1 << 16;
  return oneapi::tbb::parallel_reduce(
      oneapi::tbb::blocked_range<std::size_t>(0, column.size(), kTask), true,
      [&](const auto& range, bool before) {
        return before && std::all_of(column.begin() + range.begin(), column.begin() + range.end(), holds);
      },
      std::logical_and());
}

/// The same fit with all scores and discriminations of the other sign: as probable, but for the population's prior.
void mirror(Engine& engine, FitRun& run) {
  EngineState kept = engine.save(run);
  for (auto* column : {&kept.sites.shift, &kept.pair_mean, &kept.solutions})
    for (float& x : *column) x = -x;
  engine.load(kept);
  for (AnnotatorPosterior& a : run.annotators) {
    a.discrimination = -a.discrimination;
    a.covariance = -a.covariance;
  }
  for (double& c : run.state.coefficient) c = -c;
  double sum = 0;
  for (std::size_t a = 0; a < run.annotators.size(); ++a)
    if (run.votes_of[a] > 0) sum += run.annotators[a].discrimination;
  run.state.population.mean = std::max(sum / run.state.voters, 0.05);
}

/// Labels that are no numbers must reach nobody's training.
void require_numbers(const Fit& fit) {
  const Posterior& posterior = fit.posterior;
  const auto finite = [](double x) { return std::isfinite(x); };
  const auto positive = [](float x) { return x > 0 && std::isfinite(x); };
  const auto known = [](const AnnotatorPosterior& a) {
    return std::isfinite(a.discrimination + a.side_bias + a.share_logit) &&
           std::isfinite(a.discrimination_variance + a.covariance + a.side_bias_variance + a.share_variance);
  };
  const auto is_known = [](const Taste& taste) { return std::isfinite(taste.mean + taste.variance); };
  if (std::isfinite(posterior.log_evidence) && all_of(posterior.slot_mean, finite) &&
      all_of(posterior.slot_variance, finite) && all_of(posterior.pair_mean, finite) &&
      all_of(posterior.pair_variance, positive) && std::ranges::all_of(fit.annotators, known) &&
      std::ranges::all_of(fit.tastes, is_known) && std::ranges::all_of(fit.scale.edge, finite) &&
      std::ranges::all_of(fit.coefficient, finite) && std::ranges::all_of(fit.coefficient_se, finite) &&
      std::ranges::all_of(fit.taste_sd, finite))
    return;
  throw Error(
      Exit::kNotConverged,
      fmt::format("the fit diverged: after {} iterations not all of it are numbers. Another --model may do; please "
                  "report it",
                  fit.iterations));
}

}  // namespace

std::vector<RaterRecord> records_of(const std::vector<AnnotatorPosterior>& annotators) {
  std::vector<RaterRecord> records(annotators.size());
  std::transform(annotators.begin(), annotators.end(), records.begin(),
                 [](const AnnotatorPosterior& a) { return record_of(a); });
  return records;
}

std::uint32_t sample_stride(const std::vector<std::uint32_t>& votes_of, std::size_t sample_votes) {
  const std::size_t votes = std::accumulate(votes_of.begin(), votes_of.end(), std::size_t{0});
  return static_cast<std::uint32_t>(std::max<std::size_t>(votes / sample_votes, 1));
}

void Engine::iterate(FitRun& run) {
  FitState& state = run.state;
  const PassResult pass = update_components({records_of(run.annotators), run.tastes}, next_pass(state));
  const bool moves = state.phase != Phase::kSweeps;
  AnnotatorTotals totals;
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a) {
    update_annotator(state, run.annotators[a], state.own_priors ? &run.priors[a] : nullptr, pass.annotators[a],
                     pass.grid.empty() ? GridSums{} : pass.grid[a], totals);
    if (state.tastes > 0) {
      const std::size_t first = a * state.tastes;
      update_tastes(state, run.annotators[a], &run.tastes[first], state.own_tastes ? &run.taste_priors[first] : nullptr,
                    &pass.tastes[first], run.votes_of[a], totals);
    }
    if (run.votes_of[a] > 0) add_mean(run.annotators[a], totals);
  }
  const Population centre = with_means(state, totals);
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a)
    if (run.votes_of[a] > 0) add_spread(centre, run.annotators[a], totals);
  end_iteration(state, pass.solved, totals, centre, pass.thresholds.data(), pass.covariates);
  for (std::size_t a = 0; moves && a < run.annotators.size(); ++a) {
    finish_tastes(state, run.annotators[a], run.tastes.data() + a * state.tastes);
    finish_annotator(state, run.annotators[a]);
  }
}

Likelihood likelihood_kind(const Groups& groups, Blend blend) {
  if (blend != Blend::kNone) return Likelihood::kMixture;
  return groups.answers.binary() && groups.all_seen ? Likelihood::kBinary : Likelihood::kOrdinal;
}

std::vector<float> find_click_habits(const Groups& groups) {
  if (!groups.click_habits.empty()) return groups.click_habits;
  std::vector<double> counts(groups.annotators * kHabitLevels, 0.0);
  std::vector<float> habits(counts.size());
  const auto answers = static_cast<float>(2 * groups.answers.levels() + (groups.answers.ties ? 1 : 0));
  for (std::uint32_t v = 0; v < groups.votes.size(); ++v) {
    const VoteCode vote = groups.votes[v];
    if (!vote.seen()) continue;
    double* count = counts.data() + std::size_t{vote.annotator()} * kHabitLevels + kMaxLevels;
    const double half = 0.5 * groups.weight_of(v);  // of unknown sides to either
    const int level = vote.first_on_left() ? vote.level() : -vote.level();
    count[level] += half;
    count[vote.side_known() ? level : -level] += half;
  }
  for (std::size_t a = 0; a < groups.annotators; ++a) {
    const double* count = counts.data() + a * kHabitLevels;
    const auto votes = static_cast<float>(std::accumulate(count, count + kHabitLevels, 0.0));
    for (int k = 0; k < kHabitLevels; ++k)
      habits[a * kHabitLevels + k] = (static_cast<float>(count[k]) + 1 / answers) / (votes + 1);
  }
  return habits;
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

double reference_median(const std::vector<double>& value, const std::vector<std::uint32_t>& votes_of) {
  // Enough votes: 50, or where fewer have so many, the quarter with most votes. Estimates of the others are drawn to
  // the population's mean, which is not the median where some are random.
  std::vector<std::uint32_t> counts;
  for (const std::uint32_t n : votes_of)
    if (n > 0) counts.push_back(n);
  if (counts.empty()) return 1;  // all votes are held out
  std::sort(counts.begin(), counts.end());
  const std::uint32_t enough = std::min<std::uint32_t>(50, counts[counts.size() - 1 - (counts.size() - 1) / 4]);
  std::vector<double> values;
  for (std::size_t a = 0; a < value.size(); ++a)
    if (votes_of[a] >= enough) values.push_back(value[a]);
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double agreement_with_scores(const std::vector<AnnotatorPosterior>& annotators,
                             const std::vector<std::uint32_t>& votes_of) {
  double sum = 0;
  for (std::size_t a = 0; a < annotators.size(); ++a)
    if (votes_of[a] > 0)  // P(gamma > 0) - P(gamma < 0)
      sum += std::erf(annotators[a].discrimination /
                      std::sqrt(2 * std::max(annotators[a].discrimination_variance, 1e-12)));
  return sum;
}

Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report, FitKeeper* keeper) {
  FitRun run;
  run.votes_of = votes_of;
  run.annotators.resize(votes_of.size());
  FitState& state = run.state;
  state.model = options.model;
  state.max_iterations = options.max_iterations;
  state.tolerance = options.tolerance;
  state.voters =
      static_cast<double>(std::count_if(votes_of.begin(), votes_of.end(), [](std::uint32_t n) { return n > 0; }));
  state.stride = sample_stride(votes_of, options.sample_votes);
  state.levels = options.answers.levels();
  state.tie_band = options.answers.ties && !options.answers.half_ties;
  state.scale = starting_scale(state.levels, state.tie_band);
  state.covariates = options.covariates;
  state.tastes = has_discriminations(options.model) ? options.tastes : 0;
  std::fill_n(state.taste_variance, state.tastes, kFirstTasteVariance);
  std::fill_n(state.coefficient_prior_variance, state.covariates, kCoefficientVariance);
  run.tastes.resize(run.annotators.size() * state.tastes);
  state.population.share_mean = prior_share_mean(options.model);
  for (AnnotatorPosterior& a : run.annotators) a.share_logit = state.population.share_mean;
  if (!options.adversaries) state.lowest_share_logit = 0;
  const std::optional<WarmStart>& earlier = options.warm_start;
  if (earlier) start_warm(run, *earlier);
  if (keeper != nullptr) keeper->resume(run, engine);
  while (state.phase != Phase::kDone) {
    engine.iterate(run);
    if (keeper != nullptr) keeper->keep(run, engine);
    report(state.iterations, state.change);
  }
  Fit fit;
  fit.mirrored = has_discriminations(options.model) && !earlier && agreement_with_scores(run.annotators, votes_of) < 0;
  if (fit.mirrored) mirror(engine, run);
  fit.model = options.model;
  fit.answers = options.answers;
  fit.annotators = std::move(run.annotators);
  fit.population = earlier ? earlier->population : state.population;
  fit.scale = state.scale;
  fit.tastes = std::move(run.tastes);
  for (int k = 0; k < state.covariates; ++k) {
    fit.coefficient.push_back(state.coefficient[k]);
    const double shared = earlier && !earlier->shared_se.empty() ? earlier->shared_se[k] : 0;
    fit.coefficient_se.push_back(std::sqrt(state.coefficient_variance[k] + shared * shared));
  }
  for (int k = 0; k < state.tastes; ++k) fit.taste_sd.push_back(std::sqrt(state.taste_variance[k]));
  if (!has_discriminations(options.model)) fit.population.variance = fit.population.side_bias_variance = 0;
  fit.iterations = state.iterations;
  fit.converged = state.converged;
  fit.change = state.change;
  PassOptions last = next_pass(state);
  last.stretch = 1;
  last.uncertain = has_discriminations(options.model);
  fit.posterior = engine.posterior({records_of(fit.annotators), fit.tastes}, last);
  require_numbers(fit);
  std::vector<double> discriminations, shares;
  for (const AnnotatorPosterior& a : fit.annotators) {
    discriminations.push_back(a.discrimination);
    shares.push_back(share_of(a.share_logit));
  }
  fit.reference_discrimination = std::max(reference_median(discriminations, votes_of), 0.01);
  if (options.model == Model::kCrowdBt) fit.reference_share = std::max(reference_median(shares, votes_of), 0.505);
  if (earlier) {  // one unit for both fits
    fit.reference_discrimination = earlier->reference_discrimination;
    fit.reference_share = earlier->reference_share;
  }
  return fit;
}

}  // namespace voxpop
