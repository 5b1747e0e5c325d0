#pragma once
#include <string>
#include <string_view>

#include "voxpop/strings.h"

namespace voxpop {

/// The text with '?' for each control character, so that it stays on its line.
std::string one_line(std::string text);

/// At most so many bytes of UTF-8, cut between characters, and "..." for the rest.
std::string shortened(std::string_view text, std::size_t most);

/// Text from a file as an error may show it: shortened, without control characters and bytes that are not UTF-8.
std::string shown(std::string_view text);

/// Appends text as a field of a CSV line, in quotes where it needs them (RFC 4180).
void append_csv_field(std::string_view text, std::string& out);

}  // namespace voxpop
