#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "import/text_file.h"

namespace voxpop {

enum class TableFormat { kCsv, kTsv, kJsonl };

/// By the file's name, with or without .gz. Throws a usage error where that does not say.
TableFormat table_format_of(const std::string& path);

/// A column to read.
struct TableColumn {
  std::string name;
  std::string option;  ///< the option that names it, for errors: "--left"
  bool required;
};

struct Row {
  std::uint64_t line;  ///< on which it starts, from 1; a quoted field may hold line breaks
  /// In the order of the columns asked for; none where the file lacks an optional column. Spaces are kept. JSON
  /// integers and booleans are their text, null is empty.
  std::vector<std::optional<std::string_view>> values;
};
using UseRow = std::function<void(const Row&)>;

/// Calls `use` for each row and returns the names of the columns not asked for. A CSV or TSV file's columns are in its
/// first row, a JSONL file's are the keys of its first object. Throws Error(kBadInput) naming file and line where a
/// required column is missing, where a row has other columns than the first and where the text is not of this format.
std::vector<std::string> read_table(TextFile& file, TableFormat format, const std::vector<TableColumn>& columns,
                                    const UseRow& use);

}  // namespace voxpop
