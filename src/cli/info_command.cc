#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/json.h"
#include "core/strings.h"
#include "hdf5/hdf5.h"

namespace voxpop {
namespace {

struct Arguments {
  std::string input;
  CommonOptions common;
};

int info_command(const Arguments& arguments) {
  const InputHdf5 file(arguments.input, terminal_context(arguments.common));
  const std::string schema = file.attribute("voxpop_schema");
  if (!schema.empty() && schema != "comparisons/1" && schema != "fit/1" && schema != "checkpoint/1")
    throw bad_input("{}: schema '{}'; this version knows comparisons/1, fit/1 and checkpoint/1", arguments.input,
                    shown(schema));
  nlohmann::ordered_json json = {{"path", arguments.input}, {"schema", schema}};
  for (const std::string& name : file.datasets()) json["datasets"][name] = file.describe(name);
  if (file.has("items/features")) {
    const Strings names = file.attribute("items/features", "names");
    std::string text = json["datasets"]["items/features"];
    for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? ": " : ", ") + shown(names[i]);
    json["datasets"]["items/features"] = text;
  }
  const std::string provenance = file.attribute(schema == "checkpoint/1" ? "of" : "provenance");
  if (!provenance.empty()) {
    json["provenance"] = parse_json(provenance);
    if (json["provenance"].is_discarded())
      json["provenance"] = provenance;  // not JSON, or none of ours: shown as it is
  }
  if (arguments.common.json) {
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{}: {}\n", arguments.input, schema.empty() ? "HDF5 without a voxpop schema" : "schema " + schema);
  if (json.contains("datasets"))
    for (const auto& [name, text] : json["datasets"].items())
      fmt::print("  {:<30} {}\n", one_line(name), one_line(text.get<std::string>()));
  if (json.contains("provenance")) {
    std::istringstream lines("provenance: " +
                             json["provenance"].dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    for (std::string line; std::getline(lines, line);) fmt::print("{}\n", one_line(line));
  }
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("info", "What a file holds: schema, datasets, provenance");
  verb.add_option("FILE.h5", arguments->input, "A file of any voxpop schema")->required();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop info fit.h5 --json");
  verb.callback([=, &run] { run = [arguments] { return info_command(*arguments); }; });
}

}  // namespace voxpop
