#pragma once
#include <optional>
#include <string>
#include <vector>

#include "import/table.h"
#include "io/votes.h"

namespace voxpop {

struct ImportOptions {
  std::optional<TableFormat> format;  ///< none: by each file's name, with or without .gz

  std::string left = "left";
  std::string right = "right";
  std::string preference = "preference";
  /// None: the column of that name where there is one. Given: the column must be there.
  std::optional<std::string> annotator, prompt, timestamp;

  /// "A>B=left,B>A=right,draw=tie": the only values of preference then taken, as left, right, tie or a grade from -9
  /// to 9. Empty: left, right and tie in any case, 1, -1 and 0, grades to +-9.
  std::string map;
};

/// Reads votes from CSV, TSV and JSONL files, as one set; items, annotators and prompts are numbered in order of first
/// appearance. `unused_columns`, where given, receives the names of the columns that were not read.
/// Throws Error(kBadInput) naming file, line and value.
Votes import_votes(const std::vector<std::string>& paths, const ImportOptions& options, bool quiet,
                   std::vector<std::string>* unused_columns = nullptr);

}  // namespace voxpop
