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
  Estimate log_loss;  ///< natural logarithm
  Estimate brier;     ///< mean squared error
  Estimate accuracy;  ///< share of outcomes on the likelier side; a prediction of 1/2 counts one half
  double ece = 0;     ///< expected calibration error, 15 equal bins (Guo et al. 2017)
  /// 95 % interval of `ece`: bootstrap over clusters, shifted so that its mean is `ece`.
  double ece_low = 0, ece_high = 0;
  /// ECE to expect if the predictions were true: mean and 95 % quantile. From draws that flip the signs of whole
  /// clusters' residuals (wild cluster bootstrap; Cameron, Gelbach and Miller 2008).
  double ece_by_chance = 0, ece_by_chance_high = 0;
  std::vector<ReliabilityBin> bins;
};

/// Gold labels, which are not from the votes: pairs with a known answer, or items with values. Only the order of values
/// counts.
struct Gold {
  std::vector<std::uint32_t> left, right;  ///< [pairs] item indices
  std::vector<std::int8_t> preference;     ///< [pairs] 1 left, -1 right; no ties
  std::vector<std::uint32_t> item;         ///< [items]
  std::vector<double> value;               ///< [items] larger is better
  std::size_t unknown = 0;                 ///< rows that name an item that is not in the votes
  std::size_t ties = 0;                    ///< pairs with the answer "tie"; not in the columns above
  std::size_t repeated = 0;                ///< rows that repeat an earlier row
};

struct GoldOrder {
  double pairs = 0;  ///< pairs of items in one component with different gold values
  /// Share of these pairs that the scores order like the gold values; equal scores count one half.
  double accuracy = 0;
  double tau_b = 0;  ///< Kendall's tau-b (1945) of scores and gold values over pairs of one component
};
/// A fit that diverged: its numbers became NaN or infinite.
struct DivergedFit {
  std::string model;
  std::string why;  ///< text of the Error
};

/// Predictions of one model for held-out votes, compared with these votes.
struct ModelScore {
  std::string name;  ///< the model's name, with * if its logits are corrected; or "majority" or "prior_score"
  Score score;
  bool converged = true;                               ///< in all folds
  double slope = 0;                                    ///< factor of all logits, see Calibration; 0: no correction
  std::optional<Estimate> all_answers = std::nullopt;  ///< log loss of full answers, with ties or strengths
};

/// Log loss of `model` minus log loss of `minus`: mean difference per vote.
struct LossDifference {
  std::string model, minus;
  Estimate log_loss;
};

/// All models on the same folds.
struct ModelComparison {
  FoldsBy by = FoldsBy::kVote;
  std::vector<ModelScore> models;           ///< majority vote, the prior score if there is one, then the models
  std::vector<LossDifference> differences;  ///< each entry of `models` minus each entry before it
  std::vector<DivergedFit> diverged;        ///< models without scores, because they diverged

  /// The model to compare with: bt if present, else majority vote.
  VOXPOP_EXPORT const ModelScore& base() const;
  /// Difference between two of `models`, in either order; zero if both names are the same.
  VOXPOP_EXPORT Estimate difference(const std::string& model, const std::string& minus) const;
};

/// A fit of all votes, compared with gold labels.
struct GoldScore {
  std::string name;
  std::size_t pairs_compared = 0;
  Score pairs;  ///< only if pairs_compared > 0
  GoldOrder order;
};

struct GoldComparison {
  std::vector<GoldScore> models;  ///< majority vote, then the models
  std::vector<DivergedFit> diverged;
  std::size_t apart = 0;  ///< gold pairs whose items are in two components: votes do not connect the items
};

struct EvaluateResult {
  std::uint64_t votes = 0, decided_votes = 0;
  std::string std_errors_over;  ///< what the standard errors cluster by: "components" or "pairs", see Clusters
  double votes_in_blocks = 0;   ///< share of the votes that are in a block with other votes: ViewBlocks::share()
  /// Votes in such blocks that are the only block of their component: no other block has votes on their items.
  std::uint64_t votes_of_nobody_else = 0;
  bool all_answers = false;  ///< whether ModelScore::all_answers differs from the log loss: there are ties or strengths
  /// On the folds that the request asks for. If the votes led to folds by block, folds by vote follow as a second
  /// entry.
  std::vector<ModelComparison> comparisons;
  std::optional<GoldComparison> gold;
  std::vector<Finding> findings;      ///< about the votes
  std::vector<std::string> warnings;  ///< about the models and gold labels

  /// Whether any fit diverged.
  VOXPOP_EXPORT bool diverged() const;
};

}  // namespace voxpop
