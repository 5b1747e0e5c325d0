#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/strings.h"

namespace voxpop {

// The way of what a verb says to standard output, which may be a terminal: whatever files and paths hold, none of it is
// a command to that. (Output files, and their like on standard output, go through TextOutput, as they are.)

template <class... Args>
void print_text(std::FILE* out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(out, "{}", printable(fmt::format(format, std::forward<Args>(args)...)));
}
template <class... Args>
void print_text(fmt::format_string<Args...> format, Args&&... args) {
  print_text(stdout, format, std::forward<Args>(args)...);
}

inline void print_json(std::FILE* out, const nlohmann::ordered_json& json) {
  fmt::print(out, "{}\n", printable_json(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)));
}
inline void print_json(const nlohmann::ordered_json& json) { print_json(stdout, json); }

}  // namespace voxpop
