#pragma once
#include <string>

#include "group/group.h"

namespace voxpop {

/// Sets Groups::sources from the items' sources, if the votes can show differences between sources. Returns the reason
/// if they cannot; "" if they can, or if no item has a source.
std::string set_sources(Groups& groups, const Votes& votes);

}  // namespace voxpop
