#include "group/group.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "votes/votes.h"

namespace voxpop {
namespace {

constexpr std::uint32_t kNone = 0xffffffffu;

/// An element that other threads read and write at the same time.
std::atomic_ref<std::uint32_t> shared(std::uint32_t& x) { return std::atomic_ref(x); }
constexpr auto kRelaxed = std::memory_order_relaxed;

/// Lock-free union-find for all threads (like ECL-CC, Jaiganesh and Burtscher 2018). A root is only ever joined to a
/// smaller root. So the final root is the smallest item of its set, for any order of votes.
class UnionFind {
 public:
  explicit UnionFind(std::size_t size) : parent_(size) { std::iota(parent_.begin(), parent_.end(), 0u); }
  std::uint32_t root(std::uint32_t x) {
    for (std::uint32_t up = shared(parent_[x]).load(kRelaxed); up != x;) {
      const std::uint32_t above = shared(parent_[up]).load(kRelaxed);
      if (above != up) shared(parent_[x]).store(above, kRelaxed);  // path halving, for later searches
      x = up;
      up = above;
    }
    return x;
  }
  void join(std::uint32_t a, std::uint32_t b) {
    for (;;) {
      a = root(a);
      b = root(b);
      if (a == b) return;
      std::uint32_t high = std::max(a, b);
      if (shared(parent_[high]).compare_exchange_weak(high, std::min(a, b), kRelaxed)) return;
    }
  }

 private:
  Column<std::uint32_t> parent_;
};

/// Calls act(begin, end) for ranges of rows.
template <class Act>
void in_ranges(std::size_t rows, const Act& act) {
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(0, rows, 1 << 16),
                            [&](const auto& range) { act(range.begin(), range.end()); });
}

/// Calls act(key, begin, end) for runs of rows with the same key; rows with key kNone are skipped. If all rows are in
/// one component, threads then update a shared counter once per run, not once per row.
template <class KeyOf, class Act>
void in_runs(std::size_t rows, const KeyOf& key_of, const Act& act) {
  in_ranges(rows, [&](std::size_t begin, std::size_t end) {
    std::uint32_t key = key_of(begin);
    for (std::size_t first = begin, row = begin + 1; first < end; ++row) {
      const std::uint32_t next = row < end ? key_of(row) : kNone;
      if (row < end && next == key) continue;
      if (key != kNone) act(key, first, row);
      first = row;
      key = next;
    }
  });
}

template <class Numbers>
void release(Numbers& column) {
  Numbers().swap(column);
}

struct Component {
  std::uint32_t items = 0, votes = 0, root = kNone;
};

/// A vote to be sorted: by pair, then by input row.
struct Keyed {
  std::uint64_t pair;  ///< lower item in the upper 32 bits, higher item in the lower 32 bits
  std::uint32_t row;
  bool operator<(const Keyed& other) const { return pair != other.pair ? pair < other.pair : row < other.row; }
};

/// All threads together sort the votes of a component with at least this many votes.
constexpr std::uint32_t kLarge = 1 << 16;

/// Number of blocks of rows for counting; each block has a table of all pairs.
constexpr std::size_t kCountBlocks = 64;

/// Whether a component has so few possible pairs that counting votes by pair is faster than sorting.
bool is_arena(std::uint32_t items, std::uint32_t votes, std::size_t all_votes) {
  const std::size_t pairs = std::size_t{items} * (items - 1) / 2;
  return votes >= kLarge && 2 * std::size_t{votes} > all_votes && pairs * kCountBlocks <= votes;
}

/// The pairs of an arena that have votes, ascending. Items and votes are numbered within the arena.
struct CountedPairs {
  std::size_t component = 0;
  std::vector<std::uint32_t> first, second, votes;  ///< `votes`: first vote of each pair
};

/// Counting sort of an arena's votes by pair, then by row. `ends(row)`: the vote's items, the lower one first; kNone if
/// the row is not in the arena. Calls put(place, row) for each vote.
template <class Ends, class Put>
CountedPairs count_pairs(std::size_t rows, std::uint32_t items, const Ends& ends, const Put& put) {
  const std::size_t pairs = std::size_t{items} * (items - 1) / 2;
  const auto pair_of = [&](std::uint32_t low, std::uint32_t high) {
    return std::size_t{low} * (2 * items - low - 1) / 2 + (high - low - 1);
  };
  // [blocks][pairs] number of votes, then place of the next one
  std::vector<std::uint32_t> table(kCountBlocks * pairs, 0);
  const auto in_blocks = [&](const auto& act) {
    oneapi::tbb::parallel_for(std::size_t{0}, kCountBlocks, [&](std::size_t block) {
      std::uint32_t* mine = table.data() + block * pairs;
      for (std::size_t row = rows * block / kCountBlocks; row < rows * (block + 1) / kCountBlocks; ++row)
        if (const auto [low, high] = ends(row); low != kNone) act(mine[pair_of(low, high)], row);
    });
  };
  in_blocks([](std::uint32_t& votes, std::size_t) { ++votes; });
  CountedPairs out;
  std::uint32_t next = 0;
  for (std::uint32_t low = 0; low < items; ++low)
    for (std::uint32_t high = low + 1; high < items; ++high) {
      const std::uint32_t begin = next;
      for (std::size_t block = 0; block < kCountBlocks; ++block)
        next += std::exchange(table[block * pairs + pair_of(low, high)], next);
      if (next == begin) continue;
      out.first.push_back(low);
      out.second.push_back(high);
      out.votes.push_back(begin);
    }
  in_blocks([&](std::uint32_t& place, std::size_t row) { put(place++, row); });
  return out;
}

}  // namespace

