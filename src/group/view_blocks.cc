#include "group/view_blocks.h"

#include <oneapi/tbb/blocked_range.h>
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
/// judgements without an annotator are above.
std::vector<Vote> sorted_votes(const Groups& groups, const Votes& votes, std::uint32_t component, std::uint32_t step) {
  std::vector<Vote> found;
  for (std::uint32_t p = groups.component_pairs[component]; p < groups.component_pairs[component + 1]; ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      std::uint64_t who = groups.votes[v].annotator();
      if (groups.is_gold(groups.votes[v])) continue;
      if (const std::uint32_t row = groups.vote_row[v]; contains(votes.anonymous, row)) {
        if (votes.judgement.empty() || votes.judgement[row] == kNoJudgement) continue;
        who = (std::uint64_t{1} << 32) + votes.judgement[row];
      }
      if (step == 1 || mixed(who) % step == 0) found.push_back({who, v, p});
    }
  oneapi::tbb::parallel_sort(found.begin(), found.end(), [](const Vote& a, const Vote& b) {
    return std::pair(a.who, a.vote) < std::pair(b.who, b.vote);
  });
  return found;
}

}  // namespace

ViewBlocks find_view_blocks(const Groups& groups, const Votes& votes, std::uint32_t step) {
  ViewBlocks blocks;
  blocks.of.resize(groups.votes.size());
  std::iota(blocks.of.begin(), blocks.of.end(), 0u);
  std::atomic<std::uint64_t> looked_at = 0;
  oneapi::tbb::parallel_for(std::uint32_t{0}, static_cast<std::uint32_t>(groups.components()), [&](std::uint32_t c) {
    const std::vector<Vote> found = sorted_votes(groups, votes, c, step);
    looked_at += found.size();
    std::vector<std::size_t> begins;  // first vote of each annotator in `found`
    for (std::size_t i = 0; i < found.size(); ++i)
      if (i == 0 || found[i].who != found[i - 1].who) begins.push_back(i);
    begins.push_back(found.size());
    oneapi::tbb::parallel_for(std::size_t{0}, begins.size() - 1, [&](std::size_t run) {
      find_first_votes(groups, std::span(found).subspan(begins[run], begins[run + 1] - begins[run]), blocks.of);
    });
  });
  blocks.looked_at = step == 1 ? groups.votes.size() : looked_at.load();
  Column<std::uint32_t> size(groups.votes.size());  // [blocks] number of votes
  for (std::uint32_t v = 0; v < blocks.of.size(); ++v) {
    const bool is_first = blocks.of[v] == v;
    // The block's first vote already has the block's number.
    blocks.of[v] = is_first ? blocks.count++ : blocks.of[blocks.of[v]];
    size[blocks.of[v]] = is_first ? 1 : size[blocks.of[v]] + 1;
  }
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const ComponentRange range = groups.range(c, c + 1);
    const std::uint32_t block = blocks.of[range.vote];
    const std::uint32_t block_end = range.vote_end < blocks.of.size() ? blocks.of[range.vote_end] : blocks.count;
    std::uint64_t shared = 0;
    for (std::uint32_t b = block; b < block_end; ++b) shared += size[b] > 1 ? size[b] : 0;
    blocks.shared += shared;
    if (block_end - block > 1) blocks.divided += shared;
  }
  return blocks;
}

bool can_be_view(std::size_t votes, std::size_t items) { return votes > 1 && items <= kMostViewItems; }

std::vector<bool> find_viewed(const Groups& groups, const ViewBlocks& blocks) {
  std::vector<bool> viewed(blocks.count, false);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> slots;  // (block, slot)
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    if (groups.items_of(c) > kMostItemsWithViews) return std::vector<bool>(blocks.count, false);
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
  return viewed;
}

}  // namespace voxpop
