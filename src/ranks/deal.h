#pragma once
#include <cstdint>
#include <vector>

#include "group/share.h"

namespace voxpop {

/// Deals the components to the ranks. Components with more work are dealt first, each to the rank with the least work
/// so far. Small components are dealt in blocks of `stride` sample units. Therefore the samples of all ranks
/// (PassOptions::stride) together are the sample of a single process.
std::vector<Share> deal_components(const Groups& groups, int ranks, std::uint32_t stride);

}  // namespace voxpop
