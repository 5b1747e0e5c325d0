#include "import/import_votes.h"

#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "core/id_table.h"

namespace voxpop {
namespace {

constexpr int kLargestGrade = 9;
constexpr std::uint32_t kNoPrompt = 0xffffffffu;

enum : std::size_t { kLeft, kRight, kPreference, kAnnotator, kPrompt, kTimestamp };

/// What the values of the preference column mean.
class PreferenceMap {
 public:
  /// left, right, tie and grades, or what --map says.
  explicit PreferenceMap(const std::string& map) {
    preferences_ = {{"left", 1}, {"right", -1}, {"tie", 0}, {"0", 0}};
    for (std::int8_t grade = 1; grade <= kLargestGrade; ++grade) {
      const std::string digit = std::to_string(grade);
      preferences_.insert(preferences_.end(), {{digit, grade}, {"+" + digit, grade}, {"-" + digit, -grade}});
    }
    if (map.empty()) return;

    std::vector<std::pair<std::string, std::int8_t>> mapped;
    for (std::size_t begin = 0; begin <= map.size();) {
      const std::string_view entry = std::string_view(map).substr(begin, map.find(',', begin) - begin);
      begin += entry.size() + 1;
      const std::size_t equals = entry.rfind('=');  // the value may hold one itself: "A>=B=left"
      const auto meaning = equals == entry.npos ? std::nullopt : find(entry.substr(equals + 1));
      if (!meaning)
        throw usage_error(
            "--map: '{}' maps to nothing known; write VALUE=left, VALUE=right, VALUE=tie or a grade from -{} to {}",
            shown(entry), kLargestGrade, kLargestGrade);
      const std::string value(trimmed(entry.substr(0, equals)));
      for (const auto& [earlier, its_meaning] : mapped)
        if (earlier == value) throw usage_error("--map: '{}' is mapped twice; keep one", shown(value));
      mapped.emplace_back(value, *meaning);
    }
    preferences_ = std::move(mapped);
    any_case_ = false;
  }

  std::optional<std::int8_t> find(std::string_view value) const {
    const std::string key = any_case_ ? lower(trimmed(value)) : std::string(trimmed(value));
    const auto found = std::ranges::find(preferences_, key, &std::pair<std::string, std::int8_t>::first);
    return found == preferences_.end() ? std::nullopt : std::optional(found->second);
  }

  std::string remedy(std::string_view value) const {
    return any_case_ ? fmt::format(
                           "it must be left, right or tie, or a whole number from -9 to 9 (say what other values mean: "
                           "--map '{}=WHO,...', WHO being one of these)",
                           value)
                     : fmt::format(
                           "say what it means: --map '...,{}=WHO', WHO being left, right or tie, or a whole number "
                           "from -9 to 9",
                           value);
  }

 private:
  std::vector<std::pair<std::string, std::int8_t>> preferences_;  ///< short, and the usual ones come first
  bool any_case_ = true;
};

std::optional<std::int64_t> parse_timestamp(std::string_view text) {
  text = trimmed(text);
  const char* const end = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto [rest, error] = std::from_chars(text.data(), end, whole); error == std::errc() && rest == end)
    return whole >= -kMostSeconds && whole <= kMostSeconds ? std::optional(whole) : std::nullopt;
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || !(std::abs(number) <= double{kMostSeconds})) return std::nullopt;
  return static_cast<std::int64_t>(std::floor(number));
}

/// Collects the rows of all files.
class VoteTable {
 public:
  VoteTable(const std::vector<TableColumn>& columns, const std::string& map) : columns_(columns), preferences_(map) {}

