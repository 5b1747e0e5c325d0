#pragma once
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

namespace voxpop {

/// Parses JSON that was read from a file. The result is_discarded() if the text is not JSON, is nested more than 100
/// levels deep, or has an object with more than 1,000 keys. voxpop writes no such JSON. The limits protect against
/// hostile files: printing uses stack space for each level, and each new key is compared with all keys before it.
inline nlohmann::ordered_json parse_json(std::string_view text) {
  constexpr int kDeepest = 100, kMostKeys = 1000;
  using Event = nlohmann::ordered_json::parse_event_t;
  bool refused = false;
  std::array<int, kDeepest + 2> keys{};  // number of keys of the open object, per depth
  auto json = nlohmann::ordered_json::parse(
      text,
      [&](int depth, Event event, auto&) {
        refused = refused || depth > kDeepest;
        if (refused) return false;  // false: the parser does not store the element
        if (event == Event::object_start) keys[depth + 1] = 0;
        refused = event == Event::key && ++keys[depth] > kMostKeys;
        return !refused;
      },
      false);
  if (refused) return nlohmann::ordered_json(nlohmann::ordered_json::value_t::discarded);
  return json;
}

}  // namespace voxpop
