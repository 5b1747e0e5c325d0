#include "votes/known.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/progress.h"
#include "core/seeded_hash.h"
#include "formulas/likelihood.h"
#include "text/table.h"

namespace voxpop {
namespace {

constexpr float kLeft = 11, kRight = 12, kTie = 13;  ///< codes of words, above all valid numbers

}  // namespace

IdIndex::const_iterator find_id(const IdIndex& index, std::string_view id) {
  const auto exact = index.find(id);
  return exact != index.end() ? exact : index.find(trimmed(id));
}

IdIndex index_of(const Strings& ids) {
  IdIndex index;
  for (std::uint32_t i = 0; i < ids.size(); ++i) index.emplace(ids[i], i);
  return index;
}

void KnownAnswers::add(std::string_view text, std::uint64_t line) {
  const std::string word = lower(trimmed(text));
  float value = word == "left" ? kLeft : word == "right" ? kRight : word == "tie" ? kTie : 0;
  if (value == 0) {
    const char* begin = word.data() + (word.starts_with('+') ? 1 : 0);
    const auto [end, problem] = std::from_chars(begin, word.data() + word.size(), value);
    const bool is_part = value > 0 && value < 1;
    if (problem != std::errc() || end != word.data() + word.size() || !(std::abs(value) <= kMaxLevels) ||
        (!is_part && value != std::round(value)))
      throw bad_input(
          "{}: line {}: column 'preference' is '{}'; it must be left, right, tie, 1, -1, 0, or the probability that "
          "the left item is better (0 to 1)",
          path_, line, shown(text));
    has_parts_ |= is_part;
    has_minus_ |= value < 0;
    has_zero_ |= value == 0;
    has_one_ |= value >= 1;
  }
  values_.push_back(value);
}

std::vector<float> KnownAnswers::probabilities() const {
  if (has_parts_ && (has_minus_ || std::ranges::any_of(values_, [](float x) { return x > 1 && x < kLeft; })))
    throw bad_input("{}: column 'preference' has probabilities and also numbers outside 0 to 1; use only one kind",
                    path_);
  if (has_zero_ && has_one_ && !has_minus_ && !has_parts_)
    throw bad_input(
        "{}: column 'preference' has 1 and 0, but no -1, so 0 can mean the right item or a tie; write left, right or "
        "tie instead",
        path_);
  std::vector<float> out;
  for (const float value : values_)
    if (value == kTie || (value == 0 && !has_parts_))
      out.push_back(0.5f);
    else if (value == kLeft || value == kRight)
      out.push_back(value == kLeft ? 1.0f : 0.0f);
    else
      out.push_back(std::clamp(value, 0.0f, 1.0f));
  return out;
}

KnownPairs read_known_pairs(const std::string& path, const Strings& item_ids, const Context& context) {
  const IdIndex index = index_of(item_ids);
  KnownAnswers answers(path);
  Column<std::uint32_t> left, right;
  std::vector<std::uint64_t> lines;
  std::size_t unknown = 0;
  Progress progress("reading known pairs", 1, context);
  TextFile file(path, progress, 0);
  read_table(file, table_format_of(path), {{"left", ""}, {"right", ""}, {"preference", ""}}, [&](const Row& row) {
    const std::string_view names[] = {*row.values[0], *row.values[1]};
    const auto l = find_id(index, names[0]), r = find_id(index, names[1]);
    if (trimmed(names[0]) == trimmed(names[1]) && l == r)
      throw bad_input("{}: line {}: '{}' is compared with itself; drop the row", path, row.line, shown(names[0]));
    answers.add(*row.values[2], row.line);
    lines.push_back(row.line);
    unknown += l == index.end() || r == index.end();
    left.push_back(l == index.end() || r == index.end() ? 0 : l->second);
    right.push_back(l == index.end() || r == index.end() ? 0 : r->second);
  });
  const std::vector<float> probability = answers.probabilities();
  KnownPairs known;
  std::size_t ties = 0;
  // By pair: probability that the item of lower index is better, and the line.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<float, std::uint64_t>> said;
  for (std::size_t row = 0; row < probability.size(); ++row) {
    if (left[row] == right[row]) continue;  // both 0: an item is unknown
    if (probability[row] == 0.5f)
      ++ties;
    else {
      const bool turned = left[row] > right[row];
      const float chance = turned ? 1 - probability[row] : probability[row];
      const auto [before, is_new] = said.emplace(std::minmax(left[row], right[row]), std::pair(chance, lines[row]));
      if (is_new) known.add(left[row], right[row], probability[row]);
      if (std::abs(before->second.first - chance) > 1e-6f)
        throw bad_input("{}: lines {} and {} give different answers for '{}' and '{}'; keep one of them", path,
                        before->second.second, lines[row], shown(item_ids[left[row]]), shown(item_ids[right[row]]));
    }
  }
  if (known.size() == 0 && ties > 0)
    throw bad_input("{}: {} of its {} rows are ties, which do not show which item is better{}", path, ties,
                    probability.size(), unknown > 0 ? "; the other rows name items that are not in the votes" : "");
  if (known.size() == 0)
    throw bad_input("{}: none of its {} rows names two items of the votes; check the ids", path, probability.size());
  if (ties > 0) context.tell(fmt::format("{}: {} rows are ties and are not used", path, ties));
  if (unknown > 0) context.tell(fmt::format("{}: {} rows name an item that is not in the votes", path, unknown));
  return known;
}

std::vector<float> read_prior_scores(const std::string& path, const Strings& item_ids, const Context& context) {
  const IdIndex index = index_of(item_ids);
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> scores(item_ids.size(), kNone);
  std::size_t rows = 0, unknown = 0;
  Progress progress("reading scores", 1, context);
  TextFile file(path, progress, 0);
  read_table(file, table_format_of(path), {{"id", ""}, {"score", ""}}, [&](const Row& row) {
    ++rows;
    const std::string_view text = trimmed(*row.values[1]);
    float score = kNone;
    const auto [end, problem] = std::from_chars(text.data() + text.starts_with('+'), text.data() + text.size(), score);
    if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(score))
      throw bad_input("{}: line {}: column 'score' is '{}'; it must be a finite number (float32)", path, row.line,
                      shown(text));
    const auto found = find_id(index, *row.values[0]);
    if (found == index.end()) {
      ++unknown;
      return;
    }
    float& known = scores[found->second];
    if (!std::isnan(known) && known != score)
      throw bad_input("{}: line {}: '{}' has another score in an earlier line; keep one of them", path, row.line,
                      shown(item_ids[found->second]));
    known = score;
  });
  const auto missing = std::ranges::count_if(scores, [](float x) { return std::isnan(x); });
  if (missing > 0) {
    const auto first = std::ranges::find_if(scores, [](float x) { return std::isnan(x); }) - scores.begin();
    throw bad_input("{}: {} of the {} items of the votes have no row, such as '{}'; give every item a score", path,
                    missing, item_ids.size(), shown(item_ids[first]));
  }
  if (unknown > 0)
    context.tell(fmt::format("{}: {} of {} rows name an item that is not in the votes", path, unknown, rows));
  return scores;
}

std::vector<std::uint32_t> read_trusted(const std::string& path, const Strings& annotator_ids, const Context& context) {
  const IdIndex index = index_of(annotator_ids);
  std::vector<std::uint32_t> trusted;
  std::size_t rows = 0;
  Progress progress("reading trusted annotators", 1, context);
  TextFile file(path, progress, 0);
  read_table(file, table_format_of(path), {{"annotator", ""}}, [&](const Row& row) {
    ++rows;
    if (const auto found = find_id(index, *row.values[0]); found != index.end()) trusted.push_back(found->second);
  });
  if (trusted.empty())
    throw bad_input("{}: none of its {} rows names an annotator of the votes; check the ids", path, rows);
  if (trusted.size() < rows)
    context.tell(
        fmt::format("{}: {} of {} rows name an annotator who is not in the votes", path, rows - trusted.size(), rows));
  std::ranges::sort(trusted);
  trusted.erase(std::unique(trusted.begin(), trusted.end()), trusted.end());
  return trusted;
}

}  // namespace voxpop
