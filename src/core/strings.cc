#include "core/strings.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <cstring>
#include <optional>

namespace voxpop {
namespace {

constexpr std::size_t kShown = 60;  // maximum length of a value in a message, bytes

/// A UTF-8 character: its code point and its length in bytes.
struct Character {
  char32_t code;
  std::size_t bytes;
};

/// The first character of a non-empty text; nullopt if the text does not begin with valid UTF-8.
std::optional<Character> first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return Character{first, 1};
  const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return std::nullopt;
  char32_t code = first & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return std::nullopt;
  return Character{code, bytes};
}

/// True for a character that changes how, or where, a terminal shows other text.
bool is_command(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) ||                           // C0, DEL, C1
         c == 0x61c || c == 0x200e || c == 0x200f ||                      // marks of writing direction
         (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||  // direction embeddings, overrides, isolates
         c == 0x2028 || c == 0x2029;                                      // line and paragraph separators
}

std::string replace_commands(std::string_view text, bool keep_lines, std::string (*replacement)(char32_t)) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::optional<Character> character = first_character(text);
    const std::size_t bytes = character ? character->bytes : 1;
    if (character && (!is_command(character->code) || (keep_lines && character->code == '\n')))
      result += text.substr(0, bytes);
    else
      result += replacement(character ? character->code : 0xfffd);
    text.remove_prefix(bytes);
  }
  return result;
}

std::string question_mark(char32_t) { return "?"; }

}  // namespace

std::string one_line(std::string_view text) { return replace_commands(text, false, question_mark); }
std::string printable(std::string_view text) { return replace_commands(text, true, question_mark); }

std::string printable_json(std::string_view json) {
  return replace_commands(json, true, [](char32_t c) {
    constexpr char kDigits[] = "0123456789abcdef";  // every such code point has at most four hex digits
    return std::string{'\\', 'u', kDigits[c >> 12 & 15], kDigits[c >> 8 & 15], kDigits[c >> 4 & 15], kDigits[c & 15]};
  });
}

std::string shortened(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.size(), most);
  while (end > 0 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;
  std::string result(text.substr(0, end));
  if (end < text.size()) result += "...";
  return result;
}

std::string shown(std::string_view text) { return shown(text, kShown); }
std::string shown(std::string_view text, std::size_t most) { return one_line(shortened(text, most)); }

void Strings::append_fields(const char* fields, std::size_t width, std::span<const std::uint32_t> lengths) {
  const std::size_t before = ends_.size();
  std::uint64_t end = text_.size();
  ends_.resize(before + lengths.size());
  for (std::size_t i = 0; i < lengths.size(); ++i) ends_[before + i] = end += lengths[i];
  text_.resize(end);
  using Range = oneapi::tbb::blocked_range<std::size_t>;
  oneapi::tbb::parallel_for(Range(0, lengths.size(), 1 << 16), [&](const Range& range) {
    for (std::size_t i = range.begin(); i < range.end(); ++i)
      std::memcpy(text_.data() + ends_[before + i] - lengths[i], fields + i * width, lengths[i]);
  });
}

void append_csv_field(std::string_view text, std::string& out) {
  if (text.find_first_of(",\"\r\n") == text.npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  out += '"';
}

}  // namespace voxpop
