#pragma once
#include <string>
#include <vector>

#include "votes/votes.h"

namespace voxpop {

/// 20 or more votes of one annotator, each at most 2 seconds after the one before: faster than anyone can read.
struct Burst {
  std::uint32_t annotator, votes;
  std::int64_t start, end;  ///< times of its first and last vote, seconds since 1970
};

/// Sorted by annotator, then by time; empty without timestamps.
std::vector<Burst> find_bursts(const Votes& votes);

}  // namespace voxpop
