#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// What the shape of the data lets a fit find out, and what it cannot.
struct Limits {
  std::uint64_t votes = 0, pairs = 0, items = 0, components = 0, annotators = 0;  ///< annotators: those who voted
  std::uint64_t ties = 0, dropped_ties = 0, items_without_votes = 0;
  std::uint64_t largest_component_items = 0;
  std::uint64_t pairs_with_one_vote = 0;
  std::uint64_t annotators_alone = 0;  ///< who share no pair with another annotator
  std::uint64_t duplicate_votes = 0;   ///< votes beyond an annotator's first on the same pair
  std::uint64_t repeated_pairs = 0;    ///< pairs with at least two votes ...
  std::uint64_t swapped_pairs = 0;     ///< ... of which shown both ways
  std::uint64_t checking_votes =
      0;  ///< votes beyond a spanning tree of each component: only these can contradict another
  /// Of items compared at least twice: how far they keep to one side, from 0 (as by chance) to 1 (always).
  double side_keeping = 0;
  std::string first_alone;  ///< id of an annotator who is alone

  double checking_share() const { return static_cast<double>(checking_votes) / static_cast<double>(votes); }
  double swapped_share() const {
    return repeated_pairs == 0 ? 0 : static_cast<double>(swapped_pairs) / static_cast<double>(repeated_pairs);
  }
  /// Whether annotators can be told apart at all.
  bool annotators_identified() const {
    return annotators > 1 && checking_share() >= 0.15 && annotators_alone < annotators;
  }
  /// Where no pair is repeated, what items' sides say must do.
  bool side_bias_identified() const { return repeated_pairs == 0 ? side_keeping < 0.15 : swapped_share() >= 0.05; }
  /// What limits the fit, a sentence each, most important first; empty when nothing does.
  std::vector<std::string> warnings() const;
};

Limits find_limits(const Groups& groups, const Votes& votes);

}  // namespace voxpop
