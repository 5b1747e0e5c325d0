#include "group/weights.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <numeric>
#include <span>
#include <type_traits>
#include <utility>

#include "formulas/hash.h"
#include "group/view_blocks.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::size_t>;

constexpr std::size_t kVotes = 1 << 16;  ///< at once, for one thread

void forget_sides(Groups& groups, const Votes& votes, bool all) {
  if (!all && votes.unknown_sides.empty()) return;
  oneapi::tbb::parallel_for(Range(0, groups.votes.size(), kVotes), [&](const Range& range) {
    for (std::size_t v = range.begin(); v < range.end(); ++v) {
      const std::uint32_t row = groups.vote_row[v];
      // In such files the left item may always be the winner. A hash draws the order, so that predictions do not reveal
      // it.
      if (all || contains(votes.unknown_sides, row))
        groups.votes[v] = groups.votes[v].without_side((mixed(row) & 1) != 0);
    }
  });
  groups.on_device.reset();
}

/// Items of one judgement as pairs of slots (better, worse); a tie is there in both orders.
using Order = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

/// Weight of each pair of one judgement; see weigh_votes().
double share_of_judgement(Order& order) {
  std::sort(order.begin(), order.end());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  Order pairs;
  std::vector<std::uint32_t> items;
  for (const auto& [better, worse] : order) {
    pairs.push_back(std::minmax(better, worse));
    items.insert(items.end(), {better, worse});
  }
  const auto keep_distinct = [](auto& column) {
    std::sort(column.begin(), column.end());
    column.erase(std::unique(column.begin(), column.end()), column.end());
    return static_cast<double>(column.size());
  };
  const double pair_count = keep_distinct(pairs), k = keep_distinct(items);
  double worth = 0;  // number of votes that the judgement is worth
  if (pair_count == k * (k - 1) / 2) {
    for (double stage = 2; stage <= k; ++stage) worth += 2 * (stage - 1) / stage;
  } else {  // each item that is better than others was chosen as the best among them and itself
    for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
      for (end = begin + 1; end < order.size() && order[end].first == order[begin].first;) ++end;
      const auto others = static_cast<double>(end - begin);
      worth += 2 * others / (others + 1);
    }
  }
  return std::min(worth / pair_count, 1.0);
}

/// Multiplies weights by the share that a vote keeps as a part of its judgement. If annotators' own views are modelled,
/// the views account for the dependence; then only votes without a view are weighted here.
void share_judgements(const Groups& groups, const Votes& votes, bool views, Column<float>& weight, VoteWeights& out) {
  if (votes.judgement.empty()) return;
  ViewBlocks blocks;
  Column<std::uint8_t> viewed;
  if (views) {
    blocks = find_view_blocks(groups, votes);
    viewed = find_viewed(groups, blocks);
    if (std::ranges::count(viewed, std::uint8_t{0}) == 0) return;
  }
  // Sorted by judgement, then by annotator: votes of two annotators are never one judgement.
  struct Part {
    std::uint32_t judgement, annotator, vote, pair;
    auto key() const { return std::pair(judgement, annotator); }
  };
  // Votes of each judgement. Most judgements have one vote, which needs no weighting.
  const Column<std::uint32_t>& all = votes.judgement;
  const std::size_t judgements = oneapi::tbb::parallel_reduce(
      Range(0, all.size(), kVotes), std::size_t{0},
      [&](const Range& range, std::size_t end) {
        for (std::size_t row = range.begin(); row < range.end(); ++row)
          if (all[row] != kNoJudgement) end = std::max(end, all[row] + std::size_t{1});
        return end;
      },
      [](std::size_t a, std::size_t b) { return std::max(a, b); });
  std::vector<std::uint32_t> size(judgements, 0);
  oneapi::tbb::parallel_for(Range(0, all.size(), kVotes), [&](const Range& range) {
    for (std::size_t row = range.begin(); row < range.end(); ++row)
      if (all[row] != kNoJudgement) std::atomic_ref(size[all[row]]).fetch_add(1, std::memory_order_relaxed);
  });
  oneapi::tbb::enumerable_thread_specific<std::vector<Part>> found;
  oneapi::tbb::parallel_for(Range(0, groups.pairs(), 64), [&](const Range& range) {
    std::vector<Part>& mine = found.local();
    for (auto p = static_cast<std::uint32_t>(range.begin()); p < range.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const std::uint32_t judgement = all[groups.vote_row[v]];
        if (judgement != kNoJudgement && size[judgement] > 1 && !(views && viewed[blocks.of[v]] != 0))
          mine.push_back({judgement, groups.votes[v].annotator(), v, p});
      }
  });
  std::vector<Part> parts;
  for (const std::vector<Part>& some : found) parts.insert(parts.end(), some.begin(), some.end());
  oneapi::tbb::parallel_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return std::pair(a.key(), a.vote) < std::pair(b.key(), b.vote);
  });
  std::atomic<std::uint64_t> votes_shared = 0, judgements_shared = 0;
  oneapi::tbb::parallel_for(Range(0, parts.size(), 256), [&](const Range& begins) {
    Order order;
    for (std::size_t begin = begins.begin(), end; begin < begins.end(); begin = end) {
      for (end = begin + 1; end < parts.size() && parts[end].key() == parts[begin].key();) ++end;
      if (end - begin == 1 || (begin > 0 && parts[begin].key() == parts[begin - 1].key())) continue;
      order.clear();
      for (std::size_t i = begin; i < end; ++i) {
        const std::uint32_t first = groups.pair_first[parts[i].pair], second = groups.pair_second[parts[i].pair];
        const int winner = groups.votes[parts[i].vote].winner();
        if (winner >= 0) order.emplace_back(first, second);
        if (winner <= 0) order.emplace_back(second, first);
      }
      const double share = share_of_judgement(order);
      if (share == 1) continue;
      for (std::size_t i = begin; i < end; ++i) weight[parts[i].vote] *= static_cast<float>(share);
      votes_shared += end - begin;
      ++judgements_shared;
    }
  });
  out.in_judgements += votes_shared;
  out.judgements += judgements_shared;
}

