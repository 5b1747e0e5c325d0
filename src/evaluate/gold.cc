#include "evaluate/gold.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/progress.h"
#include "formulas/elementary.h"
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

std::uint64_t key_of(std::uint32_t low, std::uint32_t high) { return std::uint64_t{low} << 32 | high; }

/// `better(low, high, pair)`: probability that the item of lower index is better; pair: row of labels.pairs, if
/// present.
template <class Better>
Trials compare_pairs(const Labels& labels, const Gold& gold, const Better& better) {
  const PairColumns& pairs = labels.pairs;
  std::vector<std::uint64_t> keys(pairs.left.size());
  for (std::size_t p = 0; p < keys.size(); ++p) keys[p] = key_of(pairs.left[p], pairs.right[p]);
  Trials trials;
  for (std::size_t g = 0; g < gold.left.size(); ++g) {
    const auto [low, high] = std::minmax(gold.left[g], gold.right[g]);
    if (labels.items.component[low] < 0 || labels.items.component[low] != labels.items.component[high]) continue;
    const auto found = std::lower_bound(keys.begin(), keys.end(), key_of(low, high));
    std::optional<std::size_t> pair;
    if (found != keys.end() && *found == key_of(low, high)) pair = found - keys.begin();
    trials.predicted.push_back(static_cast<float>(better(low, high, pair)));
    trials.outcome.push_back((gold.preference[g] > 0) == (gold.left[g] == low) ? 1 : 0);
    trials.cluster.push_back(static_cast<std::uint32_t>(g));
  }
  return trials;
}

/// A row that compares two items, as indices. An item that is not in the votes has the number of items as index.
struct PairRow {
  std::uint32_t left, right;
  std::uint64_t line;
};

/// A row that gives an item a value; larger is better.
struct ValueRow {
  std::uint32_t item;
  double value;
  std::uint64_t line;
};

/// Adds each item once.
void add_values(const std::vector<ValueRow>& rows, const Strings& item_ids, const std::string& path, Gold& gold) {
  std::unordered_map<std::uint32_t, const ValueRow*> said;
  for (const ValueRow& row : rows) {
    if (row.item == item_ids.size()) {
      ++gold.unknown;
      continue;
    }
    const auto [before, is_new] = said.emplace(row.item, &row);
    if (is_new) {
      gold.item.push_back(row.item);
      gold.value.push_back(row.value);
    } else if (before->second->value == row.value) {
      ++gold.repeated;
    } else {
      throw bad_input("{}: lines {} and {} give '{}' different values; keep one of them", path, before->second->line,
                      row.line, shown(item_ids[row.item]));
    }
  }
}

/// Adds each pair once; the order of its two items does not matter.
void add_pairs(const std::vector<PairRow>& rows, const std::vector<float>& probability, const Strings& item_ids,
               const std::string& path, Gold& gold) {
  struct Said {
    int better;  ///< 1: the item of lower index is better; -1: the other; 0: equal
    std::uint64_t line;
  };
  std::unordered_map<std::uint64_t, Said> said;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto [left, right, line] = rows[row];
    if (left == item_ids.size() || right == item_ids.size()) {
      ++gold.unknown;
      continue;
    }
    const int preference = probability[row] == 0.5f ? 0 : probability[row] > 0.5f ? 1 : -1;
    const int better = left < right ? preference : -preference;
    const auto [before, is_new] =
        said.emplace(key_of(std::min(left, right), std::max(left, right)), Said{better, line});
    if (!is_new && before->second.better != better)
      throw bad_input("{}: lines {} and {} give different answers for '{}' and '{}'; keep one of them", path,
                      before->second.line, line, shown(item_ids[left]), shown(item_ids[right]));
    if (!is_new) {
      ++gold.repeated;
    } else if (preference == 0) {
      ++gold.ties;
    } else {
      gold.left.push_back(left);
      gold.right.push_back(right);
      gold.preference.push_back(static_cast<std::int8_t>(preference));
    }
  }
}

/// Number of pairs of `n` things.
std::uint64_t pairs_of(std::uint64_t n) { return n * (n - 1) / 2; }

/// An item in the sort of compare_with_gold_order().
struct Place {
  std::int32_t component;
  double fact;
  float guess;
};

/// Sorts guesses [n] by merging, and returns the number of pairs in the wrong order before. `spare`: buffer [n].
std::uint64_t sort_and_count(std::vector<float>& guess, std::vector<float>& spare, const Context& context) {
  std::uint64_t inverted = 0;
  const std::size_t n = guess.size();
  spare.resize(n);
  for (std::size_t width = 1; width < n; width *= 2) {
    for (std::size_t begin = 0; begin < n; begin += 2 * width) {
      if (begin % (1 << 20) == 0) context.check_stop();
      const std::size_t middle = std::min(begin + width, n), end = std::min(begin + 2 * width, n);
      std::size_t a = begin, b = middle;
      for (std::size_t out = begin; out < end; ++out) {
        if (b == end || (a < middle && !(guess[b] < guess[a]))) {
          spare[out] = guess[a++];
        } else {
          inverted += middle - a;
          spare[out] = guess[b++];
        }
      }
    }
    guess.swap(spare);
  }
  return inverted;
}

/// Calls use(length) for each run of equal elements in [begin, end).
template <class Iterator, class Equal, class Use>
void for_runs(Iterator begin, Iterator end, const Equal& equal, const Use& use) {
  while (begin != end) {
    const Iterator next = std::find_if_not(begin, end, [&](const auto& x) { return equal(x, *begin); });
    use(static_cast<std::uint64_t>(next - begin));
    begin = next;
  }
}

}  // namespace

