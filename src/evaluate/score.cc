#include "evaluate/score.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>

#include "formulas/calibration_error.h"

namespace voxpop {
namespace {

constexpr int kDraws = 400;

int bin_of(float predicted) { return calibration_bin(predicted, kReliabilityBins); }

struct BinSums {
  double trials = 0, predicted = 0, observed = 0;
};
using Bins = std::array<BinSums, kReliabilityBins>;

double error_of(const Bins& bins) {
  std::array<double, kReliabilityBins> off;
  double trials = 0;
  for (std::size_t b = 0; b < bins.size(); ++b) {
    off[b] = bins[b].predicted - bins[b].observed;
    trials += bins[b].trials;
  }
  return trials > 0 ? calibration_error(off, trials) : 0;  // a bootstrap draw may be empty
}

Bins sum_bins(const Trials& trials) {
  Bins bins{};
  for (std::size_t i = 0; i < trials.predicted.size(); ++i) {
    BinSums& bin = bins[bin_of(trials.predicted[i])];
    const double weight = trials.weight_of(i);
    bin.trials += weight;
    bin.predicted += weight * trials.predicted[i];
    bin.observed += weight * trials.outcome[i];
  }
  return bins;
}

std::vector<ReliabilityBin> means(const Bins& bins) {
  std::vector<ReliabilityBin> out;
  for (const BinSums& bin : bins) out.push_back({bin.trials, bin.predicted / bin.trials, bin.observed / bin.trials});
  return out;
}

/// Calibration errors of 400 draws, ascending.
struct Draws {
  std::vector<double> resampled = std::vector<double>(kDraws);  ///< each cluster occurs Poisson(1) times
  std::vector<double> by_chance = std::vector<double>(kDraws);  ///< each cluster's residuals keep or change their sign
};

Draws bootstrap(const Trials& trials, const Context& context) {
  Draws draws;
  oneapi::tbb::parallel_for(0, kDraws, [&](int draw) {
    context.check_stop();
    std::mt19937_64 random(static_cast<unsigned>(draw));
    Bins resampled{}, chance{};
    double times = 0, sign = 1;
    for (std::size_t i = 0; i < trials.predicted.size(); ++i) {
      if (i == 0 || trials.cluster[i] != trials.cluster[i - 1]) {
        sign = random() & 1 ? 1 : -1;
        times = -1;
        for (double p = 1; p > 1 / std::numbers::e; times += 1)  // Poisson(1) by Knuth's method
          p *= static_cast<double>((random() >> 11) + 1) * 0x1p-53;
      }
      const int b = bin_of(trials.predicted[i]);
      const double weight = trials.weight_of(i), residual = weight * (trials.predicted[i] - trials.outcome[i]);
      resampled[b].trials += times * weight;
      resampled[b].predicted += times * residual;
      chance[b].trials += weight;
      chance[b].predicted += sign * residual;
    }
    draws.resampled[draw] = error_of(resampled);
    draws.by_chance[draw] = error_of(chance);
  });
  std::sort(draws.resampled.begin(), draws.resampled.end());
  std::sort(draws.by_chance.begin(), draws.by_chance.end());
  return draws;
}

}  // namespace

Estimate clustered_mean(const std::vector<double>& values, const std::vector<std::uint32_t>& cluster,
                        const std::vector<float>& weight) {
  const auto weight_of = [&](std::size_t i) { return weight.empty() ? 1.0 : double{weight[i]}; };
  double n = 0, total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    n += weight_of(i);
    total += weight_of(i) * values[i];
  }
  const double mean = total / n;
  double squares = 0, clusters = 0;
  for (std::size_t i = 0; i < values.size(); clusters += 1) {
    double sum = 0;
    const std::uint32_t mine = cluster[i];
    for (; i < values.size() && cluster[i] == mine; ++i) sum += weight_of(i) * (values[i] - mean);
    squares += sum * sum;
  }
  if (clusters < 2) return {mean, std::numeric_limits<double>::quiet_NaN()};
  return {mean, std::sqrt(squares * clusters / (clusters - 1)) / n};
}

std::vector<double> log_losses(const Trials& trials) {
  std::vector<double> losses(trials.predicted.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double p = trials.outcome[i] == 1 ? trials.predicted[i] : 1.0 - trials.predicted[i];
    losses[i] = -std::log(std::clamp(p, 1e-6, 1 - 1e-6));
  }
  return losses;
}

double Reliability::trials() const {
  return std::accumulate(bins.begin(), bins.end(), 0.0,
                         [](double sum, const ReliabilityBin& bin) { return sum + bin.trials; });
}

double Reliability::ece() const {
  std::vector<double> off;
  for (const ReliabilityBin& bin : bins)
    if (bin.trials > 0) off.push_back(bin.trials * (bin.predicted - bin.observed));
  return calibration_error(off, trials());
}

double Reliability::ece_by_chance() const {
  double off = 0;
  for (const ReliabilityBin& bin : bins)
    if (bin.trials > 0) off += std::sqrt(2 / std::numbers::pi * bin.trials * bin.predicted * (1 - bin.predicted));
  return off / trials();
}

Reliability reliability(const Trials& trials, std::string method) {
  return {std::move(method), means(sum_bins(trials))};
}

Score score(const Trials& trials, const Context& context) {
  std::vector<double> squared(trials.predicted.size()), right(trials.predicted.size());
  for (std::size_t i = 0; i < squared.size(); ++i) {
    const double p = trials.predicted[i], off = p - trials.outcome[i];
    squared[i] = off * off;
    right[i] = p == 0.5 ? 0.5 : (p > 0.5) == (trials.outcome[i] == 1) ? 1 : 0;
  }
  const Bins bins = sum_bins(trials);
  // With a single cluster, the variation between clusters is not known.
  const bool one_cluster = !trials.cluster.empty() && trials.cluster.front() == trials.cluster.back();
  Draws draws;
  if (one_cluster)
    for (auto* of : {&draws.resampled, &draws.by_chance})
      std::ranges::fill(*of, std::numeric_limits<double>::quiet_NaN());
  else
    draws = bootstrap(trials, context);
  // Every ECE contains a part from chance. Resampled votes contain this part twice, so the interval is shifted back.
  const double ece = error_of(bins);
  const double apart = ece - std::accumulate(draws.resampled.begin(), draws.resampled.end(), 0.0) / kDraws;
  return {.log_loss = clustered_mean(log_losses(trials), trials.cluster, trials.weight),
          .brier = clustered_mean(squared, trials.cluster, trials.weight),
          .accuracy = clustered_mean(right, trials.cluster, trials.weight),
          .ece = ece,
          .ece_low = one_cluster ? apart : std::max(draws.resampled[kDraws / 40] + apart, 0.0),
          .ece_high = draws.resampled[kDraws * 39 / 40 - 1] + apart,
          .ece_by_chance = std::accumulate(draws.by_chance.begin(), draws.by_chance.end(), 0.0) / kDraws,
          .ece_by_chance_high = draws.by_chance[kDraws * 19 / 20 - 1],
          .bins = means(bins)};
}

}  // namespace voxpop
