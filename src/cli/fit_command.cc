#include "fit/fit.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "cli/fit_summary.h"
#include "cli/model_options.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/progress.h"
#include "core/scratch_memory.h"
#include "core/stopwatch.h"
#include "core/strings.h"
#include "core/threads.h"
#include "evaluate/calibration.h"
#include "evaluate/held_out.h"
#include "evaluate/left_out.h"
#include "files/checkpoint.h"
#include "files/fit_file.h"
#include "fit/counted_engine.h"
#include "group/gold.h"
#include "group/sources.h"
#include "guards/copies.h"
#include "guards/findings.h"
#include "guards/lifts.h"
#include "label/gold_labels.h"
#include "label/truth_comparison.h"
#include "votes/known.h"
#include "voxpop/version.h"

#if VOXPOP_WITH_MPI
#include "ranks/ranked_engine.h"
#endif

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> inputs;
  std::string output;
  std::string model = "rater";
  ModelOptions options;
  std::uint64_t seed = 1;
  std::optional<std::string> warm_start;
  std::string gold, trust, prior_score;
  bool force = false;
  bool calibrate = false;
  bool strict = false;
  bool no_compress = false;
  std::string checkpoint;
  double checkpoint_every = 60;
  CommonOptions common;
  std::string command_line;
};

/// Opens engines for one process, or for all ranks.
using MakeEngine = std::function<std::unique_ptr<Engine>(const Device&, const Groups&)>;

/// Thresholds of grades, from the first on, which is 0; empty without grades.
std::vector<float> thresholds_of(const Fit& fit) {
  if (fit.answers.levels() == 1) return {};
  return {fit.scale.edge + 1, fit.scale.edge + 1 + fit.answers.levels()};
}

Json describe_population(const Fit& fit) {
  const Population& population = fit.population;
  Json json = {{"item_sd", 1.0},
               {"discrimination_mean", population.mean},
               {"discrimination_sd", std::sqrt(population.variance)},
               {"side_bias_sd", std::sqrt(population.side_bias_variance)},
               {"reference_discrimination", fit.reference_discrimination},
               {"score_unit", fit.score_unit},
               {"view_sd", std::sqrt(fit.view_variance)}};
  if (fit.scale.own_ties)
    json.update({{"tie_habit_median", share_of(population.habit_mean)},
                 {"tie_habit_logit_sd", std::sqrt(population.habit_variance)},
                 {"prompt_tie_habit_logit_sd", std::sqrt(fit.prompt_variance)}});
  if (fit.model == Model::kCrowdBt)
    json.update({{"eta_median", share_of(population.share_mean)},
                 {"eta_logit_sd", std::sqrt(population.share_variance)},
                 {"reference_eta", fit.reference_share}});
  return json;
}

