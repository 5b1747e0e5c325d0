#include "import/detect.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/strings.h"
#include "import/presets.h"
#include "text/table.h"

namespace voxpop {
namespace {

/// Names of the columns of a table, or keys of the first JSON object.
std::vector<std::string> columns_of(const std::string& path, std::optional<TableFormat> format,
                                    const Context& context) {
  Progress progress("detecting", 1, context);
  TextFile file(path, progress, 0);
  TableOptions options(format ? *format : table_format_of(path));
  options.names_only = true;
  return read_table(file, options, {}, [](const Row&) {});
}

/// Common names for the columns of the two items.
constexpr std::pair<const char*, const char*> kItems[] = {{"left", "right"},
                                                          {"model_a", "model_b"},
                                                          {"item_a", "item_b"},
                                                          {"id_a", "id_b"},
                                                          {"response_a", "response_b"},
                                                          {"response_1", "response_2"},
                                                          {"option_a", "option_b"},
                                                          {"a", "b"}};

}  // namespace

Detected detect(const std::string& path, std::optional<TableFormat> format, const Context& context) {
  const std::vector<std::string> names = columns_of(path, format, context);
  const auto has = [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); };
  std::vector<const Preset*> fitting;
  for (const Preset& preset : presets())
    if (!preset.known_by.empty() && std::ranges::all_of(preset.columns(), has)) fitting.push_back(&preset);
  const auto columns = [](const Preset* preset) { return preset->columns().size(); };
  // Drop a preset if another fitting preset requires all of its columns and more: the more specific one is better.
  std::erase_if(fitting, [&](const Preset* one) {
    return std::ranges::any_of(fitting, [&](const Preset* other) {
      if (columns(other) <= columns(one)) return false;
      const auto more = other->columns();
      return std::ranges::all_of(one->columns(),
                                 [&](const std::string& name) { return std::ranges::find(more, name) != more.end(); });
    });
  });
  const bool plain = has("left") && has("right") && has("preference");
  if (fitting.size() > 1 || (plain && !fitting.empty())) {
    std::vector<std::string> ways;
    for (const Preset* preset : fitting) ways.push_back(fmt::format("--preset {} ({})", preset->name, preset->about));
    if (plain) ways.emplace_back("no preset, with the columns left, right and preference");
    throw bad_input("{}: can be read in {} ways; choose one: {}", path, ways.size(), fmt::join(ways, "; "));
  }
  if (fitting.size() == 1)
    return {{"--preset", std::string(fitting[0]->name)},
            fmt::format("its columns {} are those of {}", fmt::join(fitting[0]->columns(), ", "), fitting[0]->about)};
  if (plain) return {{}, "it has columns left, right and preference"};
  for (const auto& [left, right] : kItems)
    for (const char* vote : {"winner", "preference"})
      if (has(left) && has(right) && has(vote))
        return {{"--left", left, "--right", right, std::string("--") + vote, vote},
                fmt::format("it has columns {}, {} and {}", left, right, vote)};
  if (has("winner") && has("loser"))
    return {{"--winner", "winner", "--loser", "loser"}, "it has columns winner and loser"};
  std::vector<std::string> shown_names;
  for (const std::string& name : names) shown_names.push_back(shown(name));
  throw bad_input(
      "{}: its columns are not those of a known format: {}. Name them with --left, --right, --preference; for rankings "
      "with --item, --rank, --group-by; or with --winner, --loser, ... ('voxpop import --help' has all)",
      path, fmt::join(shown_names, ", "));
}

}  // namespace voxpop
