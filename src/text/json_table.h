#pragma once
#include "text/table.h"

namespace voxpop {

/// read_table() for JSON: one object per line; or objects in one array, or (only kJson) in sequence, over any number of
/// lines.
std::vector<std::string> read_json(TextFile& file, const TableOptions& options, const std::vector<TableColumn>& columns,
                                   const UseRow& use);

/// The error for a missing column: "no column 'left'; its columns are 'a', 'b' (choose one with --left NAME)".
Error no_column(const std::string& path, const TableColumn& column, const std::vector<std::string>& names);

/// Maximum size of a field, row or record, bytes. A longer one is probably an open quote or another format. The limit
/// is necessary because the reader holds each of them in memory as a whole.
inline constexpr std::size_t kLongest = 256u << 20;

}  // namespace voxpop
