#pragma once
#include <vector>

#include "group/group.h"

namespace voxpop {

/// Some of the components, as runs of neighbours.
using Share = std::vector<ComponentRange>;

template <class T>
void append(Column<T>& to, const Column<T>& from, std::size_t begin, std::size_t end) {
  to.insert(to.end(), from.begin() + begin, from.begin() + end);
}

/// The components of a share as Groups of their own for an engine, in the order of the runs; without vote_row. A run
/// may occur more than once.
Groups take_share(const Groups& groups, const Share& share);

}  // namespace voxpop