Gold read_gold(const std::string& path, const Votes& votes, const Context& context) {
  const std::uint32_t unknown = static_cast<std::uint32_t>(votes.item_ids.size());
  const IdIndex index = index_of(votes.item_ids);
  const auto find = [&](std::string_view id) {
    const auto found = find_id(index, id);
    return found == index.end() ? unknown : found->second;
  };
  Gold gold;
  Progress progress("reading gold labels", 1, context);
  TextFile file(path, progress, 0);
  enum { kLeft, kRight, kPreference, kItem, kGold, kRank };
  const auto optional = [](const char* name) { return TableColumn{name, "", false}; };
  std::size_t rows = 0;
  KnownAnswers answers(path);
  std::vector<PairRow> pairs;
  std::vector<ValueRow> values;
  read_table(file, table_format_of(path),
             {optional("left"), optional("right"), optional("preference"), optional("item"), optional("gold"),
              optional("rank")},
             [&](const Row& row) {
               ++rows;
               const auto& text = row.values;
               if (text[kLeft] && text[kRight] && text[kPreference]) {
                 const std::uint32_t left = find(*text[kLeft]), right = find(*text[kRight]);
                 if (left == right && trimmed(*text[kLeft]) == trimmed(*text[kRight]))
                   throw bad_input("{}: line {}: '{}' is compared with itself; drop the row", path, row.line,
                                   shown(trimmed(*text[kLeft])));
                 answers.add(*text[kPreference], row.line);
                 pairs.push_back({left, right, row.line});
               } else if (text[kItem] && (text[kGold] || text[kRank])) {
                 const double value = text[kGold] ? number_of(*text[kGold], path, row.line, "gold")
                                                  : -number_of(*text[kRank], path, row.line, "rank");
                 values.push_back({find(*text[kItem]), value, row.line});
               } else {
                 throw bad_input(
                     "{}: line {}: gold labels need columns left, right and preference, or item and one of gold and "
                     "rank",
                     path, row.line);
               }
             });
  add_values(values, votes.item_ids, path, gold);
  add_pairs(pairs, answers.probabilities(), votes.item_ids, path, gold);
  if (gold.item.empty() && gold.left.empty())
    throw bad_input("{}: none of its {} rows is a gold label for items of {}; check the ids", path, rows,
                    origin_of(votes));
  return gold;
}

Trials compare_with_gold_pairs(const Labels& labels, const Gold& gold) {
  const ItemLabels& items = labels.items;
  return compare_pairs(labels, gold, [&](std::uint32_t low, std::uint32_t high, std::optional<std::size_t> pair) {
    if (pair) return double{labels.pairs.probability_better[*pair]};
    const double sd = std::hypot(items.std_error[low], items.std_error[high]);
    return normal_cdf(0, items.score[high] - items.score[low], sd);
  });
}

Trials compare_majority_with_gold(const Labels& labels, const Gold& gold) {
  return compare_pairs(labels, gold, [&](std::uint32_t, std::uint32_t, std::optional<std::size_t> pair) {
    return pair ? (labels.pairs.wins_left[*pair] + 1.0) / (labels.pairs.votes[*pair] + 2.0) : 0.5;
  });
}

GoldOrder compare_with_gold_order(const Column<float>& score, const Column<std::int32_t>& component, const Gold& gold,
                                  const Context& context) {
  std::vector<Place> places;
  for (std::size_t g = 0; g < gold.item.size(); ++g)
    if (const std::uint32_t item = gold.item[g]; component[item] >= 0)
      places.push_back({component[item], gold.value[g], score[item]});
  context.check_stop();
  std::ranges::sort(places, [](const Place& a, const Place& b) {
    return std::tie(a.component, a.fact, a.guess) < std::tie(b.component, b.fact, b.guess);
  });
  // Numbers of pairs within a component, by what is equal in them.
  std::uint64_t all = 0, facts_equal = 0, guesses_equal = 0, both_equal = 0, differ = 0;
  std::vector<float> guess, spare;
  for (auto begin = places.begin(); begin != places.end();) {
    const auto end =
        std::find_if(begin, places.end(), [&](const Place& place) { return place.component != begin->component; });
    context.check_stop();
    all += pairs_of(static_cast<std::uint64_t>(end - begin));
    for_runs(
        begin, end, [](const Place& a, const Place& b) { return a.fact == b.fact; },
        [&](std::uint64_t n) { facts_equal += pairs_of(n); });
    for_runs(
        begin, end, [](const Place& a, const Place& b) { return a.fact == b.fact && a.guess == b.guess; },
        [&](std::uint64_t n) { both_equal += pairs_of(n); });
    guess.clear();
    for (auto place = begin; place != end; ++place) guess.push_back(place->guess);
    differ += sort_and_count(guess, spare, context);
    for_runs(guess.begin(), guess.end(), std::equal_to<>(), [&](std::uint64_t n) { guesses_equal += pairs_of(n); });
    begin = end;
  }
  const std::uint64_t apart = all - facts_equal, even = guesses_equal - both_equal, agree = apart - even - differ;
  const auto count = [](std::uint64_t n) { return static_cast<double>(n); };
  GoldOrder out;
  out.pairs = count(apart);
  out.accuracy = (count(agree) + 0.5 * count(even)) / out.pairs;
  out.tau_b = (count(agree) - count(differ)) / std::sqrt(count(apart) * count(all - guesses_equal));
  return out;
}

std::size_t count_apart(const Column<std::int32_t>& component, const Gold& gold) {
  std::size_t apart = 0;
  for (std::size_t g = 0; g < gold.left.size(); ++g)
    apart += component[gold.left[g]] < 0 || component[gold.left[g]] != component[gold.right[g]];
  return apart;
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
