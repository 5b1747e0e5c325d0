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

constexpr const char* kAnnotators[] = {
    "judge",    "judge_id", "worker",      "worker_id",     "workerid",     "user",         "user_id",
    "userid",   "rater",    "rater_id",    "evaluator",     "evaluator_id", "annotator_id", "annotators",
    "assessor", "labeler",  "labeller",    "labeler_id",    "completed_by", "performer",    "_annotator_id",
    "reviewer", "expert",   "participant", "participant_id"};
constexpr const char* kPrompts[] = {"prompt_id", "question_id"};

/// Adds the columns of annotators and prompts to what reads the votes; `has`: whether there is a column of this name.
template <class Has>
Detected with_annotators_and_prompts(Detected out, const std::vector<std::string>& names, const Has& has) {
  if (const std::string* column = has("annotator") ? nullptr : likely_annotator(names)) {
    out.arguments.insert(out.arguments.end(), {"--annotator", *column});
    out.why += fmt::format("; '{}' seems to say who voted", shown(*column));
  }
  const auto* prompt = std::ranges::find_if(kPrompts, has);
  if (prompt != std::end(kPrompts) && !has("prompt")) {
    out.arguments.insert(out.arguments.end(), {"--prompt", *prompt});
    out.why += fmt::format("; '{}' seems to be the prompt", *prompt);
  }
  return out;
}

}  // namespace

const std::string* likely_annotator(const std::vector<std::string>& columns) {
  const auto found = std::ranges::find_if(columns, [](const std::string& column) {
    const std::string name = lower(column.substr(column.find_last_of(".:") + 1));
    return std::ranges::any_of(kAnnotators, [&](const char* known) { return name == known; });
  });
  return found == columns.end() ? nullptr : &*found;
}

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
  if (plain) return with_annotators_and_prompts({{}, "it has columns left, right and preference"}, names, has);
  for (const auto& [left, right] : kItems)
    for (const char* vote : {"winner", "preference"})
      if (has(left) && has(right) && has(vote))
        return with_annotators_and_prompts({{"--left", left, "--right", right, std::string("--") + vote, vote},
                                            fmt::format("it has columns {}, {} and {}", left, right, vote)},
                                           names, has);
  if (has("winner") && has("loser"))
    return with_annotators_and_prompts({{"--winner", "winner", "--loser", "loser"}, "it has columns winner and loser"},
                                       names, has);
  std::vector<std::string> shown_names;
  for (const std::string& name : names) shown_names.push_back(shown(name));
  throw bad_input(
      "{}: its columns are not those of a known format: {}. Name them with --left, --right, --preference; for rankings "
      "with --item, --rank, --group-by; or with --winner, --loser, ... ('voxpop import --help' has all)",
      path, fmt::join(shown_names, ", "));
}

}  // namespace voxpop
