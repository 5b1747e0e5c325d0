#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/calibration.h"
#include "fit/fit.h"
#include "group/limits.h"
#include "group/weights.h"
#include "guards/copies.h"
#include "guards/findings.h"
#include "label/labels.h"
#include "label/warm_start.h"
#include "voxpop/request.h"

namespace voxpop {

/// Seconds that each phase of a fit took.
struct Seconds {
  double read = 0, group = 0, fit = 0, calibrate = 0, label = 0, write = 0;
};

/// A finished fit: all that is written, printed, or said of how it came about.
struct FitRecord {
  FitRequest request;
  Votes votes;    ///< ids, and what grouping has left
  Limits limits;  ///< of the votes
  VoteWeights weights;
  double share_in_blocks = 0;  ///< of votes that share items with others of their annotator
  Copies copies;
  Fit fit;  ///< without the posterior
  Labels labels;
  Reliability reliability;
  Agreement agreement;
  FoldsBy folds_by = FoldsBy::kVote;
  std::optional<Calibration> calibration;
  std::optional<EarlierFit> earlier;  ///< that it starts from
  std::optional<WarmStart> start;
  std::size_t contradicted = 0;  ///< annotators whose votes contradict the earlier fit
  std::vector<Finding> findings;
  std::vector<std::string> warnings;  ///< beside the findings
  std::string device, why_device;     ///< why: empty where it was asked for
  int threads = 1;
  Seconds seconds;
};

/// Why a fit that has not converged has not, and what helps; "" of one that has.
std::string why_not_converged(const Fit& fit, int max_iterations);

/// How the fit came about, as JSON: the attribute 'provenance' of fit/1.
nlohmann::ordered_json describe(const FitRecord& record);

/// What of it an earlier fit's population and unit are: the inverse. Throws Error(kBadInput) naming `path` where
/// something is missing, or no fit could have found it.
void read_population(const nlohmann::ordered_json& provenance, const std::string& path, EarlierFit& out);

/// Sources that are named.
inline constexpr std::size_t kShownSources = 10;

}  // namespace voxpop
