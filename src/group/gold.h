#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Places of the known answers in the groups.
struct GoldVotes {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  std::vector<double> discrimination;  ///< of the annotators from Groups::gold_from on, in prior units
  std::vector<std::uint32_t> pair;     ///< [known pairs] index in the groups; kNone: no votes connect its items
  std::vector<std::uint32_t> vote;     ///< [known pairs] the vote that represents it, or kNone
};

/// Adds known answers as votes of artificial annotators, one for each degree of certainty. Its discrimination is such
/// that its vote picks the better of two items, drawn from the prior, with this probability. An answer that is certain
/// counts as right in 98 of 100 cases; a higher value would leave the scores no freedom.
///
/// Gold votes do not count in numbers of votes. A pair with gold votes only is in the groups, but not in the labels.
/// Known pairs whose items are in two components are ignored. Call this function after weigh_votes() and before an
/// engine starts. Throws Error(kBadInput) if two answers contradict each other.
GoldVotes add_gold(Groups& groups, const KnownPairs& gold, const Strings& item_ids);

}  // namespace voxpop
