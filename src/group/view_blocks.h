#pragma once
#include <cstdint>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Votes that rest on one annotator's view of some items: a ranking, both orders of a pair, repeats. A block is all
/// votes of one annotator in one component that hang together by shared items.
struct ViewBlocks {
  Column<std::uint32_t> of;     ///< [V] each vote's block; blocks are numbered in the order of their first votes
  std::uint32_t count = 0;      ///< how many blocks there are
  std::uint64_t shared = 0;     ///< votes in a block with others
  std::uint64_t divided = 0;    ///< ... in components of several blocks
  std::uint64_t looked_at = 0;  ///< votes of the sample
  double share() const { return looked_at == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(looked_at); }
};

/// Whether a block of so many votes and items can be an own view.
bool can_be_view(std::size_t votes, std::size_t items);

/// Which blocks can be an own view (formulas/views.h) [count]: those of some votes and no more than kMostViewItems
/// items, where no component has more than kMostItemsWithViews: its votes would rest on the scores alone, and
/// discriminations mean something else beside views.
std::vector<bool> find_viewed(const Groups& groups, const ViewBlocks& blocks);

/// The blocks of votes in groups that still have their rows of `votes`. A component's blocks are neighbours. Votes that
/// name no annotator are of one where they are of one judgement; else each is a block. Takes V log V steps, in
/// parallel. `step`: of one annotator in so many, as a sample: all other votes are blocks of their own.
ViewBlocks find_view_blocks(const Groups& groups, const Votes& votes, std::uint32_t step = 1);

}  // namespace voxpop
