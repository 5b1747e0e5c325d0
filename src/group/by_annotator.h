#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// With up to this many annotators, each thread has its own table of sums by annotator. With more, all threads add
/// atomically to one table, because tables would take too much memory. Both ways give bit-identical results, because
/// integer addition is associative.
inline constexpr std::size_t kPrivateAnnotators = 1 << 16;

/// Decided votes by annotator, without known answers.
struct VotesByAnnotator {
  struct Vote {
    std::uint32_t vote, pair;
  };
  std::vector<std::size_t> begin;  ///< [voters + 1] first index of each annotator's votes in `votes`
  Column<Vote> votes;              ///< each annotator's in ascending order
};

/// `kept`: [V] 0 for votes to skip; empty: all are kept. A counting sort, on all cores.
VotesByAnnotator sort_by_annotator(const Groups& groups, const Column<std::uint8_t>& kept = {});

}  // namespace voxpop
