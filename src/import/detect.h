#pragma once
#include <optional>
#include <string>
#include <vector>

#include "text/table.h"

namespace voxpop {

/// How a file may be meant, from the names of its columns.
struct Detected {
  std::vector<std::string> arguments;  ///< of `voxpop import`; empty where it can be read as it comes
  std::string why;
};

/// The one way to read the file. Throws bad input where there is none, or where there are several; values of votes are
/// not looked at, as codes are never guessed: the import itself refuses those.
Detected detect(const std::string& path, std::optional<TableFormat> format, const Context& context);

}  // namespace voxpop
