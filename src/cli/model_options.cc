#include "cli/model_options.h"

#include "core/error.h"
#include "core/launch.h"

namespace voxpop {

CLI::Validator known_model() {
  const CLI::Validator members = CLI::IsMember(kModels);
  return CLI::Validator(
      [members](std::string& name) -> std::string {
        if (name == "lapse")
          return "lapse is no model any more: what it found in real votes was how often each annotator ties, which "
                 "rater has now; use rater";
        return members(name);
      },
      members.get_description());
}

CLI::Validator file_name() {
  return {[](const std::string& name) { return name.empty() ? "no file is named" : ""; }, "", ""};
}

void add_model_options(CLI::App& verb, ModelOptions& options) {
  verb.add_option(
          "--ties", options.ties,
          "model: a tie is an answer of its own kind, the likelier the closer the items are and the more the "
          "annotator or the prompt has a habit of ties; half: half a vote to each side; drop: ties do not count")
      ->check(CLI::IsMember(kTies))
      ->capture_default_str();
  verb.add_option(
          "--repeats", options.repeats,
          "Votes of an annotator on a pair that it has judged before: all: each is a vote; first, last: one of "
          "them counts (by time, where votes have times); one: together they weigh as one vote. Default: one, "
          "but all where the file says that they are independent, and of votes that are judgements of their own "
          "(comparisons/judgement) or name no annotator")
      ->check(CLI::IsMember(kRepeats));
  verb.add_option(
          "--views", options.views,
          "Whether an annotator's votes about the same items (a ranking, both orders of a pair) rest on its own "
          "view of them, so that they agree more with each other than with others' votes; model rater alone. "
          "auto: on for rankings; and where 40 % of the votes share items with others of their annotator, if "
          "the votes show that it is so")
      ->check(CLI::IsMember(kViews))
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
  verb.add_option("--embeddings", options.embeddings,
                  "Items' embeddings (.h5 with ids; .npy, .safetensors: a row an item, in the order of 'items/id'), in "
                  "place of 'items/embedding'; rater alone: each item's score is normal about a linear function of its "
                  "embedding, so that "
                  "prompts that share no item help each other")
      ->type_name("FILE")
      ->check(file_name());
  verb.add_flag("--no-adversaries", options.no_adversaries, "crowd-bt: every eta lies above 1/2");
}

std::shared_ptr<const Embeddings> read_embeddings(const ModelOptions& options, const std::string& model,
                                                  const std::vector<std::string>& inputs, const Votes& votes,
                                                  bool quiet) {
  if (!options.uses("embedding")) {
    if (!options.embeddings.empty()) throw usage_error("--embeddings and --ignore embedding contradict each other");
    return nullptr;
  }
  // Where all annotators are alike, votes do not tell the scores' spread about what embeddings say from their own
  // noise.
  if (!has_discriminations(kModels.at(model))) {
    if (!options.embeddings.empty()) throw usage_error("--embeddings: {} does not use them; use --model rater", model);
    return nullptr;
  }
  auto embeddings = options.embeddings.empty() ? read_embeddings(inputs, votes.item_ids, quiet)
                                               : read_embedding_file(options.embeddings, votes.item_ids, quiet);
  if (embeddings != nullptr && launched_processes() > 1)
    throw usage_error("{}: embeddings are fitted by one process; start one, or leave them out with --ignore embedding",
                      embeddings->source);
  return embeddings;
}

DeviceChoice choose_device(const ModelOptions& options, const Votes& votes, const Embeddings* embeddings) {
  const Device wanted = parse_device(options.device);
  if (embeddings == nullptr) return choose_device(wanted, votes.size());
  if (wanted.kind == Device::Kind::kCuda)
    throw usage_error("--device {}: embeddings are fitted on a CPU; leave them out with --ignore embedding",
                      options.device);
  return {{Device::Kind::kCpu, 0}, wanted.kind == Device::Kind::kCpu ? "" : "embeddings are fitted on a CPU"};
}

void limit_memory(const ModelOptions& options, const std::string& output) {
  if (options.memory_limit > 0 && options.memory_limit < 1 << 20)
    throw usage_error("--memory-limit: {} bytes are too few for anything; with a unit: 500MB, 8GB",
                      options.memory_limit);
  if (!may_use_cuda(parse_device(options.device)))
    begin_memory_limit({Device::Kind::kCpu}, options.memory_limit, output);
}

}  // namespace voxpop