  void add(const std::string& path, const Row& row) {
    const auto fail = [&](std::size_t column, std::string_view value, const std::string& remedy) {
      return bad_input("{}: line {}: {} is '{}'; {}", path, row.line, shown(columns_[column].name), shown(value),
                       remedy);
    };
    const auto number = [&](IdTable& table, std::size_t column, std::string_view id) {
      if (id.empty())
        throw bad_input("{}: line {}: {} is empty; every vote needs one", path, row.line, shown(columns_[column].name));
      const auto [index, is_new] = table.number(id);
      if (is_new && !simdjson::validate_utf8(id))
        throw fail(column, id, "ids must be UTF-8 (convert the file with iconv)");
      if (is_new && id.find('\0') != id.npos) throw fail(column, id, "ids must not hold NUL bytes");
      return index;
    };
    if (votes_.size() == kMaxVotes)
      throw bad_input("{}: line {}: over {} votes; import fewer", path, row.line, kMaxVotes);

    const std::string_view left = *row.values[kLeft], right = *row.values[kRight];
    votes_.left.push_back(number(items_, kLeft, left));
    votes_.right.push_back(number(items_, kRight, right));
    if (left == right) throw fail(kRight, right, "the item is compared with itself, so remove the row");
    votes_.annotator.push_back(number(annotators_, kAnnotator, row.values[kAnnotator].value_or("anonymous")));

    const std::string_view value = *row.values[kPreference];
    const auto preference = preferences_.find(value);
    if (!preference) throw fail(kPreference, value, preferences_.remedy(shown(value)));
    votes_.preference.push_back(*preference);

    const std::string_view prompt = row.values[kPrompt].value_or("");
    const std::uint32_t prompt_index = prompt.empty() ? kNoPrompt : number(prompts_, kPrompt, prompt);
    if (prompt.empty() && no_prompt_.empty()) no_prompt_ = fmt::format("line {} of {}", row.line, path);
    for (const std::uint32_t item : {votes_.left.back(), votes_.right.back()}) {
      if (item == votes_.prompt.size()) votes_.prompt.push_back(prompt_index);
      if (votes_.prompt[item] != prompt_index && prompt_index != kNoPrompt && two_prompts_.empty())
        two_prompts_ = fmt::format("item '{}', line {} of {}", shown(items_.ids()[item]), row.line, path);
    }

    if (const auto timestamp = row.values[kTimestamp]) {
      const auto seconds = parse_timestamp(*timestamp);
      if (!seconds) throw fail(kTimestamp, *timestamp, "it must be seconds since 1970, so convert other units");
      votes_.timestamp.push_back(*seconds);
    }
  }

  /// Optional columns that not every vote or item has are left out, with a note.
  Votes finish(bool quiet) {
    if (no_prompt_.empty() && two_prompts_.empty()) {
      votes_.prompt_ids = prompts_.release();
    } else {
      votes_.prompt = {};
      if (!no_prompt_.empty() && !prompts_.ids().empty())
        note(quiet, fmt::format("some votes have no prompt (first: {}), so items/prompt is left out", no_prompt_));
      else if (no_prompt_.empty())
        note(quiet,
             fmt::format("items occur under several prompts (first: {}), so items/prompt is left out", two_prompts_));
    }
    if (!votes_.timestamp.empty() && votes_.timestamp.size() < votes_.size()) {
      note(quiet, "some files have no timestamps, so comparisons/timestamp is left out");
      votes_.timestamp = {};
    }
    votes_.item_ids = items_.release();
    votes_.annotator_ids = annotators_.release();
    return std::move(votes_);
  }

 private:
  const std::vector<TableColumn>& columns_;
  PreferenceMap preferences_;
  Votes votes_;
  IdTable items_, annotators_, prompts_;
  std::string two_prompts_, no_prompt_;  ///< where an item has a second prompt, where a vote has none
};

}  // namespace

Votes import_votes(const std::vector<std::string>& paths, const ImportOptions& options, bool quiet,
                   std::vector<std::string>* unused_columns) {
  const auto optional = [](const std::optional<std::string>& name, const char* usual) {
    return TableColumn{name.value_or(usual), fmt::format("--{}", usual), name.has_value()};
  };
  // In the order of the enum above.
  const std::vector<TableColumn> columns = {
      {options.left, "--left", true},
      {options.right, "--right", true},
      {options.preference, "--preference", true},
      optional(options.annotator, "annotator"),
      optional(options.prompt, "prompt"),
      optional(options.timestamp, "timestamp"),
  };

  const auto size_on_disk = [](const std::string& path) -> std::uint64_t {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    return error ? 0 : bytes;  // a pipe has none; a missing file is reported when it is opened
  };
  std::uint64_t total = 0, before = 0;
  for (const std::string& path : paths) total += size_on_disk(path);
  Progress progress("import", total, quiet);

  VoteTable table(columns, options.map);
  std::vector<std::string> unused;
  for (const std::string& path : paths) {
    const TableFormat format = options.format ? *options.format : table_format_of(path);
    TextFile file(path, progress, before);
    for (std::string& name : read_table(file, format, columns, [&](const Row& row) { table.add(path, row); }))
      if (std::ranges::find(unused, name) == unused.end()) unused.push_back(std::move(name));
    before += size_on_disk(path);
  }
  Votes votes = table.finish(quiet);
  if (votes.size() == 0)
    throw bad_input("{}: no votes; every line after the first should be one", fmt::join(paths, ", "));
  if (unused_columns) *unused_columns = std::move(unused);
  return votes;
}

}  // namespace voxpop
