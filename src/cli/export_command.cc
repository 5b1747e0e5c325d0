#include "export/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/cut_short.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/stopwatch.h"
#include "core/strings.h"
#include "core/threads.h"
#include "guards/findings.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string input, output, format;
  std::vector<std::string> texts, prompt_texts, votes;
  std::string split;
  int threads = 0;
  ExportOptions options;
  CommonOptions common;
};

struct Part {
  std::string name;  ///< "": there is only one part
  double share;
};

/// Parses text such as "train=.95,val=.05".
std::vector<Part> parse_split(const std::string& text) {
  if (text.empty()) return {{"", 1.0}};
  std::vector<Part> parts;
  double total = 0;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string one = text.substr(begin, end - begin);
    const std::size_t equals = std::min(one.find('='), one.size());
    Part part{one.substr(0, equals), 0};
    const char* const last = one.data() + one.size();
    const auto [rest, error] = std::from_chars(one.data() + std::min(equals + 1, one.size()), last, part.share);
    const bool good_name = !part.name.empty() && std::ranges::all_of(part.name, [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_' || c == '-';
    });
    if (!good_name || error != std::errc() || rest != last || !(part.share > 0))
      throw usage_error(
          "--split: '{}' is not NAME=SHARE, with letters and digits and a share above 0: "
          "train=.95,val=.05",
          one);
    if (std::ranges::any_of(parts, [&](const Part& other) { return other.name == part.name; }))
      throw usage_error("--split: '{}' occurs twice", part.name);
    total += part.share;
    parts.push_back(std::move(part));
    begin = end + 1;
  }
  if (std::abs(total - 1) > 1e-6)
    throw usage_error("--split: the shares of '{}' add up to {:.4g}; they must add up to 1", text, total);
  if (parts.size() > OutputFile::kMost) throw usage_error("--split: more than {} parts", OutputFile::kMost);
  return parts;
}

/// Inserts the name of the part: "rows.jsonl" and "val" give "rows.val.jsonl".
std::string path_of(const std::string& output, const Part& part) {
  if (part.name.empty()) return output;
  const std::filesystem::path path(output);
  return (path.parent_path() / (path.stem().string() + "." + part.name + path.extension().string())).string();
}

/// Reads the votes that were fitted, from `paths` or else from the paths in the provenance. Throws if they are other
/// votes.
Votes fitted_votes(const FitFile& fit, std::vector<std::string> paths, const Context& context) {
  const Json inputs = fit.json.value("inputs", Json::array());
  const bool named = !paths.empty();
  constexpr std::size_t kLongestNames = 1000;
  for (std::size_t i = 0; !named && i < inputs.size(); ++i) paths.push_back(inputs[i].value("path", ""));
  Votes votes = read_votes(paths, context);
  bool same = votes.inputs.size() == inputs.size() && votes.annotator_ids.size() == fit.annotator_ids.size() &&
              votes.item_ids.size() == fit.item_ids.size();
  for (std::size_t i = 0; same && i < inputs.size(); ++i) same = inputs[i].value("xxh3", "") == votes.inputs[i].xxh3;
  if (!same)
    throw bad_input(
        "{}: was not fitted to the votes in {}; name the files that were fitted, in the same order (--votes), or fit "
        "again",
        fit.path, shown(fmt::format("{}", fmt::join(paths, ", ")), kLongestNames));
  return votes;
}

