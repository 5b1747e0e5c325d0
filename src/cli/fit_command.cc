#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/fit_summary.h"
#include "cli/model_options.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/scratch_memory.h"
#include "core/strings.h"
#include "job/fit_job.h"
#include "label/truth_comparison.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> inputs;
  std::string output;
  std::string model = "rater";
  ModelOptions options;
  FitRequest request;
  KnownFiles known;
  bool no_compress = false;
  CommonOptions common;
};

/// Absolute path without symbolic links, "." and "..". The file need not exist.
std::filesystem::path whole_path(const std::string& path) {
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path));
}

void require_other_files(const Arguments& arguments) {
  const std::string& checkpoint = arguments.request.checkpoint;
  require_other_output(arguments.inputs, arguments.output);
  require_other_output(arguments.inputs, checkpoint, "checkpoint");
  if (!checkpoint.empty() && whole_path(checkpoint) == whole_path(arguments.output))
    throw usage_error("{}: is both the output and the checkpoint; choose another file for the checkpoint", checkpoint);
}

void print_record(const FitRecord& record, Json provenance, const std::string& output) {
  const Labels& labels = record.labels;
  provenance["warnings"] = warnings_of(record.findings, record.warnings);
  provenance["output"] = output;
  provenance["peak_memory"] = ScratchMemory::peak();
  if (labels.drift) provenance["drift"] = describe_drift(record.votes, *labels.drift);
  std::map<std::string, int> flags;
  for (std::size_t a = 0; a < labels.annotators.flag.size(); ++a)
    if (labels.annotators.votes[a] > 0) ++flags[flag_names()[labels.annotators.flag[a]]];
  if (record.fit.model != Model::kBradleyTerry) provenance["flags"] = flags;
  if (record.votes.truth)
    provenance["truth"] = describe_truth(compare_with_truth(labels, *record.votes.truth), record.fit.model);
  print_json(provenance);
}

/// `lead`: what the leader of several ranks fits with; null: one process.
int fit_votes(const Arguments& arguments, const Context& context, const Lead* lead = nullptr) {
  FitJob job(arguments.request, context, lead);
  require_other_files(arguments);
  OutputFile output(arguments.output);
  FitRecord record = job.run(job.read(arguments.inputs, arguments.known));
  const Json provenance = job.write(output, record, !arguments.no_compress);
  if (ScratchMemory::is_exceeded())
    record.warnings.push_back(fmt::format(
        "--memory-limit was exceeded: memory outside the scratch files came to {} MiB.", ScratchMemory::peak() >> 20));
  if (arguments.common.json)
    print_record(record, provenance, arguments.output);
  else
    print_summary(record, arguments.output);
  return 0;
}

int fit_command(Arguments& arguments) {
  static_cast<ModelWishes&>(arguments.request) = arguments.options.wishes();
  arguments.request.model = model_named(arguments.model);
  Context context = context_of(arguments.options, arguments.common);
  context.scratch_beside = arguments.output;
  if (launched_processes() == 1) return fit_votes(arguments, context);
  return run_in_ranks(
      context, [&](const Lead& lead) { return fit_votes(arguments, context, &lead); },
      [](int rank, const std::string& message) {
        tell(fmt::format("voxpop: rank {}: {}\n", rank, one_line(message)));
      });
}

}  // namespace

void add_fit(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("fit", "Fit votes: estimate calibrated labels, item scores and annotators");
  verb.add_option("IN.h5", arguments->inputs, "Votes (comparisons/1); several files are one data set, joined by ids")
      ->required();
  verb.add_option("-o,--output", arguments->output, "Fit to write (fit/1)")->required();
  verb.add_option("--model", arguments->model,
                  "rater: each annotator has a discrimination, a side bias and a tie habit; bt: all annotators are "
                  "alike; crowd-bt: each annotator has a probability eta that it means its vote (Chen et al. 2013)")
      ->check(known_model())
      ->capture_default_str();
  add_model_options(verb, arguments->options);
  add_embeddings_option(verb, arguments->known.embeddings);
  verb.add_option("--warm-start", arguments->request.warm_start,
                  "An earlier fit of the same model (fit/1). Its estimates of annotators are the prior here, so new "
                  "votes can be fitted without the old ones. Scores are then in the unit of the earlier fit")
      ->type_name("FIT.h5")
      ->check(file_name());
  verb.add_option("--gold", arguments->known.gold,
                  "Pairs whose answer is known (CSV, TSV, JSONL: left, right, preference; the preference may be the "
                  "probability that the left item is better). They are evidence in the fit, together with the group "
                  "'gold' of the votes' files")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_option("--trust", arguments->known.trust, "Annotators known to be good (CSV, TSV, JSONL: annotator)")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_option("--prior-score", arguments->known.prior_score,
                  "Scores of the items by a reward model (CSV, TSV, JSONL: id, score), on any scale, used instead of "
                  "'items/prior_score'. The prior mean of each item's score is then a multiple of it")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_flag("--force", arguments->request.force,
                "Write labels even if two camps of annotators contradict each other and nothing shows which camp is "
                "right; without this option such a fit exits with 5");
  verb.add_option("--seed", arguments->request.seed,
                  "Seed of the folds of --calibrate; the fit itself uses no random numbers")
      ->check(kSeedRange)
      ->capture_default_str();
  verb.add_flag("--calibrate", arguments->request.calibrate,
                "Fit five more times, each time without a fifth of the votes, and correct pairs/probability by how "
                "well these votes are predicted, if that lowers their log loss by more than its standard error");
  verb.add_flag("--strict", arguments->request.strict, "Exit with 5 and write nothing if the fit does not converge");
  verb.add_option("--checkpoint", arguments->request.checkpoint,
                  "File that saves the state of the fit, at intervals and when interrupted. If it exists, the fit "
                  "continues from it, with a bit-identical result. It is removed when the fit is done")
      ->check(file_name());
  verb.add_option("--checkpoint-every", arguments->request.checkpoint_every, "Seconds between checkpoints")
      ->needs("--checkpoint")
      ->check(within(0, 1e9))
      ->capture_default_str();
  verb.add_flag("--no-compress", arguments->no_compress, "Write uncompressed datasets");
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop fit monday.h5 tuesday.h5 -o fit.h5 --threads 8");
  verb.callback([arguments, &run] {
    arguments->request.asked_by = command_line();
    run = [arguments] { return fit_command(*arguments); };
  });
}

}  // namespace voxpop
