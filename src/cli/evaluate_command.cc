#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/model_options.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/strings.h"
#include "core/threads.h"
#include "evaluate/calibration.h"
#include "evaluate/gold.h"
#include "evaluate/held_out.h"
#include "fit/counted_engine.h"
#include "group/sources.h"
#include "group/views.h"
#include "guards/findings.h"
#include "job/fit_job.h"
#include "votes/votes.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> inputs;
  std::vector<std::string> models = {"bt", "crowd-bt", "rater"};
  int folds = 5;
  std::string folds_by;  ///< empty: best_folds()
  std::uint64_t seed = 1;
  std::string gold, embeddings;
  bool calibrate = false;
  ModelOptions options;
  CommonOptions common;
};

/// One model's held-out votes: decided ones as trials, and all answers.
struct Contender {
  std::string name;
  Predictions predictions;
  Trials decided;
  Score score;
  Estimate all_answers;  ///< log loss of the answers themselves; only with ties or grades
  double slope = 0;      ///< that all logits were multiplied with, see Calibration; 0: with none
};

std::vector<float> as_vector(const Column<float>& column) { return {column.begin(), column.end()}; }

Contender judge(std::string name, Predictions predictions, const Groups& groups, const Clusters& clusters) {
  Contender out{std::move(name), std::move(predictions), {}, {}, {}};
  out.decided = decided_trials(groups, out.predictions.left, clusters);
  out.score = score(out.decided);
  if (!groups.answers.binary() && !out.predictions.log_probability.empty()) {
    std::vector<double> losses;
    for (const float l : out.predictions.log_probability) losses.push_back(-l);
    out.all_answers = clustered_mean(losses, clusters.of, as_vector(groups.weight));
  }
  return out;
}

/// A model whose probabilities are corrected by what the other folds ask for.
Contender corrected(const Contender& model, const Groups& groups, const std::vector<std::uint8_t>& folds) {
  std::vector<std::uint8_t> fold_of;
  for (std::size_t v = 0; v < folds.size(); ++v)
    if (groups.votes[v].decided()) fold_of.push_back(folds[v]);
  const Calibration calibration = find_calibration(model.decided, fold_of);
  Contender out{model.name + "*", {}, calibration.corrected, {}, {}, calibration.slope};
  out.predictions.converged = model.predictions.converged;
  out.score = score(out.decided);
  return out;
}

/// Log loss of `a` minus that of `b`, trial by trial.
Estimate difference(const Contender& a, const Contender& b) {
  std::vector<double> losses = log_losses(a.decided);
  const std::vector<double> others = log_losses(b.decided);
  for (std::size_t i = 0; i < losses.size(); ++i) losses[i] -= others[i];
  return clustered_mean(losses, a.decided.cluster, a.decided.weight);
}

/// The models on one kind of folds.
struct Comparison {
  FoldsBy by;
  std::vector<Contender> contenders = {};
  explicit Comparison(FoldsBy kind) : by(kind) {}

  /// What the others are compared with: bt, or else majority vote.
  const Contender& base() const {
    const auto plain = std::ranges::find(contenders, "bt", &Contender::name);
    return plain == contenders.end() ? contenders.front() : *plain;
  }
};

const std::map<std::string, FoldsBy> kFoldsBy = {{"vote", FoldsBy::kVote}, {"block", FoldsBy::kBlock}};

/// The kind of folds that is asked for; or the best, and where that is by block, the other beside it.
std::vector<FoldsBy> kinds_of_folds(const std::string& wanted, const ViewBlocks& blocks) {
  if (!wanted.empty()) return {kFoldsBy.at(wanted)};
  if (best_folds(blocks) == FoldsBy::kVote) return {FoldsBy::kVote};
  return {FoldsBy::kBlock, FoldsBy::kVote};
}

