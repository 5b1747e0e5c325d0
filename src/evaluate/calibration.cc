#include "evaluate/calibration.h"

#include <algorithm>
#include <cmath>

#include "formulas/elementary.h"

namespace voxpop {
namespace {

/// The slope with the lowest log loss, by Newton's method. The prior N(1, 1) matters if votes are few.
template <class Use>
double best_slope(const std::vector<double>& logit, const Trials& trials, const Use& use, const Context& context) {
  double slope = 1;
  for (int iteration = 0; iteration < 50; ++iteration) {
    context.check_stop();
    double gradient = 1 - slope, information = 1;
    for (std::size_t i = 0; i < logit.size(); ++i) {
      if (!use(i)) continue;
      const double p = sigmoid(slope * logit[i]);
      const double weight = trials.weight_of(i);
      gradient += weight * (trials.outcome[i] - p) * logit[i];
      information += weight * p * (1 - p) * logit[i] * logit[i];
    }
    const double step = std::clamp(gradient / information, -0.5, 0.5);
    slope = std::max(slope + step, 0.05);
    if (std::abs(step) < 1e-9) break;
  }
  return slope;
}

}  // namespace

Calibration find_calibration(const Trials& decided, const std::vector<std::uint8_t>& fold, const Context& context) {
  std::vector<double> logit(decided.predicted.size());
  std::transform(decided.predicted.begin(), decided.predicted.end(), logit.begin(), clamped_logit);
  Calibration out;
  out.votes = logit.size();
  if (logit.empty()) return out;
  out.as_predicted = decided;
  Trials& corrected = out.corrected = decided;
  const int folds = 1 + *std::max_element(fold.begin(), fold.end());
  for (int f = 0; f < folds; ++f) {
    const double slope = best_slope(
        logit, decided, [&](std::size_t i) { return fold[i] != f; }, context);
    for (std::size_t i = 0; i < logit.size(); ++i)
      if (fold[i] == f) corrected.predicted[i] = static_cast<float>(sigmoid(slope * logit[i]));
  }
  std::vector<double> gains = log_losses(decided);
  const std::vector<double> losses = log_losses(corrected);
  for (std::size_t i = 0; i < gains.size(); ++i) gains[i] -= losses[i];
  out.gain = clustered_mean(gains, decided.cluster, decided.weight);
  out.slope = best_slope(
      logit, decided, [](std::size_t) { return true; }, context);
  return out;
}

void calibrate_pairs(const Calibration& calibration, PairColumns& pairs) {
  for (float& p : pairs.probability) p = static_cast<float>(sigmoid(calibration.slope * clamped_logit(p)));
}

}  // namespace voxpop
