#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace voxpop {

/// JSON of a file; is_discarded() where the text is none, or lies deeper than any that voxpop writes: each level takes
/// a piece of the stack when it is printed.
inline nlohmann::ordered_json parse_json(const std::string& text) {
  constexpr int kDeepest = 100;
  bool too_deep = false;
  auto json = nlohmann::ordered_json::parse(
      text,
      [&](int depth, auto, auto&) {
        too_deep = too_deep || depth > kDeepest;
        return !too_deep;  // what lies deeper is not kept
      },
      false);
  if (too_deep) return nlohmann::ordered_json(nlohmann::ordered_json::value_t::discarded);
  return json;
}

}  // namespace voxpop
