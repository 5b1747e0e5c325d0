#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/model_options.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/strings.h"
#include "core/threads.h"
#include "job/evaluate_job.h"
#include "job/evaluation_json.h"
#include "job/fit_job.h"
#include "votes/votes.h"
#include "voxpop/voxpop.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> inputs;
  std::vector<std::string> models = {"bt", "crowd-bt", "rater"};
  int folds = 5;
  std::string folds_by;  ///< empty: chosen by best_folds()
  std::uint32_t seed = 1;
  std::string gold, embeddings;
  bool calibrate = false;
  ModelOptions options;
  CommonOptions common;
};

/// A sentence that says which votes are held out together, and why.
std::string why_folds(const std::string& wanted, const EvaluateResult& result) {
  const double percent = 100 * result.votes_in_blocks;
  if (result.comparisons.front().by == FoldsBy::kBlock)
    return fmt::format(
        "folds by block{}: all votes of an annotator about the same items are held out together. So they are "
        "predicted\nfrom other annotators, as labels are; {:.0f} % of votes share items with other votes of their "
        "annotator",
        wanted.empty() ? "" : ", as requested", percent);
  if (wanted.empty() && result.votes_of_nobody_else == 0)
    return fmt::format(
        "folds by vote: {:.0f} % of votes share items with other votes of their annotator (by block from 30 %)",
        percent);
  return fmt::format(
      "folds by vote{}; {:.0f} % of votes share items with other votes of their annotator, so they are predicted "
      "too\nwell{}",
      wanted.empty() ? "" : ", as requested", percent,
      10 * result.votes_of_nobody_else > 3 * result.votes
          ? "; no other annotator judged those items, so these votes cannot show how well labels are predicted"
          : "");
}

/// The formatted number, or "n/a" for NaN.
std::string number(const char* format, double value) {
  return std::isnan(value) ? "n/a" : fmt::format(fmt::runtime(format), value);
}

std::string shown(const Estimate& e) {
  return fmt::format("{} +- {}", number("{:.4f}", e.value), number("{:.4f}", e.std_error));
}

void print_diverged(const std::vector<DivergedFit>& diverged) {
  for (const DivergedFit& fit : diverged) print_text("{:<11} DIVERGED: {}\n", fit.model, voxpop::shown(fit.why));
}

void print_scores(const ModelComparison& comparison, bool all_answers) {
  const ModelScore& base = comparison.base();
  print_text("\n{:<11} {:>16}  {:>18}  {:>16}  {:>9}  {:>6} {:>15}  {:>16}", "held out", "log loss",
             fmt::format("minus {}", base.name), "Brier", "accuracy", "ECE", "95 %", "by chance (95 %)");
  if (all_answers) print_text("  {:>16}", "all answers");
  print_text("\n");
  for (const ModelScore& model : comparison.models) {
    const Score& s = model.score;
    const Estimate more = comparison.difference(model.name, base.name);
    print_text(
        "{:<11} {:>16}  {:>18}  {:>16}  {:>8.2f}%  {:.4f} {:>15}  {:>16}", model.name, shown(s.log_loss),
        &model == &base ? "" : fmt::format("{:+.4f} +- {}", more.value, number("{:.4f}", more.std_error)),
        shown(s.brier), 100 * s.accuracy.value, s.ece,
        std::isnan(s.ece_low) ? "n/a" : fmt::format("{:.4f}-{:.4f}", s.ece_low, s.ece_high),
        std::isnan(s.ece_by_chance) ? "n/a" : fmt::format("{:.4f} (<{:.4f})", s.ece_by_chance, s.ece_by_chance_high));
    if (all_answers) print_text("  {:>16}", model.all_answers ? shown(*model.all_answers) : "-");
    print_text("{}\n", model.converged ? "" : "  NOT CONVERGED");
  }
  print_diverged(comparison.diverged);
}