int export_command(Arguments& arguments) {
  return with_threads(used_threads(arguments.threads), [&] {
    const Context context = terminal_context(arguments.common);
    const bool to_stdout = arguments.output.empty();
    ExportOptions& options = arguments.options;
    options.format = format_named(arguments.format);
    const std::vector<Part> parts = parse_split(arguments.split);
    const bool of_votes = options.format == ExportFormat::kVotes;
    if (to_stdout && parts.size() > 1) throw usage_error("--split writes several files; add -o");
    if (of_votes && options.expand > 0)
      throw usage_error("--expand is for pairs; --format votes writes each vote once");
    if (!of_votes && !arguments.votes.empty()) throw usage_error("--votes is only for --format votes");
    std::vector<std::string> inputs = arguments.texts;
    inputs.insert(inputs.end(), arguments.prompt_texts.begin(), arguments.prompt_texts.end());
    inputs.insert(inputs.end(), arguments.votes.begin(), arguments.votes.end());
    inputs.push_back(arguments.input);
    std::vector<std::string> paths;
    std::vector<TextOutput> outputs;
    options.parts.clear();
    for (const Part& part : parts) {
      paths.push_back(path_of(arguments.output, part));
      require_other_output(inputs, paths.back());
      outputs.emplace_back(paths.back(), context);
      options.parts.push_back(part.share);
    }
    const Stopwatch watch;
    const FitFile fit = read_fit_file(arguments.input, context);
    std::optional<Votes> votes;
    if (of_votes) {
      votes = fitted_votes(fit, arguments.votes, context);
      for (const std::string& path : paths)
        for (const InputFile& input : votes->inputs) require_other_output({input.path}, path);
    }
    std::string text_files =
        arguments.prompt_texts.empty() ? "a file of --texts" : "a file of --texts or --prompt-texts";
    if (arguments.texts.size() + arguments.prompt_texts.size() == 1)
      text_files = arguments.texts.empty() ? arguments.prompt_texts[0] : arguments.texts[0];
    const EndWhenCutShort until_exported(text_files);
    std::optional<Texts> items, prompts;
    if (!arguments.texts.empty()) items.emplace(arguments.texts, fit.item_ids, context);
    if (!arguments.prompt_texts.empty()) {
      if (fit.prompt.empty())
        throw bad_input(
            "{}: no dataset 'items/prompt', so --prompt-texts cannot be used; import the votes with --prompt and fit "
            "again",
            arguments.input);
      prompts.emplace(arguments.prompt_texts, fit.prompt_ids, context);
    }
    const std::vector<Finding> findings = findings_from(fit.json.value("findings", Json()));
    const bool reliability_known = !has_kind(findings, kReliabilityUnknown);
    std::size_t told = 0;
    for (const Finding& finding : findings)
      if (finding.level == Level::kDoNotTrain && told++ < 10)  // a limit only; a fit has one or two
        context.tell(fmt::format("do not train on these labels yet: {} {}", finding.text, finding.remedy));
    if (!items && is_for_trainers(options.format)) context.tell("no --texts, so ids take the place of texts");
    for (const auto* texts : {&items, &prompts})
      if (*texts && (*texts)->passed_over() > 0)
        context.tell(
            fmt::format("{} texts have ids that are not in the fit and are not used", (*texts)->passed_over()));
    Progress progress("exporting", of_votes ? votes->size() : fit.labels.pairs.left.size(), context);
    const ExportTexts known{items ? &*items : nullptr, prompts ? &*prompts : nullptr};
    const auto report = [&](std::uint64_t done) { progress.update(done); };
    const ExportCounts counts =
        of_votes ? export_votes(fit, *votes, read_vote_counts(arguments.input, votes->size(), context), known, options,
                                outputs, report)
                 : export_rows(fit, known, options, outputs, report);
    const std::string first_conflict = [&] {
      if (counts.conflicting == 0) return std::string();
      const auto& left = of_votes ? votes->left : fit.labels.pairs.left;
      const auto& right = of_votes ? votes->right : fit.labels.pairs.right;
      return fmt::format("'{}' and '{}'", shown(fit.item_ids[left[counts.first_conflict]]),
                         shown(fit.item_ids[right[counts.first_conflict]]));
    }();
    const char* const things = of_votes ? "votes" : "pairs";
    if (counts.conflicting > 0)
      context.tell(
          fmt::format("{} {} are left out, because the texts of their two items have different prompts (such as {}); "
                      "correct \"prompt\" in the texts, or write rows without prompts (--no-prompts)",
                      counts.conflicting, things, first_conflict));
    if (counts.marked > 0)
      context.tell(
          fmt::format("{} {} have texts with the marks of turns of chat templates ('<|im_start|>' and others); a "
                      "tokenizer may read such a mark as a new turn, so remove marks from texts that you do not trust",
                      counts.marked, things));
    if (counts.exported == 0 && of_votes)
      throw bad_input(
          "{}: no vote is left to export: of {}, {} ties, {} that do not count, {} without texts, {} with two prompts",
          arguments.input, counts.pairs, counts.ties, counts.uncounted, counts.missing, counts.conflicting);
    if (counts.exported == 0)
      throw bad_input(
          "{}: no pair is left to export: of {}, {} tied, {} undecided, {} with too many flagged votes, {} without "
          "texts, {} with two prompts; relax the limits (--min-probability, --keep-ties, --max-flagged)",
          arguments.input, counts.pairs, counts.ties, counts.undecided, counts.flagged, counts.missing,
          counts.conflicting);
    std::uint64_t bytes = 0;
    for (TextOutput& output : outputs) {
      output.commit();
      bytes += output.bytes();
    }
    for (std::size_t i = 0; parts.size() > 1 && i < parts.size(); ++i)
      if (counts.rows[i] == 0)
        context.tell(
            fmt::format("--split: '{}' has no rows. All pairs of a prompt go to the same file (without prompts: all "
                        "pairs that votes connect), and there are too few of these groups for such shares",
                        parts[i].name));
    const double seconds = watch.seconds(), flip_rate = counts.expected_flips / static_cast<double>(counts.exported);
    const Json smoothing = of_votes             ? Json(nullptr)
                           : options.expand > 0 ? Json(0.0)
                           : reliability_known  ? Json(flip_rate)
                                                : Json(nullptr);
    std::FILE* const summary = to_stdout ? stderr : stdout;
    if (to_stdout && arguments.common.quiet) return 0;
    if (arguments.common.json) {
      Json json = {{"format", arguments.format},
                   {things, counts.pairs},
                   {"exported", counts.exported},
                   {"left_out_ties", counts.ties},
                   {"left_out_undecided", counts.undecided},
                   {"left_out_flagged", counts.flagged},
                   {"left_out_missing", counts.missing},
                   {"left_out_conflicting", counts.conflicting},
                   {"left_out_uncounted", counts.uncounted},
                   {"with_turn_marks", counts.marked},
                   {"label_smoothing", smoothing},
                   {"bytes", bytes},
                   {"seconds", seconds}};
      for (std::size_t i = 0; i < parts.size(); ++i)
        json["outputs"].push_back({{"path", paths[i]}, {"part", parts[i].name}, {"rows", counts.rows[i]}});
      print_json(summary, json);
      return 0;
    }
    if (of_votes)
      print_text(summary,
                 "{} of {} votes exported; left out: {} ties, {} that do not count in the fit, {} without texts{}\n",
                 counts.exported, counts.pairs, counts.ties, counts.uncounted, counts.missing,
                 counts.conflicting > 0 ? fmt::format(", {} with two prompts", counts.conflicting) : "");
    else
      print_text(summary,
                 "{} of {} pairs exported; left out: {} ties, {} undecided, {} by --max-flagged, {} without texts{}\n",
                 counts.exported, counts.pairs, counts.ties, counts.undecided, counts.flagged, counts.missing,
                 counts.conflicting > 0 ? fmt::format(", {} with two prompts", counts.conflicting) : "");
    if (!reliability_known)
      print_text(summary,
                 "p_chosen and margins come from the prior, not from the data: these votes say nothing about "
                 "reliability, so no label_smoothing is given\n");
    else if (options.expand == 0 && !of_votes)
      print_text(summary,
                 "{:.1f} % of the chosen responses would lose a vote of the reference annotator: for DPO, "
                 "label_smoothing={:.3f}\n",
                 100 * flip_rate, flip_rate);
    for (std::size_t i = 0; i < parts.size(); ++i)
      print_text(summary, "wrote {}: {} rows\n", to_stdout ? "to standard output" : one_line(paths[i]), counts.rows[i]);
    print_text(summary, "{:.1f} MB in {:.1f} s\n", static_cast<double>(bytes) / 1e6, seconds);
    return 0;
  });
}

}  // namespace