/// Whether repeats can reduce the weights of any votes.
bool may_share_repeats(const Votes& votes, std::optional<Repeats> wanted) {
  return wanted != Repeats::kAll && count_rows(votes.anonymous) < votes.size() &&
         (wanted || count_rows(votes.independent) < votes.size());
}

/// Weights of repeated votes; 0 if a vote does not count.
void share_repeats(const Groups& groups, const Votes& votes, std::optional<Repeats> wanted, Column<float>& weight,
                   VoteWeights& out) {
  const Repeats repeats = wanted.value_or(Repeats::kOne);
  const auto may_repeat = [&](std::uint32_t row) {
    if (contains(votes.anonymous, row)) return false;
    if (wanted) return true;
    return !contains(votes.independent, row) && (votes.judgement.empty() || votes.judgement[row] == kNoJudgement);
  };
  if (!may_share_repeats(votes, wanted)) return;
  struct Vote {
    std::uint32_t annotator, vote;
    bool operator<(const Vote& other) const {
      return annotator != other.annotator ? annotator < other.annotator : vote < other.vote;
    }
  };
  const auto time_of = [&](std::uint32_t vote) {
    const std::uint32_t row = groups.vote_row[vote];
    return std::pair(votes.timestamp.empty() ? std::int64_t{0} : votes.timestamp[row], row);
  };
  const auto same_judgement = [&](std::uint32_t a, std::uint32_t b) {
    if (votes.judgement.empty()) return false;
    const std::uint32_t judgement = votes.judgement[groups.vote_row[a]];
    return judgement != kNoJudgement && judgement == votes.judgement[groups.vote_row[b]];
  };
  std::atomic<std::uint64_t> repeated = 0, shared = 0, dropped = 0;
  oneapi::tbb::enumerable_thread_specific<std::vector<Vote>> buffers;
  oneapi::tbb::parallel_for(Range(0, groups.pairs(), 64), [&](const Range& range) {
    std::vector<Vote>& found = buffers.local();
    std::uint64_t repeated_here = 0, shared_here = 0, dropped_here = 0;
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      if (groups.pair_votes[p + 1] - groups.pair_votes[p] < 2) continue;
      found.clear();
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
        if (may_repeat(groups.vote_row[v])) found.push_back({groups.votes[v].annotator(), v});
      std::sort(found.begin(), found.end());
      for (std::size_t begin = 0, end; begin < found.size(); begin = end) {
        for (end = begin + 1; end < found.size() && found[end].annotator == found[begin].annotator;) ++end;
        if (end - begin == 1) continue;
        const std::span<const Vote> same(found.begin() + begin, found.begin() + end);
        repeated_here += same.size() - 1;
        if (repeats == Repeats::kOne) {
          double total = 0;
          for (const Vote& one : same) total += weight[one.vote];
          if (total <= 1 + 1e-6) continue;  // parts of one vote, such as the halves of a vote with a soft label
          for (const Vote& one : same) weight[one.vote] = static_cast<float>(weight[one.vote] / total);
          shared_here += same.size();
        } else {
          std::uint32_t kept = same.front().vote;
          for (const Vote& one : same)
            if (repeats == Repeats::kFirst ? time_of(one.vote) < time_of(kept) : time_of(one.vote) > time_of(kept))
              kept = one.vote;
          for (const Vote& one : same) {
            if (one.vote == kept || same_judgement(one.vote, kept)) continue;
            weight[one.vote] = 0;
            ++dropped_here;
          }
        }
      }
    }
    repeated += repeated_here;
    shared += shared_here;
    dropped += dropped_here;
  });
  out.repeated = repeated;
  out.shared = shared;
  out.dropped = dropped;
}

