#include "group/views.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>

#include "formulas/views.h"

namespace voxpop {
namespace {

constexpr double kLeastShare = 0.4;
constexpr std::size_t kSampleVotes = 100'000;

using Range = oneapi::tbb::blocked_range<std::uint32_t>;

/// Votes and pairs at once, for one thread.
constexpr std::uint32_t kVotes = 1 << 16, kPairs = 256;

std::uint32_t take(std::uint32_t& next) { return std::atomic_ref(next).fetch_add(1, std::memory_order_relaxed); }

/// Whether any judgement has more than one vote, such as a ranking.
bool has_rankings(const Votes& votes) {
  Column<std::uint32_t> sorted = votes.judgement;
  oneapi::tbb::parallel_sort(sorted.begin(), sorted.end());
  std::atomic<bool> found = false;
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(1, std::max<std::size_t>(sorted.size(), 1), kVotes),
                            [&](const auto& range) {
                              for (std::size_t i = range.begin(); i < range.end() && !found; ++i)
                                if (sorted[i] == sorted[i - 1] && sorted[i] != kNoJudgement) found = true;
                            });
  return found;
}

}  // namespace

double sampled_view_share(const Groups& groups, const Votes& votes) {
  const auto step = static_cast<std::uint32_t>(std::max<std::size_t>(groups.votes.size() / kSampleVotes, 1));
  return find_view_blocks(groups, votes, step).share();
}

ViewUse choose_views(const Groups& groups, const Votes& votes, ViewChoice choice) {
  if (choice == ViewChoice::kOff || groups.votes.empty()) return ViewUse::kNone;
  if (choice == ViewChoice::kOn || has_rankings(votes)) return ViewUse::kAlways;
  return sampled_view_share(groups, votes) >= kLeastShare ? ViewUse::kTested : ViewUse::kNone;
}

Views find_views(const Groups& groups, const ViewBlocks& blocks) {
  Views out;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    if (groups.items_of(c) > kMostItemsWithViews) return out;
  const std::size_t count = blocks.of.size();
  if (count != groups.votes.size()) throw std::logic_error("blocks of other votes");
  out.block_votes.assign(blocks.count + std::size_t{1}, 0);
  oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(count), kVotes), [&](const Range& range) {
    for (std::uint32_t v = range.begin(); v < range.end(); ++v) take(out.block_votes[blocks.of[v] + 1]);
  });
  std::partial_sum(out.block_votes.begin(), out.block_votes.end(), out.block_votes.begin());
  out.vote.resize(count);
  out.first.resize(count);
  out.second.resize(count);
  Column<std::uint32_t> next(out.block_votes.begin(), out.block_votes.end() - 1), pair_of(count);
  oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(groups.pairs()), kPairs), [&](const Range& pairs) {
    for (std::uint32_t p = pairs.begin(); p < pairs.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        out.vote[take(next[blocks.of[v]])] = v;
        pair_of[v] = p;
      }
  });
  Column<std::uint32_t> slots(2 * count);  // a block's slots start at twice the index of its first vote
  out.block_slots.assign(blocks.count + std::size_t{1}, 0);
  std::atomic<bool> any_view = false;
  oneapi::tbb::parallel_for(std::uint32_t{0}, blocks.count, [&](std::uint32_t b) {
    const std::uint32_t begin = out.block_votes[b], end = out.block_votes[b + 1];
    std::sort(out.vote.begin() + begin, out.vote.begin() + end);
    std::uint32_t* const own = slots.data() + 2 * std::size_t{begin};
    for (std::uint32_t k = begin; k < end; ++k) {
      own[2 * (k - begin)] = groups.pair_first[pair_of[out.vote[k]]];
      own[2 * (k - begin) + 1] = groups.pair_second[pair_of[out.vote[k]]];
    }
    std::sort(own, own + 2 * (end - begin));
    std::uint32_t* const own_end = std::unique(own, own + 2 * (end - begin));
    for (std::uint32_t k = begin; k < end; ++k) {
      const std::uint32_t pair = pair_of[out.vote[k]];
      out.first[k] = static_cast<std::uint32_t>(std::lower_bound(own, own_end, groups.pair_first[pair]) - own);
      out.second[k] = static_cast<std::uint32_t>(std::lower_bound(own, own_end, groups.pair_second[pair]) - own);
    }
    out.block_slots[b + 1] = static_cast<std::uint32_t>(own_end - own);
    if (can_be_view(end - begin, out.block_slots[b + 1])) any_view = true;
  });
  if (!any_view) return {};
  std::partial_sum(out.block_slots.begin(), out.block_slots.end(), out.block_slots.begin());
  out.slot.resize(out.block_slots.back());
  oneapi::tbb::parallel_for(std::uint32_t{0}, blocks.count, [&](std::uint32_t b) {
    std::copy_n(slots.data() + 2 * std::size_t{out.block_votes[b]}, out.block_slots[b + 1] - out.block_slots[b],
                out.slot.data() + out.block_slots[b]);
  });
  out.component_blocks.assign(1, 0);
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const std::uint32_t vote_end = groups.range(c, c + 1).vote_end;
    out.component_blocks.push_back(vote_end < count ? blocks.of[vote_end] : blocks.count);
  }
  return out;
}

Views find_views(const Groups& groups, const Votes& votes) {
  return find_views(groups, find_view_blocks(groups, votes));
}

}  // namespace voxpop
