#pragma once
#include <string>
#include <string_view>

#include "voxpop/strings.h"

namespace voxpop {

// Text that comes from a file, a library or a command line, as a terminal may get it. Control characters (ESC, line
// breaks, those of U+0080 to U+009F), marks that turn the direction of writing round, and bytes that are not UTF-8
// could hide or change what voxpop says.

/// The text with '?' for each of them, so that it stays on its line.
std::string one_line(std::string_view text);

/// The same of a text of several lines: line breaks stay.
std::string printable(std::string_view text);

/// The same of JSON: escaped as JSON does, so that whoever reads it gets the same strings.
std::string printable_json(std::string_view json);

/// At most so many bytes of UTF-8, cut between characters, and "..." for the rest.
std::string shortened(std::string_view text, std::size_t most);

/// A value from a file as a message may show it: one_line() of at most 60 bytes, or as many as told.
std::string shown(std::string_view text);
std::string shown(std::string_view text, std::size_t most);

/// Bytes of a message: two of the longest paths, and what is said of them.
inline constexpr std::size_t kLongestMessage = 10'000;

/// Appends text as a field of a CSV line, in quotes where it needs them (RFC 4180).
void append_csv_field(std::string_view text, std::string& out);

}  // namespace voxpop
