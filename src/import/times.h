#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace voxpop {

enum class TimeUnit { kSeconds, kMilliseconds, kMicroseconds, kNanoseconds };

struct Time {
  std::int64_t seconds;  ///< since 1970-01-01 00:00 UTC, rounded down
  TimeUnit unit;         ///< unit of the number in the text
};

/// Parses a time in one of these forms; nullopt for any other text:
/// - a number of seconds since 1970, with or without a fraction, up to the year 9999;
/// - a larger number, as milliseconds, microseconds or nanoseconds, if the result is between 2000 and 2100;
/// - ISO 8601, such as 2024-05-21T19:18:25.7+02:00. The time of day is optional; without a zone it is UTC.
std::optional<Time> parse_time(std::string_view text);

}  // namespace voxpop