Answers find_answers(const Column<std::int8_t>& preference, Ties ties) {
  std::array<std::size_t, kMaxLevels + 1> used{};
  for (const std::int8_t p : preference) ++used[std::min(std::abs(p), kMaxLevels)];
  Answers answers;
  answers.strengths.clear();
  for (int strength = 1; strength <= kMaxLevels; ++strength)
    if (used[strength] > 0) answers.strengths.push_back(strength);
  if (answers.strengths.empty()) answers.strengths = {1};  // all votes are ties
  answers.ties = used[0] > 0 && ties != Ties::kDrop;
  if (answers.ties) answers.tie_share = static_cast<double>(used[0]) / static_cast<double>(preference.size());
  answers.half_ties = answers.ties && ties == Ties::kHalf;
  return answers;
}

std::array<std::int8_t, kMaxLevels + 1> levels_of(const Answers& answers) {
  std::array<std::int8_t, kMaxLevels + 1> levels{};
  for (int k = 0; k < answers.levels(); ++k) levels[answers.strengths[k]] = static_cast<std::int8_t>(k + 1);
  return levels;
}

Groups group_votes(Votes& votes, Ties ties) {
  const std::size_t items = votes.item_ids.size();
  const std::size_t rows = votes.size();
  const auto counts = [&](std::size_t row) { return ties != Ties::kDrop || votes.preference[row] != 0; };

  // Components in order of size, so that neighbours in a batch take equal work; equal sizes in order of their smallest
  // item.
  UnionFind sets(items);
  in_ranges(rows, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row)
      if (counts(row)) sets.join(votes.left[row], votes.right[row]);
  });
  Column<std::uint32_t> component_of(items, kNone);
  Column<Component> components;
  {
    Column<std::uint32_t> vote_count(items, 0);
    in_runs(
        rows, [&](std::size_t row) { return counts(row) ? sets.root(votes.left[row]) : kNone; },
        [&](std::uint32_t root, std::size_t first, std::size_t last) {
          shared(vote_count[root]).fetch_add(static_cast<std::uint32_t>(last - first), kRelaxed);
        });
    Column<std::uint32_t> index_of_root(items, kNone);
    for (std::uint32_t item = 0; item < items; ++item) {
      const std::uint32_t root = sets.root(item);
      if (vote_count[root] == 0) continue;
      if (index_of_root[root] == kNone) {
        index_of_root[root] = static_cast<std::uint32_t>(components.size());
        components.push_back({0, vote_count[root], root});
      }
      component_of[item] = index_of_root[root];
      ++components[component_of[item]].items;
    }
  }
  if (components.empty())
    throw bad_input("{}: every vote is a tie, and ties are dropped; set ties to 'model' (--ties model)",
                    origin_of(votes));
  Column<std::uint32_t> order(components.size()), place(components.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(components[a].items, components[a].votes) < std::pair(components[b].items, components[b].votes);
  });

  Groups groups;
  groups.annotators = votes.annotator_ids.size();
  groups.answers = find_answers(votes.preference, ties);
  groups.answers.components = order.size();
  const auto levels = levels_of(groups.answers);
  groups.component_slots.assign(1, 0);
  Column<std::uint32_t> component_votes(1, 0);
  for (std::uint32_t at = 0; at < order.size(); ++at) {
    place[order[at]] = at;
    groups.component_slots.push_back(groups.component_slots.back() + components[order[at]].items);
    component_votes.push_back(component_votes.back() + components[order[at]].votes);
  }
  Column<std::uint32_t> slot_of(items, kNone);
  {
    Column<std::uint32_t> next(groups.component_slots.begin(), groups.component_slots.end() - 1);
    groups.slot_item.resize(groups.component_slots.back());
    for (std::uint32_t item = 0; item < items; ++item) {
      if (component_of[item] == kNone) continue;
      slot_of[item] = next[place[component_of[item]]]++;
      groups.slot_item[slot_of[item]] = item;
    }
  }

  // Votes: a counting sort by component (order within it arbitrary), then a sort by pair and row.
  groups.vote_row.resize(component_votes.back());
  {
    Column<std::uint32_t> next(component_votes.begin(), component_votes.end() - 1);
    in_runs(
        rows, [&](std::size_t row) { return counts(row) ? place[component_of[votes.left[row]]] : kNone; },
        [&](std::uint32_t at, std::size_t first, std::size_t last) {
          std::uint32_t v = shared(next[at]).fetch_add(static_cast<std::uint32_t>(last - first), kRelaxed);
          for (std::size_t row = first; row < last; ++row) groups.vote_row[v++] = static_cast<std::uint32_t>(row);
        });
  }
  release(component_of);
  const auto pair_of = [&](std::uint32_t row) {
    const auto [low, high] = std::minmax(votes.left[row], votes.right[row]);
    return std::uint64_t{low} << 32 | high;
  };
  groups.votes.resize(groups.vote_row.size());
  groups.component_pairs.assign(order.size() + 1, 0);
  const auto code_of = [&](std::uint32_t row) {
    const bool first_on_left = votes.left[row] < votes.right[row];
    const int level = votes.preference[row] < 0 ? -levels[-votes.preference[row]] : levels[votes.preference[row]];
    return VoteCode::make(votes.annotator[row], first_on_left ? level : -level, first_on_left);
  };
  // An arena is a component with few pairs and very many votes, which are counted. It has more than half of the votes,
  // so there is at most one.
  std::optional<CountedPairs> arena;
  oneapi::tbb::enumerable_thread_specific<Column<Keyed>> buffers;
  oneapi::tbb::parallel_for(std::size_t{0}, order.size(), [&](std::size_t c) {
    const std::uint32_t begin = component_votes[c], count = component_votes[c + 1] - begin;
    const std::uint32_t slot = groups.component_slots[c], members = groups.component_slots[c + 1] - slot;
    if (is_arena(members, count, rows)) {
      arena = count_pairs(
          rows, members,
          [&](std::size_t row) {
            const auto [low, high] = std::minmax(slot_of[votes.left[row]], slot_of[votes.right[row]]);
            const bool is_here = counts(row) && low >= slot && low < slot + members;
            return is_here ? std::pair(low - slot, high - slot) : std::pair(kNone, kNone);
          },
          [&](std::uint32_t at, std::size_t row) {
            groups.vote_row[begin + at] = static_cast<std::uint32_t>(row);
            groups.votes[begin + at] = code_of(static_cast<std::uint32_t>(row));
          });
      arena->component = c;
      groups.component_pairs[c + 1] = static_cast<std::uint32_t>(arena->first.size());
      return;
    }
    // parallel_sort() may run another component's task in this thread, which would overwrite the shared buffer.
    Column<Keyed> own;
    Column<Keyed>& keyed = count >= kLarge ? own : buffers.local();
    keyed.resize(count);
    for (std::uint32_t v = 0; v < count; ++v)
      keyed[v] = {pair_of(groups.vote_row[begin + v]), groups.vote_row[begin + v]};
    count >= kLarge ? oneapi::tbb::parallel_sort(keyed) : std::sort(keyed.begin(), keyed.end());
    std::uint32_t pairs = 0;
    for (std::uint32_t v = 0; v < count; ++v) {
      pairs += v == 0 || keyed[v].pair != keyed[v - 1].pair;
      groups.votes[begin + v] = code_of(keyed[v].row);
      groups.vote_row[begin + v] = keyed[v].row;
    }
    groups.component_pairs[c + 1] = pairs;
  });
  release(votes.annotator);
  std::partial_sum(groups.component_pairs.begin(), groups.component_pairs.end(), groups.component_pairs.begin());
  const std::size_t pairs = groups.component_pairs.back();
  groups.pair_first.resize(pairs);
  groups.pair_second.resize(pairs);
  groups.pair_votes.resize(pairs + 1);
  oneapi::tbb::parallel_for(std::size_t{0}, order.size(), [&](std::size_t c) {
    std::uint32_t pair = groups.component_pairs[c];
    if (arena && arena->component == c) {
      for (std::size_t i = 0; i < arena->first.size(); ++i, ++pair) {
        groups.pair_first[pair] = groups.component_slots[c] + arena->first[i];
        groups.pair_second[pair] = groups.component_slots[c] + arena->second[i];
        groups.pair_votes[pair] = component_votes[c] + arena->votes[i];
      }
      return;
    }
    std::uint64_t before = 0;  // not a pair: its two items would be the same
    for (std::uint32_t v = component_votes[c]; v < component_votes[c + 1]; ++v) {
      const std::uint64_t items_of_pair = pair_of(groups.vote_row[v]);
      if (items_of_pair == before) continue;
      before = items_of_pair;
      groups.pair_first[pair] = slot_of[items_of_pair >> 32];
      groups.pair_second[pair] = slot_of[static_cast<std::uint32_t>(items_of_pair)];
      groups.pair_votes[pair++] = v;
    }
  });
  groups.pair_votes[pairs] = static_cast<std::uint32_t>(groups.votes.size());
  release(votes.left);
  release(votes.right);
  return groups;
}

}  // namespace voxpop
