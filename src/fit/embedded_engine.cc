#include "fit/embedded_engine.h"

#include <algorithm>
#include <cmath>

#include "fit/group_view.h"
#include "fit/regression.h"

namespace voxpop {
namespace {

/// Convergence of the regression between two rounds. The root mean square change of prior means must be below
/// kMeansSettled times the scores' sd, and the relative change of the coefficients' sd below kSpreadSettled. Means are
/// compared as estimated, without the factor FitState::prior_scale, which the fit changes between rounds.
constexpr double kMeansSettled = 0.01, kSpreadSettled = 0.02;
constexpr int kMostRounds = 20;

class EmbeddedEngine : public Engine {
 public:
  EmbeddedEngine(const Groups& groups, std::unique_ptr<Engine> engine, const Context& context)
      : groups_(groups), engine_(std::move(engine)), regression_(groups, context) {}

  std::string device() const override { return engine_->device(); }
  void iterate(FitRun& run) override {
    if (settled_) rounds_ = 0;  // a new fit begins, for example after mirror()
    settled_ = false;
    engine_->iterate(run);
    if (run.state.phase == Phase::kDone) settle(run);
  }
  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    return engine_->update_components(raters, options);
  }
  EngineState save(FitRun& run) override { return engine_->save(run); }
  void load(const EngineState& state) override { engine_->load(state); }
  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    return engine_->posterior(raters, options);
  }
  const Sites& sites() override { return engine_->sites(); }
  PairLabels label_pairs(float discrimination, float view_variance) override {
    return engine_->label_pairs(discrimination, view_variance);
  }

 private:
  /// Called when everything else has converged. Estimates the coefficients again. Either restarts the fit with the new
  /// ones, or accepts the fit as it is.
  void settle(FitRun& run) {
    FitState& state = run.state;
    ScorePrior next = find_prior(run);
    const double sign = state.prior_scale < 0 ? -1 : 1;
    const double moved = distance(next.mean, run.prior.get(), sign) / std::sqrt(1 + next.embedding.explained);
    state.change = farther(state.change, moved);
    const bool is_last = state.iterations >= state.max_iterations || rounds_ >= kMostRounds;
    const bool is_found = run.prior != nullptr && moved < kMeansSettled && spread_moved(run, next) < kSpreadSettled;
    if (run.prior != nullptr && (is_found || is_last)) {
      settled_ = true;
      state.converged = state.converged && is_found;
      return;
    }
    ++rounds_;
    next.embedding.rounds = 1 + (run.prior == nullptr ? 0 : run.prior->embedding.rounds);
    state.prior_explained = distance(next.mean, nullptr, 1);
    state.prior_scale = 1;
    state.haste = next.embedding.haste;
    run.prior = std::make_shared<const ScorePrior>(std::move(next));
    state.converged = false;
    state.last_sweeps = 0;
    state.sweeps = 4;
    state.phase = is_last ? Phase::kSweeps : Phase::kNewton;
  }

  ScorePrior find_prior(FitRun& run) {
    const EngineState kept = engine_->save(run);
    const Raters raters = run.raters();
    const PassOptions pass = next_pass(run.state);
    FitView view = view_of(groups_);
    view.site_precision = unwritten(kept.sites.precision);
    view.site_shift = unwritten(kept.sites.shift);
    view.coefficient = pass.coefficient;
    view.slot_source = groups_.slot_source.empty() ? nullptr : groups_.slot_source.data();
    view.source_score = raters.source_score.data();
    view.view_variance = groups_.views.empty() ? 0.0f : pass.view_variance;
    return regression_.solve(view, run.prior == nullptr ? 1.0 : run.prior->embedding.coefficient_variance);
  }

  /// Relative change of the coefficients' sd. Needed in addition to distance(): with few components, the sd can change
  /// although the prior means hardly move.
  static double spread_moved(const FitRun& run, const ScorePrior& next) {
    return 0.5 * std::abs(std::log(next.embedding.coefficient_variance / run.prior->embedding.coefficient_variance));
  }

  /// Root mean square difference between `means` and `sign` times the means of `before` (null: 0).
  static double distance(const Column<float>& means, const ScorePrior* before, double sign) {
    double squares = 0;
    for (std::size_t slot = 0; slot < means.size(); ++slot) {
      const double off = means[slot] - (before == nullptr ? 0 : sign * before->mean[slot]);
      squares += off * off;
    }
    return std::sqrt(squares / static_cast<double>(means.size()));
  }

  const Groups& groups_;
  std::unique_ptr<Engine> engine_;
  EmbeddingRegression regression_;
  int rounds_ = 0;        ///< in the current fit
  bool settled_ = false;  ///< whether the last run has converged
};

}  // namespace

std::unique_ptr<Engine> make_embedded_engine(const Groups& groups, std::unique_ptr<Engine> engine,
                                             const Context& context) {
  if (groups.embeddings == nullptr) return engine;
  return std::make_unique<EmbeddedEngine>(groups, std::move(engine), context);
}

}  // namespace voxpop
