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

/// By the file's name, with or without .gz. Throws a usage error where that does not say.
TableFormat table_format_of(const std::string& path);

/// Rows that cannot be used: so many are left out, and told later; one more is an error.
class BadRows {
 public:
  explicit BadRows(std::uint64_t most = 0) : most_(most) {}
  /// Throws the error if no more rows may be left out.
  void leave_out(const Error& error);
  bool allowed() const { return most_ > 0; }
  std::uint64_t count() const { return count_; }
  const std::vector<std::string>& first() const { return first_; }  ///< what was wrong with the first ten

 private:
  std::uint64_t most_, count_ = 0;
  std::vector<std::string> first_;
};

/// How a file is to be taken apart.
struct TableOptions {
  TableOptions(TableFormat its_format) : format(its_format) {}  // NOLINT: a format is all that most need

  TableFormat format;
  char delimiter = 0;          ///< of CSV and TSV; 0: what the format and the first line say
  std::optional<bool> quotes;  ///< whether fields may stand in quotes; none: in CSV, not in TSV
  /// JSON: paths of lists; an element of one is a row. Lists that run side by side are joined by commas.
  std::vector<std::string> each;
  bool names_only = false;      ///< only the names of the columns are wanted: no more is read than for them
  BadRows* bad_rows = nullptr;  ///< null: the first is an error
  std::vector<std::string>* notes = nullptr;  ///< what a user should know of the file
};

/// JSON lists and objects whose JSON text is taken as a value: none, lists of objects (a conversation), any.
enum class Lists { kNone, kMessages, kAny };

/// A column to read. Its name is a column's of CSV and TSV, a key or a path (`a.b[0]`, `/a/b/0`) of JSON; where there
/// is none of that name, several separated by commas, whose values are joined by join_values().
struct TableColumn {
  std::string name;
  std::string option;  ///< the option that names it, for errors: "--left"
  bool required = true;
  Lists lists = Lists::kNone;
};

struct Row {
  std::uint64_t line;    ///< on which it starts, from 1; a quoted field may hold line breaks
  std::uint64_t record;  ///< the same for rows of one JSON object
  /// In the order of the columns asked for; none where the file lacks an optional column. Spaces are kept. JSON
  /// numbers and booleans are their text, null is empty.
  std::vector<std::optional<std::string_view>> values;
};
using UseRow = std::function<void(const Row&)>;

/// Calls `use` for each row and returns the names of the columns not asked for. A CSV or TSV file's columns are in its
/// first row, a JSON file's are the keys of its first object. Throws Error(kBadInput) naming file and line where a
/// required column is missing, where a row has other columns than the first and where the text is not of this format.
std::vector<std::string> read_table(TextFile& file, const TableOptions& options,
                                    const std::vector<TableColumn>& columns, const UseRow& use);

/// The parts joined by '/'. In all but the last, '/' is written %2F and '%' %25: different parts never become the same.
void append_joined(std::string_view part, bool last, std::string& out);

/// The parts of a name at its commas, without spaces around them.
std::vector<std::string> split_names(std::string_view names);

}  // namespace voxpop
