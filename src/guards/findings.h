#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fit/fit.h"
#include "group/limits.h"
#include "label/labels.h"
#include "voxpop/findings.h"

namespace voxpop {

/// What is suspicious about votes, the worst first: codes that mean something else, sides that were not drawn, times in
/// another unit, ids written in two ways, votes that say nothing about reliability. `votes` may have been grouped.
/// `now`: seconds since 1970.
std::vector<Finding> find_findings(const Votes& votes, const Limits& limits, std::int64_t now);

/// What left-out votes say about whether votes follow anything: agreement_with_others() in evaluate/left_out.h.
struct Agreement {
  double z = 0, z_of_voters = 0;
  std::size_t votes = 0;
  /// So few votes would not tell even where all agree. An annotator who looks good by chance makes all its votes weigh
  /// too much, which is seen between annotators; but not of few or very different ones.
  bool is_chance() const { return votes >= 50 && (z < 3 || (z_of_voters < 3 && z < kBeyondDoubt)); }
  static constexpr double kBeyondDoubt = 8;  ///< of 310 simulated files of coin tosses none came so far
};

/// Votes that tell the better item no more often than this are hardly better than coin tosses, whose fits come as far.
inline constexpr double kHardlyRight = 0.6;

/// Adds what a fit itself makes suspicious: votes that agree no more than by chance; annotators who vote against
/// quality, or follow other scores than the rest, so many that nobody can tell who is right; known answers that the fit
/// contradicts. Where votes say nothing of reliability, labels forget it: forget_reliability().
void add_fit_findings(const Agreement& agreement, Labels& labels, const Fit& fit, std::vector<Finding>& findings);

/// Whether one of them is of that kind.
bool has_kind(const std::vector<Finding>& findings, std::string_view kind);

/// For a terminal: "DO NOT TRAIN: ...", "WARNING: ..." or "NOTE: ...", and the remedy on a line of its own; ends
/// without a line break.
std::string told(const Finding& finding);

/// Texts of those that deserve care or worse, then `others`: the list `warnings` of provenance.
std::vector<std::string> warnings_of(const std::vector<Finding>& findings, const std::vector<std::string>& others = {});

/// An array of {kind, level, text, remedy}; levels are "note", "care", "do_not_train".
nlohmann::ordered_json to_json(const std::vector<Finding>& findings);

/// What to_json() gave, of a file that anybody may have written: what is no finding is passed over, a level that is not
/// known counts as "care", and texts are shortened and kept on their line.
std::vector<Finding> findings_from(const nlohmann::ordered_json& json);

/// The kind of finding after which p_chosen, margins and label smoothing are the prior's, not the data's.
inline constexpr const char* kReliabilityUnknown = "reliability_unknown";

}  // namespace voxpop
