#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/strings.h"
#include "guards/guards.h"
#include "voxpop/rows.h"

namespace voxpop {
namespace {

/// Numbers of votes by code of comparisons/preference, from -kMaxLevels on.
struct Codes {
  std::array<std::uint64_t, 2 * kMaxLevels + 1> counts{};

  std::uint64_t of(int code) const { return counts[static_cast<std::size_t>(code + kMaxLevels)]; }
  std::uint64_t ties() const { return of(0); }
  std::uint64_t left() const { return sum(1, kMaxLevels); }
  std::uint64_t right() const { return sum(-kMaxLevels, -1); }
  std::uint64_t decided() const { return left() + right(); }
  int lowest() const { return first(-kMaxLevels, 1); }
  int highest() const { return first(kMaxLevels, -1); }
  Codes& operator+=(const Codes& other) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    return *this;
  }
  /// Such as "0 (612 times), 1 (588 times)".
  std::string listed() const {
    std::string text;
    for (int code = -kMaxLevels; code <= kMaxLevels; ++code)
      if (of(code) > 0) text += fmt::format("{}{} ({} times)", text.empty() ? "" : ", ", code, of(code));
    return text;
  }

 private:
  std::uint64_t sum(int from, int to) const {
    std::uint64_t total = 0;
    for (int code = from; code <= to; ++code) total += of(code);
    return total;
  }
  int first(int from, int step) const {
    while (from != step * kMaxLevels && of(from) == 0) from += step;
    return from;
  }
};

Codes count_codes(const Votes& votes, Rows rows) {
  using Range = oneapi::tbb::blocked_range<std::uint64_t>;
  return oneapi::tbb::parallel_reduce(
      Range(rows.begin, rows.end, 1 << 16), Codes{},
      [&](const Range& range, Codes codes) {
        for (std::uint64_t row = range.begin(); row < range.end(); ++row)
          ++codes.counts[static_cast<std::size_t>(votes.preference[row] + kMaxLevels)];
        return codes;
      },
      [](Codes a, const Codes& b) { return a += b; });
}

/// Those rows in `all` whose sides are known.
std::vector<Rows> known_rows(const Votes& votes, Rows all) {
  std::vector<Rows> known;
  std::uint64_t begin = all.begin;
  for (const Rows& unknown : votes.unknown_sides) {
    if (unknown.begin > begin) append_rows(known, {begin, std::min(unknown.begin, all.end)});
    begin = std::max(begin, unknown.end);
    if (begin >= all.end) return known;
  }
  append_rows(known, {begin, all.end});
  return known;
}

/// Lower end of the 99.7 % interval of a share (Wilson 1927), so that few votes are no proof.
double at_least(std::uint64_t part, std::uint64_t whole) {
  constexpr double z = 3;
  const double n = static_cast<double>(whole), share = static_cast<double>(part) / n;
  return (share + z * z / (2 * n) - z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n);
}

/// Whether one side has too many votes. None: no. kCare: suspicious. kDoNotTrain: impossible for a crowd if sides are
/// drawn at random.
std::optional<Level> one_sided(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return std::nullopt;
  const double share = static_cast<double>(part) / static_cast<double>(whole), low = at_least(part, whole);
  if (share >= 0.98 && low > 0.75) return Level::kDoNotTrain;
  if (share >= 0.9 && low > 0.5) return Level::kCare;
  return std::nullopt;
}

/// Python code that converts a scale from `low` (the left item is better) to `high` into codes around 0.
std::string rewritten(int low, int high) {
  const std::string codes =
      (low + high) % 2 == 0 ? fmt::format("{} - p", (low + high) / 2) : fmt::format("{} - 2 * p", low + high);
  return "p = f['comparisons/preference'][:].astype('i1'); del f['comparisons/preference']; "
         "f['comparisons/preference'] = " +
         codes;
}

constexpr const char* kContract =
    "voxpop reads codes above 0 as votes for the left item, codes below 0 as votes for the right one, and 0 as a tie";
constexpr const char* kWinnerLoser =
    "If the data say which item won, but not which was on the left, import them as winners and losers (voxpop import "
    "FILE --winner COLUMN --loser COLUMN)";

/// Codes from 0 or 1 upwards, such as an index, a number, won or lost, or a scale: no code means that the right item is
/// better.
std::optional<Finding> foreign(const std::string& where, const Codes& codes) {
  constexpr std::uint64_t kFew = 4, kSure = 10;
  const int low = codes.lowest(), high = codes.highest();
  if (low < 0 || low == high || codes.decided() < kFew) return std::nullopt;
  const std::string likely =
      high == 1               ? "They look like an index (0 the first item, 1 the second) or like lost and won (0, 1)"
      : low == 1 && high == 2 ? "They look like the number of the better item (1 the first, 2 the second)"
                              : fmt::format("They look like a scale from {} to {}, whose middle is a tie", low, high);
  const std::string import =
      high == 1 ? "Import again with the meaning of the codes (voxpop import FILE --map \"0=left,1=right\" for an "
                  "index, \"0=right,1=left\" for lost and won)"
      : high - low == 1
          ? fmt::format("Import again with the meaning of the codes (voxpop import FILE --map \"{}=left,{}=right\")",
                        low, high)
          : fmt::format("Import again with the scale (voxpop import FILE --scale {}..{})", low, high);
  return Finding{
      "foreign_codes", codes.decided() >= kSure ? Level::kDoNotTrain : Level::kCare,
      fmt::format("{}: no vote prefers the right item; the codes are {}. {}. {}. If so, the labels would be wrong.",
                  where, codes.listed(), kContract, likely),
      fmt::format(
          "{}. Or, if {} means the left item, in h5py: {} (with the opposite sign if it means the right item). {}",
          import, low, rewritten(low, high), kWinnerLoser)};
}

std::optional<Finding> one_way(const std::string& where, const Codes& codes) {
  const bool to_left = codes.left() >= codes.right();
  const std::uint64_t most = std::max(codes.left(), codes.right());
  const std::optional<Level> level = one_sided(most, codes.decided());
  if (!level) return std::nullopt;
  return Finding{
      "one_sided", *level,
      fmt::format("{}: {} of {} decided votes ({:.1f} %) prefer the {} item. With random sides, this does not happen. "
                  "Perhaps the {} column is the winner, or the codes ({}) mean something else. The fit would explain "
                  "such votes by side bias, and the labels would lose the information in them.",
                  where, most, codes.decided(), percent(most, codes.decided()), to_left ? "left" : "right",
                  to_left ? "left" : "right", codes.listed()),
      fmt::format("{}. If the codes mean something else, import again with their meaning (voxpop import FILE --map "
                  "\"VALUE=left,VALUE=right\")",
                  kWinnerLoser)};
}

/// A strength that occurs for one side only, while the others occur for both. Often this is a code for "both bad" or
/// "not known".
std::optional<Finding> one_way_strength(const std::string& where, const Codes& codes, const Limits& limits) {
  for (int strength = kMaxLevels; strength >= 1; --strength) {
    const std::uint64_t left = codes.of(strength), right = codes.of(-strength), most = std::max(left, right);
    if (one_sided(most, left + right) != Level::kDoNotTrain) continue;
    const std::uint64_t others = codes.decided() - left - right;
    const std::uint64_t others_same_way = (left > right ? codes.left() : codes.right()) - most;
    if (others == 0 || 10 * others_same_way > 9 * others) continue;
    const int code = left > right ? strength : -strength;
    return Finding{
        "one_sided_strength", limits.side_bias_identified() ? Level::kDoNotTrain : Level::kCare,
        fmt::format("{}: code {} occurs {} times, but code {} only {}. With random sides, votes of every strength go "
                    "to both sides. Perhaps {} has another meaning, such as a tie, \"both bad\" or \"not known\".",
                    where, code, most, -code, std::min(left, right), code),
        fmt::format("Import again with the meaning of this code, or without such votes (voxpop import FILE --map "
                    "\"{}=tie\" or --map \"{}=skip\"; also give the meaning of all other values)",
                    code, code)};
  }
  return std::nullopt;
}

std::optional<Finding> look_at(const std::string& where, const Codes& codes, const Limits& limits) {
  std::optional<Finding> finding = foreign(where, codes);
  if (!finding) finding = one_way(where, codes);
  if (!finding) finding = one_way_strength(where, codes, limits);
  return finding;
}

}  // namespace

void guard_codes(const Votes& votes, const Limits& limits, std::vector<Finding>& findings) {
  // File by file, because each vendor may use other codes.
  Codes all;
  std::uint64_t likewise = 0;
  std::optional<Finding> worst;
  for (const InputFile& input : votes.inputs) {
    Codes codes;
    for (const Rows& rows : known_rows(votes, votes.inputs.size() == 1 ? Rows{0, votes.size()} : input.rows))
      codes += count_codes(votes, rows);
    all += codes;
    std::optional<Finding> finding = look_at(shown(input.path), codes, limits);
    if (!finding) continue;
    ++likewise;
    if (!worst || finding->level > worst->level) worst = std::move(finding);
  }
  if (votes.inputs.empty())  // given in memory
    for (const Rows& rows : known_rows(votes, {0, votes.size()})) all += count_codes(votes, rows);
  if (!worst) worst = look_at(votes.inputs.empty() ? "The votes" : "All files together", all, limits);
  if (!worst) return;
  if (likewise > 1)
    worst->text += fmt::format(" In all, {} of {} files have such a finding.", likewise, votes.inputs.size());
  findings.push_back(std::move(*worst));
}

}  // namespace voxpop