Json describe_run(const Arguments& arguments, const Votes& votes, const Limits& limits, const Fit& fit,
                  const std::string& device, const std::string& why_device, int threads) {
  Json inputs = Json::array();
  for (const InputFile& input : votes.inputs)
    inputs.push_back({{"path", input.path}, {"bytes", input.bytes}, {"xxh3", input.xxh3}});
  return {{"version", kVersion},
          {"command_line", arguments.command_line},
          {"written", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
          {"inputs", inputs},
          {"votes", votes.size()},
          {"votes_counted", limits.votes},
          {"items", votes.item_ids.size()},
          {"annotators", votes.annotator_ids.size()},
          {"pairs", limits.pairs},
          {"components", limits.components},
          {"model", arguments.model},
          {"ties", arguments.options.ties},
          {"repeats", arguments.options.repeats.empty() ? "default" : arguments.options.repeats},
          {"side_bias", !arguments.options.no_side_bias},
          {"views", fit.view_variance > 0},
          {"strengths", fit.answers.strengths},
          {"thresholds", thresholds_of(fit)},
          {"hyperparameters", describe_population(fit)},
          {"iterations", fit.iterations},
          {"converged", fit.converged},
          {"change", fit.change},
          {"log_evidence", fit.posterior.log_evidence},
          {"device", device},
          {"device_reason", why_device.empty() ? "asked for" : why_device},
          {"threads", threads},
          {"seed", arguments.seed}};
}

/// The fit to start from.
EarlierFit read_earlier_fit_of(const std::string& model, const std::string& path) {
  EarlierFit earlier = read_earlier_fit(path);
  if (earlier.model != model)
    throw bad_input(
        "{}: a fit of model {}, but this one is of model {}; start from one of the same, or leave "
        "--warm-start out",
        path, shown(earlier.model), model);
  return earlier;
}

/// Its estimates as priors; warns of what of it cannot be used.
WarmStart start_from(const EarlierFit& earlier, const Votes& votes, const Groups& groups, Model model,
                     std::vector<std::string>& warnings) {
  WarmStart start = make_warm_start(earlier, votes.annotator_ids, groups, model, votes.source_ids);
  for (const InputFile& input : votes.inputs)
    if (earlier.inputs.find(input.xxh3) != std::string::npos)
      warnings.push_back(fmt::format("The votes in {} are in {} already, so that they count twice.", shown(input.path),
                                     shown(earlier.file.path)));
  const auto before = static_cast<std::size_t>(
      std::ranges::count_if(earlier.annotators.votes, [](std::uint32_t votes_there) { return votes_there > 0; }));
  if (start.known == 0)
    warnings.push_back(fmt::format("No annotator of these votes is among those of {}; only its population is used.",
                                   shown(earlier.file.path)));
  else if (start.known < before)
    warnings.push_back(
        fmt::format("{} of {} annotators of {} have no vote here: a fit that starts from this one will not "
                    "know them.",
                    before - start.known, before, shown(earlier.file.path)));
  if (!start.scale)
    warnings.push_back(
        fmt::format("These votes have other strengths, or ties where {} has none or the other way round: "
                    "thresholds are estimated from these votes alone.",
                    shown(earlier.file.path)));
  if (start.coefficient.size() < std::max<std::size_t>(groups.covariates.names.size(), earlier.covariates.names.size()))
    warnings.push_back(
        fmt::format("Other features than in {}: what it says of them and of annotators' tastes is not "
                    "used.",
                    shown(earlier.file.path)));
  return start;
}

std::string warn_of_contradicted(const std::vector<std::size_t>& annotators, const Votes& votes,
                                 const EarlierFit& earlier) {
  constexpr std::size_t kNamed = 5;
  std::string names;
  for (std::size_t i = 0; i < std::min(annotators.size(), kNamed); ++i)
    names += fmt::format("{}'{}'", i > 0 ? ", " : "", shown(votes.annotator_ids[annotators[i]]));
  return fmt::format(
      "The votes of {} annotator{} contradict what {} says of them: {}{}. They are judged by these votes alone. Look "
      "for "
      "what changed: swapped sides, another person under the same id, other guidelines.",
      annotators.size(), annotators.size() == 1 ? "" : "s", shown(earlier.file.path), names,
      annotators.size() > kNamed ? ", ..." : "");
}

/// Votes are evidence each: of a file that is given twice, they count twice.
void warn_of_twins(const std::vector<InputFile>& inputs, std::vector<std::string>& warnings) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (inputs[i].xxh3 == inputs[j].xxh3 && inputs[i].bytes == inputs[j].bytes)
        warnings.push_back(fmt::format("{} and {} are the same file, so that its votes count twice.",
                                       shown(inputs[j].path), shown(inputs[i].path)));
}

Json describe_start(const EarlierFit& earlier, const WarmStart& start) {
  return {{"path", earlier.file.path},
          {"bytes", earlier.file.bytes},
          {"xxh3", earlier.file.xxh3},
          {"annotators_known", start.known},
          {"annotators_new", start.unknown}};
}

Json describe_weights(const VoteWeights& weights) {
  return {{"total", weights.total},
          {"repeated_votes", weights.repeated},
          {"weigh_together_as_one", weights.shared},
          {"left_out_as_repeats", weights.dropped},
          {"judgements_of_several_pairs", weights.judgements},
          {"votes_in_them", weights.in_judgements}};
}

Json describe_copies(const Copies& copies, const Strings& annotator_ids) {
  Json clusters = Json::array();
  for (const CopyCluster& cluster : copies.clusters) {
    Json members = Json::array();
    for (const std::uint32_t a : cluster.members) members.push_back(annotator_ids[a]);
    clusters.push_back({{"annotators", members},
                        {"comparisons", cluster.comparisons},
                        {"differing", cluster.differing},
                        {"differing_expected", cluster.expected},
                        {"copied", cluster.copied()},
                        {"p_value_corrected", cluster.p_value}});
  }
  return {{"tested", copies.tested}, {"clusters", clusters}};
}

Json describe_covariates(const CovariateLabels& covariates) {
  Json json = Json::array();
  for (std::size_t k = 0; k < covariates.names.size(); ++k) {
    json.push_back({{"name", covariates.names[k]},
                    {"coefficient", covariates.coefficient[k]},
                    {"std_error", covariates.coefficient_se[k]}});
    if (k < covariates.taste_sd.size()) json.back()["taste_sd"] = covariates.taste_sd[k];
  }
  return json;
}