/// Removes votes of weight 0. Each pair keeps at least one vote.
void drop_votes(Groups& groups, Column<float>& weight) {
  const std::size_t pairs = groups.pairs();
  Column<std::uint32_t> begin(pairs + 1, 0);  // as Groups::pair_votes, for the votes that are kept
  oneapi::tbb::parallel_for(Range(0, pairs, 64), [&](const Range& range) {
    for (std::size_t p = range.begin(); p < range.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) begin[p + 1] += weight[v] != 0;
  });
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  const auto drop_from = [&](auto& column) {
    if (column.empty()) return;
    std::remove_cvref_t<decltype(column)> out(begin.back());
    oneapi::tbb::parallel_for(Range(0, pairs, 64), [&](const Range& range) {
      std::uint32_t next = begin[range.begin()];
      for (std::uint32_t v = groups.pair_votes[range.begin()]; v < groups.pair_votes[range.end()]; ++v)
        if (weight[v] != 0) out[next++] = column[v];
    });
    column = std::move(out);
  };
  drop_from(groups.votes);
  drop_from(groups.vote_row);
  drop_from(groups.given_weight);
  drop_from(weight);
  groups.pair_votes = std::move(begin);
}

/// Votes with the same key are equal: all bits of the code count, or if annotators are alike, only the level.
std::uint32_t key_of(VoteCode vote, bool annotators_alike) {
  return annotators_alike ? VoteCode::make(0, vote.level(), true, false).bits : vote.bits;
}

/// Numbers the votes of a pair from 0; equal votes have the same number. Calls act(vote, number) in order of keys, and
/// returns how many numbers there are. A vote of weight below 1 always has its own number: two half votes are not one
/// vote, because a prediction without one of them leaves out only this half.
template <class Act>
std::uint32_t number_equal(const Groups& groups, std::size_t pair, bool annotators_alike,
                           std::vector<std::pair<std::uint32_t, std::uint32_t>>& buffer, const Act& act) {
  buffer.clear();
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    buffer.emplace_back(key_of(groups.votes[v], annotators_alike), v);
  std::sort(buffer.begin(), buffer.end());
  std::uint32_t numbers = 0;
  std::optional<std::uint32_t> last;
  for (const auto& [key, v] : buffer) {
    const bool whole = groups.weight_of(v) >= 1;
    if (!whole || last != key) ++numbers;
    act(v, numbers - 1);
    last = whole ? std::optional(key) : std::nullopt;
  }
  return numbers;
}

/// If annotators are alike, there are so few kinds of votes that counting needs no sorting.
constexpr std::uint32_t kKinds = 32;

}  // namespace

VoteWeights weigh_votes(Groups& groups, const Votes& votes, const VoteUse& use) {
  VoteWeights out;
  forget_sides(groups, votes, !use.side_bias);
  if (votes.weight.empty() && votes.judgement.empty() && !may_share_repeats(votes, use.repeats)) {
    out.total = static_cast<double>(groups.votes.size());
    return out;
  }
  Column<float> weight(groups.votes.size());
  oneapi::tbb::parallel_for(std::size_t{0}, weight.size(), [&](std::size_t v) {
    weight[v] = votes.weight.empty() ? 1.0f : votes.weight[groups.vote_row[v]];
  });
  if (!votes.weight.empty()) groups.given_weight = weight;
  share_judgements(groups, votes, use.views, weight, out);
  share_repeats(groups, votes, use.repeats, weight, out);
  if (out.dropped > 0) {
    drop_votes(groups, weight);
    groups.on_device.reset();
  }
  std::atomic<bool> all_one = true;
  out.total = oneapi::tbb::parallel_deterministic_reduce(
      Range(0, weight.size(), kVotes), 0.0,
      [&](const Range& range, double sum) {
        bool one = true;
        for (std::size_t v = range.begin(); v < range.end(); ++v) {
          sum += weight[v];
          one &= weight[v] == 1;
        }
        if (!one) all_one = false;
        return sum;
      },
      std::plus<>());
  if (all_one) return out;
  groups.weight = std::move(weight);
  groups.on_device.reset();
  return out;
}

