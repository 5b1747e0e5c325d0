#pragma once
#include "group/group.h"
#include "group/view_blocks.h"
#include "votes/votes.h"

namespace voxpop {

/// Share of the votes that share a block with others, by a sample of annotators.
double sampled_view_share(const Groups& groups, const Votes& votes);

/// What auto comes to for these votes: on where rankings say so; tested by the fit where 40 % or more of the votes
/// share a block with others, by a sample of annotators; else off.
ViewUse choose_views(const Groups& groups, const Votes& votes, ViewChoice choice);

/// The blocks of votes, for an engine; none where no block can be a view. After weigh_votes(), which may take votes
/// out; so are `blocks` to be found.
Views find_views(const Groups& groups, const ViewBlocks& blocks);
Views find_views(const Groups& groups, const Votes& votes);

}  // namespace voxpop
