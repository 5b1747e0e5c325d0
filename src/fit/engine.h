#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "fit/component_kernel.h"
#include "fit/score_prior.h"
#include "group/group.h"

namespace voxpop {

/// Sums for each threshold of the vote scale. The index is the threshold's number, starting at 1.
using Thresholds = std::array<ThresholdSums, kMaxLevels + 1>;

/// The annotators and prior means that a pass reads.
struct Raters {
  std::vector<RaterRecord> records;         ///< [annotators]
  std::vector<TieHabit> habits;             ///< [annotators]
  std::vector<Taste> tastes;                ///< [annotators][tastes] or empty
  std::vector<float> source_score;          ///< [sources] score of each source: a part of its items' prior means
  std::shared_ptr<const ScorePrior> prior;  ///< prior of the scores by embeddings; null: none
  Raters() = default;
  Raters(std::vector<RaterRecord> r, std::vector<Taste> t = {}, std::vector<float> s = {})
      : records(std::move(r)), habits(records.size()), tastes(std::move(t)), source_score(std::move(s)) {}
  explicit Raters(const std::vector<AnnotatorPosterior>& annotators, std::vector<Taste> t = {},
                  std::vector<float> s = {});
};

struct PassResult {
  std::vector<AnnotatorSums> annotators;  ///< [annotators] or empty
  std::vector<TasteSums> tastes;          ///< [annotators][tastes] or empty
  std::vector<GridSums> grid;             ///< [annotators] or empty
  Thresholds thresholds{};
  CovariateSums covariates{};
  PromptTotals prompts;
  ViewTotals views;
  std::vector<SourceSums> sources;  ///< [sources] or empty
  SolveSums solved;
};

std::vector<float> scores_of(const std::vector<Source>& sources);

/// State of a fit in progress.
struct FitRun {
  FitState state;
  std::vector<AnnotatorPosterior> annotators;
  std::vector<Taste> tastes;            ///< [annotators][state.tastes]
  std::vector<std::uint32_t> votes_of;  ///< [annotators] votes that count; 0 for annotators outside the population
  std::vector<Population> priors;  ///< [annotators] if state.own_priors or state.some_known, else empty: see prior_of()
  std::vector<Taste> taste_priors;          ///< [annotators][state.tastes] if state.own_tastes
  std::vector<Source> sources;              ///< [state.sources]
  std::shared_ptr<const ScorePrior> prior;  ///< by embeddings, at state.prior_scale; null: not found yet, or no
                                            ///< embeddings

  /// The annotators, tastes and prior means, as passes read them.
  Raters raters() const;
};

/// Posterior of the scores given the annotators. Scores are in prior units (sd 1), centred within their component.
struct Posterior {
  Column<float> slot_mean, slot_variance;  ///< [S]
  Column<float> pair_mean, pair_variance;  ///< [P] of score(first) - score(second)
  Column<TieHabit> prompts;                ///< [C] what each prompt adds to annotators' tie habits; only with own ties
  Column<float> vote_mean, vote_variance;  ///< [V] of the pair's difference as the vote's annotator saw it; empty
                                           ///< without own views
  std::vector<ReportSums> annotators;      ///< [annotators]
  double log_evidence = 0;  ///< EP's estimate of log p(votes). Each vote uses its annotator as the annotator's other
                            ///< votes show it. The hyperpriors are not included
};

struct PairLabels {
  Column<float> probability, better, information;  ///< [P], of the pair's first item
};

/// The votes' EP sites [V].
struct Sites {
  Column<float> precision, shift;
};

/// What an engine holds of a fit in progress, in addition to the FitRun. All engines use the same format.
struct EngineState {
  Sites sites;
  Column<float> pair_mean, pair_variance;  ///< [P]
  Column<TieHabit> prompts;  ///< [C] as stored, before the shift is subtracted: see step_prompt(); empty without own
                             ///< ties
  Column<float> solutions;   ///< solutions of the sparse components, one after the other: SparseSolver::save()
};

/// Does the work over votes and annotators. formulas/fit_state.h decides what the next iteration does. An engine
/// belongs to one data set.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string device() const = 0;
  /// Runs one iteration: a pass, then a step of all annotators. This default version steps the annotators on the host.
  /// An engine that keeps annotators on a device may queue iterations ahead; `run.state` then describes an earlier
  /// iteration. `run` is complete when its state is Phase::kDone.
  virtual void iterate(FitRun& run);
  virtual PassResult update_components(const Raters& raters, const PassOptions& options) = 0;
  /// Call between iterations. Returns the engine's state and brings `run` up to date. The fit may continue afterwards.
  virtual EngineState save(FitRun& run) = 0;
  /// Call before the first iteration: the fit continues from `state`.
  virtual void load(const EngineState& state) = 0;
  /// `options` sets whether sites integrate over the annotators, the kinds of votes, and the thresholds.
  virtual Posterior posterior(const Raters& raters, const PassOptions& options) = 0;
  /// The sites of the last posterior. Valid until the next call that changes the engine, or until the engine is
  /// destroyed.
  virtual const Sites& sites() = 0;
  /// Labels from the last posterior. `discrimination`: that of the reference annotator, in prior units.
  /// `view_variance`: variance of annotators' own views, in prior units.
  virtual PairLabels label_pairs(float discrimination, float view_variance = 0) = 0;
};

/// Whether the component is small: many small components are solved together, one in each lane of a pack.
inline bool is_small(const Groups& groups, std::uint32_t component) {
  return groups.items_of(component) <= kSmallItems && groups.votes_of(component) <= kSmallVotes;
}

/// Number of small components in a sample unit of the CPU engine (PassOptions::stride), in the order of the groups.
inline constexpr std::uint32_t kSampleUnit = 16;

/// The likelihood terms that these votes need. Votes that are all binary need no thresholds, which is fastest.
Likelihood likelihood_kind(const Groups& groups, Blend blend);

/// Largest number of items of a dense component, which is solved by one Cholesky factorisation in double precision.
/// Components that are not small are dense up to this size; larger ones are sparse.
inline constexpr std::uint32_t kDenseItems = 2048;

/// Approximate cost of one pass over a component. Unit: votes in small components. Counts the votes and the
/// factorisation (or conjugate gradients).
inline double work_on(const Groups& groups, std::uint32_t component) {
  const double items = groups.items_of(component), votes = groups.votes_of(component);
  return is_small(groups, component) ? votes : items <= kDenseItems ? votes + items * items * items / 1000 : 50 * votes;
}

/// Makes the CPU engine. `kernels`: see choose_kernels(). The engine uses the threads of the calling task arena.
std::unique_ptr<Engine> make_cpu_engine(const Groups& groups, const Kernels& kernels,
                                        std::uint32_t dense_items = kDenseItems);

}  // namespace voxpop