/// Which votes are held out together, and why.
std::string why_folds(const std::string& wanted, FoldsBy by, const ViewBlocks& blocks) {
  const double percent = 100 * blocks.share();
  if (by == FoldsBy::kBlock)
    return fmt::format(
        "folds by block{}: all that an annotator says of the same items is held out at once, so that another\n"
        "annotator's opinion is predicted, as labels are; {:.0f} % of votes share items with others of their annotator",
        wanted.empty() ? "" : ", as asked for", percent);
  if (wanted.empty() && blocks.shared == blocks.divided)
    return fmt::format(
        "folds by vote: {:.0f} % of votes share items with others of their annotator (by block from 30 %)", percent);
  return fmt::format(
      "folds by vote{}; {:.0f} % of votes share items with others of their annotator, who predicts its own votes too\n"
      "well there{}",
      wanted.empty() ? "" : ", as asked for", percent,
      10 * (blocks.shared - blocks.divided) > 3 * blocks.of.size()
          ? "; nobody else says anything of those items, so that these votes cannot tell how well labels are predicted"
          : "");
}

/// Models whose hyperparameters came to their largest values.
std::vector<std::string> warnings_at_caps(const Comparison& comparison) {
  std::vector<std::string> warnings;
  for (const Contender& c : comparison.contenders)
    for (const std::string& warning : c.predictions.at_caps) warnings.push_back(fmt::format("{}: {}", c.name, warning));
  return warnings;
}

/// A model against gold labels.
struct GoldResult {
  std::string name;
  Score pairs;
  std::size_t pairs_compared = 0;
  GoldOrder order;
};

Json describe(const Estimate& e) { return {{"value", e.value}, {"std_error", e.std_error}}; }

Json describe(const Score& s) {
  Json bins = Json::array();
  for (const ReliabilityBin& bin : s.bins)
    bins.push_back({{"votes", bin.trials}, {"predicted", bin.predicted}, {"observed", bin.observed}});
  return {{"log_loss", describe(s.log_loss)},
          {"brier", describe(s.brier)},
          {"accuracy", describe(s.accuracy)},
          {"ece",
           {{"value", s.ece},
            {"low", s.ece_low},
            {"high", s.ece_high},
            {"by_chance", s.ece_by_chance},
            {"by_chance_high", s.ece_by_chance_high}}},
          {"reliability", bins}};
}

/// Models side by side, and each against the others.
Json describe(const Comparison& comparison, bool all_answers) {
  Json json;
  const std::vector<Contender>& contenders = comparison.contenders;
  for (const Contender& c : contenders) {
    Json one = describe(c.score);
    one["converged"] = c.predictions.converged;
    if (c.slope > 0) one["slope"] = c.slope;
    if (all_answers && !c.predictions.log_probability.empty()) one["log_loss_all_answers"] = describe(c.all_answers);
    json["models"][c.name] = one;
  }
  for (std::size_t i = 0; i < contenders.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      Json one = describe(difference(contenders[i], contenders[j]));
      one.update({{"model", contenders[i].name}, {"minus", contenders[j].name}});
      json["log_loss_differences"].push_back(one);
    }
  return json;
}

std::string shown(const Estimate& e) { return fmt::format("{:.4f} +- {:.4f}", e.value, e.std_error); }

void print_scores(const Comparison& comparison, bool all_answers) {
  const Contender& base = comparison.base();
  print_text("\n{:<11} {:>16}  {:>18}  {:>16}  {:>9}  {:>6} {:>15}  {:>16}", "held out", "log loss",
             fmt::format("minus {}", base.name), "Brier", "accuracy", "ECE", "95 %", "by chance (95 %)");
  if (all_answers) print_text("  {:>16}", "all answers");
  print_text("\n");
  for (const Contender& c : comparison.contenders) {
    const Score& s = c.score;
    const Estimate more = difference(c, base);
    print_text("{:<11} {:>16}  {:>18}  {:>16}  {:>8.2f}%  {:.4f} {:>15}  {:>16}", c.name, shown(s.log_loss),
               &c == &base ? "" : fmt::format("{:+.4f} +- {:.4f}", more.value, more.std_error), shown(s.brier),
               100 * s.accuracy.value, s.ece, fmt::format("{:.4f}-{:.4f}", s.ece_low, s.ece_high),
               fmt::format("{:.4f} (<{:.4f})", s.ece_by_chance, s.ece_by_chance_high));
    if (all_answers)
      print_text("  {:>16}", c.predictions.log_probability.empty() ? std::string("-") : shown(c.all_answers));
    print_text("{}\n", c.predictions.converged ? "" : "  NOT CONVERGED");
  }
}

