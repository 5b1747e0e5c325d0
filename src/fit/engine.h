#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "fit/component_kernel.h"
#include "fit/score_prior.h"
#include "group/group.h"

namespace voxpop {

/// Sums by number of threshold, from 1.
using Thresholds = std::array<ThresholdSums, kMaxLevels + 1>;

/// The annotators as passes read them.
struct Raters {
  std::vector<RaterRecord> records;         ///< [annotators]
  std::vector<TieHabit> habits;             ///< [annotators]
  std::vector<Taste> tastes;                ///< [annotators][tastes] or empty
  std::vector<float> source_score;          ///< [sources]: what items are judged about
  std::shared_ptr<const ScorePrior> prior;  ///< what else is said of scores; null: nothing
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

/// A fit on its way.
struct FitRun {
  FitState state;
  std::vector<AnnotatorPosterior> annotators;
  std::vector<Taste> tastes;                ///< [annotators][state.tastes]
  std::vector<std::uint32_t> votes_of;      ///< [annotators] votes that count; 0 of those who are not of the population
  std::vector<Population> priors;           ///< [annotators] where state.own_priors or state.some_known: see prior_of()
  std::vector<Taste> taste_priors;          ///< [annotators][state.tastes] where state.own_tastes
  std::vector<Source> sources;              ///< [state.sources]
  std::shared_ptr<const ScorePrior> prior;  ///< by embeddings, at state.prior_scale; null: nothing is said yet

  /// What passes look at.
  Raters raters() const;
};

/// The posterior given the annotators; scores in prior units (sd 1), centred in their component.
struct Posterior {
  Column<float> slot_mean, slot_variance;  ///< [S]
  Column<float> pair_mean, pair_variance;  ///< [P] of score(first) - score(second)
  Column<TieHabit> prompts;                ///< [C] what each adds to annotators' habits of ties; with own ties
  Column<float> vote_mean, vote_variance;  ///< [V] of what its annotator saw of that; empty without own views
  std::vector<ReportSums> annotators;      ///< [annotators]
  double log_evidence = 0;                 ///< EP's log p(votes), each by its annotator's others; without hyperpriors
};

struct PairLabels {
  Column<float> probability, better, information;  ///< [P], of the pair's first item
};

/// The votes' EP sites [V].
struct Sites {
  Column<float> precision, shift;
};

/// What an engine keeps of a fit on its way, beside the FitRun; the same for every engine.
struct EngineState {
  Sites sites;
  Column<float> pair_mean, pair_variance;  ///< [P]
  Column<TieHabit> prompts;                ///< [C] as they are kept, see step_prompt(); empty without own ties
  Column<float> solutions;                 ///< of sparse components, one after the other: SparseSolver::save()
};

/// Does the work over votes and annotators; formulas/fit_state.h says what comes next. One engine for one data set.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string device() const = 0;
  /// One iteration: a pass, then the annotators. Here the annotators are on the host; an engine that keeps them on a
  /// device may queue iterations ahead and bring news of an earlier one. When the state is Phase::kDone, `run` has all.
  virtual void iterate(FitRun& run);
  virtual PassResult update_components(const Raters& raters, const PassOptions& options) = 0;
  /// Between iterations: what it keeps, with `run` brought up to date; the fit may go on after it.
  virtual EngineState save(FitRun& run) = 0;
  /// Before the first iteration: goes on from there.
  virtual void load(const EngineState& state) = 0;
  /// `options`: whether sites integrate over the annotators, what votes may be, and where the thresholds lie.
  virtual Posterior posterior(const Raters& raters, const PassOptions& options) = 0;
  /// The sites that the last posterior rests on. They last as long as the engine, and until it goes on.
  virtual const Sites& sites() = 0;
  /// Labels from the last posterior; `discrimination` is the reference annotator's, in prior units; `view_variance`:
  /// of annotators' own views.
  virtual PairLabels label_pairs(float discrimination, float view_variance = 0) = 0;
};

/// Solved in one go, many at a time.
inline bool is_small(const Groups& groups, std::uint32_t component) {
  return groups.items_of(component) <= kSmallItems && groups.votes_of(component) <= kSmallVotes;
}

/// The CPU engine samples (PassOptions::stride) so many small components at a time, in the groups' order.
inline constexpr std::uint32_t kSampleUnit = 16;

/// Which terms the votes of these groups have. Binary ones are written without thresholds, which is fastest.
Likelihood likelihood_kind(const Groups& groups, Blend blend);

/// Components beyond the small ones, up to this many items, are dense: one Cholesky in double precision. Larger ones
/// are sparse.
inline constexpr std::uint32_t kDenseItems = 2048;

/// About how long a pass over a component takes, in votes of small ones: votes, and a factorisation or conjugate
/// gradients.
inline double work_on(const Groups& groups, std::uint32_t component) {
  const double items = groups.items_of(component), votes = groups.votes_of(component);
  return is_small(groups, component) ? votes : items <= kDenseItems ? votes + items * items * items / 1000 : 50 * votes;
}

/// The CPU engine. `kernels`: see choose_kernels(). Threads: those of the calling task arena.
std::unique_ptr<Engine> make_cpu_engine(const Groups& groups, const Kernels& kernels,
                                        std::uint32_t dense_items = kDenseItems);

}  // namespace voxpop
