#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace voxpop {

/// The shape of one tool's or data set's files, as options of `voxpop import`.
struct Preset {
  std::string_view name;
  std::string_view about;
  /// Columns by which such a file is known, separated by blanks: all are there. Empty: taken by name only.
  std::string_view known_by;
  /// As on the command line, separated by blanks; "" alone is an empty value.
  std::string_view options;

  std::vector<std::string> arguments() const;
  std::vector<std::string> columns() const;
};

std::span<const Preset> presets();

/// Throws a usage error that lists all where there is none of that name.
const Preset& find_preset(std::string_view name);

}  // namespace voxpop
