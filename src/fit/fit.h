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

/// What an earlier fit says before the votes are seen; in prior units, as the fit.
struct WarmStart {
  Population population;                            ///< of annotators that it does not know
  std::vector<Population> annotators;               ///< [annotators] the prior of each
  std::vector<Taste> tastes;                        ///< [annotators][tastes], or empty: not known
  std::vector<double> taste_sd;                     ///< [tastes] of annotators
  std::vector<double> coefficient, coefficient_se;  ///< [covariates] given the tastes; or empty: not known
  std::vector<double> shared_se;                    ///< [covariates] what tastes might take over: stays as it is
  std::vector<Source> sources;                      ///< [sources] with their priors, or empty: not known
  std::optional<VoteScale> scale;                   ///< where the answers are the same
  bool knows_habits = false;                        ///< of ties
  double reference_discrimination = 1, reference_share = 1;
  std::size_t known = 0, unknown = 0;  ///< annotators who vote
};

struct FitOptions {
  Model model = Model::kRater;
  Answers answers{};               ///< of the votes
  int covariates = 0;              ///< of the groups: each gets a coefficient
  int tastes = 0;                  ///< the first so many are features, for which annotators have tastes
  int sources = 0;                 ///< of the groups
  ViewUse views = ViewUse::kNone;  ///< of the groups' blocks; rater alone
  bool adversaries = true;         ///< crowd-bt: eta may lie below 1/2
  int max_iterations = 200;        ///< of annotators, in all
  /// Settled when the population's mean and sds together move by less, in an iteration, than this share of the standard
  /// error with which so many annotators show that mean; by 0.01 at most. With a warm start: when no annotator moves by
  /// half this share of its posterior sd.
  double tolerance = 0.2;
  std::size_t sample_votes = 250000;  ///< where there are more, annotators are found on a sample of about as many first
  std::optional<WarmStart> warm_start = std::nullopt;  ///< annotators then start from there, and on all votes
  std::vector<Population> known = {};                  ///< [annotators] or empty: see known_discrimination()
};

/// Another solution that the votes allow: scores that annotators follow who do not follow the published ones.
struct Rival {
  double following = 0, log_evidence = 0;  ///< of it: find_followers()
  double ordered_alike = 0;                ///< share of pairs in the same order under both
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
  std::vector<Source> sources;                      ///< [sources] prior units
  double source_sd = 0;                             ///< of their scores
  double view_variance = 0;                         ///< of annotators' own views, prior units; 0: none
  double prompt_variance = 0;                       ///< of what prompts add to habits of ties; 0: nothing
  std::shared_ptr<const ScorePrior> prior;          ///< by embeddings, at this scale; null: there are none
  double prior_scale = 0;
  double reference_discrimination = 1;  ///< the reference annotator's, in prior units
  double score_unit = 1;                ///< by which scores are published: logits_of_votes()
  double reference_share = 1;           ///< crowd-bt: its eta
  Posterior posterior;
  int iterations = 0;
  bool converged = false;
  double change = 0;      ///< what was still moving at the end
  bool mirrored = false;  ///< all scores and discriminations changed sign at the end: see Standing
  Standing standing;      ///< has_discriminations() alone, without a warm start
  std::optional<Rival> rival;
  /// [annotators] or empty: those whose votes say nothing of these scores, because they follow others: Rival.
  std::vector<bool> apart;
  /// Whether annotators follow the scores so clearly that their sign and the unit are known. Else the unit is the
  /// population's root mean square, and labels say nothing of which item is better.
  bool sign_is_told = true;
};

/// Logits of votes, a prior unit of scores: the discrimination; where annotators have own views of this variance, the
/// slope at 0 of the chance that another annotator votes so, which is flatter (MacKay 1992, eq. 10).
inline double logits_of_votes(double discrimination, double view_variance) {
  constexpr double kQuarterPi = 0.7853981633974483;
  return discrimination / std::sqrt(1 + kQuarterPi * view_variance * discrimination * discrimination);
}

/// Why Fit::sign_is_told is false, in a sentence.
std::string why_not_told(const Fit& fit);

/// The stride of the batches of components that make the sample; 1: all do.
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

/// Where a fit settled, for another one of the same votes with other weights to go on from.
class SettledFit : public FitKeeper {
 public:
  /// `other`: keeps the fit as well; or null.
  explicit SettledFit(FitKeeper* other = nullptr) : other_(other) {}
  void resume(FitRun& run, Engine& engine) override;
  void keep(FitRun& run, Engine& engine) override;

 private:
  FitKeeper* other_;
  std::optional<FitRun> run_;
  EngineState state_;
};

/// Fits the model: EP over components and empirical Bayes over annotators, in turns. `report(iteration, change)` is
/// called after each iteration. Deterministic: the same votes give the same bits for any number of threads. Throws
/// Exit::kNotConverged where the fit diverged.
Fit fit_model(Engine& engine, const std::vector<std::uint32_t>& votes_of, const FitOptions& options,
              const std::function<void(int, double)>& report, FitKeeper* keeper = nullptr);

/// What hyperparameters that came to their largest values mean.
std::vector<std::string> warnings_at_caps(const Fit& fit);

/// Below these nobody can tell which way round scores are: annotators follow them hardly more often than they
/// contradict them; the reference annotator's votes are right in 53 of 100, about as often as by chance.
inline constexpr double kLeastAgreement = 0.1, kLeastReference = 0.1;

}  // namespace voxpop