Json describe_embedding(const EmbeddingLabels& labels, const Embeddings& embeddings) {
  return {{"source", embeddings.source},
          {"dimensions", embeddings.dimensions},
          {"variance_explained", labels.explained},
          {"variance_explained_se", labels.explained_se},
          {"rounds", labels.rounds}};
}

/// How sources differ, and the best of them.
Json describe_sources(const Votes& votes, const SourceLabels& sources, const Fit& fit) {
  Json best = Json::array();
  for (const std::size_t row : best_sources(sources, kShownSources))
    best.push_back({{"id", votes.source_ids[sources.row[row]]},
                    {"score", sources.score[row]},
                    {"std_error", sources.std_error[row]}});
  return {{"count", sources.row.size()}, {"sd", fit.score_unit * fit.source_sd}, {"best", best}};
}

/// Held-out votes, predicted in five folds, and what they ask for.
Calibration calibrate(const Votes& votes, const Groups& groups, const std::optional<ViewBlocks>& blocks,
                      const FitOptions& fit_options, const Device& device, const MakeEngine& make, std::uint64_t seed,
                      bool quiet) {
  constexpr int kFolds = 5;
  Progress progress("calibrating", kFolds, quiet);
  const std::vector<std::uint8_t> folds =
      blocks ? draw_block_folds(groups, *blocks, kFolds, seed) : draw_folds(groups, kFolds, seed, votes.judgement);
  const Predictions predictions = predict_held_out(
      groups, folds, fit_options, [&](const Groups& some) { return make(device, some); },
      [&](int fold, int iteration) {
        progress.update(static_cast<std::uint64_t>(fold), fmt::format("fold {}, iteration {}", fold + 1, iteration));
      });
  std::vector<std::uint8_t> fold_of;
  for (std::size_t v = 0; v < folds.size(); ++v)
    if (groups.is_voted(static_cast<std::uint32_t>(v))) fold_of.push_back(folds[v]);
  return find_calibration(decided_trials(groups, predictions.left, find_clusters(groups)), fold_of);
}

/// What the fit says of votes that it is asked to forget, against what came of them, and how these are chosen.
struct LeftOut {
  Trials trials;
  const char* method;
};

