#include "job/fit_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/launch.h"
#include "core/progress.h"
#include "core/strings.h"
#include "core/threads.h"
#include "evaluate/held_out.h"
#include "evaluate/left_out.h"
#include "files/fit_file.h"
#include "fit/counted_engine.h"
#include "group/gold.h"
#include "group/sources.h"
#include "group/views.h"
#include "guards/lifts.h"
#include "hdf5/checksum.h"
#include "label/gold_labels.h"
#include "votes/embeddings.h"
#include "votes/known.h"
#include "votes/votes.h"

namespace voxpop {
namespace {

/// The earlier fit's estimates as priors. Adds a warning for each part that cannot be used.
WarmStart priors_of(const EarlierFit& earlier, const Votes& votes, const Groups& groups, Model model,
                    std::vector<std::string>& warnings) {
  WarmStart start = make_warm_start(earlier, votes.annotator_ids, groups, model, votes.source_ids);
  for (const InputFile& input : votes.inputs)
    if (earlier.inputs.find(input.xxh3) != std::string::npos)
      warnings.push_back(fmt::format("The votes in {} are already in {}; they count twice.", shown(input.path),
                                     shown(earlier.file.path)));
  const auto before = static_cast<std::size_t>(
      std::ranges::count_if(earlier.annotators.votes, [](std::uint32_t votes_there) { return votes_there > 0; }));
  if (start.known == 0)
    warnings.push_back(
        fmt::format("{} has no annotator of these votes; only its population is used.", shown(earlier.file.path)));
  else if (start.known < before)
    warnings.push_back(fmt::format(
        "{} of {} annotators of {} have no vote here; a later fit that starts from this one will not know them.",
        before - start.known, before, shown(earlier.file.path)));
  if (!start.scale)
    warnings.push_back(
        fmt::format("The strengths or ties in these votes differ from those in {}, so thresholds are estimated from "
                    "these votes alone.",
                    shown(earlier.file.path)));
  if (start.coefficient.size() < std::max<std::size_t>(groups.covariates.names.size(), earlier.covariates.names.size()))
    warnings.push_back(fmt::format("The features differ from those in {}; its coefficients and tastes are not used.",
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
      "The votes of {} annotator{} contradict the estimates in {}: {}{}. They are judged by these votes alone. Find "
      "out what changed: swapped sides, another person with the same id, or other guidelines.",
      annotators.size(), annotators.size() == 1 ? "" : "s", shown(earlier.file.path), names,
      annotators.size() > kNamed ? ", ..." : "");
}

/// Warns if a file is given twice. Each vote counts as evidence, so the votes of such a file count twice.
void warn_of_twins(const std::vector<InputFile>& inputs, std::vector<std::string>& warnings) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (inputs[i].xxh3 == inputs[j].xxh3 && inputs[i].bytes == inputs[j].bytes)
        warnings.push_back(fmt::format("{} and {} are the same file; its votes count twice.", shown(inputs[j].path),
                                       shown(inputs[i].path)));
}

/// Predicts held-out votes in five folds and estimates the correction of probabilities that they need.
Calibration calibrate(const Votes& votes, const Groups& groups, const std::optional<ViewBlocks>& blocks,
                      const FitOptions& fit_options, const Device& device, const MakeEngine& make, std::uint64_t seed,
                      const Context& context) {
  constexpr int kFolds = 5;
  Progress progress("calibrating", kFolds, context);
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

/// Votes predicted without themselves from the finished fit, with their outcomes, and a text that says how they were
/// left out.
struct LeftOut {
  Trials trials;
  const char* method;
};

/// `blocks`: all votes of a block are left out together; without blocks each vote alone.
LeftOut leave_out(const Groups& groups, const std::optional<ViewBlocks>& blocks, const Fit& fit, Engine& engine) {
  if (blocks) {
    Trials by_block = predict_left_out(groups, fit, engine.sites(), 250'000, &*blocks);
    if (!by_block.predicted.empty())
      return {std::move(by_block), "votes, each predicted without its annotator's other votes on the same items"};
  }
  return {predict_left_out(groups, fit, engine.sites()),
          blocks ? "votes, each predicted from all others, including its annotator's other votes on the same items: "
                   "too optimistic for labels (compare with voxpop evaluate --folds-by block)"
                 : "votes, each predicted from all others"};
}

Reliability judge_predictions(const std::optional<Calibration>& calibration, bool by_block, const LeftOut& left_out) {
  if (!calibration) return reliability(left_out.trials, left_out.method);
  const bool helps = calibration->helps();
  return reliability(
      helps ? calibration->corrected : calibration->as_predicted,
      fmt::format("held-out votes in 5 folds{}{}", by_block ? " by block" : "", helps ? ", corrected" : ""));
}

/// Priors of the trusted annotators and of the artificial annotators of gold votes, for FitOptions::known. Empty if
/// there are none.
std::vector<Population> known_annotators(const Groups& groups, const Votes& votes, const GoldVotes& gold) {
  if (votes.trusted.empty() && gold.discrimination.empty()) return {};
  std::vector<Population> out(groups.voters(), not_known());
  for (const std::uint32_t a : votes.trusted) out[a] = known_to_be_good();
  for (const double discrimination : gold.discrimination) out.push_back(known_discrimination(discrimination));
  return out;
}

/// Hash of votes that come from no file.
std::string digits_of(const Votes& votes) {
  Checksum sum;
  const auto add = [&](const auto& column) { sum.add(column.data(), column.size()); };
  add(votes.left);
  add(votes.right);
  add(votes.annotator);
  add(votes.preference);
  add(votes.weight);
  add(votes.judgement);
  add(votes.timestamp);
  add(votes.prompt);
  add(votes.source);
  add(votes.prior_score);
  add(votes.features);
  add(votes.trusted);
  add(votes.gold.left);
  add(votes.gold.right);
  add(votes.gold.probability);
  for (const auto* some : {&votes.unknown_sides, &votes.anonymous, &votes.independent}) {
    const std::uint64_t count = some->size();
    sum.add(&count, 1);
    add(*some);
  }
  for (const Strings* ids :
       {&votes.item_ids, &votes.annotator_ids, &votes.prompt_ids, &votes.source_ids, &votes.feature_names})
    for (std::size_t i = 0; i < ids->size(); ++i) {
      const std::string_view id = (*ids)[i];
      const std::uint64_t length = id.size();
      sum.add(&length, 1);
      sum.add(id.data(), id.size());
    }
  return sum.digits();
}

/// Describes inputs and options. A checkpoint can only be resumed if its description is equal.
nlohmann::ordered_json describe_work(const FitRequest& request, const Votes& votes,
                                     const std::optional<EarlierFit>& earlier) {
  const auto file = [&](const char* name) {
    const auto found = votes.known_files.find(name);
    return found == votes.known_files.end() ? "" : found->second.xxh3;
  };
  nlohmann::ordered_json inputs = nlohmann::ordered_json::array(), ignore = nlohmann::ordered_json::array();
  for (const InputFile& input : votes.inputs) inputs.push_back(input.xxh3);
  if (votes.inputs.empty()) inputs.push_back(digits_of(votes));
  for (const auto& [name, used] :
       {std::pair{"prior_score", request.use_prior_score}, std::pair{"features", request.use_features},
        std::pair{"sources", request.use_sources}, std::pair{"embedding", request.use_embeddings}})
    if (!used) ignore.push_back(name);
  return {{"inputs", inputs},
          {"model", name_of(request.model)},
          {"ties", name_of(request.ties)},
          {"repeats", request.repeats ? name_of(*request.repeats) : ""},
          {"side_bias", request.side_bias},
          {"views", name_of(request.views)},
          {"ignore", ignore},
          {"no_adversaries", !request.adversaries},
          {"warm_start", earlier ? earlier->file.xxh3 : ""},
          {"gold", file("gold")},
          {"trust", file("trust")},
          {"prior_score", file("prior_score")},
          {"embeddings", file("embeddings")},
          {"max_iterations", request.max_iterations}};
}

/// Adds the known pairs of a file to those of the votes. A pair that is already there with the same answer is not added
/// again.
void add_known_pairs(const KnownPairs& more, KnownPairs& gold) {
  std::set<std::tuple<std::uint32_t, std::uint32_t, long>> there;  // lower item, higher item, 1000 * P(lower wins)
  const auto is_new = [&](const KnownPairs& pairs, std::size_t row) {
    const bool turned = pairs.left[row] > pairs.right[row];
    const auto [low, high] = std::minmax(pairs.left[row], pairs.right[row]);
    return there.emplace(low, high, std::lround(1000 * (turned ? 1 - pairs.probability[row] : pairs.probability[row])))
        .second;
  };
  for (std::size_t row = 0; row < gold.size(); ++row) is_new(gold, row);
  for (std::size_t row = 0; row < more.size(); ++row)
    if (is_new(more, row)) gold.add(more.left[row], more.right[row], more.probability[row]);
}

/// Reports iterations as progress. Their number is not known in advance, so the bar stops at 59 of 60.
std::function<void(int, double)> iteration_report(Progress& progress) {
  return [&progress](int iteration, double change) {
    progress.update(static_cast<std::uint64_t>(std::min(iteration, 59)),
                    fmt::format("iteration {}, change {:.1e}", iteration, change));
  };
}

}  // namespace

std::shared_ptr<const Embeddings> read_used_embeddings(const std::string& path, const ModelWishes& wishes, Model model,
                                                       const std::vector<std::string>& vote_files,
                                                       const Strings& item_ids, const Context& context) {
  if (!wishes.use_embeddings) {
    if (!path.empty())
      throw usage_error(
          "a file of embeddings (--embeddings) and ignoring embeddings (--ignore embedding) contradict each other; "
          "choose one");
    return nullptr;
  }
  // If all annotators are alike, votes cannot separate two things: the spread of scores around what embeddings predict,
  // and the noise of the votes themselves.
  if (!has_discriminations(model)) {
    if (!path.empty())
      throw usage_error("embeddings (--embeddings) are not used by the model {}; set model to 'rater' (--model rater)",
                        name_of(model));
    return nullptr;
  }
  auto embeddings =
      path.empty() ? read_embeddings(vote_files, item_ids, context) : read_embedding_file(path, item_ids, context);
  if (embeddings != nullptr && launched_processes() > 1)
    throw usage_error(
        "{}: a fit with embeddings runs in one process only; start one process, or fit without embeddings (--ignore "
        "embedding)",
        embeddings->source);
  return embeddings;
}

void limit_memory(const Context& context) {
  if (!may_use_cuda(parse_device(context.device)))
    begin_memory_limit({Device::Kind::kCpu}, context.memory_limit, context.scratch_beside);
}

DeviceChoice choose_device_for(const Votes& votes, const Embeddings* embeddings, const Context& context) {
  const Device wanted = parse_device(context.device);
  if (embeddings == nullptr) return choose_device(wanted, votes.size());
  if (wanted.kind == Device::Kind::kCuda)
    throw usage_error(
        "device is '{}' (--device), but embeddings are fitted on a CPU; set device to 'cpu', or fit without embeddings "
        "(--ignore embedding)",
        context.device);
  return {{Device::Kind::kCpu, 0}, wanted.kind == Device::Kind::kCpu ? "" : "embeddings are fitted on a CPU"};
}

FitOptions fit_options_for(const ModelWishes& wishes, Model model, const Groups& groups, ViewUse views) {
  return {.model = model,
          .answers = groups.answers,
          .covariates = groups.covariates.count(),
          .tastes = groups.covariates.features,
          .sources = static_cast<int>(groups.sources),
          .views = views,
          .adversaries = wishes.adversaries,
          .max_iterations = wishes.max_iterations};
}

FitJob::FitJob(FitRequest request, const Context& context, const Lead* lead)
    : request_(std::move(request)), context_(context), lead_(lead) {
  request_.check();
  parse_device(context.device);  // reports a wrong device before anything is read
  if (!request_.warm_start.empty()) start_from(read_earlier_fit(request_.warm_start, context));
}

void FitJob::start_from(EarlierFit earlier) {
  if (earlier.model != name_of(request_.model))
    throw bad_input(
        "{}: a fit of model {}, but this fit is of model {}; warm_start (--warm-start) needs a fit of the same model",
        earlier.file.path, shown(earlier.model), name_of(request_.model));
  earlier_ = std::move(earlier);
}

Votes FitJob::read(const std::vector<std::string>& paths, const KnownFiles& known) {
  limit_memory(context_);
  return with_threads(threads(), [&] {
    Votes votes = read_votes(paths, context_, lead_ ? lead_->readers : nullptr);
    const auto remember = [&](const char* name, const std::string& path) {
      votes.known_files[name] = fingerprint(path, context_);
    };
    if (!has_discriminations(request_.model) && (!known.gold.empty() || !known.trust.empty()))
      throw usage_error(
          "known answers (--gold) and trusted annotators (--trust) are not used by the model {}; set model to 'rater' "
          "(--model rater)",
          name_of(request_.model));
    if (!known.gold.empty()) {
      add_known_pairs(read_known_pairs(known.gold, votes.item_ids, context_), votes.gold);
      remember("gold", known.gold);
    }
    if (!known.trust.empty()) {
      votes.trusted = read_trusted(known.trust, votes.annotator_ids, context_);
      remember("trust", known.trust);
    }
    if (!known.prior_score.empty()) {
      if (!request_.use_prior_score)
        throw usage_error(
            "a file of prior scores (--prior-score) and ignoring prior scores (--ignore prior_score) contradict each "
            "other; choose one");
      if (!votes.prior_score.empty())
        context_.tell(fmt::format("the scores in {} are used instead of 'items/prior_score'", known.prior_score));
      votes.prior_score = read_prior_scores(known.prior_score, votes.item_ids, context_);
      remember("prior_score", known.prior_score);
    }
    votes.embeddings =
        read_used_embeddings(known.embeddings, request_, request_.model, paths, votes.item_ids, context_);
    if (!known.embeddings.empty()) remember("embeddings", known.embeddings);
    return votes;
  });
}

int FitJob::threads() const { return lead_ ? lead_->threads : used_threads(context_.threads); }

template <class Act>
auto FitJob::with_checkpoint(const Act& act) {
  try {
    return act();
  } catch (const Error& error) {
    if (error.exit() == Exit::kInterrupted && checkpoint_) throw checkpoint_->interruption();
    if (error.exit() == Exit::kNotConverged && checkpoint_) checkpoint_->remove();  // a failed fit cannot be resumed
    throw;
  }
}

FitRecord FitJob::run(Votes votes) {
  return with_threads(threads(), [&] { return with_checkpoint([&] { return fit_all(std::move(votes)); }); });
}

FitRecord FitJob::fit_all(Votes all_votes) {
  FitRecord out;
  out.request = request_;
  out.votes = std::move(all_votes);
  out.threads = used_cores();
  Votes& votes = out.votes;
  Seconds& seconds = out.seconds;
  std::vector<std::string>& warnings = out.warnings;
  const MakeEngine make = [&](const Device& device, const Groups& groups) {
    return make_counted_engine(groups, request_.model, [&](const Groups& some) {
      return lead_ ? lead_->make_engine(device, some) : make_engine(device, some, context_);
    });
  };
  if (!has_discriminations(request_.model) && votes.gold.size() + votes.trusted.size() > 0) {
    if (votes.gold.size() > 0)
      context_.tell(fmt::format("{} known pairs (gold) are not used by the model {}", votes.gold.size(),
                                name_of(request_.model)));
    votes.gold = {};
    votes.trusted = {};
  }
  if (!has_discriminations(request_.model) || !request_.use_embeddings) votes.embeddings = nullptr;
  seconds.read = watch_.lap();
  if (!request_.checkpoint.empty()) {
    if (votes.embeddings != nullptr)
      throw usage_error(
          "checkpoint (--checkpoint): a fit with embeddings cannot be saved; leave checkpoint out, or fit without "
          "embeddings (--ignore embedding)");
    checkpoint_.emplace(request_.checkpoint, describe_work(request_, votes, earlier_), request_.checkpoint_every,
                        context_);
  }
  const auto [device, why] = choose_device_for(votes, votes.embeddings.get(), context_);
  out.why_device = why;
  begin_memory_limit(device, context_.memory_limit, context_.scratch_beside);
  Groups groups = group_votes_on(device, votes, request_.ties, context_.memory_limit);
  context_.check_stop();
  groups.embeddings = votes.embeddings;
  groups.covariates =
      find_covariates(votes, groups, {.prior_score = request_.use_prior_score, .features = request_.use_features});
  for (const std::string& name : groups.covariates.left_out)
    context_.tell(fmt::format(
        "'{}' is the same for all items of each component; it cannot explain votes and is not used", shown(name)));
  if (request_.use_sources)
    if (const std::string why_not = set_sources(groups, votes); !why_not.empty())
      context_.tell(fmt::format("'items/source' is not used: {}", why_not));
  out.limits = find_limits(groups, votes);
  out.findings = find_findings(votes, out.limits, std::time(nullptr));
  context_.check_stop();
  ViewUse views = has_discriminations(request_.model) ? choose_views(groups, votes, request_.views) : ViewUse::kNone;
  out.weights = weigh_votes(
      groups, votes, {.repeats = request_.repeats, .side_bias = request_.side_bias, .views = views != ViewUse::kNone});
  const GoldVotes gold_votes = add_gold(groups, votes.gold, votes.item_ids);
  context_.check_stop();
  out.share_in_blocks = views == ViewUse::kNone ? sampled_view_share(groups, votes) : 1;
  std::optional<ViewBlocks> blocks;  // set if votes must be held out by block
  if (out.share_in_blocks > 0.2) blocks = find_view_blocks(groups, votes);
  if (views != ViewUse::kNone) groups.views = find_views(groups, *blocks);
  if (views == ViewUse::kAlways && groups.views.empty())
    context_.tell(
        "annotators' own views (--views on) are not modelled: no annotator judged an item twice, or a component has "
        "more than 2,048 items");
  if (groups.views.empty()) views = ViewUse::kNone;
  if (blocks) {
    out.share_in_blocks = blocks->share();
    if (best_folds(*blocks) == FoldsBy::kVote) blocks.reset();
  }
  out.folds_by = blocks ? FoldsBy::kBlock : FoldsBy::kVote;
  seconds.group = watch_.lap();
  context_.check_stop();

  Copies& copies = out.copies;
  copies = suspect_copies(groups);
  const Column<float> own_weight = copies.clusters.empty() ? Column<float>() : groups.weight;
  weigh_copies(groups, copies);
  std::unique_ptr<Engine> engine = make(device, groups);
  context_.check_stop();
  groups.on_device.reset();  // the engine has its own copy by now
  FitOptions options = fit_options_for(request_, request_.model, groups, views);
  warn_of_twins(votes.inputs, warnings);
  if (earlier_) options.warm_start = priors_of(*earlier_, votes, groups, options.model, warnings);
  options.known = known_annotators(groups, votes, gold_votes);
  const auto run_fit = [&](FitKeeper* keeper) {
    Progress progress("fitting", 60, context_);
    return fit_model(*engine, count_votes(groups), options, iteration_report(progress), keeper);
  };
  const auto run_again = [&](FitKeeper* keeper) {
    engine.reset();
    engine = make(device, groups);
    return run_fit(keeper);
  };
  FitKeeper* first_keeper = checkpoint_ ? &*checkpoint_ : nullptr;
  std::optional<SettledFit> settled;  // kept in case suspected copies are cleared
  if (!copies.clusters.empty()) first_keeper = &settled.emplace(first_keeper);
  Fit& fit = out.fit;
  fit = run_fit(first_keeper);
  if (const auto suspects = copies.numbers(groups.annotators); !copies.clusters.empty()) {
    copies = confirm_copies(groups, fit, engine->sites(), copies);
    if (copies.numbers(groups.annotators) != suspects) {  // cleared annotators count as separate voters again
      groups.weight = own_weight;
      weigh_copies(groups, copies);
      fit = run_again(&*settled);
    }
  }
  settled.reset();
  // Annotators whose votes contradict their earlier estimates get a wide prior instead (see make_warm_start()). That
  // moves scores, so other annotators may fit afterwards. Repeat until the contradicted annotators stay the same.
  constexpr int kRounds = 5;
  std::vector<std::size_t> contradicted;
  std::vector<Population> known_before;
  if (earlier_) known_before = options.warm_start->annotators;
  for (int round = 0; earlier_ && round < kRounds; ++round) {
    std::vector<std::size_t> now = find_contradicted(groups, fit, engine->sites(), known_before);
    if (now == contradicted) break;
    contradicted = std::move(now);
    options.warm_start =
        make_warm_start(*earlier_, votes.annotator_ids, groups, options.model, votes.source_ids, contradicted);
    fit = run_again(nullptr);
  }
  out.contradicted = contradicted.size();
  out.earlier = earlier_;
  out.start = options.warm_start;
  share_estimates(groups, copies, fit);
  if (!contradicted.empty()) warnings.push_back(warn_of_contradicted(contradicted, votes, *earlier_));
  std::ranges::copy(warnings_at_caps(fit), std::back_inserter(warnings));
  if (!fit.sign_is_told && fit.standing.camps() && !request_.force) {
    for (const Finding& finding : out.findings) context_.tell(finding.text + " " + finding.remedy);
    throw Error(Exit::kNotConverged, fmt::format("{} Nothing was written. Give known answers (--gold) or trusted "
                                                 "annotators (--trust), or set force to get labels anyway (--force)",
                                                 why_not_told(fit)));
  }
  seconds.fit = watch_.lap();

  std::optional<Calibration>& calibration = out.calibration;
  if (request_.calibrate) try {
      calibration = calibrate(votes, groups, blocks, options, device, make, request_.seed, context_);
    } catch (const Error& error) {
      if (error.exit() != Exit::kNotConverged) throw;
      warnings.push_back(fmt::format("Not calibrated: {}.", error.what()));
    }
  seconds.calibrate = watch_.lap();

  const Column<float> weight_in_fit = fit.apart.empty() ? Column<float>() : groups.weight;
  if (!fit.apart.empty()) silence(groups, fit.apart);
  const LeftOut left_out = leave_out(groups, blocks, fit, *engine);
  if (!fit.apart.empty()) groups.weight = weight_in_fit;
  context_.check_stop();
  out.reliability = judge_predictions(calibration, blocks.has_value(), left_out);
  blocks.reset();
  std::optional<Drift> drift;
  if (!votes.timestamp.empty()) drift = find_drift(groups, fit, engine->sites(), votes.timestamp);
  context_.check_stop();
  const std::vector<Lift> lifts = find_lifts(groups, fit, engine->sites());
  out.device = engine->device();
  context_.check_stop();
  // Labels and writing need memory, so everything that is no longer used is freed first.
  Labels& labels = out.labels;
  {
    const PairLabels pair_labels = find_pair_labels(*engine, fit);
    std::optional<GoldLabels> gold;
    if (votes.gold.size() > 0) gold = label_gold(groups, fit, votes.gold, gold_votes, engine->sites());
    VoteEvidence evidence = find_evidence(groups, fit, engine->sites());
    engine.reset();
    labels = make_labels(groups, fit, pair_labels, votes.item_ids.size(), votes.size(), copies.numbers(groups.voters()),
                         &evidence);
    labels.gold = std::move(gold);
    if (labels.gold) judge_on_gold(groups, votes.gold, gold_votes, labels.annotators);
  }
  context_.check_stop();
  labels.drift = std::move(drift);
  groups = Groups();
  const double log_evidence = fit.posterior.log_evidence;
  fit.posterior = Posterior();
  fit.posterior.log_evidence = log_evidence;
  seconds.label = watch_.lap();

  if (calibration && calibration->helps()) calibrate_pairs(*calibration, labels.pairs);
  if (request_.strict && !fit.converged)
    throw Error(Exit::kNotConverged, fmt::format("{}, or leave strict (--strict) out. Nothing was written",
                                                 why_not_converged(fit, request_.max_iterations)));
  if (!fit.converged) {
    std::string unsettled = why_not_converged(fit, request_.max_iterations);
    unsettled.front() = 'N';
    warnings.push_back(unsettled + ".");
  }
  const auto [z, z_of_voters] = agreement_with_others(left_out.trials);
  out.agreement = {z, z_of_voters, left_out.trials.predicted.size()};
  add_fit_findings(out.agreement, labels, fit, out.findings);
  add_copy_findings(copies, votes.annotator_ids, out.findings);
  add_lift_findings(lifts, votes.item_ids, votes.source_ids, votes.annotator_ids, out.findings);
  return out;
}

FitResult FitJob::finish(FitRecord record) {
  FitResult out;
  out.provenance = describe(record).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  out.item_ids = std::move(record.votes.item_ids);
  out.annotator_ids = std::move(record.votes.annotator_ids);
  out.prompt_ids = std::move(record.votes.prompt_ids);
  out.prompt = std::move(record.votes.prompt);
  for (const std::uint32_t row : record.labels.sources.row) out.source_ids.push_back(record.votes.source_ids[row]);
  out.labels = std::move(record.labels);
  out.reliability = std::move(record.reliability);
  out.findings = std::move(record.findings);
  out.warnings = std::move(record.warnings);
  out.converged = record.fit.converged;
  out.iterations = record.fit.iterations;
  out.log_evidence = record.fit.posterior.log_evidence;
  out.device = std::move(record.device);
  if (checkpoint_) checkpoint_->remove();
  return out;
}

nlohmann::ordered_json FitJob::write(OutputFile& output, FitRecord& record, bool compress) {
  return with_threads(threads(), [&] {
    return with_checkpoint([&] {
      watch_.lap();
      nlohmann::ordered_json provenance = describe(record);
      write_fit(output, record.votes, record.labels, record.reliability, provenance, compress, context_);
      record.seconds.write = watch_.lap();
      if (checkpoint_) checkpoint_->remove();
      return provenance;
    });
  });
}

}  // namespace voxpop
