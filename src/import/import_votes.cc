#include "import/import_votes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "core/strings.h"
#include "import/detect.h"
#include "import/shapes.h"

namespace voxpop {
namespace {

std::uint64_t size_on_disk(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;  // a pipe has no size; a missing file gives an error when it is opened
}

/// Notes unused columns whose names suggest that they contain annotators, counts or weights.
void note_likely_columns(const ImportOptions& options, const Votes& votes, ImportReport& report) {
  const auto likely = [&](std::initializer_list<const char*> names) -> const std::string* {
    for (const std::string& column : report.unused_columns) {
      const std::string name = lower(column.substr(column.find_last_of(".:") + 1));
      if (std::ranges::any_of(names, [&](const char* known) { return name == known; })) return &column;
    }
    return nullptr;
  };
  if (!votes.anonymous.empty() && !options.annotator)
    if (const std::string* column = likely_annotator(report.unused_columns))
      report.notes.push_back(fmt::format(
          "the votes have no annotators, but there is a column '{0}'; if it says who voted, add --annotator '{0}'",
          shown(*column)));
  if (!options.count && !options.weight && votes.weight.empty())
    if (const auto* column = likely({"count", "counts", "n", "n_votes", "num_votes", "votes", "wins", "freq",
                                     "frequency", "weight", "weights"})) {
      const bool weight = lower(*column).starts_with("weight");
      report.notes.push_back(
          fmt::format("every row counts as one vote, but there is a column '{0}'; if it says how many votes a row "
                      "stands for, add --{1} '{0}'",
                      shown(*column), weight ? "weight" : "count"));
    }
}

void note_one_direction(const Votes& votes, ImportReport& report) {
  const auto left = std::ranges::count_if(votes.preference, [](int p) { return p > 0; });
  const auto right = std::ranges::count_if(votes.preference, [](int p) { return p < 0; });
  if (left + right < 10 || (left > 0 && right > 0) || !votes.unknown_sides.empty()) return;
  report.notes.push_back(
      fmt::format("all {} decided votes are for the {} item, which does not happen if sides are random; if the columns "
                  "are the winner and the loser, use --winner and --loser; otherwise check what the values mean",
                  left + right, left > 0 ? "left" : "right"));
}

}  // namespace

Votes import_votes(const std::vector<std::string>& paths, const ImportOptions& options, const Context& context,
                   ImportReport* report) {
  ImportReport own_report;
  ImportReport& told = report ? *report : own_report;
  std::uint64_t total = 0, before = 0;
  for (const std::string& path : paths) total += size_on_disk(path);
  Progress progress("import", total, context);

  BadRows bad_rows(options.skip_bad);
  ColumnList columns;
  VoteTable table(options, columns, bad_rows, told);
  const auto shape = make_shape(options, columns, table, bad_rows);
  const auto use_row = [&](const std::string& path, const Row& row) {
    if (!bad_rows.allowed()) return shape->add(path, row);
    try {
      shape->add(path, row);
    } catch (const Error& error) {
      bad_rows.leave_out(error);
    }
  };
  for (const std::string& path : paths) {
    TableOptions how(options.format ? *options.format : table_format_of(path));
    how.delimiter = options.delimiter;
    how.quotes = options.quotes;
    how.each = options.each;
    how.bad_rows = bad_rows.allowed() ? &bad_rows : nullptr;
    how.notes = &told.notes;
    TextFile file(path, progress, before);
    for (std::string& name : read_table(file, how, columns.columns(), [&](const Row& row) { use_row(path, row); }))
      if (std::ranges::find(told.unused_columns, name) == told.unused_columns.end())
        told.unused_columns.push_back(std::move(name));
    before += size_on_disk(path);
  }
  shape->finish(told);
  Votes votes = table.finish();
  if (votes.size() == 0)
    throw bad_input("{}: no votes; every line after the first should be a vote", fmt::join(paths, ", "));
  if (!shape->sides_known()) votes.unknown_sides = {{0, votes.size()}};
  // A count of n stands for n independent votes.
  if (options.count || options.left_wins) votes.independent = {{0, votes.size()}};
  told.bad_rows = bad_rows.count();
  told.first_bad_rows = bad_rows.first();
  note_likely_columns(options, votes, told);
  note_one_direction(votes, told);
  for (const std::string& text : told.notes) context.tell(text);
  return votes;
}

}  // namespace voxpop
