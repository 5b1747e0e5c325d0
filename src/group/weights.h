#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "group/group.h"

namespace voxpop {

struct VoteUse {
  /// None: kOne, but kAll of votes that somebody said to be independent: by the file, or as judgements of their own.
  std::optional<Repeats> repeats;
  bool side_bias = true;  ///< false: sides of all votes are taken as unknown, so that no side bias is learnt
  bool views = false;     ///< annotators' own views are modelled, which say what votes of a judgement are worth
};

/// What weigh_votes() did.
struct VoteWeights {
  std::uint64_t repeated = 0;       ///< votes beyond an annotator's first on the same pair, where annotators are named
  std::uint64_t shared = 0;         ///< votes that weigh less, because together with repeats of them they are one
  std::uint64_t dropped = 0;        ///< votes that do not count, because another of their annotator stands for them
  std::uint64_t in_judgements = 0;  ///< votes that weigh less as parts of a judgement, such as a ranking
  std::uint64_t judgements = 0;     ///< ... and how many those are
  double total = 0;                 ///< sum of all weights
};

/// Gives each vote its weight, and takes away the sides of votes whose sides are unknown. Before an engine starts from
/// the groups; a copy of them on a device is given up where something changes. Votes that weigh 1 all leave
/// Groups::weight empty.
///
/// A vote weighs what its file says (1). Votes of one judgement weigh less: a ranking of K items tells as much as
/// 2 (K - H) votes on even pairs, H = 1 + 1/2 + ... + 1/K (the Fisher information of Plackett and Luce's model, the
/// best of m items chosen for m = K, ..., 2, beside that of all pairs in Bradley and Terry's), so that each of its K (K
/// - 1) / 2 pairs weighs 1, .78, .65, .54 for K = 2 to 5. Where some pairs are missing, the choices are those of items
/// that are better than others: the best of K weighs 2 / K a pair, pairs without a common item 1. Repeated votes that
/// count as one weigh together no more than 1. Votes that name no annotator repeat nobody's.
VoteWeights weigh_votes(Groups& groups, const Votes& votes, const VoteUse& use);

/// What votes that do not count are multiplied by. Not 0: a fit's votes all say something of their annotators.
inline constexpr float kNextToNothing = 1e-6f;

/// Lets the votes of some annotators weigh next to nothing: `silent` [annotators].
void silence(Groups& groups, const std::vector<bool>& silent);

/// Votes that say the same counted into one vote of their weight.
struct CountedVotes {
  Groups groups;                  ///< the same components, slots and pairs; without vote_row
  Column<std::uint32_t> counted;  ///< [V] which of its votes each vote is in
};

/// Counts equal votes of one annotator on one pair, or with `annotators_alike` of all of them, as votes of annotator 0
/// and of no side. None where that would leave over a third of them: it would cost more than it saves.
std::optional<CountedVotes> count_equal_votes(const Groups& groups, bool annotators_alike);

/// How many distinct pairs each annotator has judged [annotators].
Column<std::uint32_t> count_distinct_pairs(const Groups& groups);

}  // namespace voxpop
