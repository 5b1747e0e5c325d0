#pragma once
#include <cstdint>
#include <string>

#include "group/group.h"

namespace voxpop {

/// An annotator whose votes are mostly repeats of its own votes.
struct Repeater {
  std::string id;
  std::uint64_t votes = 0;
  std::uint64_t repeats = 0;  ///< votes after its first on the same pair
};

/// What a fit can and cannot find out from data of this shape, as numbers. guards/findings.h describes them in words.
struct Limits {
  std::uint64_t votes = 0, pairs = 0, items = 0, components = 0, annotators = 0;  ///< annotators: only those who voted
  std::uint64_t ties = 0, dropped_ties = 0, items_without_votes = 0;
  std::uint64_t largest_component_items = 0;
  std::uint64_t pairs_with_one_vote = 0;
  std::uint64_t annotators_alone = 0;  ///< annotators without a pair in common with another annotator
  std::uint64_t duplicate_votes = 0;   ///< votes after a named annotator's first on the same pair
  /// Duplicate votes that neither their file nor a judgement marks as independent.
  std::uint64_t dependent_repeats = 0;
  std::uint64_t judgements = 0;      ///< acts of judging: the votes of one judgement count once
  std::uint64_t repeated_pairs = 0;  ///< pairs with at least two votes whose sides are known
  std::uint64_t swapped_pairs = 0;   ///< repeated pairs that were shown in both orders
  std::uint64_t checking_votes =
      0;  ///< votes beyond a spanning tree of each component: only these can contradict another
  /// Items compared at least twice: how far they keep to one side, from 0 (sides as by chance) to 1 (always the same).
  double side_keeping = 0;
  bool sides_known = true;      ///< whether any vote shows the sides of its items
  std::string first_alone;      ///< id of one annotator without a common pair
  std::uint64_t repeaters = 0;  ///< annotators with 9 or more dependent repeats that are at least 90 % of their votes
  Repeater worst_repeater;      ///< the repeater with the most repeats

  double checking_share() const { return static_cast<double>(checking_votes) / static_cast<double>(votes); }
  double swapped_share() const {
    return repeated_pairs == 0 ? 0 : static_cast<double>(swapped_pairs) / static_cast<double>(repeated_pairs);
  }
  /// Whether the votes can show differences between annotators.
  bool annotators_identified() const {
    return annotators > 1 && checking_share() >= 0.15 && annotators_alone < annotators;
  }
  /// Judgements after the first of each component: these share an item with an earlier one.
  std::uint64_t sharing_judgements() const { return judgements > components ? judgements - components : 0; }
  /// Whether the votes show how often votes are right. If no two judgements share an item, reliable and unreliable
  /// annotators could have given the same votes; a few judgements that share an item show almost nothing.
  bool reliability_identified() const { return sharing_judgements() >= 50 || 4 * sharing_judgements() >= judgements; }
  /// Whether side bias can be separated from preference. Without repeated pairs, the sides of items decide.
  bool side_bias_identified() const { return repeated_pairs == 0 ? side_keeping < 0.15 : swapped_share() >= 0.05; }
};

/// Numbers about sides do not include votes in `votes.unknown_sides`; those about repeats do not include
/// `votes.anonymous`. The result does not depend on the number of threads.
Limits find_limits(const Groups& groups, const Votes& votes);

}  // namespace voxpop
