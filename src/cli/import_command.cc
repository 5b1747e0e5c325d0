#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/strings.h"
#include "import/detect.h"
#include "import/import_votes.h"
#include "import/presets.h"
#include "votes/known.h"

namespace voxpop {
namespace {

struct ImportArguments {
  std::vector<std::string> inputs;
  std::string output;
  ImportOptions options;
  std::string preset, gold;
  bool detect = false, list_presets = false;
  std::string read_as;  ///< text about the options that --preset auto chose, and why
  bool no_compress = false;
  CommonOptions common;
};

nlohmann::ordered_json summary_of(const ImportArguments& arguments, const Votes& votes, const ImportReport& report) {
  double weight = 0, left = 0, right = 0;
  for (std::size_t vote = 0; vote < votes.size(); ++vote) {
    const double its_weight = votes.weight.empty() ? 1 : votes.weight[vote];
    weight += its_weight;
    left += votes.preference[vote] > 0 ? its_weight : 0;
    right += votes.preference[vote] < 0 ? its_weight : 0;
  }
  nlohmann::ordered_json summary = {{"output", arguments.output},
                                    {"votes", votes.size()},
                                    {"weight", weight},
                                    {"items", votes.item_ids.size()},
                                    {"annotators", votes.annotator_ids.size()},
                                    {"prompts", votes.prompt_ids.size()},
                                    {"sources", votes.source_ids.size()},
                                    {"gold", votes.gold.size()},
                                    {"left", left / weight},
                                    {"right", right / weight},
                                    {"tie", std::max(0.0, 1 - (left + right) / weight)},
                                    {"sides", votes.unknown_sides.empty() ? "known" : "unknown"},
                                    {"named_annotators", votes.anonymous.empty()},
                                    {"mapping", nlohmann::ordered_json::array()},
                                    {"rule", report.rule},
                                    {"examples", report.examples},
                                    {"skipped", report.skipped},
                                    {"bad_rows", report.bad_rows},
                                    {"first_bad_rows", report.first_bad_rows},
                                    {"texts", report.texts},
                                    {"notes", report.notes},
                                    {"unused_columns", report.unused_columns}};
  for (const Codes::Code& code : report.codes)
    summary["mapping"].push_back({{"value", code.value}, {"meaning", Codes::meaning(code)}, {"count", code.count}});
  return summary;
}

std::string counted(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void report_import(const ImportArguments& arguments, const Votes& votes, const ImportReport& report) {
  const auto summary = summary_of(arguments, votes, report);
  if (arguments.common.json) {
    print_json(summary);
    return;
  }
  print_text("{}: {}, {}, {}, {}{}\n", one_line(arguments.output), counted(votes.size(), "vote"),
             counted(votes.item_ids.size(), "item"),
             votes.anonymous.empty() ? counted(votes.annotator_ids.size(), "annotator") : "no annotators",
             counted(votes.prompt_ids.size(), "prompt"),
             votes.source_ids.size() == 0 ? "" : ", " + counted(votes.source_ids.size(), "source"));
  if (votes.gold.size() > 0) print_text("{} whose answer is known (gold)\n", counted(votes.gold.size(), "pair"));
  if (!votes.weight.empty()) print_text("weights add up to {:.6g}\n", summary["weight"].get<double>());
  if (votes.unknown_sides.empty())
    print_text("left {:.1f} %, right {:.1f} %, tie {:.1f} %\n", 100 * summary["left"].get<double>(),
               100 * summary["right"].get<double>(), 100 * summary["tie"].get<double>());
  else
    print_text("sides are unknown; ties {:.1f} %\n", 100 * summary["tie"].get<double>());
  std::vector<std::string> parts;
  for (const Codes::Code& code : report.codes)
    if (parts.size() < 20)
      parts.push_back(fmt::format("{} = {} ({})", shown(code.value), Codes::meaning(code), code.count));
  if (!parts.empty()) print_text("values: {}\n", fmt::join(parts, ", "));
  if (!arguments.read_as.empty()) print_text("{}\n", one_line(arguments.read_as));
  if (!report.rule.empty()) print_text("{}\n", report.rule);
  for (const std::string& example : report.examples) print_text("{}\n", example);
  if (report.bad_rows > 0) {
    print_text("{} left out:\n", counted(report.bad_rows, "row"));
    for (const std::string& problem : report.first_bad_rows) print_text("  {}\n", one_line(problem));
  }
  if (report.texts > 0) print_text("{}: {}\n", one_line(*arguments.options.texts_out), counted(report.texts, "text"));
  parts.clear();
  for (const std::string& name : report.unused_columns) parts.push_back(shown(name));
  if (!parts.empty()) print_text("columns not used: {}\n", fmt::join(parts, ", "));
}

using Name = ImportOptions::Name;

/// Options that say how files are read. Presets set the same options.
void add_vote_options(CLI::App& verb, ImportOptions& options) {
  const auto column = [&](const char* option, Name& name, const char* text) {
    return verb.add_option(option, name, text)->type_name("COLUMN");
  };
  const std::map<std::string, TableFormat> formats = {{"csv", TableFormat::kCsv},
                                                      {"tsv", TableFormat::kTsv},
                                                      {"jsonl", TableFormat::kJsonl},
                                                      {"json", TableFormat::kJson}};
  verb.add_option_function<std::string>(
          "--format", [&options, formats](const std::string& name) { options.format = formats.at(name); },
          "Format of the inputs; default: from their names")
      ->check(CLI::IsMember({"csv", "tsv", "jsonl", "json"}));
  verb.add_option_function<std::string>(
          "--delimiter",
          [&options](const std::string& text) {
            options.delimiter = text == "\\t" || text == "tab" ? '\t' : text.at(0);
          },
          "Separator of fields; default: the usual one of the format, or the one in the first line")
      ->check(CLI::IsMember({",", ";", "|", "tab", "\\t", "\t"}));
  verb.add_option_function<std::string>(
          "--quotes", [&options](const std::string& text) { options.quotes = text == "yes"; },
          "Whether fields may be in double quotes; default: yes, but no if tabs separate fields")
      ->check(CLI::IsMember({"yes", "no"}));
  verb.add_option("--each", options.each,
                  "JSON: a list whose elements are the rows; A,B: parallel lists; may be given several times")
      ->type_name("PATH")
      ->allow_extra_args(false);

  column("--left", options.left, "The item shown on the left; default: left");
  column("--right", options.right, "The item shown on the right; default: right");
  column("--preference", options.preference,
         "The vote: left, right, tie, or signed numbers from -9 to 9; other numbers need --map or --scale; default: "
         "preference");
  verb.add_option("--map", options.codes.map,
                  "Meaning of values, VALUE=left|right|tie|skip|STRENGTH,...; other values are an error. A value may "
                  "be in double quotes");
  verb.add_option("--scale", options.codes.scale,
                  "LOW..HIGH: whole numbers from the left item (LOW) to the right item (HIGH); the middle is a tie, "
                  "the distance from it is the strength");
  verb.add_option("--positive", options.codes.positive,
                  "The side that positive numbers, or the high end of --scale, mean; default: left, with --scale right")
      ->check(CLI::IsMember({"left", "right"}));
  column("--winner,--chosen", options.winner,
         "The item that won. With --loser, sides are unknown; with --left and --right the value is the winner's id, "
         "left, right or tie");
  column("--loser,--rejected", options.loser, "The item that lost");
  column("--left-won", options.left_won, "1 if the left item won, else 0; with --right-won");
  column("--right-won", options.right_won, "1 if the right item won, else 0");
  column("--left-wins", options.left_wins, "How often the left item won; with --right-wins");
  column("--right-wins", options.right_wins, "How often the right item won");
  column("--tied", options.tied, "1 for a tie, or the number of ties; with --left-won or --left-wins");
  column("--probability", options.probability,
         "Probability that the left item is better, 0 to 1; or on --scale LOW..HIGH, where LOW is certainly left");
  verb.add_option("--wide", options.wide, "Columns with votes, one per annotator")->type_name("A,B,...");
  column("--rank", options.rank,
         "Rank of an item in its ranking, 1 is the best; several columns: ranks of several items in one row");
  column("--rating", options.rating, "Rating of an item, compared like ranks; high is better");
  column("--item", options.item, "The ranked item; with several --rank columns as many");
  column("--group-by", options.group_by, "Rows with the same value here and the same annotator are one ranking");

  column("--annotator", options.annotator, "Who voted; default: annotator, if present. '' for none");
  verb.add_option("--unnamed", options.unnamed,
                  "Votes with an empty annotator: all from one annotator, or each from its own")
      ->check(CLI::IsMember({"together", "each"}));
  column("--prompt", options.prompt, "The prompt of the items; default: prompt, if present. '' for none");
  column("--within", options.within, "The prompt within which ids are unique: the id of an item is then PROMPT/ID");
  column("--timestamp", options.timestamp,
         "Seconds since 1970 or ISO 8601; default: timestamp, if present. '' for none");
  column("--weight", options.weight, "Weight of the vote, above 0; 1 is one vote");
  column("--count", options.count, "Number of votes that the row stands for");
  column("--judgement", options.judgement, "Rows with the same value are one act of judging");
  column("--source-left,--source-winner,--source-chosen", options.source_left,
         "The model that wrote the left (winning) response; default: model_left, if present. '' for none");
  column("--source-right,--source-loser,--source-rejected", options.source_right,
         "The model that wrote the right response; default: model_right, if present. '' for none");
  column("--source", options.source, "The model that wrote the ranked item");
  column("--text-left", options.text_left, "Text of the left item; without --left the id of the item is a hash of it");
  column("--text-right", options.text_right, "Text of the right item");
  column("--text-winner,--text-chosen", options.text_winner, "Text of the winner, as --text-left");
  column("--text-loser,--text-rejected", options.text_loser, "Text of the loser");
  column("--item-text", options.item_text, "Text of the ranked item");
  column("--prompt-text", options.prompt_text, "Text of the prompt");
  verb.add_flag("--common-prompt", options.common_prompt,
                "Both texts begin with their prompt, which is then removed from them");
  verb.add_option(
          "--texts-out", options.texts_out,
          "Write texts as JSONL for 'export --texts'; without --text-left the columns of the items are the texts")
      ->type_name("FILE");
  verb.add_option("--skip-bad", options.skip_bad, "Leave out up to this number of bad rows, and list them")
      ->capture_default_str();
}

/// Applies the options of a preset; options that the user gave override them. `verb`: the parsed command line.
void apply_options(const std::vector<std::string>& words, const CLI::App& verb, ImportOptions& options) {
  std::vector<std::string> others;
  for (std::size_t begin = 0, end; begin < words.size(); begin = end) {
    end = begin + 1;
    while (end < words.size() && !words[end].starts_with("--")) ++end;
    if (verb.get_option(words[begin])->count() == 0)
      others.insert(others.begin(), std::make_reverse_iterator(words.begin() + static_cast<std::ptrdiff_t>(end)),
                    std::make_reverse_iterator(words.begin() + static_cast<std::ptrdiff_t>(begin)));
  }
  CLI::App preset;
  add_vote_options(preset, options);
  preset.parse(others);  // CLI11 takes vectors in reverse order
}

std::string as_command(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += " " + quoted_for_shell(word);
  return text;
}

int import_command(ImportArguments& arguments, const CLI::App& verb) {
  if (arguments.list_presets) {
    for (const Preset& preset : presets())
      print_text("{:<24} {}\n{:<24} {}\n", preset.name, preset.about, "", as_command(preset.arguments()).substr(1));
    return 0;
  }
  if (arguments.inputs.empty()) throw usage_error("import needs a file of votes");
  if (arguments.detect) {
    const Detected detected =
        detect(arguments.inputs.front(), arguments.options.format, terminal_context(arguments.common));
    std::filesystem::path output = std::filesystem::path(arguments.inputs.front()).filename();
    if (lower(output.extension().string()) == ".gz") output.replace_extension();
    output.replace_extension(".h5");
    const std::string file = quoted_for_shell(arguments.inputs.front());
    print_text("voxpop import {}{} -o {}\n{}\n", file, as_command(detected.arguments),
               quoted_for_shell(output.string()), detected.why);
    return 0;
  }
  if (arguments.output.empty()) throw usage_error("import needs --output: the file of votes to write");
  require_other_output(arguments.inputs, arguments.output);
  if (arguments.options.texts_out)
    require_other_output(arguments.inputs, *arguments.options.texts_out, "file of texts");
  const Context context = terminal_context(arguments.common);
  if (!arguments.preset.empty()) {
    std::vector<std::string> words = {"--preset", arguments.preset};
    if (arguments.preset == "auto") {
      const Detected detected = detect(arguments.inputs.front(), arguments.options.format, context);
      words = detected.arguments;
      arguments.read_as =
          fmt::format("read with{}: {}", words.empty() ? " no options" : as_command(words), detected.why);
    }
    // Two models may write the same text, so an item may have two sources. That is an error only if the user named the
    // columns of sources.
    arguments.options.strict_sources = arguments.options.source_left || arguments.options.source;
    if (!words.empty() && words.front() == "--preset") words = find_preset(words.back()).arguments();
    apply_options(words, verb, arguments.options);
  }
  OutputFile output(arguments.output);
  ImportReport report;
  Votes votes = import_votes(arguments.inputs, arguments.options, context, &report);
  if (!arguments.gold.empty()) votes.gold = read_known_pairs(arguments.gold, votes.item_ids, context);
  write_votes(output, votes, !arguments.no_compress, context);
  report_import(arguments, votes, report);
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Run& run) {
  CLI::App& verb =
      *app.add_subcommand("import", "Turn CSV, TSV or JSON votes into an HDF5 file of votes (comparisons/1)");
  const auto arguments = std::make_shared<ImportArguments>();
  ImportOptions& options = arguments->options;
  verb.add_option("IN", arguments->inputs, "CSV, TSV, JSONL or JSON files, plain or .gz; several are one data set");
  verb.add_option("-o,--output", arguments->output, "The file of votes to write (comparisons/1)");
  verb.add_option(
      "--preset", arguments->preset,
      "Read the files of this tool or data set; auto: the preset that matches the columns. Other options override it");
  verb.add_flag("--list-presets", arguments->list_presets, "List the presets with their options");
  verb.add_flag("--detect", arguments->detect, "Print the command that reads the file, and why");
  add_vote_options(verb, options);
  verb.add_option("--gold", arguments->gold,
                  "Pairs whose answer is known, for 'fit' (CSV, TSV, JSONL: left, right, preference, as for 'fit "
                  "--gold'); they are written into the file with the votes")
      ->type_name("FILE");
  verb.add_flag("--no-compress", arguments->no_compress, "Write the file without compression");
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop import votes.csv.gz -o votes.h5 --map \"A>B=left,B>A=right,tie=tie\"");
  verb.callback([arguments, &run, &verb] { run = [arguments, &verb] { return import_command(*arguments, verb); }; });
}

}  // namespace voxpop
