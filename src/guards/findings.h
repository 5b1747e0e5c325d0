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

/// Suspicious properties of the votes, the worst first: codes with another meaning, sides that were not drawn, times in
/// another unit, ids in two spellings, votes without information about reliability. `votes` may have been grouped.
/// `now`: seconds since 1970.
std::vector<Finding> find_findings(const Votes& votes, const Limits& limits, std::int64_t now);

/// Whether votes agree with each other, from left-out predictions: agreement_with_others() in evaluate/left_out.h.
struct Agreement {
  double z = 0, z_of_voters = 0;
  std::size_t votes = 0;
  /// Whether the votes agree no more than by chance. Under 50 votes: false, because too few votes cannot be significant
  /// even if all agree. An annotator who looks good by chance gives all its votes too much weight. `z_of_voters` shows
  /// this, but it is not reliable for few or very different annotators; so a very large `z` is sufficient.
  bool is_chance() const { return votes >= 50 && (z < 3 || (z_of_voters < 3 && z < kBeyondDoubt)); }
  static constexpr double kBeyondDoubt = 8;  ///< 310 simulated files of coin tosses all stayed below
};

/// If votes pick the better item no more often than this, they are hardly better than coin tosses. Fits of coin tosses
/// can reach this value.
inline constexpr double kHardlyRight = 0.6;

/// Adds findings of the fit: votes that agree no more than by chance; annotators who vote against quality, or so many
/// who follow other scores than the rest that the votes cannot show who is right; known answers that the fit
/// contradicts. If votes have no information about reliability, calls forget_reliability() on the labels.
void add_fit_findings(const Agreement& agreement, Labels& labels, const Fit& fit, std::vector<Finding>& findings);

/// Whether any finding has this kind.
bool has_kind(const std::vector<Finding>& findings, std::string_view kind);

/// Text for a terminal: "DO NOT TRAIN: ...", "WARNING: ..." or "NOTE: ...", then the remedy on the next line. No line
/// break at the end.
std::string told(const Finding& finding);

/// Texts of findings of level kCare or kDoNotTrain, then `others`: the list `warnings` of the provenance.
std::vector<std::string> warnings_of(const std::vector<Finding>& findings, const std::vector<std::string>& others = {});

/// An array of {kind, level, text, remedy}. Levels are "note", "care", "do_not_train".
nlohmann::ordered_json to_json(const std::vector<Finding>& findings);

/// The inverse of to_json(), for files from untrusted sources: elements that are not findings are skipped, an unknown
/// level counts as "care", texts are shortened and put on one line.
std::vector<Finding> findings_from(const nlohmann::ordered_json& json);

/// Kind of the finding that p_chosen, margins and label smoothing come from the prior, not from the data.
inline constexpr const char* kReliabilityUnknown = "reliability_unknown";

}  // namespace voxpop
