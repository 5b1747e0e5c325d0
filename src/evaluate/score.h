#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/evaluation.h"
#include "voxpop/labels.h"

namespace voxpop {

/// Predicted probabilities and their outcomes.
struct Trials {
  std::vector<float> predicted;           ///< [n], probability of outcome 1
  std::vector<std::int8_t> outcome;       ///< [n], 0 or 1
  std::vector<std::uint32_t> cluster;     ///< [n], ascending; trials of one cluster are not independent
  std::vector<float> weight = {};         ///< [n], a trial counts as that many; empty: all 1
  std::vector<float> blind = {};          ///< [n], predictions without knowledge of the items; empty: none
  std::vector<std::uint32_t> voter = {};  ///< [n], annotator of the vote; empty: not needed
  double weight_of(std::size_t i) const { return weight.empty() ? 1.0 : double{weight[i]}; }
};

/// Mean of values [n], weighted if there are weights [n], and its standard error with clusters (Liang and Zeger 1986).
/// The error is NaN if all values are in one cluster.
Estimate clustered_mean(const std::vector<double>& values, const std::vector<std::uint32_t>& cluster,
                        const std::vector<float>& weight = {});

/// For the log loss, predictions are clamped to 1e-6 from 0 and 1. Bootstraps have 400 draws with fixed seeds, so the
/// same trials give the same result. Standard errors and bootstraps are NaN if all trials are in one cluster.
Score score(const Trials& trials, const Context& context = {});

Reliability reliability(const Trials& trials, std::string method);

/// Log loss of each trial.
std::vector<double> log_losses(const Trials& trials);

}  // namespace voxpop
