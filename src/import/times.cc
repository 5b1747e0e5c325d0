#include "import/times.h"

#include <charconv>
#include <chrono>
#include <cmath>

#include "text/text_file.h"

namespace voxpop {
namespace {

constexpr double kYear2000 = 946'684'800, kYear2100 = 4'102'444'800, kYear10000 = 253'402'300'800;

std::optional<Time> time_of(double number) {
  constexpr std::pair<TimeUnit, double> kUnits[] = {
      {TimeUnit::kMilliseconds, 1e3}, {TimeUnit::kMicroseconds, 1e6}, {TimeUnit::kNanoseconds, 1e9}};
  if (std::abs(number) < kYear10000) return Time{static_cast<std::int64_t>(std::floor(number)), TimeUnit::kSeconds};
  for (const auto& [unit, per_second] : kUnits)
    if (number >= kYear2000 * per_second && number < kYear2100 * per_second)
      return Time{static_cast<std::int64_t>(std::floor(number / per_second)), unit};
  return std::nullopt;
}

/// Parses text from its front. `ok` becomes false, and stays false, when an expected part is missing.
struct Scanner {
  std::string_view text;
  bool ok = true;

  bool take(std::string_view any_of) {
    if (text.empty() || any_of.find(text.front()) == any_of.npos) return false;
    text.remove_prefix(1);
    return true;
  }
  void expect(std::string_view any_of) { ok = take(any_of) && ok; }
  int digits(std::size_t count) {
    int number = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (text.empty() || text.front() < '0' || text.front() > '9') ok = false;
      if (!ok) return 0;
      number = 10 * number + (text.front() - '0');
      text.remove_prefix(1);
    }
    return number;
  }
};

std::optional<Time> parse_iso(std::string_view text) {
  using namespace std::chrono;
  Scanner scan{text};
  const int year_number = scan.digits(4);
  scan.expect("-");
  const int month_number = scan.digits(2);
  scan.expect("-");
  const int day_number = scan.digits(2);
  const year_month_day date{year(year_number), month(static_cast<unsigned>(month_number)),
                            day(static_cast<unsigned>(day_number))};
  int hours = 0, minutes = 0, seconds = 0, zone = 0;
  if (scan.ok && !scan.text.empty()) {
    scan.expect("Tt ");
    hours = scan.digits(2);
    scan.expect(":");
    minutes = scan.digits(2);
    if (scan.take(":")) {
      seconds = scan.digits(2);
      if (scan.take(".,"))
        for (scan.digits(1); !scan.text.empty() && scan.text.front() >= '0' && scan.text.front() <= '9';)
          scan.digits(1);
    }
    if (scan.text == " UTC" || scan.text == " GMT") scan.text = {};
    while (scan.take(" ")) {
    }
    if (!scan.take("Zz") && !scan.text.empty()) {
      const bool west = scan.text.front() == '-';
      scan.expect("+-");
      zone = 3600 * scan.digits(2);
      scan.take(":");
      if (!scan.text.empty()) zone += 60 * scan.digits(2);
      if (west) zone = -zone;
    }
  }
  if (!scan.ok || !scan.text.empty() || !date.ok() || hours > 24 || minutes > 59 || seconds > 60) return std::nullopt;
  const std::int64_t days = sys_days(date).time_since_epoch().count();
  return Time{86'400 * days + 3600 * hours + 60 * minutes + seconds - zone, TimeUnit::kSeconds};
}

}  // namespace

std::optional<Time> parse_time(std::string_view text) {
  text = trimmed(text);
  const char* const end = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto [rest, error] = std::from_chars(text.data(), end, whole); error == std::errc() && rest == end)
    return time_of(static_cast<double>(whole));
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && rest == end) return time_of(number);
  return parse_iso(text);
}

}  // namespace voxpop
