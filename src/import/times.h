#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace voxpop {

enum class TimeUnit { kSeconds, kMilliseconds, kMicroseconds, kNanoseconds };

struct Time {
  std::int64_t seconds;  ///< since 1970, UTC
  TimeUnit unit;         ///< in which the text gives it
};

/// Seconds since 1970, whole or not, up to the year 9999; milli-, micro- and nanoseconds, taken as such where they fall
/// between 2000 and 2100 and cannot be seconds; ISO 8601, 2024-05-21T19:18:25.7+02:00, without a zone in UTC, the time
/// optional. None where the text is neither.
std::optional<Time> parse_time(std::string_view text);

}  // namespace voxpop
