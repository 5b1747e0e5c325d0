#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace voxpop {

/// Options of `voxpop import` for the files of one tool or data set.
struct Preset {
  std::string_view name;
  std::string_view about;
  /// Columns that identify such a file, separated by blanks; the file must have all of them. Empty: never detected,
  /// only chosen by name.
  std::string_view known_by;
  /// Command-line options, separated by blanks. A word "" is an empty value.
  std::string_view options;

  std::vector<std::string> arguments() const;
  std::vector<std::string> columns() const;
};

std::span<const Preset> presets();

/// Throws Error(kUsage), listing all presets, if there is no preset of that name.
const Preset& find_preset(std::string_view name);

}  // namespace voxpop
