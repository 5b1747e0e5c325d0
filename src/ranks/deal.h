#pragma once
#include <cstdint>
#include <vector>

#include "group/share.h"

namespace voxpop {

/// Each rank's share: the most work first, to whoever has least. Small components go in blocks of `stride` sample
/// units, so that every rank's sample (PassOptions::stride) is its part of the whole one.
std::vector<Share> deal_components(const Groups& groups, int ranks, std::uint32_t stride);

}  // namespace voxpop
