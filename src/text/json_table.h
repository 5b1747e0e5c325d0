#pragma once
#include "text/table.h"

namespace voxpop {

/// read_table() for JSON: an object a line, or the objects of one array, over any number of lines.
std::vector<std::string> read_json(TextFile& file, const TableOptions& options, const std::vector<TableColumn>& columns,
                                   const UseRow& use);

/// "no column 'left'; its columns are 'a', 'b' (choose one with --left NAME)"
Error no_column(const std::string& path, const TableColumn& column, const std::vector<std::string>& names);

/// A longer field, row or record is a quote left open or another format; it would be held in memory whole.
inline constexpr std::size_t kLongest = 256u << 20;

}  // namespace voxpop