void print_reliability(const std::vector<Contender>& contenders) {
  print_text("\nreliability: votes, mean prediction > share that went left\n{:<11}", "predicted");
  for (const Contender& c : contenders) print_text(" {:>22}", c.name);
  print_text("\n");
  for (int b = 0; b < kReliabilityBins; ++b) {
    print_text("{:.2f}-{:.2f}  ", static_cast<double>(b) / kReliabilityBins,
               static_cast<double>(b + 1) / kReliabilityBins);
    for (const Contender& c : contenders) {
      const ReliabilityBin& bin = c.score.bins[b];
      print_text(" {:>22}", bin.trials > 0
                                ? fmt::format("{:.0f} {:.3f} > {:.3f}", bin.trials, bin.predicted, bin.observed)
                                : std::string("-"));
    }
    print_text("\n");
  }
}

void print_gold(const Gold& gold, const std::vector<GoldResult>& results, const std::string& path) {
  print_text("\nagainst {}:", path);
  if (gold.unknown > 0) print_text(" {} rows name items that are not in the votes;", gold.unknown);
  if (gold.ties > 0) print_text(" {} gold ties left out;", gold.ties);
  print_text("\n");
  for (const GoldResult& r : results) {
    print_text("{:<11}", r.name);
    if (!gold.item.empty())
      print_text("  order of {:.0f} item pairs right {:.2f} %, Kendall tau-b {:.4f}", r.order.pairs,
                 100 * r.order.accuracy, r.order.tau_b);
    if (r.pairs_compared > 0)
      print_text("  {} pairs: accuracy {:.2f} +- {:.2f} %, log loss {}, ECE {:.4f} (by chance {:.4f})",
                 r.pairs_compared, 100 * r.pairs.accuracy.value, 100 * r.pairs.accuracy.std_error,
                 shown(r.pairs.log_loss), r.pairs.ece, r.pairs.ece_by_chance);
    print_text("\n");
  }
}

Json describe_gold(const GoldResult& r, const Gold& gold) {
  Json json = {{"model", r.name}};
  if (!gold.item.empty())
    json["order"] = {{"item_pairs", r.order.pairs}, {"accuracy", r.order.accuracy}, {"tau_b", r.order.tau_b}};
  if (r.pairs_compared > 0) {
    json["pairs"] = describe(r.pairs);
    json["pairs"]["compared"] = r.pairs_compared;
  }
  return json;
}

