#pragma once
#include <string>

#include "group/group.h"

namespace voxpop {

/// Sets Groups::sources from the items' sources, where votes tell some of them apart. Returns why not, in words; ""
/// where they do, and where no item has a source.
std::string set_sources(Groups& groups, const Votes& votes);

}  // namespace voxpop
