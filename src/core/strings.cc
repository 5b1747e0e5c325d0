#include "core/strings.h"

#include <simdjson.h>

namespace voxpop {
namespace {

constexpr std::size_t kShown = 60;  // characters of a value in a message

}  // namespace

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

std::string shown(std::string_view text) {
  std::size_t end = std::min(text.size(), kShown);
  while (end > 0 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;  // do not cut a character in two
  std::string result(text.substr(0, end));
  if (!simdjson::validate_utf8(result))
    for (char& c : result)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  result = one_line(std::move(result));
  return end < text.size() ? result + "..." : result;
}

Strings::Strings(const char* fields, std::size_t width, std::vector<std::uint64_t> ends) : ends_(std::move(ends)) {
  if (ends_.empty()) return;
  text_.resize(ends_.back());
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    std::copy_n(fields + i * width, ends_[i] - begin, text_.data() + begin);
    begin = ends_[i];
  }
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
