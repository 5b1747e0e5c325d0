#include "cli/model_options.h"

#include <algorithm>

#include "cli/terminal.h"
#include "core/error.h"

namespace voxpop {
namespace {

const std::vector<std::string> kModels = {"bt", "crowd-bt", "rater"};
const std::vector<std::string> kTies = {"model", "half", "drop"};
const std::vector<std::string> kRepeats = {"all", "first", "last", "one"};
const std::vector<std::string> kViews = {"auto", "on", "off"};

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
          CLI::IsMember(kModels).get_description()};
}

CLI::Validator file_name() {
  return {[](const std::string& name) { return name.empty() ? "no file is named" : ""; }, "", ""};
}

void add_model_options(CLI::App& verb, ModelOptions& options) {
  verb.add_option(
          "--ties", options.ties,
          "model: a tie is an answer of its own kind, the likelier the closer the items are and the more the "
          "annotator or the prompt has a habit of ties; half: half a vote to each side; drop: ties do not count")
      ->check(one_of(kTies))
      ->capture_default_str();
  verb.add_option(
          "--repeats", options.repeats,
          "Votes of an annotator on a pair that it has judged before: all: each is a vote; first, last: one of "
          "them counts (by time, where votes have times); one: together they weigh as one vote. Default: one, "
          "but all where the file says that they are independent, and of votes that are judgements of their own "
          "(comparisons/judgement) or name no annotator")
      ->check(one_of(kRepeats));
  verb.add_option(
          "--views", options.views,
          "Whether an annotator's votes about the same items (a ranking, both orders of a pair) rest on its own "
          "view of them, so that they agree more with each other than with others' votes; model rater alone. "
          "auto: on for rankings; and where 40 % of the votes share items with others of their annotator, if "
          "the votes show that it is so")
      ->check(one_of(kViews))
      ->capture_default_str();
  verb.add_flag("--no-side-bias", options.no_side_bias, "Learn no side bias, as of votes whose sides are not known");
  verb.add_option("--device", options.device,
                  "Where to fit: cpu, cuda, cuda:N, or auto, which says what it chose and why")
      ->capture_default_str();
  verb.add_option(
          "--memory-limit", options.memory_limit,
          "Memory that may be used, e.g. 8GB; of a CUDA device: more votes than fit go through it in slabs; on a CPU: "
          "of this process: long columns lie in scratch files (in TMPDIR where that is a disk, else beside the output "
          "or here)")
      ->transform(CLI::AsSizeValue(false))
      ->transform(CLI::Validator(  // before that one, which would take -1 for 2^64 - 1
          [](const std::string& text) { return text.find('-') != text.npos ? "must not be negative" : ""; }, ""))
      ->default_str("what is free");
  add_threads_option(verb, options.threads);
  verb.add_option("--max-iterations", options.max_iterations, "Give up settling after this many iterations")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb.add_option("--ignore", options.ignore,
                  "What is known of items that should not be used, separated by commas: prior_score, features, "
                  "sources, embedding")
      ->delimiter(',')
      ->check(CLI::IsMember({"prior_score", "features", "sources", "embedding"}));
  verb.add_flag("--no-adversaries", options.no_adversaries, "crowd-bt: every eta lies above 1/2");
}

void add_embeddings_option(CLI::App& verb, std::string& path) {
  verb.add_option("--embeddings", path,
                  "Items' embeddings (.h5 with ids; .npy, .safetensors: a row an item, in the order of 'items/id'), in "
                  "place of 'items/embedding'; rater alone: each item's score is normal about a linear function of its "
                  "embedding, so that "
                  "prompts that share no item help each other")
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
