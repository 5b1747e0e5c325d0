#include "core/strings.h"

#include <simdjson.h>

namespace voxpop {
namespace {

constexpr std::size_t kShown = 60;  // characters of a value in a message

}  // namespace

std::string one_line(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) text[i] = '?';
    // U+0080 to U+009F: terminals take these for commands, too.
    if (c == 0xc2 && i + 1 < text.size() && (text[i + 1] & 0xe0) == 0x80) text.replace(i, 2, "?");
  }
  return text;
}

std::string shortened(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.size(), most);
  while (end > 0 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;
  std::string result(text.substr(0, end));
  if (end < text.size()) result += "...";
  return result;
}

std::string shown(std::string_view text) {
  std::string result = shortened(text, kShown);
  if (!simdjson::validate_utf8(result))
    for (char& c : result)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return one_line(std::move(result));
}

void Strings::append_fields(const char* fields, std::size_t width, std::span<const std::uint32_t> lengths) {
  std::uint64_t end = text_.size();
  ends_.reserve(ends_.size() + lengths.size());
  for (const std::uint32_t length : lengths) ends_.push_back(end += length);
  text_.reserve(end);
  for (std::size_t i = 0; i < lengths.size(); ++i) text_.append(fields + i * width, lengths[i]);
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
