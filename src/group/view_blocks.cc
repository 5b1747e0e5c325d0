#include "group/view_blocks.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "formulas/hash.h"
#include "formulas/views.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::uint32_t>;

/// All threads together look at the votes of a component with at least this many.
constexpr std::uint32_t kLarge = 1 << 16;

struct Vote {
  std::uint64_t who;
  std::uint32_t vote, pair;
};

/// For votes of one annotator in one component, ascending: writes to each vote the first vote of its block.
void find_first_votes(const Groups& groups, std::span<const Vote> votes, Column<std::uint32_t>& first_of) {
  if (votes.size() == 1) return;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ends;  // slot, index in `votes`
  ends.reserve(2 * votes.size());
  for (std::uint32_t i = 0; i < votes.size(); ++i) {
    ends.emplace_back(groups.pair_first[votes[i].pair], i);
    ends.emplace_back(groups.pair_second[votes[i].pair], i);
  }
  oneapi::tbb::parallel_sort(ends.begin(), ends.end());
  std::vector<std::uint32_t> parent(votes.size());  // union-find: the root of a set is its first vote
  std::iota(parent.begin(), parent.end(), 0u);
  const auto root = [&](std::uint32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (std::size_t k = 1; k < ends.size(); ++k) {
    if (ends[k].first != ends[k - 1].first) continue;
    const auto [low, high] = std::minmax({root(ends[k - 1].second), root(ends[k].second)});
    parent[high] = low;
  }
  for (std::uint32_t i = 0; i < votes.size(); ++i) first_of[votes[i].vote] = votes[root(i)].vote;
}

/// A component's votes that may share a block, sorted by annotator. Keys of named annotators are below 2^32; those of
/// judgements without an annotator are above. `sampled`: [annotators] see find_view_blocks().
std::vector<Vote> sorted_votes(const Groups& groups, const Votes& votes, std::uint32_t component, std::uint32_t step,
                               const std::vector<std::uint8_t>& sampled) {
  const auto look_at = [&](const Range& pairs, std::vector<Vote>& out) {
    for (std::uint32_t p = pairs.begin(); p < pairs.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const std::uint32_t annotator = groups.votes[v].annotator();
        if (groups.is_gold(groups.votes[v])) continue;
        if (const std::uint32_t row = groups.vote_row[v]; contains(votes.anonymous, row)) {
          if (votes.judgement.empty() || votes.judgement[row] == kNoJudgement) continue;
          const std::uint64_t who = (std::uint64_t{1} << 32) + votes.judgement[row];
          if (step == 1 || mixed(who) % step == 0) out.push_back({who, v, p});
        } else if (sampled[annotator] != 0) {
          out.push_back({annotator, v, p});
        }
      }
  };
  const Range pairs(groups.component_pairs[component], groups.component_pairs[component + 1], 64);
  std::vector<Vote> found;
  if (groups.votes_of(component) < kLarge) {
    look_at(pairs, found);
  } else {
    oneapi::tbb::enumerable_thread_specific<std::vector<Vote>> threads;
    oneapi::tbb::parallel_for(pairs, [&](const Range& range) { look_at(range, threads.local()); });
    for (const std::vector<Vote>& some : threads) found.insert(found.end(), some.begin(), some.end());
  }
  oneapi::tbb::parallel_sort(found.begin(), found.end(), [](const Vote& a, const Vote& b) {
    return std::pair(a.who, a.vote) < std::pair(b.who, b.vote);
  });
  return found;
}

/// Numbers the blocks in the order of their first votes. `blocks.of`: [V] first vote of each vote's block; becomes the
/// block. Returns [blocks] whether it has more than one vote.
Column<std::uint8_t> number_blocks(ViewBlocks& blocks) {
  constexpr std::uint32_t kPart = 1 << 16;
  const auto votes = static_cast<std::uint32_t>(blocks.of.size());
  std::vector<std::uint32_t> part_begin(votes / kPart + 2, 0);  // first block of each part of the votes
  const auto in_parts = [&](const auto& act) {
    oneapi::tbb::parallel_for(std::size_t{0}, part_begin.size() - 1, [&](std::size_t part) {
      act(part, static_cast<std::uint32_t>(part * kPart),
          static_cast<std::uint32_t>(std::min<std::size_t>((part + 1) * kPart, votes)));
    });
  };
  in_parts([&](std::size_t part, std::uint32_t begin, std::uint32_t end) {
    std::uint32_t firsts = 0;
    for (std::uint32_t v = begin; v < end; ++v) firsts += blocks.of[v] == v;
    part_begin[part + 1] = firsts;
  });
  std::partial_sum(part_begin.begin(), part_begin.end(), part_begin.begin());
  blocks.count = part_begin.back();
  Column<std::uint32_t> number(votes);  // of a block, at its first vote
  Column<std::uint8_t> shared(blocks.count);
  in_parts([&](std::size_t part, std::uint32_t begin, std::uint32_t end) {
    std::uint32_t next = part_begin[part];
    for (std::uint32_t v = begin; v < end; ++v) {
      if (blocks.of[v] != v) continue;
      shared[next] = 0;
      number[v] = next++;
    }
  });
  in_parts([&](std::size_t, std::uint32_t begin, std::uint32_t end) {
    for (std::uint32_t v = begin; v < end; ++v) {
      const std::uint32_t block = number[blocks.of[v]];
      if (blocks.of[v] != v) std::atomic_ref(shared[block]).store(1, std::memory_order_relaxed);
      blocks.of[v] = block;
    }
  });
  return shared;
}

}  // namespace

