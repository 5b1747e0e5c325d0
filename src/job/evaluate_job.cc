#include "job/evaluate_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "core/error.h"
#include "core/progress.h"
#include "core/threads.h"
#include "evaluate/calibration.h"
#include "fit/counted_engine.h"
#include "fit/device.h"
#include "group/covariates.h"
#include "group/sources.h"
#include "job/fit_job.h"
#include "label/labels.h"
#include "votes/votes.h"
#include "voxpop/voxpop.h"

namespace voxpop {
namespace {

/// Returns the wanted kind of folds. Without a wish, returns the best kind; if that is by block, also by vote, for
/// comparison.
std::vector<FoldsBy> kinds_of_folds(std::optional<FoldsBy> wanted, const ViewBlocks& blocks) {
  if (wanted) return {*wanted};
  if (best_folds(blocks) == FoldsBy::kVote) return {FoldsBy::kVote};
  return {FoldsBy::kBlock, FoldsBy::kVote};
}

class Evaluation {
 public:
  /// Groups and weighs the votes.
  Evaluation(Votes votes, const EvaluateRequest& request, const Context& context, const Gold* gold,
             const MakeModelEngine& make)
      : votes_(std::move(votes)),
        request_(request),
        context_(context),
        gold_(gold),
        embeddings_(votes_.embeddings),
        rows_(votes_.size()),
        make_(make) {
    if (!request.use_embeddings || std::ranges::none_of(request.models, has_discriminations)) embeddings_ = nullptr;
    device_ = choose_device_for(votes_, embeddings_.get(), context).device;
    begin_memory_limit(device_, context.memory_limit, context.scratch_beside);
    group();
  }

  EvaluateResult run() {
    const std::vector<FoldsBy> kinds = kinds_of_folds(request_.folds_by, blocks_);
    Progress progress("evaluating", kinds.size() * request_.models.size() * (request_.folds + 1), context_);
    progress_ = &progress;
    out_.votes = groups_.votes.size();
    out_.std_errors_over = clusters_.what;
    out_.votes_in_blocks = blocks_.share();
    out_.votes_of_nobody_else = blocks_.shared - blocks_.divided;
    if (gold_ != nullptr) out_.gold.emplace();
    for (const FoldsBy by : kinds) compare(by);
    progress_ = nullptr;
    const ModelComparison& first = out_.comparisons.front();
    if (first.diverged.size() == request_.models.size()) {
      std::string text;
      for (const DivergedFit& fit : first.diverged) text += (text.empty() ? "" : "; ") + fit.model + ": " + fit.why;
      throw Error(Exit::kNotConverged, text);
    }
    out_.all_answers = !groups_.answers.binary() && first.base().all_answers.has_value();
    if (gold_ != nullptr && !gold_->left.empty() && out_.gold->apart == gold_->left.size())
      out_.warnings.push_back(
          fmt::format("None of the {} gold pairs is compared: no votes connect the two items of a pair. Give gold "
                      "labels for items of the same component.",
                      gold_->left.size()));
    return std::move(out_);
  }

 private:
  void group() {
    context_.check_stop();
    groups_ = group_votes_on(device_, votes_, request_.ties, context_.memory_limit);
    groups_.on_device.reset();
    context_.check_stop();
    groups_.covariates =
        find_covariates(votes_, groups_, {.prior_score = request_.use_prior_score, .features = request_.use_features});
    if (request_.use_sources) set_sources(groups_, votes_);
    context_.check_stop();
    out_.findings = find_findings(votes_, find_limits(groups_, votes_), std::time(nullptr));
    context_.check_stop();
    // Only models with discriminations have views of annotators. For the other models the votes are weighted instead.
    if (std::ranges::any_of(request_.models, has_discriminations))
      views_ = choose_views(groups_, votes_, request_.views);
    if (views_ != ViewUse::kNone) {
      with_views_ = groups_;
      weigh_votes(with_views_, votes_, vote_use(views_));
      context_.check_stop();
    }
    weigh_votes(groups_, votes_, vote_use(ViewUse::kNone));
    context_.check_stop();
    blocks_ = find_view_blocks(groups_, votes_);  // groups_ and with_views_ have the same votes
    if (views_ != ViewUse::kNone) with_views_.views = find_views(with_views_, blocks_);
    if (with_views_.views.empty()) views_ = ViewUse::kNone;
    if (std::ranges::none_of(groups_.votes, [](VoteCode vote) { return vote.decided(); }))
      throw bad_input("{}: every vote is a tie: there is nothing to predict", origin_of(votes_));
    clusters_ = find_clusters(groups_);
    context_.check_stop();
  }