/// `blocks`: what is left out at once, or none.
LeftOut leave_out(const Groups& groups, const std::optional<ViewBlocks>& blocks, const Fit& fit, Engine& engine) {
  if (blocks) {
    Trials by_block = predict_left_out(groups, fit, engine.sites(), 250'000, &*blocks);
    if (!by_block.predicted.empty())
      return {std::move(by_block), "votes, each predicted without its annotator's other votes on the same items"};
  }
  return {predict_left_out(groups, fit, engine.sites()),
          blocks
              ? "votes, each predicted from all others, which include its annotator's on the same items: too good for "
                "labels; evaluate --folds-by block says more"
              : "votes, each predicted from all others"};
}

Reliability judge_predictions(const std::optional<Calibration>& calibration, bool by_block, const LeftOut& left_out) {
  if (!calibration) return reliability(left_out.trials, left_out.method);
  const bool helps = calibration->helps();
  return reliability(
      helps ? calibration->corrected : calibration->as_predicted,
      fmt::format("held-out votes in 5 folds{}{}", by_block ? " by block" : "", helps ? ", corrected" : ""));
}

/// What is known beside the votes.
struct Known {
  std::vector<std::uint32_t> trusted;  ///< rows of annotator_ids
  GoldVotes gold;                      ///< of votes.gold
};

/// Reads --gold, to the known pairs of the votes' own files, and --trust.
Known read_known(const Arguments& arguments, Votes& votes) {
  const bool quiet = arguments.common.quiet;
  if (!has_discriminations(kModels.at(arguments.model))) {
    if (!arguments.gold.empty() || !arguments.trust.empty())
      throw usage_error("--gold and --trust say who votes well, which {} does not ask; use --model rater",
                        arguments.model);
    if (votes.gold.size() > 0)
      note(quiet, fmt::format("{} known pairs (gold) are not used by {}", votes.gold.size(), arguments.model));
    votes.gold = {};
    return {};
  }
  if (!arguments.gold.empty()) {
    const KnownPairs more = read_known_pairs(arguments.gold, votes.item_ids, quiet);
    std::set<std::tuple<std::uint32_t, std::uint32_t, long>> there;  // of the lower item, in thousandths
    const auto is_new = [&](const KnownPairs& gold, std::size_t row) {
      const bool turned = gold.left[row] > gold.right[row];
      const auto [low, high] = std::minmax(gold.left[row], gold.right[row]);
      return there.emplace(low, high, std::lround(1000 * (turned ? 1 - gold.probability[row] : gold.probability[row])))
          .second;
    };
    for (std::size_t row = 0; row < votes.gold.size(); ++row) is_new(votes.gold, row);
    for (std::size_t row = 0; row < more.size(); ++row)
      if (is_new(more, row)) votes.gold.add(more.left[row], more.right[row], more.probability[row]);
  }
  return {arguments.trust.empty() ? std::vector<std::uint32_t>{}
                                  : read_trusted(arguments.trust, votes.annotator_ids, quiet),
          {}};
}

/// As FitOptions wants it.
std::vector<Population> known_annotators(const Groups& groups, const Known& known) {
  if (known.trusted.empty() && known.gold.discrimination.empty()) return {};
  std::vector<Population> out(groups.voters(), not_known());
  for (const std::uint32_t a : known.trusted) out[a] = known_to_be_good();
  for (const double discrimination : known.gold.discrimination) out.push_back(known_discrimination(discrimination));
  return out;
}

Json describe_gold(const Votes& votes, const GoldLabels& gold) {
  constexpr std::size_t kMost = 100;
  Json contradicted = Json::array();
  std::size_t used = 0, against = 0;
  for (std::size_t row = 0; row < gold.left.size(); ++row) {
    used += !std::isnan(gold.without[row]);
    if (gold.contradicted[row] == 0 || ++against > kMost) continue;
    contradicted.push_back({{"left", votes.item_ids[gold.left[row]]},
                            {"right", votes.item_ids[gold.right[row]]},
                            {"given", gold.probability[row]},
                            {"without", gold.without[row]}});
  }
  return {{"pairs", gold.left.size()}, {"used", used}, {"contradicted", against}, {"contradictions", contradicted}};
}

Json describe_standing(const Fit& fit) {
  Json json = {{"told", fit.sign_is_told},
               {"mirrored", fit.mirrored},
               {"agreement", fit.standing.agreement},
               {"unrelated", fit.standing.unrelated},
               {"against", fit.standing.against},
               {"known_sds", fit.standing.known}};
  if (fit.rival)
    json["rival"] = {{"following", fit.rival->following},
                     {"log_evidence", fit.rival->log_evidence},
                     {"ordered_alike", fit.rival->ordered_alike}};
  return json;
}

/// What a checkpoint must be of.
Json describe_work(const Arguments& arguments, const Votes& votes, const std::optional<EarlierFit>& earlier) {
  const auto file = [](const std::string& path) { return path.empty() ? "" : fingerprint(path).xxh3; };
  Json inputs = Json::array();
  for (const InputFile& input : votes.inputs) inputs.push_back(input.xxh3);
  return {{"inputs", inputs},
          {"model", arguments.model},
          {"ties", arguments.options.ties},
          {"repeats", arguments.options.repeats},
          {"side_bias", !arguments.options.no_side_bias},
          {"views", arguments.options.views},
          {"ignore", arguments.options.ignore},
          {"no_adversaries", arguments.options.no_adversaries},
          {"warm_start", earlier ? earlier->file.xxh3 : ""},
          {"gold", file(arguments.gold)},
          {"trust", file(arguments.trust)},
          {"prior_score", file(arguments.prior_score)},
          {"embeddings", file(arguments.options.embeddings)},
          {"max_iterations", arguments.options.max_iterations}};
}

/// A file's path without links and detours, whether or not it exists.
std::filesystem::path whole_path(const std::string& path) {
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path));
}

