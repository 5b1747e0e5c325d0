#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/text_file.h"
#include "voxpop/error.h"

namespace voxpop {

enum class TableFormat { kCsv, kTsv, kJsonl, kJson };

/// The format that the file's name shows, with or without .gz. Throws Error(kUsage) for an unknown extension, and
/// Error(kBadInput) for Parquet.
TableFormat table_format_of(const std::string& path);

/// Counts rows that cannot be used. Up to `most` such rows are skipped and reported later; one more is an error.
class BadRows {
 public:
  explicit BadRows(std::uint64_t most = 0) : most_(most) {}
  /// Skips a row because of `error`. Throws if no more rows may be skipped.
  void leave_out(const Error& error);
  bool allowed() const { return most_ > 0; }
  std::uint64_t count() const { return count_; }
  const std::vector<std::string>& first() const { return first_; }  ///< messages of the first ten errors

 private:
  std::uint64_t most_, count_ = 0;
  std::vector<std::string> first_;
};

/// How to parse a file.
struct TableOptions {
  TableOptions(TableFormat its_format) : format(its_format) {}  // NOLINT: implicit, as most calls need only a format

  TableFormat format;
  char delimiter = 0;          ///< of CSV and TSV; 0: from the format and the first line
  std::optional<bool> quotes;  ///< whether fields may be quoted; nullopt: in CSV, not in TSV
  /// JSON: paths of lists; each element is a row. An entry "a,b" names parallel lists: element i of both is one row.
  std::vector<std::string> each;
  bool names_only = false;                    ///< read only the names of the columns, and no more of the file
  BadRows* bad_rows = nullptr;                ///< null: the first bad row is an error
  std::vector<std::string>* notes = nullptr;  ///< receives notes for the user about the file; may be null
};

/// Which JSON lists and objects are accepted as values, as their JSON text: none, lists of objects (a conversation),
/// or any.
enum class Lists { kNone, kMessages, kAny };

/// A column to read. `name` is the name of a CSV or TSV column, or a JSON key or path (`a.b[0]`, `/a/b/0`). If the file
/// has no such column and the name contains commas, it is a list of columns, whose values are joined; see
/// append_joined().
struct TableColumn {
  std::string name;
  std::string option;  ///< the command-line option for this column, for errors: "--left"
  bool required = true;
  Lists lists = Lists::kNone;
};

struct Row {
  std::uint64_t line;    ///< line where the row starts, from 1; a quoted field may contain line breaks
  std::uint64_t record;  ///< equal for all rows from one JSON object
  /// One value per requested column; nullopt if the file lacks an optional column. Spaces are kept. JSON numbers and
  /// booleans are their text, null is "".
  std::vector<std::optional<std::string_view>> values;
};
using UseRow = std::function<void(const Row&)>;

/// Calls `use` for each row. Returns the names of the columns that were not requested. The column names of a CSV or TSV
/// file are in its first row, those of a JSON file are the keys of its first object. Throws Error(kBadInput) naming
/// file and line if a required column is missing, a row has other columns than the first row, or the text does not have
/// this format.
std::vector<std::string> read_table(TextFile& file, const TableOptions& options,
                                    const std::vector<TableColumn>& columns, const UseRow& use);

/// Appends one part of a joined value to `out`. Call once per part, with `last` for the last part. Parts are separated
/// by '/'. In all parts but the last, '/' becomes %2F and '%' becomes %25, so that different parts never give the same
/// joined value.
void append_joined(std::string_view part, bool last, std::string& out);

/// Splits names at commas and trims each part.
std::vector<std::string> split_names(std::string_view names);

}  // namespace voxpop