ViewBlocks find_view_blocks(const Groups& groups, const Votes& votes, std::uint32_t step) {
  using RunRange = oneapi::tbb::blocked_range<std::size_t>;
  ViewBlocks blocks;
  blocks.of.resize(groups.votes.size());
  std::vector<std::uint8_t> sampled(groups.annotators, 1);
  for (std::size_t a = 0; step > 1 && a < sampled.size(); ++a) sampled[a] = mixed(a) % step == 0;
  std::atomic<std::uint64_t> looked_at = 0;
  const auto components = static_cast<std::uint32_t>(groups.components());
  oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(blocks.of.size()), kLarge), [&](const Range& range) {
    for (std::uint32_t v = range.begin(); v < range.end(); ++v) blocks.of[v] = v;
  });
  oneapi::tbb::parallel_for(Range(0, components), [&](const Range& range) {
    for (std::uint32_t c = range.begin(); c < range.end(); ++c) {
      const std::vector<Vote> found = sorted_votes(groups, votes, c, step, sampled);
      if (found.empty()) continue;
      looked_at += found.size();
      oneapi::tbb::parallel_for(RunRange(0, found.size(), 1024), [&](const RunRange& begins) {
        for (std::size_t i = begins.begin(); i < begins.end(); ++i) {
          if (i > 0 && found[i].who == found[i - 1].who) continue;
          std::size_t end = i + 1;  // behind this annotator's last vote
          while (end < found.size() && found[end].who == found[i].who) ++end;
          find_first_votes(groups, std::span(found).subspan(i, end - i), blocks.of);
        }
      });
    }
  });
  blocks.looked_at = step == 1 ? groups.votes.size() : looked_at.load();
  const Column<std::uint8_t> shared = number_blocks(blocks);
  std::atomic<std::uint64_t> all_shared = 0, divided = 0;
  oneapi::tbb::parallel_for(Range(0, components, 1024), [&](const Range& range) {
    std::uint64_t shared_here = 0, divided_here = 0;
    for (std::uint32_t c = range.begin(); c < range.end(); ++c) {
      const ComponentRange all = groups.range(c, c + 1);
      const std::uint32_t block = blocks.of[all.vote];
      const std::uint32_t block_end = all.vote_end < blocks.of.size() ? blocks.of[all.vote_end] : blocks.count;
      const auto alone =
          static_cast<std::uint64_t>(std::count(shared.begin() + block, shared.begin() + block_end, std::uint8_t{0}));
      const std::uint64_t here = all.vote_end - all.vote - alone;
      shared_here += here;
      if (block_end - block > 1) divided_here += here;
    }
    all_shared += shared_here;
    divided += divided_here;
  });
  blocks.shared = all_shared;
  blocks.divided = divided;
  return blocks;
}

bool can_be_view(std::size_t votes, std::size_t items) { return votes > 1 && items <= kMostViewItems; }

Column<std::uint8_t> find_viewed(const Groups& groups, const ViewBlocks& blocks) {
  Column<std::uint8_t> viewed(blocks.count, std::uint8_t{0});
  const auto components = static_cast<std::uint32_t>(groups.components());
  for (std::uint32_t c = 0; c < components; ++c)
    if (groups.items_of(c) > kMostItemsWithViews) return viewed;
  oneapi::tbb::parallel_for(Range(0, components, 64), [&](const Range& range) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> slots;  // (block, slot)
    for (std::uint32_t c = range.begin(); c < range.end(); ++c) {
      slots.clear();
      for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
        for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
          for (const std::uint32_t slot : {groups.pair_first[p], groups.pair_second[p]})
            slots.emplace_back(blocks.of[v], slot);
      std::ranges::sort(slots);
      for (std::size_t begin = 0, end; begin < slots.size(); begin = end) {
        std::uint32_t items = 1;
        for (end = begin + 1; end < slots.size() && slots[end].first == slots[begin].first; ++end)
          items += slots[end].second != slots[end - 1].second;
        viewed[slots[begin].first] = can_be_view((end - begin) / 2, items);  // each vote has two entries
      }
    }
  });
  return viewed;
}

}  // namespace voxpop
