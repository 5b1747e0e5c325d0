#include <fmt/chrono.h>
#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "guards/guards.h"

namespace voxpop {
namespace {

constexpr std::int64_t kDay = 86400, kYear2000 = 946684800, kYear10000 = 253402300800;

/// Summary of the times in a range of rows.
struct Spread {
  std::int64_t first = std::numeric_limits<std::int64_t>::max(), last = std::numeric_limits<std::int64_t>::min();
  std::uint64_t old = 0, future = 0, beyond = 0;  ///< before 2000; from tomorrow to the year 9999; later

  void add(std::int64_t time, std::int64_t tomorrow) {
    first = std::min(first, time);
    last = std::max(last, time);
    old += time < kYear2000;
    future += time > tomorrow && time < kYear10000;
    beyond += time >= kYear10000;
  }
  Spread operator+(const Spread& other) const {
    return {std::min(first, other.first), std::max(last, other.last), old + other.old, future + other.future,
            beyond + other.beyond};
  }
};

std::string day(std::int64_t time) {
  constexpr std::int64_t kYear0 = -62167219200;
  if (time < kYear0 || time >= kYear10000) return fmt::format("{} s since 1970", time);
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time_t{time}));
}

constexpr const char* kRewrite =
    "t = f['comparisons/timestamp'][:]; del f['comparisons/timestamp']; f['comparisons/timestamp'] = ";

}  // namespace

void guard_times(const Votes& votes, std::int64_t now, std::vector<Finding>& findings) {
  if (votes.timestamp.empty()) return;
  using Range = oneapi::tbb::blocked_range<std::size_t>;
  const Spread times = oneapi::tbb::parallel_reduce(
      Range(0, votes.timestamp.size(), 1 << 16), Spread{},
      [&](const Range& rows, Spread spread) {
        for (std::size_t row = rows.begin(); row < rows.end(); ++row) spread.add(votes.timestamp[row], now + kDay);
        return spread;
      },
      [](const Spread& a, const Spread& b) { return a + b; });
  const std::uint64_t count = votes.timestamp.size();
  if (times.beyond > 0)
    findings.push_back(
        {"times_in_milliseconds", Level::kCare,
         fmt::format("{} of {} timestamps are after the year 9999. They look like milliseconds (then {} is {}). "
                     "Sessions, bursts and changes over time cannot be trusted.",
                     times.beyond, count, times.last, day(times.last / 1000)),
         fmt::format("Write seconds since 1970: {}t // 1000 (h5py), or import the table again (voxpop import FILE)",
                     kRewrite)});
  if (times.future > 0)
    findings.push_back(
        {"times_in_future", Level::kCare,
         fmt::format("{} of {} timestamps are in the future.{}", times.future, count,
                     times.beyond == 0 ? fmt::format(" The latest is {}.", day(times.last)) : ""),
         "Check the clock and the time zone of the program that wrote them; timestamps are seconds since 1970, UTC"});
  if (times.old > 0 && (times.first != times.last || count == 1))
    findings.push_back({"times_before_2000", Level::kCare,
                        fmt::format("{} of {} timestamps are before 2000; the first is {}. Perhaps they are "
                                    "not seconds since 1970, or stand for \"not known\".",
                                    times.old, count, day(times.first)),
                        fmt::format("Write seconds since 1970, or leave the column out: {}... (h5py)", kRewrite)});
  if (times.first == times.last && count > 1)
    findings.push_back(
        {"times_all_same", Level::kNote,
         fmt::format("All timestamps are {}, so they say nothing about changes over time.", day(times.first)), ""});
}

}  // namespace voxpop
