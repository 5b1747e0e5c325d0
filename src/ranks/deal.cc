#include "ranks/deal.h"

#include <algorithm>
#include <numeric>

#include "fit/engine.h"

namespace voxpop {
namespace {

/// About how long a large component takes, in votes of small ones: votes, and a factorisation or conjugate gradients.
double work_of(const Groups& groups, std::uint32_t c) {
  const double items = groups.items_of(c), votes = groups.votes_of(c);
  return items <= kDenseItems ? votes + items * items * items / 1000 : 50 * votes;
}

void add_component(const Groups& groups, std::uint32_t c, Share& share) {
  if (share.empty() || share.back().component_end != c)
    share.push_back(groups.range(c, c + 1));
  else
    share.back() = groups.range(share.back().component, c + 1);
}

template <class Column>
void append(Column& to, const Column& from, std::size_t begin, std::size_t end) {
  to.insert(to.end(), from.begin() + begin, from.begin() + end);
}

/// Offsets of a run's parts, as they are behind what is there.
void append_offsets(Column<std::uint32_t>& to, const Column<std::uint32_t>& from, std::size_t begin, std::size_t end) {
  const std::uint32_t move = to.back() - from[begin];
  for (std::size_t i = begin + 1; i <= end; ++i) to.push_back(from[i] + move);
}

}  // namespace

std::vector<Share> deal_components(const Groups& groups, int ranks, std::uint32_t stride) {
  const auto components = static_cast<std::uint32_t>(groups.components());
  std::vector<int> owner(components);
  std::vector<std::uint32_t> large;
  std::uint32_t small = 0;
  for (std::uint32_t c = 0; c < components; ++c) {
    if (!is_small(groups, c)) {
      large.push_back(c);
      continue;
    }
    // To and fro, since components are in the order of their size.
    const auto block = static_cast<int>(small++ / (kSampleUnit * stride)), turn = block / ranks, place = block % ranks;
    owner[c] = turn % 2 == 0 ? place : ranks - 1 - place;
  }
  std::vector<double> work(ranks, 0);
  std::stable_sort(large.begin(), large.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return work_of(groups, a) > work_of(groups, b); });
  for (const std::uint32_t c : large) {
    owner[c] = static_cast<int>(std::min_element(work.begin(), work.end()) - work.begin());
    work[owner[c]] += work_of(groups, c);
  }
  std::vector<Share> shares(ranks);
  for (std::uint32_t c = 0; c < components; ++c) add_component(groups, c, shares[owner[c]]);
  return shares;
}

Groups take_share(const Groups& groups, const Share& share) {
  Groups out;
  out.component_slots = out.component_pairs = out.pair_votes = {0};
  const std::size_t columns = groups.covariates.count();
  for (const ComponentRange& run : share) {
    const std::uint32_t slots = out.component_slots.back() - run.slot;  // to be added, modulo 2^32
    append_offsets(out.component_slots, groups.component_slots, run.component, run.component_end);
    append_offsets(out.component_pairs, groups.component_pairs, run.component, run.component_end);
    append_offsets(out.pair_votes, groups.pair_votes, run.pair, run.pair_end);
    append(out.slot_item, groups.slot_item, run.slot, run.slot_end);
    for (std::uint32_t p = run.pair; p < run.pair_end; ++p) {
      out.pair_first.push_back(groups.pair_first[p] + slots);
      out.pair_second.push_back(groups.pair_second[p] + slots);
    }
    append(out.votes, groups.votes, run.vote, run.vote_end);
    append(out.covariates.value, groups.covariates.value, run.slot * columns, run.slot_end * columns);
  }
  out.annotators = groups.annotators;
  out.answers = groups.answers;
  out.covariates.names = groups.covariates.names;
  out.covariates.sd = groups.covariates.sd;
  out.covariates.features = groups.covariates.features;
  out.all_seen = groups.all_seen;
  out.click_habits = find_click_habits(groups);
  return out;
}

}  // namespace voxpop
