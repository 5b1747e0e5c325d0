#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/labels.h"

namespace voxpop {

struct Estimate {
  double value = 0, std_error = 0;
};

/// Predicted chances against what came of them.
struct Trials {
  std::vector<float> predicted;           ///< [n], of outcome 1
  std::vector<std::int8_t> outcome;       ///< [n], 0 or 1
  std::vector<std::uint32_t> cluster;     ///< [n], ascending: trials of one cluster are not taken as independent
  std::vector<float> weight = {};         ///< [n], a trial counts as so many; empty: each once
  std::vector<float> blind = {};          ///< [n], the same by who knows nothing of the items; empty: not asked
  std::vector<std::uint32_t> voter = {};  ///< [n], whose vote it is; empty: not asked
  double weight_of(std::size_t i) const { return weight.empty() ? 1.0 : double{weight[i]}; }
};

/// Mean of values [n], weighted where there are weights [n], and its standard error over clusters (Liang and Zeger
/// 1986); NaN where all values are of one cluster.
Estimate clustered_mean(const std::vector<double>& values, const std::vector<std::uint32_t>& cluster,
                        const std::vector<float>& weight = {});

inline constexpr int kReliabilityBins = 15;

struct Score {
  Estimate log_loss;                 ///< natural logarithm
  Estimate brier;                    ///< mean squared error
  Estimate accuracy;                 ///< share on the likelier side; a prediction of 1/2 counts one half
  double ece = 0;                    ///< expected calibration error, 15 equal bins (Guo et al. 2017)
  double ece_low = 0, ece_high = 0;  ///< 95 % of it in draws of clusters with replacement, moved to lie about it
  /// What it would be, were the predictions true: mean and 95 % quantile. Clusters' residuals change sign together (the
  /// wild cluster bootstrap; Cameron, Gelbach and Miller 2008).
  double ece_by_chance = 0, ece_by_chance_high = 0;
  std::vector<ReliabilityBin> bins;
};

/// Predictions are kept 1e-6 away from 0 and 1 in the log loss. Bootstraps: 400 draws, the same for the
/// same trials. Standard errors and bootstraps are NaN where all trials are of one cluster.
Score score(const Trials& trials, const Context& context = {});

Reliability reliability(const Trials& trials, std::string method);

/// Each trial's log loss.
std::vector<double> log_losses(const Trials& trials);

}  // namespace voxpop