  VoteUse vote_use(ViewUse views) const {
    return {.repeats = request_.repeats, .side_bias = request_.side_bias, .views = views != ViewUse::kNone};
  }

  void compare(FoldsBy by) {
    out_.comparisons.push_back({.by = by, .models = {}, .differences = {}, .diverged = {}});
    losses_.clear();
    const std::vector<std::uint8_t> folds = by == FoldsBy::kBlock
                                                ? draw_block_folds(groups_, blocks_, request_.folds, request_.seed)
                                                : draw_folds(groups_, request_.folds, request_.seed, votes_.judgement);
    judge("majority", predict_by_majority(groups_, folds, context_));
    const auto& names = groups_.covariates.names;
    if (const auto prior = std::ranges::find(names, "prior_score"); prior != names.end())
      judge("prior_score", predict_by_covariate(groups_, folds, static_cast<int>(prior - names.begin()), context_));
    for (const Model model : request_.models) {
      const bool has_views = views_ != ViewUse::kNone && has_discriminations(model);
      Groups& fitted = has_views ? with_views_ : groups_;
      fitted.embeddings = has_discriminations(model) ? embeddings_ : nullptr;
      const FitOptions options = fit_options_for(request_, model, fitted, has_views ? views_ : ViewUse::kNone);
      unless_diverged(model, out_.comparisons.back().diverged, [&] { hold_out(model, fitted, folds, options); });
      if (gold_ != nullptr && out_.comparisons.size() == 1)
        unless_diverged(model, out_.gold->diverged, [&] { compare_with_gold(model, fitted, options); });
      done_ += request_.folds + 1;
    }
    find_differences();
    out_.decided_votes = losses_.front().size();
  }

  /// Runs act(). If the fit diverges, records that in `diverged`, so that the other models are still evaluated.
  template <class Act>
  void unless_diverged(Model model, std::vector<DivergedFit>& diverged, const Act& act) {
    try {
      act();
    } catch (const Error& error) {
      if (error.exit() != Exit::kNotConverged) throw;
      diverged.push_back({name_of(model), error.what()});
    }
  }

  void hold_out(Model model, const Groups& fitted, const std::vector<std::uint8_t>& folds, const FitOptions& options) {
    Predictions predictions = predict_held_out(
        fitted, folds, options, [&](const Groups& all) { return make(model, all); },
        [&](int fold, int iteration) { report_iteration(model, fold, iteration); }, context_);
    if (out_.comparisons.size() == 1)
      for (const std::string& warning : predictions.at_caps)
        out_.warnings.push_back(fmt::format("{}: {}", name_of(model), warning));
    judge(name_of(model), std::move(predictions));
    if (request_.calibrate) correct(folds);
  }

  void report_iteration(Model model, int fold, int iteration) {
    context_.check_stop();
    progress_->update(done_ + fold, fmt::format("{}, fold {}, iteration {}", name_of(model), fold + 1, iteration));
  }

  std::unique_ptr<Engine> make(Model model, const Groups& all) const {
    if (make_) return make_(model, all);
    return make_counted_engine(all, model, [&](const Groups& some) { return make_engine(device_, some, context_); });
  }

  void judge(std::string name, Predictions predictions) {
    ModelScore one;
    one.name = std::move(name);
    one.converged = predictions.converged;
    if (!groups_.answers.binary() && !predictions.log_probability.empty()) {
      std::vector<double> losses;
      for (const float l : predictions.log_probability) losses.push_back(-l);
      one.all_answers = clustered_mean(losses, clusters_.of, {groups_.weight.begin(), groups_.weight.end()});
    }
    add(std::move(one), decided_trials(groups_, predictions.left, clusters_));
  }

  /// Adds the last model a second time with calibrated probabilities. The correction for each fold is estimated from
  /// the other folds.
  void correct(const std::vector<std::uint8_t>& folds) {
    std::vector<std::uint8_t> fold_of;
    for (std::size_t v = 0; v < folds.size(); ++v)
      if (groups_.votes[v].decided()) fold_of.push_back(folds[v]);
    Calibration calibration = find_calibration(decided_, fold_of, context_);
    const ModelScore& as_is = out_.comparisons.back().models.back();
    ModelScore one;
    one.name = as_is.name + "*";
    one.converged = as_is.converged;
    one.slope = calibration.slope;
    add(std::move(one), std::move(calibration.corrected));
  }

