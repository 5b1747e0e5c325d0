#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/evaluation.h"
#include "voxpop/labels.h"

namespace voxpop {

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

/// Predictions are kept 1e-6 away from 0 and 1 in the log loss. Bootstraps: 400 draws, the same for the
/// same trials. Standard errors and bootstraps are NaN where all trials are of one cluster.
Score score(const Trials& trials, const Context& context = {});

Reliability reliability(const Trials& trials, std::string method);

/// Each trial's log loss.
std::vector<double> log_losses(const Trials& trials);

}  // namespace voxpop
