#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "import/import_votes.h"

namespace voxpop {
namespace {

struct ImportArguments {
  std::vector<std::string> inputs;
  std::string output;
  ImportOptions options;
  bool no_compress = false;
  CommonOptions common;
};

void report_import(const ImportArguments& arguments, const Votes& votes,
                   const std::vector<std::string>& unused_columns) {
  const auto share = [&](auto is_it) {
    return static_cast<double>(std::ranges::count_if(votes.preference, is_it)) / static_cast<double>(votes.size());
  };
  const double left = share([](int preference) { return preference > 0; });
  const double right = share([](int preference) { return preference < 0; });
  const double tie = share([](int preference) { return preference == 0; });
  if (arguments.common.json) {
    const nlohmann::ordered_json summary = {{"output", arguments.output},
                                            {"votes", votes.size()},
                                            {"items", votes.item_ids.size()},
                                            {"annotators", votes.annotator_ids.size()},
                                            {"prompts", votes.prompt_ids.size()},
                                            {"left", left},
                                            {"right", right},
                                            {"tie", tie},
                                            {"unused_columns", unused_columns}};
    fmt::print("{}\n", summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {} votes, {} items, {} annotators, {} prompts\n", arguments.output, votes.size(),
             votes.item_ids.size(), votes.annotator_ids.size(), votes.prompt_ids.size());
  fmt::print("left {:.1f} %, right {:.1f} %, tie {:.1f} %\n", 100 * left, 100 * right, 100 * tie);
  std::vector<std::string> names;
  for (const std::string& name : unused_columns) names.push_back(shown(name));
  if (!names.empty()) fmt::print("columns not used: {}\n", fmt::join(names, ", "));
}

int import_command(const ImportArguments& arguments) {
  require_other_output(arguments.inputs, arguments.output);
  OutputFile output(arguments.output);
  std::vector<std::string> unused_columns;
  const Votes votes = import_votes(arguments.inputs, arguments.options, arguments.common.quiet, &unused_columns);
  write_votes(output, votes, !arguments.no_compress);
  report_import(arguments, votes, unused_columns);
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Run& run) {
  CLI::App& verb = *app.add_subcommand("import", "Turn CSV, TSV or JSONL votes into a comparisons file");
  const auto arguments = std::make_shared<ImportArguments>();
  ImportOptions& options = arguments->options;
  verb.add_option("IN", arguments->inputs, "CSV, TSV or JSONL files, plain or .gz; several are one data set")
      ->required();
  verb.add_option("-o,--output", arguments->output, "The comparisons file to write")->required();
  const std::map<std::string, TableFormat> formats = {
      {"csv", TableFormat::kCsv}, {"tsv", TableFormat::kTsv}, {"jsonl", TableFormat::kJsonl}};
  verb.add_option_function<std::string>(
          "--format", [&options, formats](const std::string& name) { options.format = formats.at(name); },
          "Format of the inputs; default: by their names")
      ->check(CLI::IsMember({"csv", "tsv", "jsonl"}));
  verb.add_option("--left", options.left, "Column with the item shown on the left")->capture_default_str();
  verb.add_option("--right", options.right, "Column with the item shown on the right")->capture_default_str();
  verb.add_option("--preference", options.preference,
                  "Column with the vote: left, right, tie, 1, -1, 0 or a grade to +-9")
      ->capture_default_str();
  verb.add_option("--annotator", options.annotator, "Column with who voted; default: annotator, where there is one");
  verb.add_option("--prompt", options.prompt, "Column with the items' prompt; default: prompt, where there is one");
  verb.add_option("--timestamp", options.timestamp,
                  "Column with seconds since 1970; default: timestamp, where there is one");
  verb.add_option("--map", options.map,
                  "What preference values mean, VALUE=left|right|tie|GRADE,...; others are refused");
  verb.add_flag("--no-compress", arguments->no_compress, "Write the file without compression");
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop import votes.csv.gz -o votes.h5 --map \"A>B=left,B>A=right,tie=tie\"");
  verb.callback([arguments, &run] { run = [arguments] { return import_command(*arguments); }; });
}

}  // namespace voxpop
