#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fit/engine.h"

namespace voxpop {

/// What an earlier fit says before the votes are seen; in prior units, as the fit.
struct WarmStart {
  Population population;                            ///< of annotators that it does not know
  std::vector<Population> annotators;               ///< [annotators] the prior of each
  std::vector<Taste> tastes;                        ///< [annotators][tastes], or empty: not known
  std::vector<double> taste_sd;                     ///< [tastes] of annotators
  std::vector<double> coefficient, coefficient_se;  ///< [covariates] given the tastes; or empty: not known
  std::vector<double> shared_se;                    ///< [covariates] what tastes might take over: stays as it is
  std::optional<VoteScale> scale;                   ///< where the answers are the same
  double reference_discrimination = 1, reference_share = 1;
  std::size_t known = 0, unknown = 0;  ///< annotators who vote
};

struct FitOptions {
  Model model = Model::kRater;
  Answers answers{};         ///< of the votes
  int covariates = 0;        ///< of the groups: each gets a coefficient
  int tastes = 0;            ///< the first so many are features, for which annotators have tastes
  bool adversaries = true;   ///< crowd-bt: eta may lie below 1/2
  int max_iterations = 200;  ///< of annotators, in all
  /// Settled when the population's mean and sds together move by less, in an iteration, than this share of the standard
  /// error with which so many annotators show that mean; by 0.01 at most. With a warm start: when no annotator moves by
  /// half this share of its posterior sd.
  double tolerance = 0.2;
  std::size_t sample_votes = 250000;  ///< where there are more, annotators are found on a sample of about as many first
  std::optional<WarmStart> warm_start = std::nullopt;  ///< annotators then start from there, and on all votes
};

struct Fit {
  Model model = Model::kRater;
  Answers answers;
  std::vector<AnnotatorPosterior> annotators;
  Population population;
  VoteScale scale;                                  ///< thresholds, in logits
  std::vector<double> coefficient, coefficient_se;  ///< [covariates] prior units a sd of the covariate
  std::vector<Taste> tastes;                        ///< [annotators][tastes] logits a sd of the feature
  std::vector<double> taste_sd;                     ///< [tastes] of annotators
  double reference_discrimination = 1;              ///< prior units per logit of the reference annotator
  double reference_share = 1;                       ///< crowd-bt: its eta
  Posterior posterior;
  int iterations = 0;
  bool converged = false;
  double change = 0;      ///< what was still moving at the end
  bool mirrored = false;  ///< all scores and discriminations changed sign at the end: see agreement_with_scores()
};

/// Every so-manieth batch of components makes the sample; 1: all do.
std::uint32_t sample_stride(const std::vector<std::uint32_t>& votes_of, std::size_t sample_votes);

/// Votes of each annotator that count in the fit; weights are added up and rounded.
std::vector<std::uint32_t> count_votes(const Groups& groups);
/// The same, not rounded.
std::vector<double> weigh_annotators(const Groups& groups);

/// A sum of weights as a number of votes; some weight is never none.
inline std::uint32_t rounded_votes(double weight) {
  return weight > 0 ? static_cast<std::uint32_t>(std::clamp(std::round(weight), 1.0, 4294967295.0)) : 0;
}

/// Keeps a fit on its way, for when the process ends before the fit does.
class FitKeeper {
 public:
  virtual ~FitKeeper() = default;
  /// Before the first iteration: goes on from what was kept, if anything was.
  virtual void resume(FitRun& run, Engine& engine) = 0;
  /// After each iteration: whether to keep it is up to the keeper.
  virtual void keep(FitRun& run, Engine& engine) = 0;
};

/// Fits the model: EP over components and empirical Bayes over annotators, in turns. `report(iteration, change)` is
/// called after each iteration. Deterministic: the same votes give the same bits for any number of threads. Throws
/// Exit::kNotConverged where the fit diverged.
Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report, FitKeeper* keeper = nullptr);

/// How many more annotators follow the scores than vote against them, each counted by how sure that is. Votes tell
/// scores and discriminations only up to a common sign; the one that most annotators follow is published, not that of
/// the annotators with most votes.
double agreement_with_scores(const std::vector<AnnotatorPosterior>& annotators,
                             const std::vector<std::uint32_t>& votes_of);

/// The median of `value` [annotators] among annotators with enough votes; see the definition.
double reference_median(const std::vector<double>& value, const std::vector<std::uint32_t>& votes_of);

}  // namespace voxpop
