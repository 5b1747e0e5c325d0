#pragma once
#include <cstdint>
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Components that a rank has, ascending.
using Share = std::vector<ComponentRange>;

template <class T>
void append(Column<T>& to, const Column<T>& from, std::size_t begin, std::size_t end) {
  to.insert(to.end(), from.begin() + begin, from.begin() + end);
}

/// Each rank's share: the most work first, to whoever has least. Small components go in blocks of `stride` sample
/// units, so that every rank's sample (PassOptions::stride) is its part of the whole one.
std::vector<Share> deal_components(const Groups& groups, int ranks, std::uint32_t stride);

/// The components of a share as groups of their own, for an engine: without vote_row.
Groups take_share(const Groups& groups, const Share& share);

}  // namespace voxpop