  void add(ModelScore one, Trials decided) {
    one.score = score(decided, context_);
    losses_.push_back(log_losses(decided));
    decided_ = std::move(decided);
    out_.comparisons.back().models.push_back(std::move(one));
  }

  void find_differences() {
    ModelComparison& comparison = out_.comparisons.back();
    for (std::size_t i = 0; i < losses_.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        context_.check_stop();
        std::vector<double> more = losses_[i];
        for (std::size_t v = 0; v < more.size(); ++v) more[v] -= losses_[j][v];
        comparison.differences.push_back({comparison.models[i].name, comparison.models[j].name,
                                          clustered_mean(more, decided_.cluster, decided_.weight)});
      }
  }

  /// Fits the model to all votes and compares its labels with the known answers.
  void compare_with_gold(Model model, const Groups& fitted, const FitOptions& options) {
    const auto engine = make(model, fitted);
    const Fit fit = fit_model(*engine, count_votes(fitted), options,
                              [&](int iteration, double) { report_iteration(model, request_.folds, iteration); });
    context_.check_stop();
    const Labels labels = make_labels(fitted, fit, find_pair_labels(*engine, fit), votes_.item_ids.size(), rows_);
    context_.check_stop();
    GoldComparison& out = *out_.gold;
    if (out.models.empty()) {
      out.apart = count_apart(labels.items.component, *gold_);
      compare_labels("majority", win_shares(labels), labels, compare_majority_with_gold(labels, *gold_));
    }
    compare_labels(name_of(model), labels.items.score, labels, compare_with_gold_pairs(labels, *gold_));
  }

  void compare_labels(const char* name, const Column<float>& item_score, const Labels& labels, const Trials& trials) {
    GoldScore& one = out_.gold->models.emplace_back();
    one.name = name;
    one.pairs_compared = trials.predicted.size();
    if (!trials.predicted.empty()) one.pairs = score(trials, context_);
    one.order = compare_with_gold_order(item_score, labels.items.component, *gold_, context_);
  }

  Votes votes_;
  const EvaluateRequest& request_;
  const Context& context_;
  const Gold* gold_;
  std::shared_ptr<const Embeddings> embeddings_;
  const std::size_t rows_;
  const MakeModelEngine& make_;
  Device device_;
  Groups groups_, with_views_;
  ViewUse views_ = ViewUse::kNone;
  ViewBlocks blocks_;
  Clusters clusters_{};
  Progress* progress_ = nullptr;
  std::uint64_t done_ = 0;
  std::vector<std::vector<double>> losses_;  ///< losses of the current comparison: [models][decided votes]
  Trials decided_;  ///< trials of the last model added; clusters and weights are the same for all models
  EvaluateResult out_;
};

}  // namespace

const ModelScore& ModelComparison::base() const {
  const auto plain = std::ranges::find(models, "bt", &ModelScore::name);
  return plain == models.end() ? models.front() : *plain;
}

Estimate ModelComparison::difference(const std::string& model, const std::string& minus) const {
  for (const LossDifference& one : differences) {
    if (one.model == model && one.minus == minus) return one.log_loss;
    if (one.model == minus && one.minus == model) return {0 - one.log_loss.value, one.log_loss.std_error};
  }
  return {};
}

bool EvaluateResult::diverged() const {
  return (gold && !gold->diverged.empty()) ||
         std::ranges::any_of(comparisons, [](const ModelComparison& one) { return !one.diverged.empty(); });
}

EvaluateResult evaluate(Votes votes, const EvaluateRequest& request, const Context& context, const Gold* gold) {
  check_votes(votes);
  limit_memory(context);
  return evaluate_with({}, std::move(votes), request, context, gold);
}

EvaluateResult evaluate_with(const MakeModelEngine& make, Votes votes, const EvaluateRequest& request,
                             const Context& context, const Gold* gold) {
  request.check();
  return with_threads(used_threads(context.threads),
                      [&] { return Evaluation(std::move(votes), request, context, gold, make).run(); });
}

}  // namespace voxpop
