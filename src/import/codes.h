#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/text_file.h"

namespace voxpop {

/// Maximum strength of a vote.
inline constexpr int kLargestGrade = 9;

/// The user's options for the meaning of vote values. If all are empty, the words left, right, tie and the like are
/// accepted in upper or lower case, and whole numbers from -9 to 9 if at least one number is negative.
struct CodeOptions {
  /// "A>B=left,B>A=right,draw=tie,?=skip". With a map only its values are accepted. A value may be in double quotes.
  std::string map;
  /// "1..5": whole numbers. The first end is the strongest vote for the left item, the middle is a tie.
  std::string scale;
  /// "left" or "right": the side for which positive numbers, or the high end of a scale, are votes.
  std::string positive;
};

/// The distinct values of one column of votes, with their meanings and counts.
class Codes {
 public:
  struct Code {
    std::string value;                      ///< trimmed
    std::optional<std::int8_t> preference;  ///< > 0 left, < 0 right, 0 tie
    bool skip = false;                      ///< the map says to leave out votes with this value
    bool number = false;                    ///< read by its sign; check() decides at the end if signs have a meaning
    std::uint64_t count = 0;
    std::string place;  ///< first occurrence: "votes.csv: line 2"
    bool known() const { return skip || preference.has_value(); }
  };

  /// `column`: name of the column, for messages. `left`, `right`: names of the items' columns. These names are also
  /// accepted as values: a vote for the item in that column. Throws Error(kUsage) if the options are invalid.
  Codes(const CodeOptions& options, std::string column, std::string_view left = {}, std::string_view right = {});

  /// Counts a value and returns its meaning; the reference is valid until the next call. Throws Error(kBadInput) if the
  /// column has more than 256 distinct values, which is too many for codes.
  const Code& look_up(std::string_view value, const std::string& path, std::uint64_t line) {
    value = trimmed(value);
    for (Code& code : seen_)
      if (code.value == value) {
        ++code.count;
        return code;
      }
    return add(value, path, line);
  }

  /// Advice to the user for a value without a known meaning, for an error message.
  std::string remedy(const Code& code) const;
  /// Call after the last value. Throws Error(kBadInput), with suggested options, if a value has no known meaning, or if
  /// the column has numbers but no negative one: such numbers are codes, and their meaning cannot be guessed.
  /// `words_left_out`: accept unknown words, because their rows were skipped.
  void check(bool words_left_out = false) const;

  const std::vector<Code>& seen() const { return seen_; }
  /// A meaning as text: "left", "right 2", "tie", "left out", "unknown".
  static std::string meaning(const Code& code);
  /// The rule for numbers as text, such as "positive numbers speak for the left item, ..."; "" if there were no numbers
  /// and no scale.
  std::string rule() const;

 private:
  const Code& add(std::string_view value, const std::string& path, std::uint64_t line);
  void read(Code& code) const;
  std::string values_with_counts() const;
  std::string ready_made_maps() const;

  std::string column_;
  std::vector<std::pair<std::string, Code>> map_;  ///< value, meaning
  std::optional<std::pair<int, int>> scale_;       ///< strongest value for the left item, for the right item
  bool positive_is_left_ = true;
  std::string left_name_, right_name_;  ///< names of the items' columns, accepted as values
  std::vector<Code> seen_;
};

}  // namespace voxpop