void add_export(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  ExportOptions& options = arguments->options;
  CLI::App& verb = *app.add_subcommand("export", "Write rows for reward-model trainers, one row per pair");
  verb.add_option("FIT.h5", arguments->input, "A fit (fit/1)")->required();
  verb.add_option("--format", arguments->format,
                  "Format of a trainer. csv and jsonl: everything that is known about a pair; nemo: the same as "
                  "nemo-aligner; votes: one row per vote, with its annotator's discrimination and side bias")
      ->required()
      ->check(CLI::IsMember(format_names()));
  verb.add_option("-o,--output", arguments->output, "File to write; default: standard output");
  verb.add_option(
      "--texts", arguments->texts,
      "JSONL, plain or .gz: {\"id\": item, \"text\": response}, and \"prompt\" if it has one; a text may be a list of "
      "messages. Without this file, ids take the place of texts (except in csv and jsonl, which have the ids anyway)");
  verb.add_option("--prompt-texts", arguments->prompt_texts, "JSONL: {\"id\": prompt, \"text\": prompt's text}");
  verb.add_option("--min-probability", options.min_probability,
                  "Leave out pairs whose better item has a smaller probability (pairs/probability_better)")
      ->check(within(0.5, 1.0))
      ->capture_default_str();
  verb.add_option("--max-flagged", options.max_flagged,
                  "Leave out pairs if more than this share of their votes came from noisy, random, one-sided or "
                  "adversarial annotators, or from copies (each account counts)")
      ->check(within(0, 1.0))
      ->capture_default_str();
  verb.add_option("--margin-scale", options.margin_scale, "Multiply margins (logits of the reference annotator)")
      ->check(within(0, 1000.0))
      ->capture_default_str();
  verb.add_option(
          "--expand", options.expand,
          "For trainers without weights: write a pair of average weight N times, other pairs in proportion to their "
          "weight, and swap a share of 1 - target of the rows. The rows then have no margin: it would count twice")
      ->check(CLI::Range(1, 1000));
  verb.add_option(
          "--votes", arguments->votes,
          "With --format votes: the files that were fitted, in the same order; default: their paths at that time")
      ->expected(1, -1);
  verb.add_option("--split", arguments->split,
                  "Write several files, NAME=SHARE,...: OUT.jsonl becomes OUT.NAME.jsonl. All pairs of a prompt go to "
                  "the same file; without prompts, all pairs that votes connect");
  verb.add_option("--seed", options.seed, "Seed of --split and --expand")->check(kSeedRange)->capture_default_str();
  verb.add_flag("--keep-ties", options.keep_ties, "Keep pairs even if more than half of their votes are ties");
  verb.add_flag("--keep-undecided", options.keep_undecided,
                "Keep pairs below --min-probability, and pairs with probability 1/2");
  verb.add_flag("--drop-missing", options.drop_missing,
                "Leave out pairs without a text, or without the prompt's text if the trainer needs it; without this "
                "option that is an error");
  verb.add_flag("--no-prompts", options.no_prompts,
                "Write rows without prompts: the texts contain them, or the trainer needs none")
      ->excludes("--prompt-texts");
  add_threads_option(verb, arguments->threads);
  add_common_options(verb, arguments->common);
  verb.footer(
      "Example:\n  voxpop export fit.h5 --format trl --texts responses.jsonl -o rows.jsonl --split train=.95,val=.05");
  verb.callback([arguments, &run] { run = [arguments] { return export_command(*arguments); }; });
}

}  // namespace voxpop
