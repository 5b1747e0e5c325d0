#pragma once
#include "evaluate/held_out.h"
#include "evaluate/score.h"
#include "label/labels.h"

namespace voxpop {

/// A correction of probabilities that held-out votes ask for: all logits times one slope (temperature scaling; Guo et
/// al. 2017). Monotone, and 1/2 stays 1/2.
struct Calibration {
  double slope = 1;
  /// What it takes off the log loss of held-out votes; each fold with the slope that the other folds' votes ask for.
  Estimate gain;
  std::size_t votes = 0;
  Trials as_predicted, corrected;  ///< the held-out votes, and each corrected so

  /// Whether that is more than its standard error: else the slope may as well be chance.
  bool helps() const { return gain.value > gain.std_error; }
};

/// `decided`: trials of the decided votes, `fold` the fold of each.
Calibration find_calibration(const Trials& decided, const std::vector<std::uint8_t>& fold, const Context& context = {});

/// Corrects pairs/probability.
void calibrate_pairs(const Calibration& calibration, PairColumns& pairs);

}  // namespace voxpop
