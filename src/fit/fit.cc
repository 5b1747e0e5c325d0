#include "fit/fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fit/annotators.h"
#include "voxpop/fixed_point.h"

namespace voxpop {
namespace {

/// A pair's mean may still move by this, in posterior sds, when EP counts as settled.
constexpr float kSettled = 1e-2f;

/// While the sites are young, the spread of annotators stays small: else an annotator may settle on the mirrored side.
constexpr int kWarmUp = 5;

std::vector<RaterRecord> records_of(const std::vector<AnnotatorPosterior>& annotators) {
  std::vector<RaterRecord> records(annotators.size());
  std::transform(annotators.begin(), annotators.end(), records.begin(), record_of);
  return records;
}

/// Every so-manieth batch of components makes the sample.
std::uint32_t sample_stride(const std::vector<std::uint32_t>& votes_of, std::size_t sample_votes) {
  const std::size_t votes = std::accumulate(votes_of.begin(), votes_of.end(), std::size_t{0});
  return static_cast<std::uint32_t>(std::max<std::size_t>(votes / sample_votes, 1));
}

double moved(const Population& a, const Population& b) {
  return std::abs(a.mean - b.mean) + std::abs(std::sqrt(a.variance) - std::sqrt(b.variance)) +
         std::abs(std::sqrt(a.side_bias_variance) - std::sqrt(b.side_bias_variance));
}

/// The slow direction of the iteration is the common scale of all discriminations, which trades against the spread of
/// all scores: given one, the other hardly moves. So the scores' prior sd is let free for a moment, estimated, and set
/// back to 1 by stretching discriminations instead (parameter expansion; Liu, Rubin and Wu 1998). Returns that factor:
/// where p(scores | sd) N(mean * sd; 1, 1) peaks, with the hyperprior of the discriminations' mean.
double expansion(const PassResult& pass, double mean) {
  double low = 0.7, high = 1.4;
  for (int i = 0; i < 40; ++i) {
    const double sd = 0.5 * (low + high);
    const double gradient = (pass.squares / (sd * sd) - pass.freedom) / sd - mean * (mean * sd - 1);
    (gradient > 0 ? low : high) = sd;
  }
  return low;
}

/// Plain Bradley-Terry: one discrimination for all, at its maximum a posteriori under N(1, 1); Newton steps.
void fit_bradley_terry(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options, Fit& fit,
                       const std::function<void(int, double)>& report) {
  double common = 1;
  std::uint32_t stride = sample_stride(votes_of, options.sample_votes);
  int sweeps = 4;
  double stretch = 1;
  while (fit.iterations < options.max_iterations && !fit.converged) {
    const PassResult pass = engine.update_components(
        records_of(fit.annotators),
        {.sweeps = sweeps, .stride = stride, .stretch = static_cast<float>(stretch), .annotators = true});
    sweeps = 1;
    double gradient = 1 - common, information = 1;
    for (const AnnotatorSums& sums : pass.annotators) {
      gradient += from_fixed(sums.gradient_gamma);
      information += from_fixed(sums.information_gamma);
    }
    const double step = std::clamp(gradient / std::max(information, 1.0), -0.3, 0.3);
    const double before = common;
    common = std::clamp((common + step) * expansion(pass, common + step), 0.01, kLargestMean);
    for (AnnotatorPosterior& a : fit.annotators) a.discrimination = common;
    stretch = common / before;
    fit.change = std::abs(common - before);
    report(++fit.iterations, fit.change);
    if (fit.change >= (stride > 1 ? 0.02 : 0.002) * common) continue;
    fit.converged = stride == 1;
    if (stride > 1) sweeps = 3;  // on to all votes; most components have not been seen yet
    stride = 1;
  }
  fit.population = {common, 0, 0};
}

void fit_raters(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options, Fit& fit,
                const std::function<void(int, double)>& report) {
  Population& population = fit.population;
  double damping = 1, last_step = 0, stretch = 1;
  int swings = 0;
  const auto voters =
      static_cast<double>(std::count_if(votes_of.begin(), votes_of.end(), [](std::uint32_t n) { return n > 0; }));
  const auto tolerance = [&] { return std::min(0.01, options.tolerance * std::sqrt(population.variance / voters)); };
  const auto settle = [&](const PassResult& pass, bool variances) {
    Population next = estimate_population(fit.annotators, votes_of, population, variances);
    stretch = variances ? std::min(expansion(pass, next.mean), kLargestMean / next.mean) : 1;
    for (AnnotatorPosterior& a : fit.annotators) {
      a.discrimination *= stretch;
      a.discrimination_variance *= stretch * stretch;
      a.covariance *= stretch;
    }
    next.mean *= stretch;
    next.variance *= stretch * stretch;
    // Where a few annotators share most votes, all moving at once may swing from side to side for good.
    const double step = next.mean - population.mean;
    swings = step * last_step < 0 && std::abs(step) > 0.7 * std::abs(last_step) ? swings + 1 : 0;
    if (swings >= 3) damping = std::max(0.5 * damping, 0.1), swings = 0;
    last_step = step;
    fit.change = moved(next, population);
    population = next;
    report(++fit.iterations, fit.change);
  };
  const auto may_go_on = [&] { return fit.iterations < options.max_iterations; };
  // Near the mode, by Newton steps, which are cheap; where there are many votes, on a sample first ...
  int sweeps = 4;
  for (std::uint32_t stride = sample_stride(votes_of, options.sample_votes); may_go_on();) {
    const bool warm = fit.iterations >= kWarmUp;
    const PassResult pass =
        engine.update_components(records_of(fit.annotators), {.sweeps = sweeps,
                                                              .stride = stride,
                                                              .stretch = static_cast<float>(stretch),
                                                              .annotators = true,
                                                              .uncertain = warm});
    sweeps = 1;
    double longest_step = 0;  // of an annotator, in its posterior sds
    for (std::size_t a = 0; a < fit.annotators.size(); ++a)
      longest_step = std::max(longest_step, newton_step(fit.annotators[a], pass.annotators[a], population));
    settle(pass, warm);
    if (fit.iterations <= kWarmUp + 1 || fit.change >= 5 * tolerance() || longest_step > 1) continue;
    if (stride == 1) break;
    stride = 1;
    sweeps = 4;  // most components have not been seen yet
  }
  // ... then to the posterior means, whose moments the population's are.
  while (may_go_on() && !fit.converged) {
    const std::vector<RaterRecord> records = records_of(fit.annotators);
    const PassResult pass = engine.update_components(
        records, {.stretch = static_cast<float>(stretch), .annotators = true, .grid = true, .uncertain = true});
    for (std::size_t a = 0; a < fit.annotators.size(); ++a)
      integrate_discrimination(fit.annotators[a], records[a], pass.annotators[a], pass.grid[a], population, damping);
    settle(pass, true);
    fit.converged = fit.change < tolerance();
  }
}

}  // namespace

std::vector<std::uint32_t> count_votes(const Groups& groups) {
  std::vector<std::uint32_t> count(groups.annotators, 0);
  for (const VoteCode vote : groups.votes) ++count[vote.annotator()];
  return count;
}

double reference_discrimination(const std::vector<AnnotatorPosterior>& annotators,
                                const std::vector<std::uint32_t>& votes_of) {
  // Enough votes: 50, or where fewer have so many, the quarter with most votes. Estimates of the others are drawn to
  // the population's mean, which is not the median where some are random.
  std::vector<std::uint32_t> counts;
  for (const std::uint32_t n : votes_of)
    if (n > 0) counts.push_back(n);
  std::sort(counts.begin(), counts.end());
  const std::uint32_t enough = std::min<std::uint32_t>(50, counts[counts.size() - 1 - (counts.size() - 1) / 4]);
  std::vector<double> values;
  for (std::size_t a = 0; a < annotators.size(); ++a)
    if (votes_of[a] >= enough) values.push_back(annotators[a].discrimination);
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
  return std::max(median, 0.01);
}

Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report) {
  Fit fit;
  fit.model = options.model;
  fit.annotators.resize(votes_of.size());
  if (options.model == Model::kBradleyTerry)
    fit_bradley_terry(engine, votes_of, options, fit, report);
  else
    fit_raters(engine, votes_of, options, fit, report);
  // The last sweeps, annotators as they are, with the finer mixture.
  const auto records = records_of(fit.annotators);
  const bool uncertain = options.model == Model::kRater;
  float change = INFINITY;  // EP converges quadratically here: once below kSettled, the next sweep has nothing to do
  for (int i = 0; i < 50 && change > kSettled; ++i)
    change = engine.update_components(records, {.uncertain = uncertain, .exact = true}).change;
  fit.converged = fit.converged && change <= kSettled;
  fit.change = std::max(fit.change, static_cast<double>(change));
  fit.posterior = engine.posterior(records, uncertain);
  fit.reference_discrimination = reference_discrimination(fit.annotators, votes_of);
  return fit;
}

}  // namespace voxpop
