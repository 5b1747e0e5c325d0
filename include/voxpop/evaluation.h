#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "voxpop/findings.h"
#include "voxpop/labels.h"
#include "voxpop/request.h"

namespace voxpop {

struct Estimate {
  double value = 0, std_error = 0;
};

inline constexpr int kReliabilityBins = 15;

struct Score {
  Estimate log_loss;                 ///< natural logarithm
  Estimate brier;                    ///< mean squared error
  Estimate accuracy;                 ///< share on the likelier side; a prediction of 1/2 counts one half
  double ece = 0;                    ///< expected calibration error, 15 equal bins (Guo et al. 2017)
  double ece_low = 0, ece_high = 0;  ///< 95 % of it in draws of clusters with replacement, moved to lie about it
  /// What it would be, were the predictions true: mean and 95 % quantile. Clusters' residuals change sign together (the
  /// wild cluster bootstrap; Cameron, Gelbach and Miller 2008).
  double ece_by_chance = 0, ece_by_chance_high = 0;
  std::vector<ReliabilityBin> bins;
};

/// Gold labels from outside of the votes: of pairs, or values of items, whose order counts.
struct Gold {
  std::vector<std::uint32_t> left, right;  ///< [pairs] item indices
  std::vector<std::int8_t> preference;     ///< [pairs] 1 left, -1 right; ties are left out
  std::vector<std::uint32_t> item;         ///< [items]
  std::vector<double> value;               ///< [items] larger is better
  std::size_t unknown = 0;                 ///< rows that name an item without votes
  std::size_t ties = 0;                    ///< pairs
  std::size_t repeated = 0;                ///< rows that say again what a row before them says
};

struct GoldOrder {
  double pairs = 0;     ///< pairs of items in one component with different gold values
  double accuracy = 0;  ///< share that the scores order as the gold values do; equal scores count one half
  double tau_b = 0;     ///< Kendall's tau-b (1945) of scores and gold values over pairs of one component
};
/// A fit that came to no numbers.
struct DivergedFit {
  std::string model;
  std::string why;  ///< the error's text
};

/// What one model says of held-out votes, against what came of them.
struct ModelScore {
  std::string name;  ///< a model's name, with * where its logits are corrected; "majority" and "prior_score"
  Score score;
  bool converged = true;                               ///< in every fold
  double slope = 0;                                    ///< that all logits were multiplied by, see Calibration; 0: none
  std::optional<Estimate> all_answers = std::nullopt;  ///< log loss of the answers themselves, with ties or grades
};

/// Log loss of one model minus that of another, vote by vote.
struct LossDifference {
  std::string model, minus;
  Estimate log_loss;
};

/// The models on one kind of folds.
struct ModelComparison {
  FoldsBy by = FoldsBy::kVote;
  std::vector<ModelScore> models;           ///< majority vote, the prior score where there is one, and the models
  std::vector<LossDifference> differences;  ///< of each of these to each before it
  std::vector<DivergedFit> diverged;        ///< models that have no scores here

  /// What the others are compared with: bt, or else majority vote.
  VOXPOP_EXPORT const ModelScore& base() const;
  /// Of two of `models`, in whichever order; of a model to itself: zero.
  VOXPOP_EXPORT Estimate difference(const std::string& model, const std::string& minus) const;
};

/// A fit of all votes against gold labels.
struct GoldScore {
  std::string name;
  std::size_t pairs_compared = 0;
  Score pairs;  ///< where pairs are compared
  GoldOrder order;
};

struct GoldComparison {
  std::vector<GoldScore> models;  ///< majority vote, and the models
  std::vector<DivergedFit> diverged;
  std::size_t apart = 0;  ///< gold pairs whose items lie in two components, which no votes compare
};

struct EvaluateResult {
  std::uint64_t votes = 0, decided_votes = 0;
  std::string std_errors_over;             ///< "components" or "pairs": see Clusters
  double votes_in_blocks = 0;              ///< share of the votes in a block with others: ViewBlocks::share()
  std::uint64_t votes_of_nobody_else = 0;  ///< votes in such blocks of whose items nobody else says anything
  bool all_answers = false;                ///< whether ModelScore::all_answers says more than the log loss
  /// By the folds that were asked for. Where those are by block because the votes ask for it, then also by vote.
  std::vector<ModelComparison> comparisons;
  std::optional<GoldComparison> gold;
  std::vector<Finding> findings;      ///< about the votes
  std::vector<std::string> warnings;  ///< about the models and gold labels

  /// Whether any fit diverged.
  VOXPOP_EXPORT bool diverged() const;
};

}  // namespace voxpop
