#pragma once
#include <functional>

#include "fit/fit.h"
#include "group/share.h"

namespace voxpop {

/// Some components as a fit left them, one run after the other: where an EP of take_share() starts from.
EngineState state_of(const Fit& fit, const Sites& sites, const Share& share);

/// What embeddings say of the scores of some components; null: nothing.
std::shared_ptr<const ScorePrior> prior_of(const Groups& groups, const Fit& fit, const Share& share);

/// Takes a vote out of groups that are to be solved again: it weighs nothing then, and what its site says does not
/// count. Without `all_equal`, one of the equal votes that it stands for.
void leave_out(Groups& groups, std::size_t vote, bool all_equal = true);

/// The posterior of groups, annotators as the fit has them: EP on the CPU from `start`, ten sweeps at most. `prior`:
/// what embeddings say of these groups' scores.
Posterior solve_again(const Groups& groups, const Fit& fit, const EngineState& start,
                      std::shared_ptr<const ScorePrior> prior);

/// What is known of pairs' score differences.
struct PairMoments {
  Column<float> mean, variance;  ///< [P]
};

/// The same without some votes: their components are solved again. Of components above kDenseItems as the fit has it.
PairMoments solve_without(const Groups& groups, const Fit& fit, const Sites& sites,
                          const std::function<bool(std::uint32_t)>& is_left_out);

/// What all other votes say of what a vote's annotator saw of its pair: the scores' difference, and its own view where
/// the fit has such. The vote's EP site is taken out.
Cavity<double> cavity_of_vote(const Groups& groups, const Fit& fit, const Sites& sites, std::uint32_t vote,
                              std::uint32_t pair);

}  // namespace voxpop