void print_reliability(const std::vector<ModelScore>& models) {
  print_text("\nreliability: votes, mean prediction > share that went left\n{:<11}", "predicted");
  for (const ModelScore& model : models) print_text(" {:>22}", model.name);
  print_text("\n");
  for (int b = 0; b < kReliabilityBins; ++b) {
    print_text("{:.2f}-{:.2f}  ", static_cast<double>(b) / kReliabilityBins,
               static_cast<double>(b + 1) / kReliabilityBins);
    for (const ModelScore& model : models) {
      const ReliabilityBin& bin = model.score.bins[b];
      print_text(" {:>22}", bin.trials > 0
                                ? fmt::format("{:.0f} {:.3f} > {:.3f}", bin.trials, bin.predicted, bin.observed)
                                : std::string("-"));
    }
    print_text("\n");
  }
}

void print_order(const GoldOrder& order) {
  if (order.pairs == 0) {
    print_text("  no component has two items with different gold values");
    return;
  }
  print_text("  order of {:.0f} item pairs right {:.2f} %, Kendall tau-b {}", order.pairs, 100 * order.accuracy,
             number("{:.4f}", order.tau_b));
}

void print_gold(const Gold& gold, const GoldComparison& comparison, const std::string& path) {
  print_text("\nagainst {}:", one_line(path));
  if (gold.unknown > 0) print_text(" {} rows name items that are not in the votes;", gold.unknown);
  if (gold.repeated > 0) print_text(" {} rows repeat an earlier row and do not count;", gold.repeated);
  if (gold.ties > 0) print_text(" {} gold ties left out;", gold.ties);
  if (comparison.apart > 0)
    print_text(" {} gold pairs left out, because no votes connect their items;", comparison.apart);
  print_text("\n");
  for (const GoldScore& model : comparison.models) {
    print_text("{:<11}", model.name);
    if (!gold.item.empty()) print_order(model.order);
    if (model.pairs_compared > 0)
      print_text("  {} pairs: accuracy {:.2f} +- {} %, log loss {}, ECE {:.4f} (by chance {})", model.pairs_compared,
                 100 * model.pairs.accuracy.value, number("{:.2f}", 100 * model.pairs.accuracy.std_error),
                 shown(model.pairs.log_loss), model.pairs.ece, number("{:.4f}", model.pairs.ece_by_chance));
    else if (!gold.left.empty())
      print_text("  no gold pair is compared");
    print_text("\n");
  }
  print_diverged(comparison.diverged);
}

void print_scores_of(const Arguments& arguments, const EvaluateResult& result, const Gold& gold) {
  print_text(
      "{} votes in {} folds, each predicted from the others; {} are decided; ties {}; standard errors over {}\n{}\n",
      result.votes, arguments.folds, result.decided_votes, arguments.options.ties, result.std_errors_over,
      why_folds(arguments.folds_by, result));
  for (const ModelComparison& comparison : result.comparisons) {
    if (&comparison != &result.comparisons.front())
      print_text("\nby vote, predicted also from the annotator's own votes about the same items:\n");
    print_scores(comparison, result.all_answers);
  }
  print_text(
      "log loss, Brier, accuracy and ECE: of the predicted probability that a decided vote goes left. 95 %: range of "
      "the\nECE in other samples of {}. By chance: the ECE of perfectly calibrated predictions.{}\n",
      result.std_errors_over,
      result.all_answers ? " All answers: log loss where ties and grades are separate answers." : "");
  const ModelComparison& first = result.comparisons.front();
  if (std::isnan(first.models.front().score.log_loss.std_error))
    print_text("n/a: not available, because all decided votes are of one of the {}.\n", result.std_errors_over);
  if (arguments.calibrate)
    print_text("*: logits times a slope that is estimated on the other folds, as in fit --calibrate.\n");
  print_reliability(first.models);
  if (result.gold) print_gold(gold, *result.gold, arguments.gold);
  for (const Finding& finding : result.findings) print_text("\n{}\n", told(finding));
  for (const std::string& warning : result.warnings) print_text("\nWARNING: {}\n", warning);
}

EvaluateRequest request_of(const Arguments& arguments) {
  EvaluateRequest request;
  static_cast<ModelWishes&>(request) = arguments.options.wishes();
  request.models.clear();
  for (const std::string& model : arguments.models) request.models.push_back(model_named(model));
  request.folds = arguments.folds;
  if (!arguments.folds_by.empty()) request.folds_by = folds_by_named(arguments.folds_by);
  request.seed = arguments.seed;
  request.calibrate = arguments.calibrate;
  return request;
}

