#pragma once
// Grouping as steps over arrays. The result is that of src/group/group.h. Thrust runs the steps: on the device if nvcc
// compiles this file, and in a test on the host if g++ does (THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP).

#include <thrust/binary_search.h>
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/scan.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>

#include <algorithm>
#include <memory>

#include "formulas/block.h"
#include "group/group.h"
#include "votes/votes.h"
#include "voxpop/error.h"

namespace voxpop {
#if defined(__CUDACC__)
inline namespace grouping_on_device {
#else
inline namespace grouping_on_host {
#endif

inline constexpr std::uint32_t kNoComponent = 0xffffffffu;

/// Peak device memory of grouping, in bytes per vote and per item: columns, two copies of sort keys and rows, vote
/// codes.
inline constexpr std::size_t kGroupVoteBytes = 48, kGroupItemBytes = 40;

/// Returns the root of x's set. Halves the path on the way, so that later searches are shorter.
VOXPOP_HD std::uint32_t root_of(std::uint32_t* parent, std::uint32_t x) {
  std::uint32_t up = parent[x];
  while (up != x) {
    const std::uint32_t above = parent[up];
    if (above != up) parent[x] = above;
    x = up;
    up = above;
  }
  return x;
}

/// Joins the sets of a row's two items without a lock (as ECL-CC, Jaiganesh and Burtscher 2018). A root is always
/// linked to a smaller root, so the final root is the smallest item, in any order of rows.
struct JoinItems {
  const std::uint32_t *left, *right;
  const std::int8_t* preference;
  bool ties;
  std::uint32_t* parent;
  VOXPOP_DEVICE void operator()(std::uint32_t row) const {
    if (!ties && preference[row] == 0) return;
    std::uint32_t a = root_of(parent, left[row]), b = root_of(parent, right[row]);
    while (a != b) {
      const std::uint32_t high = a > b ? a : b, low = a > b ? b : a;
      const std::uint32_t before = swap_shared(parent + high, high, low);
      if (before == high) return;
      a = root_of(parent, before);  // another thread changed the root first
      b = root_of(parent, low);
    }
  }
};
struct FlattenItem {
  std::uint32_t* parent;
  VOXPOP_DEVICE void operator()(std::uint32_t item) const { parent[item] = root_of(parent, item); }
};
struct CountVote {
  const std::uint32_t* left;
  const std::int8_t* preference;
  bool ties;
  const std::uint32_t* root;
  std::uint32_t* votes;
  VOXPOP_DEVICE void operator()(std::uint32_t row) const {
    if (ties || preference[row] != 0) increment_shared(votes + root[left[row]]);
  }
};
struct CountItem {
  const std::uint32_t* root;
  std::uint32_t* items;
  VOXPOP_DEVICE void operator()(std::uint32_t item) const { increment_shared(items + root[item]); }
};
struct IsComponent {
  const std::uint32_t *root, *votes;
  VOXPOP_DEVICE bool operator()(std::uint32_t item) const { return root[item] == item && votes[item] > 0; }
};
struct HasVotes {
  const std::uint32_t *root, *votes;
  VOXPOP_DEVICE bool operator()(std::uint32_t item) const { return votes[root[item]] > 0; }
};
struct Counts {
  const std::int8_t* preference;
  bool ties;
  VOXPOP_DEVICE bool operator()(std::uint32_t row) const { return ties || preference[row] != 0; }
};
/// Sort key of components: number of items, then votes. The sort is stable, so equal components stay in the order of
/// their smallest item.
struct SizeKey {
  const std::uint32_t *items, *votes;
  VOXPOP_DEVICE std::uint64_t operator()(std::uint32_t root) const {
    return std::uint64_t{items[root]} << 32 | votes[root];
  }
};
struct KeyItems {
  VOXPOP_DEVICE std::uint32_t operator()(std::uint64_t key) const { return static_cast<std::uint32_t>(key >> 32); }
};
struct SetPlace {
  const std::uint32_t* at;
  std::uint32_t* place;
  VOXPOP_DEVICE void operator()(std::uint32_t i) const { place[at[i]] = i; }
};
struct PlaceOfItem {
  const std::uint32_t *root, *place;
  VOXPOP_DEVICE std::uint32_t operator()(std::uint32_t item) const { return place[root[item]]; }
};
/// Sort key of a vote: the pair's first slot in the high 32 bits, the second slot in the low ones. Slots are ordered by
/// component, so this also sorts votes by component.
struct PairKey {
  const std::uint32_t *left, *right, *slot_of;
  VOXPOP_DEVICE std::uint64_t operator()(std::uint32_t row) const {
    const std::uint32_t a = left[row], b = right[row];
    return std::uint64_t{slot_of[a < b ? a : b]} << 32 | slot_of[a < b ? b : a];
  }
};
struct BeginsPair {
  const std::uint64_t* keys;
  VOXPOP_DEVICE bool operator()(std::uint32_t v) const { return v == 0 || keys[v] != keys[v - 1]; }
};
struct SplitPair {
  const std::uint64_t* keys;
  const std::uint32_t* pair_votes;
  std::uint32_t *first, *second;
  VOXPOP_DEVICE void operator()(std::uint32_t p) const {
    const std::uint64_t key = keys[pair_votes[p]];
    first[p] = static_cast<std::uint32_t>(key >> 32);
    second[p] = static_cast<std::uint32_t>(key);
  }
};
struct EncodeVote {
  const std::uint32_t *row, *left, *right, *annotator;
  const std::int8_t* preference;
  std::int8_t levels[kMaxLevels + 1];
  VoteCode* votes;
  VOXPOP_DEVICE void operator()(std::uint32_t v) const {
    const std::uint32_t r = row[v];
    const bool first_on_left = left[r] < right[r];
    const int level = preference[r] < 0 ? -levels[-preference[r]] : levels[preference[r]];
    votes[v] = VoteCode::make(annotator[r], first_on_left ? level : -level, first_on_left);
  }
};

template <class T>
using DeviceColumn = thrust::device_vector<T>;

template <class T>
T* pointer(DeviceColumn<T>& column) {
  return thrust::raw_pointer_cast(column.data());
}
template <class Copies, class T, class Allocator>
DeviceColumn<T> column_of(Copies& copies, const std::vector<T, Allocator>& host) {
  DeviceColumn<T> column(host.size());
  copies.in(pointer(column), host.data(), host.size() * sizeof(T));
  return column;
}
template <class Copies, class T>
Column<T> host_of(Copies& copies, DeviceColumn<T>& column) {
  Column<T> host(column.size());
  copies.out(host.data(), pointer(column), column.size() * sizeof(T));
  return host;
}

/// The columns that Groups::on_device keeps alive.
struct GroupedColumns {
  DeviceColumn<std::uint32_t> component_slots, component_pairs, pair_first, pair_second, pair_votes;
  DeviceColumn<VoteCode> votes;
};

/// As group_votes(). With `keep` the result also stays in the memory where the steps run, for an engine to start from.
/// `copies`: has in() and out() to copy to that memory and back. Frees the columns left, right and annotator of
/// `votes`.
template <class Copies>
Groups group_votes_in_steps(Votes& votes, Ties how, bool keep, Copies&& copies) {
  const bool ties = how != Ties::kDrop;
  const auto items = static_cast<std::uint32_t>(votes.item_ids.size());
  const auto rows = static_cast<std::uint32_t>(votes.size());
  const auto index = thrust::counting_iterator<std::uint32_t>(0);
  const auto each = [&](std::uint32_t count, const auto& act) {
    thrust::for_each(thrust::device, index, index + count, act);
  };
  DeviceColumn<std::uint32_t> left = column_of(copies, votes.left), right = column_of(copies, votes.right);
  DeviceColumn<std::int8_t> preference = column_of(copies, votes.preference);

  DeviceColumn<std::uint32_t> root(items), vote_count(items, 0), item_count(items, 0);
  thrust::sequence(thrust::device, root.begin(), root.end());
  each(rows, JoinItems{pointer(left), pointer(right), pointer(preference), ties, pointer(root)});
  each(items, FlattenItem{pointer(root)});
  each(rows, CountVote{pointer(left), pointer(preference), ties, pointer(root), pointer(vote_count)});
  each(items, CountItem{pointer(root), pointer(item_count)});

  // The components in sorted order, and their slots.
  Groups groups;
  groups.annotators = votes.annotator_ids.size();
  DeviceColumn<std::uint32_t> roots(items);
  roots.resize(thrust::copy_if(thrust::device, index, index + items, roots.begin(),
                               IsComponent{pointer(root), pointer(vote_count)}) -
               roots.begin());
  if (roots.empty())
    throw Error(Exit::kBadInput,
                origin_of(votes) + ": every vote is a tie, and ties are dropped; set ties to 'model' (--ties model)");
  const auto components = static_cast<std::uint32_t>(roots.size());
  DeviceColumn<std::uint32_t> component_slots(components + 1, 0);
  {
    DeviceColumn<std::uint64_t> sizes(components);
    thrust::transform(thrust::device, roots.begin(), roots.end(), sizes.begin(),
                      SizeKey{pointer(item_count), pointer(vote_count)});
    thrust::stable_sort_by_key(thrust::device, sizes.begin(), sizes.end(), roots.begin());
    thrust::transform(thrust::device, sizes.begin(), sizes.end(), component_slots.begin(), KeyItems{});
    thrust::exclusive_scan(thrust::device, component_slots.begin(), component_slots.end(), component_slots.begin());
  }
  DeviceColumn<std::uint32_t> slot_item(items), slot_of(items, kNoComponent);
  {
    DeviceColumn<std::uint32_t> place(items), place_of_slot;
    each(components, SetPlace{pointer(roots), pointer(place)});
    slot_item.resize(thrust::copy_if(thrust::device, index, index + items, slot_item.begin(),
                                     HasVotes{pointer(root), pointer(vote_count)}) -
                     slot_item.begin());
    place_of_slot.resize(slot_item.size());
    thrust::transform(thrust::device, slot_item.begin(), slot_item.end(), place_of_slot.begin(),
                      PlaceOfItem{pointer(root), pointer(place)});
    thrust::stable_sort_by_key(thrust::device, place_of_slot.begin(), place_of_slot.end(), slot_item.begin());
  }
  each(static_cast<std::uint32_t>(slot_item.size()), SetPlace{pointer(slot_item), pointer(slot_of)});

  // Sort the votes by pair, then by row.
  DeviceColumn<std::uint32_t> row(rows);
  row.resize(thrust::copy_if(thrust::device, index, index + rows, row.begin(), Counts{pointer(preference), ties}) -
             row.begin());
  const auto counted = static_cast<std::uint32_t>(row.size());
  DeviceColumn<std::uint64_t> keys(counted);
  thrust::transform(thrust::device, row.begin(), row.end(), keys.begin(),
                    PairKey{pointer(left), pointer(right), pointer(slot_of)});
  thrust::stable_sort_by_key(thrust::device, keys.begin(), keys.end(), row.begin());

  DeviceColumn<std::uint32_t> pair_votes(counted + std::size_t{1});
  const auto pairs = static_cast<std::uint32_t>(
      thrust::copy_if(thrust::device, index, index + counted, pair_votes.begin(), BeginsPair{pointer(keys)}) -
      pair_votes.begin());
  pair_votes.resize(pairs + std::size_t{1});
  pair_votes[pairs] = counted;
  DeviceColumn<std::uint32_t> first(pairs), second(pairs), component_pairs(components + 1);
  each(pairs, SplitPair{pointer(keys), pointer(pair_votes), pointer(first), pointer(second)});
  thrust::lower_bound(thrust::device, first.begin(), first.end(), component_slots.begin(), component_slots.end(),
                      component_pairs.begin());
  DeviceColumn<std::uint64_t>().swap(keys);

  DeviceColumn<std::uint32_t> annotator = column_of(copies, votes.annotator);
  DeviceColumn<VoteCode> codes(counted);
  groups.answers = find_answers(votes.preference, how);
  groups.answers.components = components;
  EncodeVote encode{pointer(row), pointer(left), pointer(right), pointer(annotator), pointer(preference),
                    {},           pointer(codes)};
  const auto levels = levels_of(groups.answers);
  std::copy(levels.begin(), levels.end(), encode.levels);
  each(counted, encode);
  groups.component_slots = host_of(copies, component_slots);
  groups.component_pairs = host_of(copies, component_pairs);
  groups.slot_item = host_of(copies, slot_item);
  groups.pair_first = host_of(copies, first);
  groups.pair_second = host_of(copies, second);
  groups.pair_votes = host_of(copies, pair_votes);
  groups.votes = host_of(copies, codes);
  groups.vote_row = host_of(copies, row);
  if (keep) {
    auto kept = std::make_shared<GroupedColumns>();
    kept->component_slots.swap(component_slots);
    kept->component_pairs.swap(component_pairs);
    kept->pair_first.swap(first);
    kept->pair_second.swap(second);
    kept->pair_votes.swap(pair_votes);
    kept->votes.swap(codes);
    groups.on_device = GroupArrays{pointer(kept->component_slots),
                                   pointer(kept->component_pairs),
                                   pointer(kept->pair_first),
                                   pointer(kept->pair_second),
                                   pointer(kept->pair_votes),
                                   pointer(kept->votes),
                                   nullptr,
                                   kept};
  }
  for (auto* column : {&votes.left, &votes.right, &votes.annotator}) Column<std::uint32_t>().swap(*column);
  return groups;
}

}  // namespace grouping_on_device or grouping_on_host
}  // namespace voxpop
