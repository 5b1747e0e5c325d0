#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/gold.h"
#include "evaluate/held_out.h"
#include "fit/fit.h"
#include "group/views.h"
#include "group/weights.h"
#include "guards/findings.h"
#include "voxpop/context.h"
#include "voxpop/request.h"

namespace voxpop {

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
  const ModelScore& base() const;
  /// Of two of `models`, in whichever order; of a model to itself: zero.
  Estimate difference(const std::string& model, const std::string& minus) const;
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
  bool diverged() const;
};

/// Compares models on held-out votes, and with gold labels where there are some. `gold`: as read_gold() gave it for
/// these votes, or null. `embeddings`: of the votes' items, or null; models that do not use them do without. A model
/// that diverges has no scores, but the others do. Throws Error(kNotConverged) where all of them diverge.
EvaluateResult evaluate(Votes votes, const EvaluateRequest& request, const Context& context, const Gold* gold = nullptr,
                        std::shared_ptr<const Embeddings> embeddings = nullptr);

/// The same with other engines in place of those of the context's device: for tests.
using MakeModelEngine = std::function<std::unique_ptr<Engine>(Model model, const Groups& groups)>;
EvaluateResult evaluate_with(const MakeModelEngine& make, Votes votes, const EvaluateRequest& request,
                             const Context& context, const Gold* gold = nullptr,
                             std::shared_ptr<const Embeddings> embeddings = nullptr);

}  // namespace voxpop
