#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Where known answers went in the groups.
struct GoldVotes {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  std::vector<double> discrimination;  ///< of the annotators from Groups::gold_from on, in prior units
  std::vector<std::uint32_t> pair;     ///< [known pairs] in the groups; kNone: no votes connect its items
  std::vector<std::uint32_t> vote;     ///< [known pairs] the vote that stands for it, or kNone
};

/// Known answers as votes of annotators that nobody else is: one for each degree of certainty, whose discrimination is
/// such that a vote of it picks the better of two items, drawn from the prior, with that probability. An answer that is
/// known for sure counts as right in 98 of 100: more would leave scores no room. Such votes weigh nothing in counts of
/// votes; a pair that only they compare is in the groups, but not in labels. Pairs of two components say nothing. After
/// weigh_votes() and before an engine starts. Throws Error(kBadInput) where two answers contradict each other.
GoldVotes add_gold(Groups& groups, const KnownPairs& gold, const Strings& item_ids);

}  // namespace voxpop
