#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "group/group.h"

namespace voxpop {

struct VoteUse {
  /// None: kOne, except kAll for votes that are marked as independent: by their file, or by judgements of their own.
  std::optional<Repeats> repeats;
  bool side_bias = true;  ///< false: treat all sides as unknown, so that no side bias is estimated
  bool views = false;  ///< annotators' own views are modelled; they determine what the votes of a judgement are worth
};

/// Numbers of votes that weigh_votes() changed.
struct VoteWeights {
  /// Votes after an annotator's first on the same pair (named annotators only).
  std::uint64_t repeated = 0;
  std::uint64_t shared = 0;   ///< votes with reduced weight, because they and their repeats together count as one
  std::uint64_t dropped = 0;  ///< votes that do not count, because another vote of the same annotator counts instead
  std::uint64_t in_judgements = 0;  ///< votes with reduced weight as parts of a judgement, such as a ranking
  std::uint64_t judgements = 0;     ///< number of these judgements
  double total = 0;                 ///< sum of all weights
};

/// Sets the weight of each vote, and removes the sides of votes whose sides are unknown. Call before an engine starts
/// from the groups; a copy on a device is dropped if anything changes. If all weights are 1, Groups::weight stays
/// empty.
///
/// The weight of a vote is the weight in its file, 1 by default. Votes of one judgement weigh less. A ranking of K
/// items gives as much information as 2 (K - H) votes on even pairs, H = 1 + 1/2 + ... + 1/K. This is the Fisher
/// information in the model of Plackett and Luce (choosing the best of m items for m = K, ..., 2), compared with that
/// of all pairs in the model of Bradley and Terry. So each of its K (K - 1) / 2 pairs weighs 1, .78, .65, .54 for K = 2
/// to 5. If some pairs are missing, there is one choice for each item that is better than others: a choice of the best
/// of K items weighs 2 / K per pair, and pairs without a common item weigh 1.
///
/// Repeated votes that count as one vote weigh at most 1 together. Votes without an annotator are never repeats.
VoteWeights weigh_votes(Groups& groups, const Votes& votes, const VoteUse& use);

/// Factor of the weight of votes that do not count. Not 0: the fit expects information about the annotator from each
/// vote.
inline constexpr float kNextToNothing = 1e-6f;

/// Multiplies the weights of some annotators' votes by kNextToNothing. `silent`: [annotators].
void silence(Groups& groups, const std::vector<bool>& silent);

/// Groups in which equal votes are one vote with their total weight.
struct CountedVotes {
  Groups groups;                  ///< the same components, slots and pairs; without vote_row
  Column<std::uint32_t> counted;  ///< [V] for each original vote, the vote that includes it
};

/// Merges equal votes of one annotator on one pair; with `annotators_alike`, equal votes of all annotators on one pair,
/// as votes of annotator 0 without a side. None if more than a third of the votes would remain: this would cost more
/// than it saves.
std::optional<CountedVotes> count_equal_votes(const Groups& groups, bool annotators_alike);

/// [annotators] Number of distinct pairs that each annotator has judged.
Column<std::uint32_t> count_distinct_pairs(const Groups& groups);

}  // namespace voxpop
