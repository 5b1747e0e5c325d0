#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/commands.h"
#include "cli/print.h"
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

constexpr std::size_t kLongest = 1000;  // bytes per line; --json has no limit

int info_command(const Arguments& arguments) {
  const Context context = terminal_context(arguments.common);
  const InputHdf5 file(arguments.input, context);
  const std::string schema = file.attribute("voxpop_schema");
  if (!schema.empty() && schema != "comparisons/1" && schema != "fit/1" && schema != "checkpoint/1")
    throw bad_input("{}: schema '{}'; this version knows comparisons/1, fit/1 and checkpoint/1", arguments.input,
                    shown(schema));
  nlohmann::ordered_json json = {{"path", arguments.input}, {"schema", schema}};
  const std::vector<std::string> datasets = file.datasets();
  if (!datasets.empty()) json["datasets"] = nlohmann::ordered_json::object();
  for (const std::string& name : datasets) {
    context.check_stop();
    std::string text = file.describe(name);
    if (name == "items/features") {
      const Strings names = file.attribute(name, "names");
      for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? ": " : ", ") + shown(names[i]);
    }
    // Append directly: json["datasets"][name] would search all members first.
    json["datasets"].get_ref<nlohmann::ordered_json::object_t&>().push_back({name, std::move(text)});
  }
  const std::string provenance = file.attribute(schema == "checkpoint/1" ? "of" : "provenance");
  if (!provenance.empty()) {
    json["provenance"] = parse_json(provenance);
    if (json["provenance"].is_discarded())
      json["provenance"] = provenance;  // not JSON, or not from voxpop: shown unchanged
  }
  if (arguments.common.json) {
    print_json(json);
    return 0;
  }
  print_text("{}: {}\n", one_line(arguments.input),
             schema.empty() ? "HDF5 without a voxpop schema" : "schema " + schema);
  if (json.contains("datasets"))
    for (const auto& [name, text] : json["datasets"].items())
      print_text("  {:<30} {}\n", shown(name, kLongest), shown(text.get_ref<const std::string&>(), kLongest));
  if (json.contains("provenance")) {
    std::istringstream lines("provenance: " +
                             json["provenance"].dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    for (std::string line; std::getline(lines, line);) print_text("{}\n", shown(line, kLongest));
  }
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("info", "Show what an HDF5 file holds: schema, datasets, provenance");
  verb.add_option("FILE.h5", arguments->input, "A file of any voxpop schema")->required();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop info fit.h5 --json");
  verb.callback([=, &run] { run = [arguments] { return info_command(*arguments); }; });
}

}  // namespace voxpop
