#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/model_options.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/threads.h"
#include "evaluate/calibration.h"
#include "evaluate/gold.h"
#include "evaluate/held_out.h"
#include "fit/counted_engine.h"
#include "guards/findings.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> inputs;
  std::vector<std::string> models = {"bt", "crowd-bt", "rater", "lapse"};
  int folds = 5;
  std::uint64_t seed = 1;
  std::string gold;
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
  Contender out{model.name + "*", {}, find_calibration(model.decided, fold_of).corrected, {}, {}};
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

std::string shown(const Estimate& e) { return fmt::format("{:.4f} +- {:.4f}", e.value, e.std_error); }

void print_scores(const std::vector<Contender>& contenders, const Contender& base, bool all_answers) {
  fmt::print("\n{:<11} {:>16}  {:>18}  {:>16}  {:>9}  {:>6} {:>15}  {:>16}", "held out", "log loss",
             fmt::format("minus {}", base.name), "Brier", "accuracy", "ECE", "95 %", "by chance (95 %)");
  if (all_answers) fmt::print("  {:>16}", "all answers");
  fmt::print("\n");
  for (const Contender& c : contenders) {
    const Score& s = c.score;
    const Estimate more = difference(c, base);
    fmt::print("{:<11} {:>16}  {:>18}  {:>16}  {:>8.2f}%  {:.4f} {:>15}  {:>16}", c.name, shown(s.log_loss),
               &c == &base ? "" : fmt::format("{:+.4f} +- {:.4f}", more.value, more.std_error), shown(s.brier),
               100 * s.accuracy.value, s.ece, fmt::format("{:.4f}-{:.4f}", s.ece_low, s.ece_high),
               fmt::format("{:.4f} (<{:.4f})", s.ece_by_chance, s.ece_by_chance_high));
    if (all_answers)
      fmt::print("  {:>16}", c.predictions.log_probability.empty() ? std::string("-") : shown(c.all_answers));
    fmt::print("{}\n", c.predictions.converged ? "" : "  NOT CONVERGED");
  }
}

void print_reliability(const std::vector<Contender>& contenders) {
  fmt::print("\nreliability: votes, mean prediction > share that went left\n{:<11}", "predicted");
  for (const Contender& c : contenders) fmt::print(" {:>22}", c.name);
  fmt::print("\n");
  for (int b = 0; b < kReliabilityBins; ++b) {
    fmt::print("{:.2f}-{:.2f}  ", static_cast<double>(b) / kReliabilityBins,
               static_cast<double>(b + 1) / kReliabilityBins);
    for (const Contender& c : contenders) {
      const ReliabilityBin& bin = c.score.bins[b];
      fmt::print(" {:>22}", bin.trials > 0
                                ? fmt::format("{:.0f} {:.3f} > {:.3f}", bin.trials, bin.predicted, bin.observed)
                                : std::string("-"));
    }
    fmt::print("\n");
  }
}