int fit_votes(const Arguments& arguments, int threads, const MakeEngine& make_plain, ColumnReaders* readers = nullptr) {
  const ModelOptions& options = arguments.options;
  const MakeEngine make = [&](const Device& device, const Groups& groups) {
    return make_counted_engine(groups, kModels.at(arguments.model),
                               [&](const Groups& some) { return make_plain(device, some); });
  };
  parse_device(options.device);  // says what is wrong before anything is read
  if (!has_discriminations(kModels.at(arguments.model)) && options.views == "on")
    throw usage_error("--views on: {} knows no annotator's own view; use --model rater", arguments.model);
  if (arguments.model != "crowd-bt" && options.no_adversaries)
    throw usage_error("--no-adversaries is about the eta of crowd-bt; {} has none", arguments.model);
  std::optional<Checkpoint> checkpoint;
  const auto fit_all = [&] {
    const bool quiet = arguments.common.quiet;
    Stopwatch watch;
    Seconds seconds;
    require_other_output(arguments.inputs, arguments.output);
    require_other_output(arguments.inputs, arguments.checkpoint, "checkpoint");
    if (!arguments.checkpoint.empty() && whole_path(arguments.checkpoint) == whole_path(arguments.output))
      throw usage_error("{}: is the output and the checkpoint; name another checkpoint", arguments.checkpoint);
    OutputFile output(arguments.output);
    limit_memory(options, arguments.output);
    std::optional<EarlierFit> earlier;
    if (arguments.warm_start) earlier = read_earlier_fit_of(arguments.model, *arguments.warm_start);
    Votes votes = read_votes(arguments.inputs, quiet, readers);
    Known known = read_known(arguments, votes);
    if (!arguments.prior_score.empty()) {
      if (!options.uses("prior_score"))
        throw usage_error("--prior-score and --ignore prior_score contradict each other");
      if (!votes.prior_score.empty())
        note(quiet, fmt::format("the scores of {} are used, not 'items/prior_score'", arguments.prior_score));
      votes.prior_score = read_prior_scores(arguments.prior_score, votes.item_ids, quiet);
    }
    const auto embeddings = read_embeddings(options, arguments.model, arguments.inputs, votes, quiet);
    seconds.read = watch.lap();
    if (embeddings != nullptr && !arguments.checkpoint.empty())
      throw usage_error("--checkpoint keeps no embeddings; leave it out, or them by --ignore embedding");
    if (!arguments.checkpoint.empty())
      checkpoint.emplace(arguments.checkpoint, describe_work(arguments, votes, earlier), arguments.checkpoint_every,
                         quiet);
    const auto [device_used, why] = choose_device(options, votes, embeddings.get());
    begin_memory_limit(device_used, options.memory_limit, arguments.output);
    Groups groups = group_votes_on(device_used, votes, kTies.at(options.ties), options.memory_limit);
    groups.embeddings = embeddings;
    groups.covariates = find_covariates(votes, groups, options.covariates());
    for (const std::string& name : groups.covariates.left_out)
      note(quiet, fmt::format("'{}' is the same for all items of each component, so it says nothing and is left out",
                              shown(name)));
    if (options.uses_sources())
      if (const std::string why_not = set_sources(groups, votes); !why_not.empty())
        note(quiet, fmt::format("'items/source' is left out: {}", why_not));
    const Limits limits = find_limits(groups, votes);
    std::vector<Finding> findings = find_findings(votes, limits, std::time(nullptr));
    ViewUse views = options.view_use(arguments.model, groups, votes);
    const VoteWeights weights = weigh_votes(groups, votes, options.vote_use(views));
    known.gold = add_gold(groups, votes.gold, votes.item_ids);
    double share_in_blocks = views == ViewUse::kNone ? sampled_view_share(groups, votes) : 1;
    std::optional<ViewBlocks> blocks;  // where they say what is to be held out at once
    if (share_in_blocks > 0.2) blocks = find_view_blocks(groups, votes);
    if (views != ViewUse::kNone) groups.views = find_views(groups, *blocks);
    if (views == ViewUse::kAlways && groups.views.empty())
      note(quiet,
           "annotators' own views are not modelled: no annotator judged an item twice, or a component has more than "
           "2,048 items");
    if (groups.views.empty()) views = ViewUse::kNone;
    if (blocks) {
      share_in_blocks = blocks->share();
      if (best_folds(*blocks) == FoldsBy::kVote) blocks.reset();
    }
    const FoldsBy folds_by = blocks ? FoldsBy::kBlock : FoldsBy::kVote;
    seconds.group = watch.lap();
    Copies copies = suspect_copies(groups);
    const Column<float> own_weight = copies.clusters.empty() ? Column<float>() : groups.weight;
    weigh_copies(groups, copies);
    std::unique_ptr<Engine> engine = make(device_used, groups);
    groups.on_device.reset();  // the engine has its own by now
    FitOptions fit_options = options.fit_options(arguments.model, groups, views);
    std::vector<std::string> warnings;  // what is no finding about the votes
    warn_of_twins(votes.inputs, warnings);
    if (earlier) fit_options.warm_start = start_from(*earlier, votes, groups, fit_options.model, warnings);
    fit_options.known = known_annotators(groups, known);
    const auto run_fit = [&](FitKeeper* keeper) {
      Progress progress("fitting", 60, quiet);
      return fit_model(
          *engine, count_votes(groups), fit_options,
          [&](int iteration, double change) {
            progress.update(static_cast<std::uint64_t>(std::min(iteration, 59)),
                            fmt::format("iteration {}, change {:.1e}", iteration, change));
          },
          keeper);
    };
    const auto run_again = [&](FitKeeper* keeper) {
      engine.reset();
      engine = make(device_used, groups);
      return run_fit(keeper);
    };
    FitKeeper* first_keeper = checkpoint ? &*checkpoint : nullptr;
    std::optional<SettledFit> settled;  // for when suspects of copying are cleared
    if (!copies.clusters.empty()) first_keeper = &settled.emplace(first_keeper);
    Fit fit = run_fit(first_keeper);
    if (const auto suspects = copies.numbers(groups.annotators); !copies.clusters.empty()) {
      copies = confirm_copies(groups, fit, engine->sites(), copies);
      if (copies.numbers(groups.annotators) != suspects) {  // those who are not are voters again
        groups.weight = own_weight;
        weigh_copies(groups, copies);
        fit = run_again(&*settled);
      }
    }
    settled.reset();
    // Whoever votes otherwise than before is judged anew. That moves scores, so that others may come to fit.
    constexpr int kRounds = 5;
    std::vector<std::size_t> contradicted;
    std::vector<Population> known_before;
    if (earlier) known_before = fit_options.warm_start->annotators;
    for (int round = 0; earlier && round < kRounds; ++round) {
      std::vector<std::size_t> now = find_contradicted(groups, fit, engine->sites(), known_before);
      if (now == contradicted) break;
      contradicted = std::move(now);
      fit_options.warm_start =
          make_warm_start(*earlier, votes.annotator_ids, groups, fit_options.model, votes.source_ids, contradicted);
      fit = run_again(nullptr);
    }
    share_estimates(groups, copies, fit);
    if (!contradicted.empty()) warnings.push_back(warn_of_contradicted(contradicted, votes, *earlier));
    std::ranges::copy(warnings_at_caps(fit), std::back_inserter(warnings));
    if (!fit.sign_is_told && fit.standing.camps() && !arguments.force) {
      for (const Finding& finding : findings) tell(fmt::format("{}\n", told(finding)));
      throw Error(Exit::kNotConverged,
                  fmt::format("{} Nothing was written. Tell it by --gold or --trust; or write labels all the same by "
                              "--force",
                              why_not_told(fit)));
    }
    seconds.fit = watch.lap();
    std::optional<Calibration> calibration;
    if (arguments.calibrate) try {
        calibration = calibrate(votes, groups, blocks, fit_options, device_used, make, arguments.seed, quiet);
      } catch (const Error& error) {
        if (error.exit() != Exit::kNotConverged) throw;
        warnings.push_back(fmt::format("Not calibrated: {}.", error.what()));
      }
    seconds.calibrate = watch.lap();
    const Column<float> weight_in_fit = fit.apart.empty() ? Column<float>() : groups.weight;
    if (!fit.apart.empty()) silence(groups, fit.apart);
    const LeftOut left_out = leave_out(groups, blocks, fit, *engine);
    if (!fit.apart.empty()) groups.weight = weight_in_fit;
    const Reliability told_votes = judge_predictions(calibration, blocks.has_value(), left_out);
    blocks.reset();
    std::optional<Drift> drift;
    if (!votes.timestamp.empty()) drift = find_drift(groups, fit, engine->sites(), votes.timestamp);
    const std::vector<Lift> lifts = find_lifts(groups, fit, engine->sites());
    const std::string device = engine->device();
    // Labels and writing need memory of their own: what is done with is given back.
    Labels labels;
    {
      const PairLabels pair_labels = find_pair_labels(*engine, fit);
      std::optional<GoldLabels> gold;
      if (votes.gold.size() > 0) gold = label_gold(groups, fit, votes.gold, known.gold, engine->sites());
      VoteEvidence evidence = find_evidence(groups, fit, engine->sites());
      engine.reset();
      labels = make_labels(groups, fit, pair_labels, votes.item_ids.size(), votes.size(),
                           copies.numbers(groups.voters()), &evidence);
      labels.gold = std::move(gold);
      if (labels.gold) judge_on_gold(groups, votes.gold, known.gold, labels.annotators);
    }
    labels.drift = std::move(drift);
    groups = Groups();
    const double log_evidence = fit.posterior.log_evidence;
    fit.posterior = Posterior();
    fit.posterior.log_evidence = log_evidence;
    seconds.label = watch.lap();
    if (calibration && calibration->helps()) calibrate_pairs(*calibration, labels.pairs);
    if (arguments.strict && !fit.converged)
      throw Error(Exit::kNotConverged, fmt::format("{}, or leave --strict out; nothing was written",
                                                   why_not_converged(fit, options.max_iterations)));
    if (!fit.converged) {
      std::string unsettled = why_not_converged(fit, options.max_iterations);
      unsettled.front() = 'N';
      warnings.push_back(unsettled + ".");
    }
    Json provenance = describe_run(arguments, votes, limits, fit, device, why, threads);
    const auto [z, z_of_voters] = agreement_with_others(left_out.trials);
    const Agreement agreement{z, z_of_voters, left_out.trials.predicted.size()};
    add_fit_findings(agreement, labels, fit, findings);
    add_copy_findings(copies, votes.annotator_ids, findings);
    add_lift_findings(lifts, votes.item_ids, votes.source_ids, votes.annotator_ids, findings);
    provenance["warnings"] = warnings_of(findings, warnings);
    provenance["findings"] = to_json(findings);
    provenance["weights"] = describe_weights(weights);
    provenance["copies"] = describe_copies(copies, votes.annotator_ids);
    provenance["votes_in_blocks"] = share_in_blocks;
    provenance["agreement_z"] = {{"by_votes", agreement.z}, {"by_annotators", agreement.z_of_voters}};
    if (has_discriminations(fit.model) && !earlier) provenance["sign"] = describe_standing(fit);
    if (!arguments.prior_score.empty())
      provenance["prior_score"] = {{"path", arguments.prior_score}, {"xxh3", fingerprint(arguments.prior_score).xxh3}};
    if (labels.gold) provenance["gold"] = describe_gold(votes, *labels.gold);
    if (!known.trusted.empty())
      provenance["trusted"] = {{"annotators", known.trusted.size()},
                               {"vote", fit.standing.trusted},
                               {"follow", fit.standing.trusted_follow}};
    if (earlier) {
      provenance["warm_start"] = describe_start(*earlier, *fit_options.warm_start);
      provenance["warm_start"]["annotators_contradicted"] = contradicted.size();
    }
    provenance["covariates"] = describe_covariates(labels.covariates);
    if (labels.embedding) provenance["embedding"] = describe_embedding(*labels.embedding, *embeddings);
    if (!labels.sources.row.empty()) provenance["sources"] = describe_sources(votes, labels.sources, fit);
    provenance["flip_rate"] = flip_rate(labels);
    provenance["reliability"] = {{"method", told_votes.method},
                                 {"votes", static_cast<std::uint64_t>(told_votes.trials())},
                                 {"ece", told_votes.ece()},
                                 {"ece_by_chance", told_votes.ece_by_chance()}};
    if (calibration)
      provenance["calibration"] = {{"method", "temperature"},
                                   {"folds_by", folds_by == FoldsBy::kBlock ? "block" : "vote"},
                                   {"slope", calibration->slope},
                                   {"held_out_votes", calibration->votes},
                                   {"log_loss_gain", calibration->gain.value},
                                   {"log_loss_gain_std_error", calibration->gain.std_error},
                                   {"applied", calibration->helps()}};
    provenance["seconds"] = {{"read", seconds.read},
                             {"group", seconds.group},
                             {"fit", seconds.fit},
                             {"calibrate", seconds.calibrate},
                             {"label", seconds.label}};
    write_fit(output, votes, labels, told_votes, provenance, !arguments.no_compress);
    seconds.write = watch.lap();
    if (checkpoint) checkpoint->remove();
    if (ScratchMemory::is_exceeded())
      warnings.push_back(
          fmt::format("--memory-limit could not be kept: what cannot be put away, and a little room, came to "
                      "{} MiB.",
                      ScratchMemory::peak() >> 20));
    if (arguments.common.json) {
      provenance["warnings"] = warnings_of(findings, warnings);
      provenance["output"] = arguments.output;
      provenance["peak_memory"] = ScratchMemory::peak();
      if (labels.drift) provenance["drift"] = describe_drift(votes, *labels.drift);
      std::map<std::string, int> flags;
      for (std::size_t a = 0; a < labels.annotators.flag.size(); ++a)
        if (labels.annotators.votes[a] > 0) ++flags[flag_names()[labels.annotators.flag[a]]];
      if (fit.model != Model::kBradleyTerry) provenance["flags"] = flags;
      if (votes.truth) provenance["truth"] = describe_truth(compare_with_truth(labels, *votes.truth), fit.model);
      fmt::print("{}\n", provenance.dump(2, ' ', false, Json::error_handler_t::replace));
    } else {
      print_summary({arguments.model, options.ties, arguments.output, arguments.warm_start.value_or(""), votes, limits,
                     findings, warnings, fit, labels, weights, told_votes, fit_options.warm_start, device, why, threads,
                     seconds});
      if (calibration) fmt::print("{}\n", told(*calibration));
    }
    return 0;
  };
  try {
    return with_threads(threads, fit_all);
  } catch (const Error& error) {
    if (error.exit() == Exit::kInterrupted && checkpoint) throw checkpoint->interruption();
    if (error.exit() == Exit::kNotConverged && checkpoint) checkpoint->remove();  // there is nothing to go on with
    throw;
  }
}

