#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/text_file.h"

namespace voxpop {

/// The largest strength of a vote.
inline constexpr int kLargestGrade = 9;

/// What the values of a vote mean, as the user says it. All empty: left, right and tie in any case, and signed numbers
/// to +-9 where a negative one occurs.
struct CodeOptions {
  /// "A>B=left,B>A=right,draw=tie,?=skip": the only values then taken. A value may stand in double quotes.
  std::string map;
  /// "1..5": whole numbers, the first the strongest for the left item, the middle a tie.
  std::string scale;
  /// "left" or "right": the side that positive numbers, or the high end of a scale, speak for.
  std::string positive;
};

/// The values of one column of votes: what each means, and how often it occurred.
class Codes {
 public:
  struct Code {
    std::string value;                      ///< trimmed
    std::optional<std::int8_t> preference;  ///< > 0 left, < 0 right, 0 tie
    bool skip = false;                      ///< votes of it are left out, as the map says
    bool number = false;                    ///< read by its sign: what that means is known at the end only
    std::uint64_t count = 0;
    std::string place;  ///< "votes.csv: line 2", of the first
    bool known() const { return skip || preference.has_value(); }
  };

  /// `column`: its name, for messages; `left`, `right`: names of the items' columns, which as values name their item.
  /// Throws a usage error where the options cannot be.
  Codes(const CodeOptions& options, std::string column, std::string_view left = {}, std::string_view right = {});

  /// Counts the value. Throws bad input where a column holds too many different values to be codes.
  const Code& look_up(std::string_view value, const std::string& path, std::uint64_t line) {
    value = trimmed(value);
    for (Code& code : seen_)
      if (code.value == value) {
        ++code.count;
        return code;
      }
    return add(value, path, line);
  }

  /// The error of one value that means nothing known.
  std::string remedy(const Code& code) const;
  /// Throws bad input, with ready-made maps, where a value means nothing known, or where numbers have no negative
  /// among them: those are codes, not signs.
  /// Words that mean nothing pass where their rows were left out.
  void check(bool words_left_out = false) const;

  const std::vector<Code>& seen() const { return seen_; }
  /// "left", "right 2", "tie", "left out"
  static std::string meaning(const Code& code);
  /// "negative numbers: the right item is better" and the like; empty where no number was read.
  std::string rule() const;

 private:
  const Code& add(std::string_view value, const std::string& path, std::uint64_t line);
  void read(Code& code) const;
  std::string values_with_counts() const;
  std::string ready_made_maps() const;

  std::string column_;
  std::vector<std::pair<std::string, Code>> map_;  ///< key, meaning
  std::optional<std::pair<int, int>> scale_;       ///< the end for the left item, the end for the right one
  bool positive_is_left_ = true;
  std::string left_name_, right_name_;  ///< of the items' columns, as values
  std::vector<Code> seen_;
};

}  // namespace voxpop
