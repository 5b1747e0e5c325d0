#pragma once
#include "group/group.h"
#include "group/view_blocks.h"
#include "votes/votes.h"

namespace voxpop {

/// Share of the votes that are in a block with other votes, estimated from a sample of annotators.
double sampled_view_share(const Groups& groups, const Votes& votes);

/// Whether to use views. kOn, kOff: always, never. kAuto: always if there are rankings; tested by the fit if 40 % or
/// more of the votes are in a block with other votes (estimated from a sample of annotators); else never.
ViewUse choose_views(const Groups& groups, const Votes& votes, ViewChoice choice);

/// The blocks of votes, for an engine; empty if no block can have a view. Call after weigh_votes(), which may remove
/// votes; find `blocks` after it, too.
Views find_views(const Groups& groups, const ViewBlocks& blocks);
Views find_views(const Groups& groups, const Votes& votes);

}  // namespace voxpop
