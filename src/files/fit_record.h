#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/stopwatch.h"
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
  Spent read, group, fit, calibrate, label, write;
};

/// A finished fit: everything that is written, printed, or recorded in the provenance.
struct FitRecord {
  FitRequest request;
  Votes votes;    ///< ids, and the columns that grouping has not consumed
  Limits limits;  ///< what the votes cannot show
  VoteWeights weights;
  double share_in_blocks = 0;  ///< share of votes that share an item with another vote of the same annotator
  Copies copies;
  Fit fit;  ///< without the posterior
  Labels labels;
  Reliability reliability;
  Agreement agreement;
  FoldsBy folds_by = FoldsBy::kVote;
  std::optional<Calibration> calibration;
  std::optional<EarlierFit> earlier;  ///< the fit of the warm start
  std::optional<WarmStart> start;
  std::size_t contradicted = 0;  ///< annotators whose votes contradict the earlier fit
  std::vector<Finding> findings;
  std::vector<std::string> warnings;  ///< warnings that are not findings
  std::string device, why_device;     ///< `why_device`: reason for the choice; empty if the user chose the device
  int threads = 1;
  Seconds seconds;
};

/// Why the fit has not converged, and a remedy; "" if it has converged.
std::string why_not_converged(const Fit& fit, int max_iterations);

/// The provenance of the fit: the attribute 'provenance' of fit/1.
nlohmann::ordered_json describe(const FitRecord& record);

/// Adds a phase to the provenance's "seconds": wall time, and CPU time under "cpu" and "main_thread".
void add_phase(nlohmann::ordered_json& seconds, const std::string& phase, const Spent& spent);

/// Reads the population and units of an earlier fit from its provenance; the inverse of describe(). Throws
/// Error(kBadInput), naming `path`, if a value is missing or is not one that a fit can have.
void read_population(const nlohmann::ordered_json& provenance, const std::string& path, EarlierFit& out);

/// Number of best sources that the provenance and the summary list.
inline constexpr std::size_t kShownSources = 10;

}  // namespace voxpop
