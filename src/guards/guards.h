#pragma once
// Each guard checks one thing and adds its findings. Text from files goes through shown() and is never copied raw.

#include "guards/findings.h"

namespace voxpop {

/// Remedy of the finding kReliabilityUnknown.
inline constexpr const char* kWhatWouldTell =
    "Collect second votes on a few hundred pairs (voxpop next FIT.h5 --budget 300 -o ask.csv) and fit old and new "
    "votes together; or judge some pairs yourself and compare (voxpop evaluate VOTES.h5 --holdout gold.csv); or give "
    "the scores of a reward model (items/prior_score). Without these, the labels only repeat the votes of each pair";

/// Codes with another meaning than in comparisons/1, and votes that (almost) all prefer one side. Checked for each
/// file, only with votes whose sides are known.
void guard_codes(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// Times that are not in seconds since 1970, or are in the future.
void guard_times(const Votes& votes, std::int64_t now, std::vector<Finding>& findings);

/// Items or annotators whose ids differ only in spelling.
void guard_ids(const Votes& votes, std::vector<Finding>& findings);

/// What a fit cannot find out because of the shape of the votes; votes without annotators.
void guard_shape(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// Whether the scores have the right sign, and whether most annotators follow them.
void guard_sign(const AnnotatorLabels& annotators, const Fit& fit, std::vector<Finding>& findings);

/// Known answers that all other votes contradict.
void guard_gold(const GoldLabels& gold, std::vector<Finding>& findings);

/// `part` as a percentage of `whole`.
double percent(std::uint64_t part, std::uint64_t whole);

}  // namespace voxpop
