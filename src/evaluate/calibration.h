#pragma once
#include "evaluate/held_out.h"
#include "evaluate/score.h"
#include "label/labels.h"

namespace voxpop {

/// Correction of probabilities, estimated from held-out votes: all logits are multiplied by one slope (temperature
/// scaling; Guo et al. 2017). It is monotone, and 1/2 stays 1/2.
struct Calibration {
  double slope = 1;
  /// Reduction of the log loss of held-out votes. Each fold is corrected by the slope of the other folds.
  Estimate gain;
  std::size_t votes = 0;
  Trials as_predicted, corrected;  ///< the held-out votes, before and after this correction

  /// Whether the gain exceeds its standard error. If not, the slope may be due to chance.
  bool helps() const { return gain.value > gain.std_error; }
};

/// `decided`: trials of the decided votes. `fold`: the fold of each trial.
Calibration find_calibration(const Trials& decided, const std::vector<std::uint8_t>& fold, const Context& context = {});

/// Corrects `probability` of all pairs.
void calibrate_pairs(const Calibration& calibration, PairColumns& pairs);

}  // namespace voxpop
