#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/strings.h"

namespace voxpop {

// Verbs print to standard output with these functions. Standard output may be a terminal, so control characters in text
// from files and paths are made harmless. (Output files go through TextOutput unchanged, also if they are written to
// standard output.)

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
