#include "import/codes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/strings.h"
#include "text/text_file.h"

namespace voxpop {
namespace {

/// A column with more distinct values does not contain codes.
constexpr std::size_t kMostValues = 256;
constexpr std::size_t kShownValues = 10;

/// Words with only one possible meaning.
constexpr std::pair<std::string_view, std::int8_t> kWords[] = {
    {"left", 1}, {"right", -1}, {"tie", 0},      {"ties", 0},      {"tied", 0},
    {"draw", 0}, {"equal", 0},  {"both_bad", 0}, {"both_good", 0}, {"tie (bothbad)", 0}};

std::optional<double> number_of(std::string_view text) {
  if (text.starts_with('+') && !text.substr(1).starts_with('-')) text.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

bool is_whole(double number) { return number == std::trunc(number); }

/// The last key of a path: response_a for fields.response_a. Some tools write this key as the value of a vote.
std::string last_key(std::string_view name) { return std::string(name.substr(name.find_last_of("./") + 1)); }

/// Parses a meaning: left, right, tie (or another word of kWords), skip, or a strength from -9 to 9.
std::optional<Codes::Code> meaning_of(std::string_view text) {
  Codes::Code code;
  const std::string word = lower(trimmed(text));
  code.skip = word == "skip";
  for (const auto& [known, preference] : kWords)
    if (known == word) code.preference = preference;
  if (const auto number = number_of(word); number && is_whole(*number) && std::abs(*number) <= kLargestGrade)
    code.preference = static_cast<std::int8_t>(*number);
  return code.known() ? std::optional(code) : std::nullopt;
}

/// Parses VALUE=MEANING,... A value in double quotes may contain commas; "" inside the quotes is a quotation mark.
std::vector<std::pair<std::string, Codes::Code>> parse_map(std::string_view map) {
  std::vector<std::pair<std::string, Codes::Code>> entries;
  for (std::size_t at = 0; at <= map.size();) {
    const std::size_t begin = at;
    std::string value;
    std::size_t equals = 0, end = 0;
    while (at < map.size() && map[at] == ' ') ++at;
    if (at < map.size() && map[at] == '"') {
      for (++at; at < map.size() && (map[at] != '"' || (at + 1 < map.size() && map[at + 1] == '"')); ++at) {
        value += map[at];
        at += map[at] == '"';
      }
      equals = map.find_first_not_of(' ', std::min(at + 1, map.size()));
      end = std::min(map.find(',', std::min(equals, map.size())), map.size());
      if (equals != map.npos && map[equals] != '=') equals = map.npos;
    } else {
      end = std::min(map.find(',', begin), map.size());
      equals = map.substr(0, end).rfind('=');  // the last '=': the value may contain one, as in "A>=B=left"
      if (equals != map.npos && equals < begin) equals = map.npos;
      if (equals != map.npos) value = trimmed(map.substr(begin, equals - begin));
    }
    const auto code = equals == map.npos ? std::nullopt : meaning_of(map.substr(equals + 1, end - equals - 1));
    if (!code)
      throw usage_error(
          "--map: '{}' has no known meaning; write VALUE=left, VALUE=right, VALUE=tie, VALUE=skip, or VALUE=STRENGTH "
          "with a strength from -{} to {}; put a value that contains a comma in double quotes",
          shown(map.substr(begin, end - begin)), kLargestGrade, kLargestGrade);
    for (const auto& [earlier, its_code] : entries)
      if (earlier == value) throw usage_error("--map: '{}' is mapped twice; keep one", shown(value));
    entries.emplace_back(value, *code);
    at = end + 1;
  }
  return entries;
}

std::pair<int, int> parse_scale(const std::string& text, const std::string& positive) {
  const std::size_t dots = text.find("..");
  const auto first = number_of(trimmed(std::string_view(text).substr(0, dots)));
  const auto last = dots == text.npos ? std::nullopt : number_of(trimmed(std::string_view(text).substr(dots + 2)));
  constexpr double kMost = 1e6;
  if (!first || !last || !is_whole(*first) || !is_whole(*last) || *first == *last || std::abs(*first) > kMost ||
      std::abs(*last) > kMost)
    throw usage_error("--scale: '{}' is not a scale; write its two ends, LOW..HIGH, such as 1..5", shown(text));
  std::pair scale(static_cast<int>(*first), static_cast<int>(*last));
  if (std::abs(scale.second - scale.first) > 2 * kLargestGrade)
    throw usage_error(
        "--scale: {} has more than {} strengths for each side; give each value a strength with --map, or use "
        "--probability",
        text, kLargestGrade);
  const bool rises = scale.first < scale.second;
  if (std::min(scale.first, scale.second) < 0 && positive.empty())
    throw usage_error(
        "--scale {}: do positive numbers mean that the left or the right item is better? Add --positive left or "
        "--positive right",
        text);
  if (!positive.empty() && rises == (positive == "left")) std::swap(scale.first, scale.second);
  return scale;
}

}  // namespace

Codes::Codes(const CodeOptions& options, std::string column, std::string_view left, std::string_view right)
    : column_(std::move(column)), positive_is_left_(options.positive != "right") {
  if (!options.positive.empty() && options.positive != "left" && options.positive != "right")
    throw usage_error("--positive: '{}' is not a side; write left or right", shown(options.positive));
  if (!options.map.empty()) map_ = parse_map(options.map);
  if (!options.scale.empty()) scale_ = parse_scale(options.scale, options.positive);
  if (!left.empty() && !right.empty() && last_key(left) != last_key(right)) {
    left_name_ = last_key(left);
    right_name_ = last_key(right);
  }
}

const Codes::Code& Codes::add(std::string_view value, const std::string& path, std::uint64_t line) {
  Code code;
  code.value = value;
  code.count = 1;
  code.place = fmt::format("{}: line {}", path, line);
  read(code);
  seen_.push_back(std::move(code));
  if (seen_.size() > kMostValues) {
    check();
    throw bad_input(
        "{}: line {}: {} is '{}', value number {} of this column; votes have only a few different values, so check "
        "that this is the right column",
        path, line, shown(column_), shown(value), seen_.size());
  }
  return seen_.back();
}

void Codes::read(Code& code) const {
  const auto number = number_of(code.value);
  const auto take = [&](const Code& meaning) { code.preference = meaning.preference, code.skip = meaning.skip; };
  for (const auto& [value, meaning] : map_)
    if (value == code.value || (number && number_of(value) == number)) return take(meaning);
  if (scale_ && number && is_whole(*number)) {
    const auto [left_end, right_end] = *scale_;
    if (*number < std::min(left_end, right_end) || *number > std::max(left_end, right_end)) return;
    // Twice the distance from the middle of the scale. If the scale has an even number of values, the middle lies
    // between two of them.
    const int twice = left_end < right_end ? left_end + right_end - 2 * static_cast<int>(*number)
                                           : 2 * static_cast<int>(*number) - left_end - right_end;
    code.preference = static_cast<std::int8_t>(twice > 0 ? (twice + 1) / 2 : -((1 - twice) / 2));
    return;
  }
  if (!map_.empty() || scale_) return;
  const std::string word = lower(code.value);
  for (const auto& [known, preference] : kWords)
    if (known == word) code.preference = preference;
  if (!left_name_.empty() && (code.value == left_name_ || code.value == right_name_)) {
    const std::int8_t named = code.value == left_name_ ? 1 : -1;
    if (code.preference && *code.preference != named)
      code.preference.reset();  // the column of left items is named "right": ask the user
    else
      code.preference = named;
  }
  code.number = number.has_value();
  if (number && is_whole(*number) && std::abs(*number) <= kLargestGrade)
    code.preference = static_cast<std::int8_t>(positive_is_left_ ? *number : -*number);
}

std::string Codes::meaning(const Code& code) {
  if (code.skip) return "left out";
  if (!code.preference) return "unknown";
  if (*code.preference == 0) return "tie";
  const int strength = std::abs(*code.preference);
  return (*code.preference > 0 ? "left" : "right") + (strength > 1 ? fmt::format(" {}", strength) : std::string());
}

std::string Codes::rule() const {
  if (scale_)
    return fmt::format("on the scale, {} means the left item and {} the right item", scale_->first, scale_->second);
  if (std::ranges::none_of(seen_, &Code::number)) return {};
  return fmt::format("positive numbers mean the {} item, negative numbers the {} item",
                     positive_is_left_ ? "left" : "right", positive_is_left_ ? "right" : "left");
}

std::string Codes::values_with_counts() const {
  std::vector<const Code*> codes;
  for (const Code& code : seen_) codes.push_back(&code);
  std::ranges::stable_sort(codes, std::greater<>(), &Code::count);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < std::min(codes.size(), kShownValues); ++i)
    texts.push_back(
        fmt::format("'{}' {} time{}", shown(codes[i]->value), codes[i]->count, codes[i]->count == 1 ? "" : "s"));
  if (codes.size() > kShownValues) texts.push_back(fmt::format("and {} more", codes.size() - kShownValues));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string Codes::ready_made_maps() const {
  std::set<double> numbers;
  for (const Code& code : seen_)
    if (const auto number = number_of(code.value)) numbers.insert(*number);
  const auto among = [&](std::initializer_list<double> known) {
    return std::ranges::all_of(numbers, [&](double n) { return std::ranges::find(known, n) != known.end(); });
  };
  const double low = *numbers.begin(), high = *numbers.rbegin();
  std::vector<std::string> maps;
  const auto offer = [&](const char* what, std::string option) {
    maps.push_back(fmt::format("{} ({})", option, what));
  };
  if (numbers.size() == 1) {
    const auto value = fmt::format("{}", low);
    offer("the left item won", fmt::format("--map \"{}=left\"", value));
    offer("the right one won", fmt::format("--map \"{}=right\"", value));
  }
  if (among({0, 1})) {
    offer("the index of the better item", "--map \"0=left,1=right\"");
    offer("1 if the left item won, else 0", "--map \"1=left,0=right\"");
    offer("1 if the left item won, 0 for a tie", "--map \"1=left,0=tie\"");
    offer("one of several columns with 0 and 1, one column per outcome",
          fmt::format("--left-won {} --right-won COLUMN --tied COLUMN", shown(column_)));
  } else if (among({1, 2})) {
    offer("the number of the better item", "--map \"1=left,2=right\"");
  } else if (among({0, 1, 2})) {
    offer("the number of the better item, 0 for a tie", "--map \"1=left,2=right,0=tie\"");
    offer("the index of the better item, 2 for a tie", "--map \"0=left,1=right,2=tie\"");
    offer("a scale from the left item to the right one", "--scale 0..2");
  } else if (among({1, 2, 3})) {
    offer("the number of the better item, 3 for a tie", "--map \"1=left,2=right,3=tie\"");
    offer("a scale from the left item to the right one", "--scale 1..3");
    offer("from right to left", "--scale 3..1");
  } else if (std::ranges::all_of(numbers, is_whole) && high - low <= 2 * kLargestGrade && low >= 0) {
    offer("a scale from the left item to the right one, given by its ends",
          fmt::format("--scale {}..{}", std::min(low, 1.0), high));
    offer("from right to left", fmt::format("--scale {}..{}", high, std::min(low, 1.0)));
  }
  if (low >= 0 && high <= 1 && numbers.size() != 1)
    offer("the probability that the left item is better", fmt::format("--probability {}", shown(column_)));
  if (among({0.0, 0.5, 1.0}) && numbers.contains(0.5))
    offer("1 for the left item, 0 for the right one, half for a tie", "--map \"1=left,0=right,0.5=tie\"");
  if (maps.empty())
    maps.emplace_back("--map \"VALUE=STRENGTH,...\" (strengths: 1 to 9 for the left item, -1 to -9 for the right one)");
  return fmt::format("{}", fmt::join(maps, "; "));
}

std::string Codes::remedy(const Code& code) const {
  if (scale_ && number_of(code.value))
    return "it is not on the scale; correct --scale, or leave such votes out with --map \"VALUE=skip\"";
  std::vector<std::string> unknown;
  for (const Code& each : seen_)
    if (!each.known() && unknown.size() < kShownValues) {
      const std::string value = shown(each.value);
      unknown.push_back(value.find_first_of(",\"") == value.npos ? value + "=WHO" : fmt::format("\"{}\"=WHO", value));
    }
  return fmt::format(
      "say what it means with --map '{}{}', where WHO is left, right, tie, skip, or a strength from -9 to 9",
      map_.empty() ? "" : "...,", fmt::join(unknown, ","));
}

void Codes::check(bool words_left_out) const {
  const auto number = [](const Code& code) { return code.number; };
  const auto negative = [](const Code& code) { return code.number && code.value.starts_with('-'); };
  const auto strange = std::ranges::find_if(seen_, [](const Code& code) { return code.number && !code.known(); });
  const auto first_number = std::ranges::find_if(seen_, number);
  if (strange != seen_.end() || (first_number != seen_.end() && std::ranges::none_of(seen_, negative))) {
    const Code& code = strange != seen_.end() ? *strange : *first_number;
    throw bad_input(
        "{}: {} is '{}', and the numbers in this column can have several meanings: {}; the values are {}; say what "
        "they mean with one of these: {}",
        code.place, shown(column_), shown(code.value),
        strange != seen_.end() ? "this one is not a whole number from -9 to 9" : "no number is negative",
        values_with_counts(), ready_made_maps());
  }
  for (const Code& code : seen_)
    if (!code.known() && !words_left_out)
      throw bad_input("{}: {} is '{}', which has no known meaning; the values are {}; {}", code.place, shown(column_),
                      shown(code.value), values_with_counts(), remedy(code));
}

}  // namespace voxpop