int evaluate_command(const Arguments& arguments) {
  const ModelOptions& options = arguments.options;
  parse_device(options.device);  // says what is wrong before anything is read
  return with_threads(used_threads(options.threads), [&] {
    const Context context = context_of(options, arguments.common);
    const ModelWishes wishes = options.wishes();
    limit_memory(context);
    Votes votes = read_votes(arguments.inputs, context);
    Gold gold;
    if (!arguments.gold.empty()) gold = read_gold(arguments.gold, votes, context);
    const std::size_t rows = votes.size();
    const auto rates = [](const std::string& model) { return has_discriminations(model_named(model)); };
    const auto rating = std::ranges::find_if(arguments.models, rates);  // embeddings are for these models alone
    const std::string& used = rating == arguments.models.end() ? arguments.models.front() : *rating;
    const auto embeddings = read_used_embeddings(arguments.embeddings, wishes, model_named(used), arguments.inputs,
                                                 votes.item_ids, context);
    const auto [device, why] = choose_device_for(votes, embeddings.get(), context);
    begin_memory_limit(device, context.memory_limit, "");
    Groups groups = group_votes_on(device, votes, wishes.ties, options.memory_limit);
    groups.on_device.reset();
    groups.covariates =
        find_covariates(votes, groups, {.prior_score = wishes.use_prior_score, .features = wishes.use_features});
    if (wishes.use_sources) set_sources(groups, votes);
    const std::vector<Finding> findings = find_findings(votes, find_limits(groups, votes), std::time(nullptr));
    // Only some models know annotators' own views; for the others votes have weights instead.
    ViewUse views = ViewUse::kNone;
    for (const std::string& model : arguments.models)
      if (const ViewUse use = (rates(model) ? choose_views(groups, votes, wishes.views) : ViewUse::kNone);
          use != ViewUse::kNone)
        views = use;
    const auto vote_use = [&](ViewUse use) {
      return VoteUse{.repeats = wishes.repeats, .side_bias = wishes.side_bias, .views = use != ViewUse::kNone};
    };
    Groups with_views;
    if (views != ViewUse::kNone) {
      with_views = groups;
      weigh_votes(with_views, votes, vote_use(views));
    }
    weigh_votes(groups, votes, vote_use(ViewUse::kNone));
    const ViewBlocks blocks = find_view_blocks(groups, votes);  // both have the same votes
    if (views != ViewUse::kNone) with_views.views = find_views(with_views, blocks);
    if (with_views.views.empty()) views = ViewUse::kNone;
    if (std::ranges::none_of(groups.votes, [](VoteCode vote) { return vote.decided(); }))
      throw bad_input("{}: every vote is a tie: there is nothing to predict", arguments.inputs.front());
    const std::vector<FoldsBy> kinds = kinds_of_folds(arguments.folds_by, blocks);
    const Clusters clusters = find_clusters(groups);
    const auto prior = std::ranges::find(groups.covariates.names, "prior_score");

    std::vector<GoldResult> gold_results;
    Progress progress("evaluating", kinds.size() * arguments.models.size() * (arguments.folds + 1), context);
    std::uint64_t done = 0;
    const auto judge_model = [&, used = device](const std::string& model, const std::vector<std::uint8_t>& folds,
                                                std::vector<Contender>& contenders) {
      const auto make = [&](const Groups& all) {
        return make_counted_engine(all, model_named(model),
                                   [&](const Groups& some) { return make_engine(used, some, context); });
      };
      const bool has_views = views != ViewUse::kNone && has_discriminations(model_named(model));
      Groups& fitted = has_views ? with_views : groups;
      fitted.embeddings = rates(model) ? embeddings : nullptr;
      const FitOptions fit_options =
          fit_options_for(wishes, model_named(model), fitted, has_views ? views : ViewUse::kNone);
      const auto report = [&](int fold, int iteration) {
        progress.update(done + fold, fmt::format("{}, fold {}, iteration {}", model, fold + 1, iteration));
      };
      contenders.push_back(judge(model, predict_held_out(fitted, folds, fit_options, make, report), groups, clusters));
      if (arguments.calibrate) contenders.push_back(corrected(contenders.back(), groups, folds));
      if (!arguments.gold.empty() && gold_results.size() <= arguments.models.size()) {  // once
        const auto engine = make(fitted);
        const Fit fit = fit_model(*engine, count_votes(fitted), fit_options,
                                  [&](int iteration, double) { report(arguments.folds, iteration); });
        const Labels labels = make_labels(fitted, fit, find_pair_labels(*engine, fit), votes.item_ids.size(), rows);
        const auto compare = [&](const std::string& name, const Column<float>& item_score, Trials trials) {
          gold_results.push_back({name, {}, trials.predicted.size(), {}});
          if (!trials.predicted.empty()) gold_results.back().pairs = score(trials);
          gold_results.back().order = compare_with_gold_order(item_score, labels.items.component, gold);
        };
        if (gold_results.empty()) compare("majority", win_shares(labels), compare_majority_with_gold(labels, gold));
        compare(model, labels.items.score, compare_with_gold_pairs(labels, gold));
      }
    };
    std::vector<Comparison> comparisons;
    for (const FoldsBy kind : kinds) {
      Comparison& one = comparisons.emplace_back(kind);
      const std::vector<std::uint8_t> folds =
          kind == FoldsBy::kBlock ? draw_block_folds(groups, blocks, arguments.folds, arguments.seed)
                                  : draw_folds(groups, arguments.folds, arguments.seed, votes.judgement);
      one.contenders.push_back(judge("majority", predict_by_majority(groups, folds), groups, clusters));
      if (prior != groups.covariates.names.end())
        one.contenders.push_back(
            judge("prior_score",
                  predict_by_covariate(groups, folds, static_cast<int>(prior - groups.covariates.names.begin())),
                  groups, clusters));
      for (const std::string& model : arguments.models) {
        try {
          judge_model(model, folds, one.contenders);
        } catch (const Error& error) {
          if (error.exit() != Exit::kNotConverged) throw;
          throw Error(error.exit(), fmt::format("{}: {}", model, error.what()));
        }
        done += arguments.folds + 1;
      }
    }
    const Contender& base = comparisons.front().base();
    const bool all_answers = !groups.answers.binary() && !base.predictions.log_probability.empty();
    const std::vector<std::string> warnings = warnings_at_caps(comparisons.front());
    if (arguments.common.json) {
      Json json = {{"inputs", arguments.inputs},       {"folds", arguments.folds},
                   {"seed", arguments.seed},           {"ties", options.ties},
                   {"votes", groups.votes.size()},     {"decided_votes", base.decided.predicted.size()},
                   {"std_errors_over", clusters.what}, {"folds_by", name_of(kinds.front())},
                   {"votes_in_blocks", blocks.share()}};
      json.update(describe(comparisons.front(), all_answers));
      if (comparisons.size() > 1) json["by_vote"] = describe(comparisons.back(), all_answers);
      for (const GoldResult& r : gold_results) json["gold"].push_back(describe_gold(r, gold));
      json["warnings"] = warnings_of(findings, warnings);
      json["findings"] = to_json(findings);
      print_json(json);
      return 0;
    }
    print_text(
        "{} votes in {} folds, each predicted from the others; {} are decided; ties {}; standard errors over {}\n{}\n",
        groups.votes.size(), arguments.folds, base.decided.predicted.size(), options.ties, clusters.what,
        why_folds(arguments.folds_by, kinds.front(), blocks));
    for (const Comparison& comparison : comparisons) {
      if (&comparison != &comparisons.front())
        print_text("\nby vote, with what the annotator itself says of the same items:\n");
      print_scores(comparison, all_answers);
    }
    print_text(
        "log loss, Brier, accuracy and ECE: of decided votes, chance that the vote goes left. 95 %: where the ECE "
        "would\n"
        "lie in other draws of {}. By chance: the ECE that true predictions would show.{}\n",
        clusters.what, all_answers ? " All answers: log loss with ties and grades told apart." : "");
    if (arguments.calibrate)
      print_text("*: logits times a slope that the other folds ask for, as fit --calibrate does.\n");
    print_reliability(comparisons.front().contenders);
    if (!arguments.gold.empty()) print_gold(gold, gold_results, arguments.gold);
    for (const Finding& finding : findings) print_text("\n{}\n", told(finding));
    for (const std::string& warning : warnings) print_text("\nWARNING: {}\n", warning);
    return 0;
  });
}

}  // namespace

