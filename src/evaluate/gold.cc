#include "evaluate/gold.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/progress.h"
#include "core/seeded_hash.h"
#include "core/strings.h"
#include "text/table.h"
#include "votes/known.h"

namespace voxpop {
namespace {

double number_of(std::string_view text, const std::string& path, std::uint64_t line, const char* column) {
  text = trimmed(text);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    throw bad_input("{}: line {}: column '{}' is '{}'; it must be a number", path, line, column, shown(text));
  return value;
}

/// `better(low, high, pair)`: the chance that the item of lower index is better; pair: its place among the labels.
template <class Better>
Trials compare_pairs(const Labels& labels, const Gold& gold, const Better& better) {
  const PairColumns& pairs = labels.pairs;
  const auto key = [](std::uint32_t left, std::uint32_t right) { return std::uint64_t{left} << 32 | right; };
  std::vector<std::uint64_t> keys(pairs.left.size());
  for (std::size_t p = 0; p < keys.size(); ++p) keys[p] = key(pairs.left[p], pairs.right[p]);
  Trials trials;
  for (std::size_t g = 0; g < gold.left.size(); ++g) {
    const auto [low, high] = std::minmax(gold.left[g], gold.right[g]);
    if (labels.items.component[low] < 0 || labels.items.component[low] != labels.items.component[high]) continue;
    const auto found = std::lower_bound(keys.begin(), keys.end(), key(low, high));
    std::optional<std::size_t> pair;
    if (found != keys.end() && *found == key(low, high)) pair = found - keys.begin();
    trials.predicted.push_back(static_cast<float>(better(low, high, pair)));
    trials.outcome.push_back((gold.preference[g] > 0) == (gold.left[g] == low) ? 1 : 0);
    trials.cluster.push_back(static_cast<std::uint32_t>(g));
  }
  return trials;
}

}  // namespace

Gold read_gold(const std::string& path, const Votes& votes, const Context& context) {
  std::unordered_map<std::string_view, std::uint32_t, SeededHash> index;
  for (std::uint32_t i = 0; i < votes.item_ids.size(); ++i) index.emplace(votes.item_ids[i], i);
  const auto find = [&](std::string_view id) {
    const auto found = index.find(trimmed(id));
    return found == index.end() ? votes.item_ids.size() : found->second;
  };
  Gold gold;
  Progress progress("reading gold labels", 1, context);
  TextFile file(path, progress, 0);
  enum { kLeft, kRight, kPreference, kItem, kGold, kRank };
  const auto optional = [](const char* name) { return TableColumn{name, "--holdout", false}; };
  std::size_t rows = 0;
  KnownAnswers answers(path);
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  std::vector<bool> valued(votes.item_ids.size());
  read_table(file, table_format_of(path),
             {optional("left"), optional("right"), optional("preference"), optional("item"), optional("gold"),
              optional("rank")},
             [&](const Row& row) {
               ++rows;
               const auto& value = row.values;
               if (value[kLeft] && value[kRight] && value[kPreference]) {
                 if (trimmed(*value[kLeft]) == trimmed(*value[kRight]))
                   throw bad_input("{}: line {}: '{}' is compared with itself; drop the row", path, row.line,
                                   shown(trimmed(*value[kLeft])));
                 answers.add(*value[kPreference], row.line);
                 pairs.emplace_back(find(*value[kLeft]), find(*value[kRight]));
               } else if (value[kItem] && (value[kGold] || value[kRank])) {
                 const double worth = value[kGold] ? number_of(*value[kGold], path, row.line, "gold")
                                                   : -number_of(*value[kRank], path, row.line, "rank");
                 const std::size_t item = find(*value[kItem]);
                 if (item == votes.item_ids.size()) {
                   ++gold.unknown;
                 } else if (valued[item]) {
                   throw bad_input("{}: line {}: '{}' has a gold value already; keep one of them", path, row.line,
                                   shown(trimmed(*value[kItem])));
                 } else {
                   valued[item] = true;
                   gold.item.push_back(static_cast<std::uint32_t>(item));
                   gold.value.push_back(worth);
                 }
               } else {
                 throw bad_input(
                     "{}: line {}: gold labels need columns left, right and preference, or item and one of gold and "
                     "rank",
                     path, row.line);
               }
             });
  const std::vector<float> probability = answers.probabilities();
  for (std::size_t row = 0; row < pairs.size(); ++row) {
    const auto [left, right] = pairs[row];
    if (left == votes.item_ids.size() || right == votes.item_ids.size()) {
      ++gold.unknown;
    } else if (probability[row] == 0.5f) {
      ++gold.ties;
    } else {
      gold.left.push_back(static_cast<std::uint32_t>(left));
      gold.right.push_back(static_cast<std::uint32_t>(right));
      gold.preference.push_back(probability[row] > 0.5f ? 1 : -1);
    }
  }
  if (gold.item.empty() && gold.left.empty())
    throw bad_input("{}: none of its {} rows is a gold label of items in {}", path, rows, votes.inputs.front().path);
  return gold;
}

Trials compare_with_gold_pairs(const Labels& labels, const Gold& gold) {
  const ItemLabels& items = labels.items;
  return compare_pairs(labels, gold, [&](std::uint32_t low, std::uint32_t high, std::optional<std::size_t> pair) {
    if (pair) return double{labels.pairs.probability_better[*pair]};
    const double sd = std::hypot(items.std_error[low], items.std_error[high]);
    return 0.5 * std::erfc((items.score[high] - items.score[low]) / (sd * std::sqrt(2.0)));
  });
}

Trials compare_majority_with_gold(const Labels& labels, const Gold& gold) {
  return compare_pairs(labels, gold, [&](std::uint32_t, std::uint32_t, std::optional<std::size_t> pair) {
    return pair ? (labels.pairs.wins_left[*pair] + 1.0) / (labels.pairs.votes[*pair] + 2.0) : 0.5;
  });
}

GoldOrder compare_with_gold_order(const Column<float>& score, const Column<std::int32_t>& component, const Gold& gold) {
  std::map<std::int32_t, std::vector<std::size_t>> members;
  for (std::size_t g = 0; g < gold.item.size(); ++g)
    if (component[gold.item[g]] >= 0) members[component[gold.item[g]]].push_back(g);
  double agree = 0, differ = 0, even = 0, gold_even = 0;  // even: in score alone
  for (const auto& [ignored, rows] : members)
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const double fact = gold.value[rows[i]] - gold.value[rows[j]];
        const float guess = score[gold.item[rows[i]]] - score[gold.item[rows[j]]];
        if (fact == 0)
          gold_even += guess != 0;
        else if (guess == 0)
          even += 1;
        else
          ((guess > 0) == (fact > 0) ? agree : differ) += 1;
      }
  GoldOrder out;
  out.pairs = agree + differ + even;
  out.accuracy = (agree + 0.5 * even) / out.pairs;
  out.tau_b = (agree - differ) / std::sqrt((agree + differ + even) * (agree + differ + gold_even));
  return out;
}

Column<float> win_shares(const Labels& labels) {
  Column<float> wins(labels.items.votes.size(), 0.0f);
  const PairColumns& pairs = labels.pairs;
  for (std::size_t p = 0; p < pairs.left.size(); ++p) {
    wins[pairs.left[p]] += pairs.wins_left[p];
    wins[pairs.right[p]] += static_cast<float>(pairs.votes[p]) - pairs.wins_left[p];
  }
  for (std::size_t i = 0; i < wins.size(); ++i) wins[i] /= static_cast<float>(std::max(labels.items.votes[i], 1u));
  return wins;
}

}  // namespace voxpop
