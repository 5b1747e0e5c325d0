#pragma once
#include <functional>

#include "fit/fit.h"
#include "group/share.h"

namespace voxpop {

/// State of the share's components at the end of a fit, in the share's order. EP on the groups of take_share() starts
/// from it.
EngineState state_of(const Fit& fit, const Sites& sites, const Share& share);

/// Prior by embeddings of the scores of the share's components; null: no embeddings.
std::shared_ptr<const ScorePrior> prior_of(const Groups& groups, const Fit& fit, const Share& share);

/// Leaves a vote out of groups that will be solved again: its weight becomes 0, so its site no longer counts. If
/// `all_equal` is false, only one of the equal votes that it stands for is left out.
void leave_out(Groups& groups, std::size_t vote, bool all_equal = true);

/// Posterior of `groups` with the annotators of `fit`: EP on the CPU from `start`, at most ten sweeps. `prior`: by
/// embeddings, of these groups' scores; may be null.
Posterior solve_again(const Groups& groups, const Fit& fit, const EngineState& start,
                      std::shared_ptr<const ScorePrior> prior);

/// [P] posterior mean and variance of the pairs' score differences.
struct PairMoments {
  Column<float> mean, variance;  ///< [P]
};

/// Pair moments without some votes. Components with such votes are solved again, except components of more than
/// kDenseItems items, for which the values of `fit` are returned.
PairMoments solve_without(const Groups& groups, const Fit& fit, const Sites& sites,
                          const std::function<bool(std::uint32_t)>& is_left_out);

/// Cavity of a vote: the pair's difference as the vote's annotator saw it, given all other votes. The difference is
/// that of the scores, plus that of the annotator's own view if the fit has views. The vote's EP site is taken out.
Cavity<double> cavity_of_vote(const Groups& groups, const Fit& fit, const Sites& sites, std::uint32_t vote,
                              std::uint32_t pair);

}  // namespace voxpop
