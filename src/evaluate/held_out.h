#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "evaluate/score.h"
#include "fit/fit.h"
#include "group/view_blocks.h"

namespace voxpop {

/// kBlock if more than 30 % of the votes share a block with others and lie in components with several blocks; else
/// kVote.
FoldsBy best_folds(const ViewBlocks& blocks);

/// [V] The fold in which each vote is held out, from 0 to `folds` - 1. A pair's votes are spread over the folds, so
/// that each vote is predicted from the pair's other votes, if there are any; `seed` determines the first fold of each
/// pair. Votes of one judgement (`judgement`: Votes::judgement, or empty) are held out together, because one of them
/// would reveal the others.
std::vector<std::uint8_t> draw_folds(const Groups& groups, int folds, std::uint64_t seed,
                                     const Column<std::uint32_t>& judgement = {});

/// The same for whole blocks, which are held out together: a component's blocks are spread over the folds.
std::vector<std::uint8_t> draw_block_folds(const Groups& groups, const ViewBlocks& blocks, int folds,
                                           std::uint64_t seed);

/// [V] Predictions of each vote by a model that has not seen the vote.
struct Predictions {
  std::vector<float> left;  ///< probability that the vote goes left, if it is decided
  /// Natural logarithm of the probability of the given answer, including ties and strengths; empty if the model has no
  /// such probability (ties as half votes).
  std::vector<float> log_probability;
  bool converged = true;             ///< in all folds
  std::vector<std::string> at_caps;  ///< warnings_at_caps() of the last fold
};

/// A model's predictions: for each fold, a fit of all other votes. `make` creates an engine for groups. `report(fold,
/// iteration)` is called after each iteration.
Predictions predict_held_out(const Groups& groups, const std::vector<std::uint8_t>& folds, const FitOptions& options,
                             const std::function<std::unique_ptr<Engine>(const Groups&)>& make,
                             const std::function<void(int, int)>& report, const Context& context = {});

/// Predictions by majority. `left`: the share of the pair's other votes that go left, with one vote added for each side
/// (Laplace's rule of succession). `log_probability`: two votes are added, distributed as the answers in the other
/// folds.
Predictions predict_by_majority(const Groups& groups, const std::vector<std::uint8_t>& folds,
                                const Context& context = {});

/// Predictions from one covariate: logistic regression on its difference between left and right, with a constant.
Predictions predict_by_covariate(const Groups& groups, const std::vector<std::uint8_t>& folds, int column,
                                 const Context& context = {});

/// Groups of votes that are not independent: components, or pairs if there are fewer than 100 components.
struct Clusters {
  std::vector<std::uint32_t> of;  ///< [V] cluster of each vote, ascending
  const char* what;
};
Clusters find_clusters(const Groups& groups);

/// Trials of the decided votes, in order of votes. Outcome 1: the vote went left.
Trials decided_trials(const Groups& groups, const std::vector<float>& left, const Clusters& clusters);

}  // namespace voxpop
