#pragma once
#include <optional>
#include <string>
#include <vector>

#include "text/table.h"

namespace voxpop {

/// How to read a file, detected from the names of its columns.
struct Detected {
  std::vector<std::string> arguments;  ///< for `voxpop import`; empty if the file needs none
  std::string why;                     ///< the reason, for the user
};

/// The first of these columns whose name says that it has annotators, such as "rater_id"; null if there is none. Of a
/// path such as "meta.rater", the last part counts.
const std::string* likely_annotator(const std::vector<std::string>& columns);

/// Finds the only way to read the file. Throws Error(kBadInput) if there is no way or more than one. Does not look at
/// the values of votes: codes are never guessed, and the import refuses unknown values.
Detected detect(const std::string& path, std::optional<TableFormat> format, const Context& context);

}  // namespace voxpop
