#pragma once
#include <string>
#include <vector>

#include "votes/votes.h"

namespace voxpop {

/// Votes of one annotator that follow each other faster than anyone reads: 20 or more, none over 2 seconds after the
/// one before.
struct Burst {
  std::uint32_t annotator, votes;
  std::int64_t start, end;  ///< of its first and last vote, seconds since 1970
};

/// By annotator, then by time; none without timestamps.
std::vector<Burst> find_bursts(const Votes& votes);

}  // namespace voxpop