void add_evaluate(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb =
      *app.add_subcommand("evaluate", "How well models predict votes that they have not seen, side by side");
  verb.add_option("IN.h5", arguments->inputs, "Votes (comparisons/1); several files are one data set")->required();
  verb.add_option("--models", arguments->models, "Models to compare, with majority vote, separated by commas")
      ->delimiter(',')
      ->check(known_model())
      ->capture_default_str();
  verb.add_option("--folds", arguments->folds, "Parts that votes are held out in")
      ->check(CLI::Range(2, 100))
      ->capture_default_str();
  verb.add_option("--folds-by", arguments->folds_by,
                  "What is held out at once: vote: a pair's votes go to different folds; block: all votes of an "
                  "annotator that hang together by shared items (a ranking, repeats, both orders of a pair). Default: "
                  "block, with vote beside it, where more than 30 % of the votes are in blocks with others and other "
                  "annotators judged their items; else vote")
      ->check(CLI::IsMember(kFoldsBy));
  verb.add_option(
      "--holdout", arguments->gold,
      "Gold labels to compare fits of all votes with (CSV, TSV, JSONL): columns left, right, preference, or "
      "item and gold (larger is better) or rank (smaller is better)");
  verb.add_flag("--calibrate", arguments->calibrate,
                "Also each model with its logits times the slope that the other folds ask for, marked *");
  verb.add_option("--seed", arguments->seed, "Of the folds")->check(kSeedRange)->capture_default_str();
  add_model_options(verb, arguments->options);
  add_embeddings_option(verb, arguments->embeddings);
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop evaluate votes.h5 --models bt,rater --folds 5");
  verb.callback([arguments, &run] { run = [arguments] { return evaluate_command(*arguments); }; });
}

}  // namespace voxpop