void silence(Groups& groups, const std::vector<bool>& silent) {
  if (groups.weight.empty()) groups.weight.assign(groups.votes.size(), 1.0f);
  groups.on_device.reset();
  oneapi::tbb::parallel_for(Range(0, groups.votes.size(), kVotes), [&](const Range& range) {
    for (std::size_t v = range.begin(); v < range.end(); ++v)
      if (silent[groups.votes[v].annotator()]) groups.weight[v] *= kNextToNothing;
  });
}

std::optional<CountedVotes> count_equal_votes(const Groups& groups, bool annotators_alike) {
  if (!groups.views.empty()) return std::nullopt;  // views refer to single votes
  const std::size_t pairs = groups.pairs();
  std::vector<std::pair<std::uint32_t, std::uint32_t>> buffer;
  std::size_t votes = 0, left = 0;
  const auto ignore = [](std::uint32_t, std::uint32_t) {};
  constexpr std::size_t kSample = 1000;
  for (std::size_t p = 0; p < pairs && votes < 1'000'000; p += std::max<std::size_t>(pairs / kSample, 1)) {
    votes += groups.pair_votes[p + 1] - groups.pair_votes[p];
    left += number_equal(groups, p, annotators_alike, buffer, ignore);
  }
  if (3 * left > votes) return std::nullopt;

  CountedVotes out;
  out.counted.resize(groups.votes.size());
  Column<std::uint32_t> counts(pairs + 1, 0);
  using Buffer = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  oneapi::tbb::enumerable_thread_specific<Buffer> buffers;
  oneapi::tbb::parallel_for(Range(0, pairs, 16), [&](const Range& range) {
    Buffer& mine = buffers.local();
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      if (!annotators_alike || !groups.weight.empty()) {
        counts[p + 1] = number_equal(groups, p, annotators_alike, mine,
                                     [&](std::uint32_t v, std::uint32_t number) { out.counted[v] = number; });
        continue;
      }
      std::array<std::uint32_t, kKinds> number;
      number.fill(kKinds);
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        std::uint32_t& mine_here = number[static_cast<std::uint32_t>(groups.votes[v].level() + 16)];
        if (mine_here == kKinds) mine_here = counts[p + 1]++;
        out.counted[v] = mine_here;
      }
    }
  });
  std::partial_sum(counts.begin(), counts.end(), counts.begin());
  Groups& g = out.groups;
  g.component_slots = groups.component_slots;
  g.component_pairs = groups.component_pairs;
  g.slot_item = groups.slot_item;
  g.pair_first = groups.pair_first;
  g.pair_second = groups.pair_second;
  g.annotators = groups.annotators;
  g.answers = groups.answers;
  g.covariates = groups.covariates;
  g.embeddings = groups.embeddings;
  g.slot_source = groups.slot_source;
  g.source_row = groups.source_row;
  g.sources = groups.sources;
  g.all_seen = groups.all_seen;
  g.votes.resize(counts.back());
  g.weight.resize(counts.back());
  oneapi::tbb::parallel_for(Range(0, pairs, 16), [&](const Range& range) {
    std::vector<double> total;
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      total.assign(counts[p + 1] - counts[p], 0.0);
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        total[out.counted[v]] += groups.weight_of(v);
        out.counted[v] += counts[p];
        const VoteCode vote = groups.votes[v];
        g.votes[out.counted[v]] = {key_of(vote, annotators_alike)};
      }
      for (std::size_t i = 0; i < total.size(); ++i) g.weight[counts[p] + i] = static_cast<float>(total[i]);
    }
  });
  g.pair_votes = std::move(counts);
  return out;
}

Column<std::uint32_t> count_distinct_pairs(const Groups& groups) {
  Column<std::uint32_t> distinct(groups.annotators, 0);
  // Per thread: the last pair in which each annotator occurred, and its number of pairs.
  struct Met {
    std::vector<std::uint32_t> last_pair, pairs;
  };
  oneapi::tbb::enumerable_thread_specific<Met> threads;
  constexpr std::size_t kFewTasks = 64;  // few, because each task may clear a column of annotators
  oneapi::tbb::parallel_for(Range(0, groups.pairs(), groups.pairs() / kFewTasks + 1), [&](const Range& range) {
    Met& met = threads.local();
    met.last_pair.assign(groups.annotators, ~0u);
    met.pairs.resize(groups.annotators, 0);
    for (std::size_t p = range.begin(); p < range.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const std::uint32_t a = groups.votes[v].annotator(), pair = static_cast<std::uint32_t>(p);
        met.pairs[a] += std::exchange(met.last_pair[a], pair) != pair;
      }
  });
  for (const Met& met : threads)
    for (std::size_t a = 0; a < met.pairs.size(); ++a) distinct[a] += met.pairs[a];
  return distinct;
}

}  // namespace voxpop
