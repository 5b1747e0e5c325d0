#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fit/engine.h"
#include "fit/standing.h"

namespace voxpop {

/// Priors from an earlier fit, in prior units like the fit.
struct WarmStart {
  Population population;                            ///< prior of annotators that the earlier fit does not know
  std::vector<Population> annotators;               ///< [annotators] prior of each annotator
  std::vector<Taste> tastes;                        ///< [annotators][tastes], or empty: unknown
  std::vector<double> taste_sd;                     ///< [tastes] sd over annotators
  std::vector<double> coefficient, coefficient_se;  ///< [covariates] given the tastes; empty: unknown
  std::vector<double> shared_se;   ///< [covariates] part of the standard error that tastes might account for; this fit
                                   ///< does not change it
  std::vector<Source> sources;     ///< [sources] with their priors, or empty: unknown
  std::optional<VoteScale> scale;  ///< thresholds, if the answers are of the same kinds
  bool knows_habits = false;       ///< whether the earlier fit has tie habits
  double reference_discrimination = 1, reference_share = 1;
  std::size_t known = 0, unknown = 0;  ///< numbers of annotators with votes
};

struct FitOptions {
  Model model = Model::kRater;
  Answers answers{};               ///< kinds of answers in the votes
  int covariates = 0;              ///< number of covariates in the groups; each gets a coefficient
  int tastes = 0;                  ///< the first `tastes` covariates are features, for which annotators have tastes
  int sources = 0;                 ///< number of sources in the groups
  ViewUse views = ViewUse::kNone;  ///< annotators' own views, for the groups' blocks; only with Model::kRater
  bool adversaries = true;         ///< crowd-bt: eta may be below 1/2
  int max_iterations = 200;        ///< limit on annotator iterations in total
  /// Convergence tolerance. The fit has converged when the population's mean and sds together move in one iteration by
  /// less than `tolerance` times the standard error of that mean, with an upper limit of 0.01. With a warm start: when
  /// no annotator moves by more than half of `tolerance`, in its posterior sds.
  double tolerance = 0.2;
  std::size_t sample_votes = 250000;  ///< with more votes, the first iterations use a sample of about this many
  std::optional<WarmStart> warm_start = std::nullopt;  ///< annotators start from these priors; all votes are used from
                                                       ///< the beginning
  std::vector<Population> known = {};                  ///< [annotators] or empty: see known_discrimination()
};

/// A second solution that the votes allow: other scores, which those annotators follow who do not follow the published
/// scores.
struct Rival {
  double following = 0, log_evidence = 0;  ///< of the rival solution: find_followers()
  double ordered_alike = 0;                ///< share of pairs with the same order in both solutions
};

struct Fit {
  Model model = Model::kRater;
  Answers answers;
  std::vector<AnnotatorPosterior> annotators;
  Population population;
  VoteScale scale;                                  ///< thresholds of votes, in logits
  std::vector<double> coefficient, coefficient_se;  ///< [covariates] prior units per sd of the covariate
  std::vector<Taste> tastes;                        ///< [annotators][tastes] logits per sd of the feature
  std::vector<double> taste_sd;                     ///< [tastes] sd over annotators
  std::vector<Source> sources;                      ///< [sources] in prior units
  double source_sd = 0;                             ///< sd of the sources' scores
  double view_variance = 0;                         ///< of annotators' own views, in squared prior units; 0: no views
  double prompt_variance = 0;                       ///< of what prompts add to tie habits; 0: prompts add nothing
  std::shared_ptr<const ScorePrior> prior;          ///< by embeddings, at `prior_scale`; null: no embeddings
  double prior_scale = 0;
  double reference_discrimination = 1;  ///< of the reference annotator, in logits per prior unit
  double score_unit = 1;                ///< factor from prior units to published logits: logits_of_votes()
  double reference_share = 1;           ///< crowd-bt: eta of the reference annotator
  Posterior posterior;
  int iterations = 0;
  bool converged = false;
  double change = 0;      ///< how much the population still moved at the end: FitState::change
  bool mirrored = false;  ///< all scores and discriminations changed sign at the end: see Standing
  Standing standing;      ///< only if has_discriminations(model), without a warm start
  std::optional<Rival> rival;
  /// [annotators] or empty: annotators whose votes say nothing about these scores, because they follow other scores
  /// (Rival).
  std::vector<bool> apart;
  /// Whether annotators follow the scores clearly enough to determine the scores' sign and unit. If false, the unit is
  /// the population's root mean square, and labels do not say which item is better.
  bool sign_is_told = true;
};

/// Logits of a vote per prior unit of score. Without own views this is the discrimination. If annotators have own views
/// of variance `view_variance`, it is the slope at 0 of the probability that another annotator votes this way, which is
/// flatter (MacKay 1992, eq. 10).
inline double logits_of_votes(double discrimination, double view_variance) {
  constexpr double kQuarterPi = 0.7853981633974483;
  return discrimination / std::sqrt(1 + kQuarterPi * view_variance * discrimination * discrimination);
}

/// The reason why Fit::sign_is_told is false, in one sentence for the user.
std::string why_not_told(const Fit& fit);

/// The stride of the sample: every `stride`-th batch of small components is in it. 1: all batches.
std::uint32_t sample_stride(const std::vector<std::uint32_t>& votes_of, std::size_t sample_votes);

/// [annotators] number of votes that count in the fit: the sum of their weights, rounded.
std::vector<std::uint32_t> count_votes(const Groups& groups);
/// [annotators] the same sums, not rounded.
std::vector<double> weigh_annotators(const Groups& groups);

/// Rounds a sum of weights to a number of votes. A sum above 0 gives at least 1.
inline std::uint32_t rounded_votes(double weight) {
  return weight > 0 ? static_cast<std::uint32_t>(std::clamp(std::round(weight), 1.0, 4294967295.0)) : 0;
}

/// Saves a fit in progress, in case the process ends before the fit does.
class FitKeeper {
 public:
  virtual ~FitKeeper() = default;
  /// Call before the first iteration: continues from the saved state, if there is one.
  virtual void resume(FitRun& run, Engine& engine) = 0;
  /// Call after each iteration. The keeper decides whether to save.
  virtual void keep(FitRun& run, Engine& engine) = 0;
};

/// Keeps the end state of a fit. A second fit of the same votes with other weights can start from it.
class SettledFit : public FitKeeper {
 public:
  /// `other`: a second keeper that also saves the fit, or null.
  explicit SettledFit(FitKeeper* other = nullptr) : other_(other) {}
  void resume(FitRun& run, Engine& engine) override;
  void keep(FitRun& run, Engine& engine) override;

 private:
  FitKeeper* other_;
  std::optional<FitRun> run_;
  EngineState state_;
};

/// Fits the model. EP over components and empirical Bayes over annotators take turns. `report(iteration, change)` is
/// called after each iteration. Deterministic: results are bit-identical for any number of threads. Throws
/// Error(Exit::kNotConverged) if the fit diverged.
Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report, FitKeeper* keeper = nullptr);

/// Warnings about hyperparameters that reached their upper limits, with what this means.
std::vector<std::string> warnings_at_caps(const Fit& fit);

/// Minimum agreement of annotators and minimum reference discrimination. Below these the sign of the scores is unknown:
/// about as many annotators contradict the scores as follow them, or the reference annotator's votes are right in only
/// 53 of 100 cases, which is close to chance.
inline constexpr double kLeastAgreement = 0.1, kLeastReference = 0.1;

}  // namespace voxpop
