#pragma once
#include <cstdint>
#include <string>

#include "group/group.h"

namespace voxpop {

/// An annotator whose votes mostly repeat its own.
struct Repeater {
  std::string id;
  std::uint64_t votes = 0;
  std::uint64_t repeats = 0;  ///< votes beyond its first on the same pair
};

/// What the shape of the data lets a fit find out, and what it cannot: figures. guards/findings.h puts them in words.
struct Limits {
  std::uint64_t votes = 0, pairs = 0, items = 0, components = 0, annotators = 0;  ///< annotators: those who voted
  std::uint64_t ties = 0, dropped_ties = 0, items_without_votes = 0;
  std::uint64_t largest_component_items = 0;
  std::uint64_t pairs_with_one_vote = 0;
  std::uint64_t annotators_alone = 0;   ///< who share no pair with another annotator
  std::uint64_t duplicate_votes = 0;    ///< votes beyond a named annotator's first on the same pair
  std::uint64_t dependent_repeats = 0;  ///< of these, which nothing calls independent: neither file nor judgement
  std::uint64_t judgements = 0;         ///< acts of judging: votes, but the parts of one judgement are one
  std::uint64_t repeated_pairs = 0;     ///< pairs with at least two votes whose sides are known ...
  std::uint64_t swapped_pairs = 0;      ///< ... of which shown both ways
  std::uint64_t checking_votes =
      0;  ///< votes beyond a spanning tree of each component: only these can contradict another
  /// Of items compared at least twice: how far they keep to one side, from 0 (as by chance) to 1 (always).
  double side_keeping = 0;
  bool sides_known = true;      ///< whether any vote says where its items stood
  std::string first_alone;      ///< id of an annotator who is alone
  std::uint64_t repeaters = 0;  ///< annotators nine tenths of whose votes, 10 or more, repeat their own
  Repeater worst_repeater;      ///< the one of them with the most repeats

  double checking_share() const { return static_cast<double>(checking_votes) / static_cast<double>(votes); }
  double swapped_share() const {
    return repeated_pairs == 0 ? 0 : static_cast<double>(swapped_pairs) / static_cast<double>(repeated_pairs);
  }
  /// Whether annotators can be told apart at all.
  bool annotators_identified() const {
    return annotators > 1 && checking_share() >= 0.15 && annotators_alone < annotators;
  }
  /// Judgements beyond the first of each component: those that share an item with an earlier one.
  std::uint64_t sharing_judgements() const { return judgements > components ? judgements - components : 0; }
  /// Whether votes say anything about how often votes are right. Where no two judgements share an item, any crowd would
  /// give the same ones; a handful that do says next to nothing.
  bool reliability_identified() const { return sharing_judgements() >= 50 || 4 * sharing_judgements() >= judgements; }
  /// Where no pair is repeated, what items' sides say must do.
  bool side_bias_identified() const { return repeated_pairs == 0 ? side_keeping < 0.15 : swapped_share() >= 0.05; }
};

/// Figures on sides leave out votes of `votes.unknown_sides`; those on repeats leave out `votes.anonymous`. The same
/// for any number of threads.
Limits find_limits(const Groups& groups, const Votes& votes);

}  // namespace voxpop