#if VOXPOP_WITH_MPI
int fit_in_ranks(const Arguments& arguments) {
  Ranks ranks;
  if (ranks.size() != launched_processes())
    throw usage_error(
        "{} processes were started, but MPI knows of {}: the launcher is not that of the MPI that voxpop is "
        "built with",
        launched_processes(), ranks.size());
  const ModelOptions& options = arguments.options;
  const int threads = options.threads > 0 ? options.threads : ranks.cores();
  try {
    if (!ranks.leads()) {
      limit_memory(options, arguments.output);
      return with_threads(threads, [&] { return serve_leader(ranks, arguments.output); });
    }
    const auto readers = make_column_readers(ranks);
    const int status = fit_votes(
        arguments, threads,
        [&](const Device& device, const Groups& groups) {
          return make_ranked_engine(ranks, device, groups, options.memory_limit);
        },
        readers.get());
    end_ranks(ranks, status);
    return status;
  } catch (const std::exception& error) {
    const auto* known = dynamic_cast<const Error*>(&error);
    const int status = static_cast<int>(known != nullptr ? known->exit() : Exit::kInternal);
    if (ranks.leads() && !ranks.busy()) {
      end_ranks(ranks, status);
      throw;
    }
    tell(fmt::format("voxpop: rank {}: {}\n", ranks.rank(), one_line(error.what())));
    ranks.abort(status);
  }
}
#endif

