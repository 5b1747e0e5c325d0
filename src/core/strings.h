#pragma once
#include <string>
#include <string_view>

#include "voxpop/strings.h"

namespace voxpop {

// Make text from a file, a library or a command line safe to print on a terminal. Unsafe are control characters (ESC,
// line breaks, U+0080 to U+009F), marks that reverse the writing direction, and bytes that are not UTF-8: each could
// hide or change a message of voxpop.

/// Replaces each unsafe character with '?'. The result is a single line.
std::string one_line(std::string_view text);

/// As one_line(), but keeps line breaks.
std::string printable(std::string_view text);

/// For JSON text: replaces each unsafe character except line breaks with its JSON escape (four hex digits), so that a
/// JSON parser reads the same strings. A byte that is not UTF-8 becomes the escape of U+FFFD.
std::string printable_json(std::string_view json);

/// The first `most` bytes of a UTF-8 text, or a few less: a character is never split. Adds "..." if the text was cut.
std::string shortened(std::string_view text, std::size_t most);

/// A value from a file, safe to print in a message: one_line() of at most 60 bytes, or of at most `most` bytes.
std::string shown(std::string_view text);
std::string shown(std::string_view text, std::size_t most);

/// Maximum length of a message, bytes: enough for two paths of maximum length and the text around them.
inline constexpr std::size_t kLongestMessage = 10'000;

/// Appends `text` to `out` as one CSV field, quoted if necessary (RFC 4180).
void append_csv_field(std::string_view text, std::string& out);

}  // namespace voxpop
