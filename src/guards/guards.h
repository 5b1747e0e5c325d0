#pragma once
// Each guard looks at one thing and adds what it finds. Text from files is shown(), never raw.

#include "guards/findings.h"

namespace voxpop {

/// Codes that mean something else than comparisons/1 says, votes that (almost) all go one way; file by file, of votes
/// whose sides are known.
void guard_codes(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// Times that are no seconds since 1970, or lie in the future.
void guard_times(const Votes& votes, std::int64_t now, std::vector<Finding>& findings);

/// Items or annotators whose ids differ only by how they are written.
void guard_ids(const Votes& votes, std::vector<Finding>& findings);

/// What the shape of the votes keeps a fit from finding out, and who is named.
void guard_shape(const Votes& votes, const Limits& limits, std::vector<Finding>& findings);

/// A count, and its share of a whole in per cent.
double percent(std::uint64_t part, std::uint64_t whole);

}  // namespace voxpop