int fit_command(const Arguments& arguments) {
#if VOXPOP_WITH_MPI
  if (launched_processes() > 1) return fit_in_ranks(arguments);
#else
  if (launched_processes() > 1)
    throw usage_error("this voxpop is one of several MPI ranks, but was built without MPI; start one process only");
#endif
  const ModelOptions& options = arguments.options;
  return fit_votes(arguments, used_threads(options.threads), [&](const Device& device, const Groups& groups) {
    return make_engine(device, groups, options.memory_limit);
  });
}

}  // namespace

void add_fit(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("fit", "Fit votes: calibrated labels, item scores, annotator estimates");
  verb.add_option("IN.h5", arguments->inputs, "Votes (comparisons/1); several files are one data set, joined by ids")
      ->required();
  verb.add_option("-o,--output", arguments->output, "Fit to write (fit/1)")->required();
  verb.add_option("--model", arguments->model,
                  "bt: all annotators alike; crowd-bt: a probability eta of each that it means its vote (Chen et al. "
                  "2013); rater: discrimination, side bias and habit of ties of each")
      ->check(known_model())
      ->capture_default_str();
  add_model_options(verb, arguments->options);
  verb.add_option(
          "--warm-start", arguments->warm_start,
          "An earlier fit of the same model (fit/1): what it knows of annotators is their prior here, so that new "
          "votes need not be fitted together with old ones; scores are then in its unit")
      ->type_name("FIT.h5")
      ->check(file_name());
  verb.add_option(
          "--gold", arguments->gold,
          "Pairs whose answer is known (CSV, TSV, JSONL: left, right, preference, which may be how probable it is "
          "that the left item is better): evidence in the fit, beside the group 'gold' of the votes' files")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_option("--trust", arguments->trust, "Annotators known to be good (CSV, TSV, JSONL: annotator)")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_option("--prior-score", arguments->prior_score,
                  "Scores of items by a reward model (CSV, TSV, JSONL: id, score), on any scale, in place of "
                  "'items/prior_score': each item's score is normal about a multiple of it")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_flag("--force", arguments->force,
                "Write labels also where two camps contradict each other and nobody can tell which of them is right; "
                "else such a fit exits with 5");
  verb.add_option("--seed", arguments->seed, "Of the folds of --calibrate; the models draw nothing at random")
      ->check(kSeedRange)
      ->capture_default_str();
  verb.add_flag("--calibrate", arguments->calibrate,
                "Fit five more times, each without a fifth of the votes, and correct pairs/probability by what those "
                "say, where that lowers their log loss by more than its standard error");
  verb.add_flag("--strict", arguments->strict, "Exit with 5, writing nothing, when the fit does not converge");
  verb.add_option(
          "--checkpoint", arguments->checkpoint,
          "File that keeps the fit on its way: written now and then, and when interrupted; where it is present, "
          "the fit goes on from it, to the same bits; removed when the fit is done")
      ->check(file_name());
  verb.add_option("--checkpoint-every", arguments->checkpoint_every, "Seconds from one checkpoint to the next")
      ->needs("--checkpoint")
      ->check(within(0, 1e9))
      ->capture_default_str();
  verb.add_flag("--no-compress", arguments->no_compress, "Write uncompressed datasets");
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop fit monday.h5 tuesday.h5 -o fit.h5 --threads 8");
  verb.callback([arguments, &run] {
    arguments->command_line = command_line();
    run = [arguments] { return fit_command(*arguments); };
  });
}

}  // namespace voxpop
