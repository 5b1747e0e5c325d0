#pragma once
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

namespace voxpop {

/// JSON of a file; is_discarded() where the text is none, or is unlike any that voxpop writes: it lies deeper, and each
/// level takes a piece of the stack when it is printed; or an object has more keys, and each is compared with all
/// before it.
inline nlohmann::ordered_json parse_json(std::string_view text) {
  constexpr int kDeepest = 100, kMostKeys = 1000;
  using Event = nlohmann::ordered_json::parse_event_t;
  bool refused = false;
  std::array<int, kDeepest + 2> keys{};  // of the object that is open at each depth
  auto json = nlohmann::ordered_json::parse(
      text,
      [&](int depth, Event event, auto&) {
        refused = refused || depth > kDeepest;
        if (refused) return false;  // what comes now is not kept
        if (event == Event::object_start) keys[depth + 1] = 0;
        refused = event == Event::key && ++keys[depth] > kMostKeys;
        return !refused;
      },
      false);
  if (refused) return nlohmann::ordered_json(nlohmann::ordered_json::value_t::discarded);
  return json;
}

}  // namespace voxpop
