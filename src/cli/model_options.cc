#include "cli/model_options.h"

#include <algorithm>

#include "cli/terminal.h"
#include "core/error.h"

namespace voxpop {
namespace {

CLI::Validator one_of(const std::vector<std::string>& names) { return CLI::IsMember(names); }

}  // namespace

CLI::Validator known_model() {
  return {[](const std::string& name) -> std::string {
            try {
              model_named(name);
              return "";
            } catch (const Error& error) {
              return error.what();
            }
          },
          CLI::IsMember(names_up_to(Model::kRater)).get_description()};
}

CLI::Validator file_name() {
  return {[](const std::string& name) { return name.empty() ? "no file is given" : ""; }, "", ""};
}

void add_model_options(CLI::App& verb, ModelOptions& options) {
  verb.add_option("--ties", options.ties,
                  "model: a tie is an answer of its own, more likely for items of similar quality and for annotators "
                  "and prompts with many ties; half: a tie is half a vote for each side; drop: ties do not count")
      ->check(one_of(names_up_to(Ties::kDrop)))
      ->capture_default_str();
  verb.add_option("--repeats", options.repeats,
                  "Repeated votes of one annotator on one pair. all: each counts as a vote; first, last: only that one "
                  "counts (by time, if votes have times); one: together they weigh as one vote. Default: one; but all "
                  "if the file says that they are independent, if they are separate judgements "
                  "(comparisons/judgement), or if the annotator is unknown")
      ->check(one_of(names_up_to(Repeats::kOne)));
  verb.add_option(
          "--views", options.views,
          "Model an annotator's own view of items: its votes about the same items (a ranking, both orders of a pair) "
          "agree more with each other than with the votes of others. Model rater only. auto: on for rankings; also if "
          "40 % of the votes share items with other votes of their annotator and a test on the votes finds own views")
      ->check(one_of(names_up_to(ViewChoice::kOff)))
      ->capture_default_str();
  verb.add_flag("--no-side-bias", options.no_side_bias, "Estimate no side bias, as for votes whose sides are unknown");
  verb.add_option("--device", options.device,
                  "Where to fit: cpu, cuda, cuda:N, or auto. The summary says what auto chose, and why")
      ->capture_default_str();
  verb.add_option("--memory-limit", options.memory_limit,
                  "Memory limit, such as 8GB. With a CUDA device: of its memory; larger data go through it in slabs. "
                  "On a CPU: of this process; long columns are in scratch files (in TMPDIR if that is on a disk, else "
                  "beside the output or in this folder)")
      ->transform(CLI::AsSizeValue(false))
      ->transform(CLI::Validator(  // runs before AsSizeValue, which would read -1 as 2^64 - 1
          [](const std::string& text) { return text.find('-') != text.npos ? "must not be negative" : ""; }, ""))
      ->default_str("the free memory");
  add_threads_option(verb, options.threads);
  verb.add_option("--max-iterations", options.max_iterations,
                  "Largest number of iterations; a fit that reaches it has not converged")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb.add_option("--ignore", options.ignore,
                  "Data about items that the fit should not use, separated by commas: prior_score, features, sources, "
                  "embedding")
      ->delimiter(',')
      ->check(CLI::IsMember({"prior_score", "features", "sources", "embedding"}));
  verb.add_flag("--no-adversaries", options.no_adversaries, "crowd-bt: keep every eta above 1/2");
}

void add_embeddings_option(CLI::App& verb, std::string& path) {
  verb.add_option("--embeddings", path,
                  "Embeddings of the items (.h5 with ids; .npy, .safetensors: one row per item, in the order of "
                  "'items/id'), used instead of 'items/embedding'. Model rater only. The prior mean of each score is "
                  "then a linear function of the embedding, so prompts that share no item help each other")
      ->type_name("FILE")
      ->check(file_name());
}

ModelWishes ModelOptions::wishes() const {
  const auto uses = [&](const char* name) { return std::ranges::find(ignore, name) == ignore.end(); };
  return {.ties = ties_named(ties),
          .repeats = repeats.empty() ? std::nullopt : std::optional(repeats_named(repeats)),
          .side_bias = !no_side_bias,
          .views = views_named(views),
          .adversaries = !no_adversaries,
          .use_prior_score = uses("prior_score"),
          .use_features = uses("features"),
          .use_sources = uses("sources"),
          .use_embeddings = uses("embedding"),
          .max_iterations = max_iterations};
}

Context context_of(const ModelOptions& options, const CommonOptions& common) {
  Context context = terminal_context(common);
  context.threads = options.threads;
  context.device = options.device;
  context.memory_limit = options.memory_limit;
  return context;
}

}  // namespace voxpop
