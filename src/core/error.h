#pragma once
#include <fmt/format.h>

#include <utility>

#include "voxpop/error.h"

namespace voxpop {

/// Invalid input. The message names the file, the dataset or line, the row and the value.
template <class... Args>
[[nodiscard]] Error bad_input(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kBadInput, fmt::format(format, std::forward<Args>(args)...));
}
/// A file is missing, truncated, not readable or not writable.
template <class... Args>
[[nodiscard]] Error file_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kFileSystem, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[nodiscard]] Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace voxpop
