#pragma once
#include <cstdint>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Blocks: votes that rest on one annotator's view of some items, such as a ranking, both orders of a pair, or repeats.
/// A block is all votes of one annotator in one component that shared items connect.
struct ViewBlocks {
  Column<std::uint32_t> of;     ///< [V] block of each vote; blocks are numbered in the order of their first votes
  std::uint32_t count = 0;      ///< number of blocks
  std::uint64_t shared = 0;     ///< votes in blocks with more than one vote
  std::uint64_t divided = 0;    ///< those of `shared` in components with more than one block
  std::uint64_t looked_at = 0;  ///< votes in the sample
  double share() const { return looked_at == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(looked_at); }
};

/// Whether a block with this many votes and items can have a view of its own.
bool can_be_view(std::size_t votes, std::size_t items);

/// [count] 1 if the block can have a view of its own (formulas/views.h): it has more than one vote and at most
/// kMostViewItems items. All 0 if any component has more than kMostItemsWithViews items: the votes of such a
/// component depend on the scores alone, and discriminations without views do not have the same meaning as
/// discriminations with views.
Column<std::uint8_t> find_viewed(const Groups& groups, const ViewBlocks& blocks);

/// The blocks of votes, in groups with vote_row. A component's blocks are neighbours. Votes without an annotator share
/// a block only within one judgement; else each is a block. Takes V log V steps, in parallel. `step`: looks at a
/// sample, one in `step` annotators; all other votes are blocks of their own.
ViewBlocks find_view_blocks(const Groups& groups, const Votes& votes, std::uint32_t step = 1);

}  // namespace voxpop
