#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/calibration.h"
#include "fit/fit.h"
#include "group/weights.h"
#include "guards/findings.h"
#include "label/labels.h"
#include "label/truth_comparison.h"
#include "label/warm_start.h"
#include "votes/votes.h"

namespace voxpop {

struct Seconds {
  double read = 0, group = 0, fit = 0, calibrate = 0, label = 0, write = 0;
};

/// What `voxpop fit` tells of a fit.
struct FitSummary {
  const std::string &model, &ties, &output;
  const std::string& warm_start;  ///< path of the fit that this one starts from, or ""
  const Votes& votes;
  const Limits& limits;
  const std::vector<Finding>& findings;
  const std::vector<std::string>& warnings;  ///< beside the findings
  const Fit& fit;
  const Labels& labels;
  const VoteWeights& weights;
  const Reliability& told_votes;
  const std::optional<WarmStart>& start;
  const std::string &device, &why_device;
  int threads;
  Seconds seconds;
};

/// Why a fit that has not converged has not, and what helps; "" of one that has.
std::string why_not_converged(const Fit& fit, int max_iterations);

/// On stdout, for people.
void print_summary(const FitSummary& summary);

/// Sources that are printed.
inline constexpr std::size_t kShownSources = 10;

/// What held-out votes ask for, in one line.
std::string told(const Calibration& calibration);

nlohmann::ordered_json describe_truth(const TruthComparison& comparison, Model model);
nlohmann::ordered_json describe_drift(const Votes& votes, const Drift& drift);

}  // namespace voxpop
