#pragma once
// Each guard looks at one thing and adds what it finds. Text from files is shown(), never raw.

#include "guards/findings.h"

namespace voxpop {

/// What mends Finding::kind kReliabilityUnknown.
inline constexpr const char* kWhatWouldTell =
    "Collect second votes on some hundred pairs (voxpop next FIT.h5 --budget 300 -o ask.csv) and fit both together; or "
    "judge some pairs yourself and compare (voxpop evaluate VOTES.h5 --holdout gold.csv); or give a reward model's "
    "scores "
    "(items/prior_score). Without them the order of each pair is its votes', and nothing more is known";

/// Codes that mean something else than comparisons/1 says, votes that (almost) all go one way; file by file, of votes
/// whose sides are known.
void guard_codes(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// Times that are no seconds since 1970, or lie in the future.
void guard_times(const Votes& votes, std::int64_t now, std::vector<Finding>& findings);

/// Items or annotators whose ids differ only by how they are written.
void guard_ids(const Votes& votes, std::vector<Finding>& findings);

/// What the shape of the votes keeps a fit from finding out, and who is named.
void guard_shape(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// Which way round the scores of a fit are, and whether they are what most annotators vote by.
void guard_sign(const AnnotatorLabels& annotators, const Fit& fit, std::vector<Finding>& findings);

/// Known answers that all else contradicts.
void guard_gold(const GoldLabels& gold, std::vector<Finding>& findings);

/// A count, and its share of a whole in per cent.
double percent(std::uint64_t part, std::uint64_t whole);

}  // namespace voxpop
