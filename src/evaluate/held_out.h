#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "evaluate/score.h"
#include "fit/fit.h"
#include "group/view_blocks.h"

namespace voxpop {

/// By block where more than 30 % of the votes lie in blocks with others, and other blocks say something of their items.
FoldsBy best_folds(const ViewBlocks& blocks);

/// The fold in which each vote is held out [V], below `folds`. A pair's votes are spread over the folds, so that each
/// is predicted from the pair's others, where it has any; where the first one goes is drawn with `seed`. Votes of one
/// judgement (Votes::judgement, or empty) are held out together: one of them would give the others away.
std::vector<std::uint8_t> draw_folds(const Groups& groups, int folds, std::uint64_t seed,
                                     const Column<std::uint32_t>& judgement = {});

/// The same where blocks are held out together: a component's blocks are spread over the folds.
std::vector<std::uint8_t> draw_block_folds(const Groups& groups, const ViewBlocks& blocks, int folds,
                                           std::uint64_t seed);

/// What is said of each vote without having seen it [V].
struct Predictions {
  std::vector<float> left;             ///< probability that the vote, if decided, goes left
  std::vector<float> log_probability;  ///< natural logarithm of the probability of the answer given, ties and grades
                                       ///< told apart; empty where the model has none (ties as half votes)
  bool converged = true;               ///< in every fold
  std::vector<std::string> at_caps;    ///< warnings_at_caps() of the last fold
};

/// A model's predictions: for each fold, a fit of all other votes. `make` opens an engine for groups; `report(fold,
/// iteration)` is called after each iteration.
Predictions predict_held_out(const Groups& groups, const std::vector<std::uint8_t>& folds, const FitOptions& options,
                             const std::function<std::unique_ptr<Engine>(const Groups&)>& make,
                             const std::function<void(int, int)>& report, const Context& context = {});

/// The same from the share of the pair's other votes that go left, with one vote to each side added (Laplace's rule of
/// succession); of all answers, with two votes added that are shared as the other folds' answers are.
Predictions predict_by_majority(const Groups& groups, const std::vector<std::uint8_t>& folds,
                                const Context& context = {});

/// The same from one covariate alone, by logistic regression on its difference between left and right, with a constant.
Predictions predict_by_covariate(const Groups& groups, const std::vector<std::uint8_t>& folds, int column,
                                 const Context& context = {});

/// Votes that are not taken as independent: those of a component, or where there are fewer than a hundred, of a pair.
struct Clusters {
  std::vector<std::uint32_t> of;  ///< [V] ascending
  const char* what;
};
Clusters find_clusters(const Groups& groups);

/// The decided votes, in order: did they go left?
Trials decided_trials(const Groups& groups, const std::vector<float>& left, const Clusters& clusters);

}  // namespace voxpop