void print_gold(const Gold& gold, const std::vector<GoldResult>& results, const std::string& path) {
  fmt::print("\nagainst {}:", path);
  if (gold.unknown > 0) fmt::print(" {} rows name items that are not in the votes;", gold.unknown);
  if (gold.ties > 0) fmt::print(" {} gold ties left out;", gold.ties);
  fmt::print("\n");
  for (const GoldResult& r : results) {
    fmt::print("{:<11}", r.name);
    if (!gold.item.empty())
      fmt::print("  order of {:.0f} item pairs right {:.2f} %, Kendall tau-b {:.4f}", r.order.pairs,
                 100 * r.order.accuracy, r.order.tau_b);
    if (r.pairs_compared > 0)
      fmt::print("  {} pairs: accuracy {:.2f} +- {:.2f} %, log loss {}, ECE {:.4f} (by chance {:.4f})",
                 r.pairs_compared, 100 * r.pairs.accuracy.value, 100 * r.pairs.accuracy.std_error,
                 shown(r.pairs.log_loss), r.pairs.ece, r.pairs.ece_by_chance);
    fmt::print("\n");
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
  const Device wanted = parse_device(options.device);
  return with_threads(used_threads(options.threads), [&] {
    const bool quiet = arguments.common.quiet;
    limit_memory(options, "");
    Votes votes = read_votes(arguments.inputs, quiet);
    Gold gold;
    if (!arguments.gold.empty()) gold = read_gold(arguments.gold, votes, quiet);
    const std::size_t rows = votes.size();
    const auto [device, why] = choose_device(wanted, rows);
    Groups groups = group_votes_on(device, votes, kTies.at(options.ties), options.memory_limit);
    groups.on_device.reset();
    groups.covariates = find_covariates(votes, groups, options.covariates());
    const std::vector<Finding> findings = find_findings(votes, find_limits(groups, votes), std::time(nullptr));
    weigh_votes(groups, votes, options.vote_use());
    if (std::ranges::none_of(groups.votes, [](VoteCode vote) { return vote.decided(); }))
      throw bad_input("{}: every vote is a tie: there is nothing to predict", arguments.inputs.front());
    const std::vector<std::uint8_t> folds = draw_folds(groups, arguments.folds, arguments.seed, votes.judgement);
    const Clusters clusters = find_clusters(groups);

    std::vector<Contender> contenders;
    std::vector<GoldResult> gold_results;
    contenders.push_back(judge("majority", predict_by_majority(groups, folds), groups, clusters));
    const auto prior = std::ranges::find(groups.covariates.names, "prior_score");
    if (prior != groups.covariates.names.end())
      contenders.push_back(judge(
          "prior_score", predict_by_covariate(groups, folds, static_cast<int>(prior - groups.covariates.names.begin())),
          groups, clusters));
    Progress progress("evaluating", arguments.models.size() * (arguments.folds + 1), quiet);
    std::uint64_t done = 0;
    const auto judge_model = [&, used = device](const std::string& model) {
      const auto make = [&](const Groups& all) {
        return make_counted_engine(all, kModels.at(model),
                                   [&](const Groups& some) { return make_engine(used, some, options.memory_limit); });
      };
      const FitOptions fit_options = options.fit_options(model, groups);
      const auto report = [&](int fold, int iteration) {
        progress.update(done + fold, fmt::format("{}, fold {}, iteration {}", model, fold + 1, iteration));
      };
      contenders.push_back(judge(model, predict_held_out(groups, folds, fit_options, make, report), groups, clusters));
      if (arguments.calibrate) contenders.push_back(corrected(contenders.back(), groups, folds));
      if (!arguments.gold.empty()) {
        const auto engine = make(groups);
        const Fit fit = fit_model(*engine, count_votes(groups), fit_options,
                                  [&](int iteration, double) { report(arguments.folds, iteration); });
        const Labels labels = make_labels(groups, fit, find_pair_labels(*engine, fit), votes.item_ids.size(), rows);
        const auto compare = [&](const std::string& name, const Column<float>& item_score, Trials trials) {
          gold_results.push_back({name, {}, trials.predicted.size(), {}});
          if (!trials.predicted.empty()) gold_results.back().pairs = score(trials);
          gold_results.back().order = compare_with_gold_order(item_score, labels.items.component, gold);
        };
        if (gold_results.empty()) compare("majority", win_shares(labels), compare_majority_with_gold(labels, gold));
        compare(model, labels.items.score, compare_with_gold_pairs(labels, gold));
      }
    };
    for (const std::string& model : arguments.models) {
      try {
        judge_model(model);
      } catch (const Error& error) {
        if (error.exit() != Exit::kNotConverged) throw;
        throw Error(error.exit(), fmt::format("{}: {}", model, error.what()));
      }
      done += arguments.folds + 1;
    }

    const auto plain = std::find_if(contenders.begin(), contenders.end(), [](auto& c) { return c.name == "bt"; });
    const Contender& base = plain == contenders.end() ? contenders.front() : *plain;
    const bool all_answers = !groups.answers.binary() && !base.predictions.log_probability.empty();
    if (arguments.common.json) {
      Json json = {{"inputs", arguments.inputs},      {"folds", arguments.folds},
                   {"seed", arguments.seed},          {"ties", options.ties},
                   {"votes", groups.votes.size()},    {"decided_votes", base.decided.predicted.size()},
                   {"std_errors_over", clusters.what}};
      for (const Contender& c : contenders) {
        Json one = describe(c.score);
        one["converged"] = c.predictions.converged;
        if (all_answers && !c.predictions.log_probability.empty())
          one["log_loss_all_answers"] = describe(c.all_answers);
        json["models"][c.name] = one;
      }
      for (std::size_t i = 0; i < contenders.size(); ++i)
        for (std::size_t j = 0; j < i; ++j) {
          Json one = describe(difference(contenders[i], contenders[j]));
          one.update({{"model", contenders[i].name}, {"minus", contenders[j].name}});
          json["log_loss_differences"].push_back(one);
        }
      for (const GoldResult& r : gold_results) json["gold"].push_back(describe_gold(r, gold));
      json["warnings"] = warnings_of(findings);
      json["findings"] = to_json(findings);
      fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
      return 0;
    }
    fmt::print(
        "{} votes in {} folds, each predicted from the others; {} are decided; ties {}; standard errors over {}\n",
        groups.votes.size(), arguments.folds, base.decided.predicted.size(), options.ties, clusters.what);
    print_scores(contenders, base, all_answers);
    fmt::print(
        "log loss, Brier, accuracy and ECE: of decided votes, chance that the vote goes left. 95 %: where the ECE "
        "would\n"
        "lie in other draws of {}. By chance: the ECE that true predictions would show.{}\n",
        clusters.what, all_answers ? " All answers: log loss with ties and grades told apart." : "");
    if (arguments.calibrate)
      fmt::print("*: logits times a slope that the other folds ask for, as fit --calibrate does.\n");
    print_reliability(contenders);
    if (!arguments.gold.empty()) print_gold(gold, gold_results, arguments.gold);
    for (const Finding& finding : findings) fmt::print("\n{}\n", told(finding));
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
      ->check(CLI::IsMember(kModels))
      ->capture_default_str();
  verb.add_option("--folds", arguments->folds, "Parts that votes are held out in; a pair's votes go to different ones")
      ->check(CLI::Range(2, 100))
      ->capture_default_str();
  verb.add_option(
      "--holdout", arguments->gold,
      "Gold labels to compare fits of all votes with (CSV, TSV, JSONL): columns left, right, preference, or "
      "item and gold (larger is better) or rank (smaller is better)");
  verb.add_flag("--calibrate", arguments->calibrate,
                "Also each model with its logits times the slope that the other folds ask for, marked *");
  verb.add_option("--seed", arguments->seed, "Of the folds")->check(kSeedRange)->capture_default_str();
  add_model_options(verb, arguments->options);
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop evaluate votes.h5 --models bt,rater --folds 5");
  verb.callback([arguments, &run] { run = [arguments] { return evaluate_command(*arguments); }; });
}

}  // namespace voxpop
