#pragma once
#include <cstdint>
#include <vector>

#include "group/group.h"

namespace voxpop {

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