/// Reads the items' embeddings if one of the models uses them.
std::shared_ptr<const Embeddings> read_embeddings_for(const Arguments& arguments, const EvaluateRequest& request,
                                                      const Votes& votes, const Context& context) {
  const auto rating = std::ranges::find_if(request.models, has_discriminations);
  return read_used_embeddings(arguments.embeddings, request,
                              rating == request.models.end() ? request.models.front() : *rating, arguments.inputs,
                              votes.item_ids, context);
}

/// Reports the models that diverged, each once.
int report_diverged(const EvaluateResult& result) {
  std::map<std::string, std::string> why;
  for (const ModelComparison& comparison : result.comparisons)
    for (const DivergedFit& fit : comparison.diverged) why.emplace(fit.model, fit.why);
  if (result.gold)
    for (const DivergedFit& fit : result.gold->diverged) why.emplace(fit.model, fit.why);
  for (const auto& [model, text] : why) tell(fmt::format("voxpop: {}: {}\n", model, one_line(text)));
  return static_cast<int>(why.empty() ? Exit::kDone : Exit::kNotConverged);
}

int evaluate_command(const Arguments& arguments) {
  const ModelOptions& options = arguments.options;
  const EvaluateRequest request = request_of(arguments);
  request.check();
  parse_device(options.device);  // reports a wrong device before anything is read
  const Context context = context_of(options, arguments.common);
  limit_memory(context);
  std::optional<Gold> gold;
  Votes votes = with_threads(used_threads(options.threads), [&] {
    Votes read = read_votes(arguments.inputs, context);
    if (!arguments.gold.empty()) gold = read_gold(arguments.gold, read, context);
    read.embeddings = read_embeddings_for(arguments, request, read, context);
    return read;
  });
  const EvaluateResult result = evaluate_with({}, std::move(votes), request, context, gold ? &*gold : nullptr);
  if (arguments.common.json)
    print_json(describe(request, result, arguments.inputs, gold ? &*gold : nullptr));
  else
    print_scores_of(arguments, result, gold.value_or(Gold{}));
  return report_diverged(result);
}

}  // namespace

void add_evaluate(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("evaluate", "Compare how well models predict held-out votes");
  verb.add_option("IN.h5", arguments->inputs, "Votes (comparisons/1); several files are one data set")->required();
  verb.add_option("--models", arguments->models,
                  "Models to compare, separated by commas; majority vote is always included")
      ->delimiter(',')
      ->check(known_model())
      ->capture_default_str();
  verb.add_option("--folds", arguments->folds, "Number of folds: each part of the votes is predicted from the others")
      ->check(CLI::Range(2, 100))
      ->capture_default_str();
  verb.add_option("--folds-by", arguments->folds_by,
                  "What is held out together. vote: the votes on a pair go to different folds; block: all votes of an "
                  "annotator that are connected by shared items (a ranking, repeats, both orders of a pair). Default: "
                  "block, and vote as well, if more than 30 % of the votes share a block with others and other "
                  "annotators judged the same items; else vote")
      ->check(CLI::IsMember(names_up_to(FoldsBy::kBlock)));
  verb.add_option("--holdout", arguments->gold,
                  "Known answers, to compare fits of all votes with (CSV, TSV, JSONL): columns left, right, "
                  "preference; or item and gold (larger is better) or rank (smaller is better)");
  verb.add_flag(
      "--calibrate", arguments->calibrate,
      "Also show each model after calibration, marked *: its logits times a slope estimated on the other folds");
  verb.add_option("--seed", arguments->seed, "Seed of the folds")->check(kSeedRange)->capture_default_str();
  add_model_options(verb, arguments->options);
  add_embeddings_option(verb, arguments->embeddings);
  add_common_options(verb, arguments->common);
  verb.footer(
      "If a model diverges, the others are still compared, and the exit code is 5.\n\nExample:\n  voxpop evaluate "
      "votes.h5 --models bt,rater --folds 5");
  verb.callback([arguments, &run] { run = [arguments] { return evaluate_command(*arguments); }; });
}

}  // namespace voxpop
