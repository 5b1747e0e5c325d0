#include "core/strings.h"

#include <simdjson.h>

namespace voxpop {
namespace {

constexpr std::size_t kShown = 60;  // characters of a value in a message

}  // namespace

std::string shown(std::string_view text) {
  std::size_t end = std::min(text.size(), kShown);
  while (end > 0 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;  // do not cut a character in two
  std::string result(text.substr(0, end));
  const bool utf8 = simdjson::validate_utf8(result);
  for (char& c : result) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) c = '?';
  }
  return end < text.size() ? result + "..." : result;
}

}  // namespace voxpop
