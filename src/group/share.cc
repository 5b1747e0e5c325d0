#include "group/share.h"

namespace voxpop {
namespace {

/// Appends offsets of a run's parts, shifted to follow the offsets in `to`.
void append_offsets(Column<std::uint32_t>& to, const Column<std::uint32_t>& from, std::size_t begin, std::size_t end) {
  const std::uint32_t move = to.back() - from[begin];
  for (std::size_t i = begin + 1; i <= end; ++i) to.push_back(from[i] + move);
}

/// Appends the views of a run to those of earlier runs.
void append_views(Groups& out, const Groups& groups, const ComponentRange& run) {
  const Views& from = groups.views;
  Views& to = out.views;
  for (auto* offsets : {&to.component_blocks, &to.block_slots, &to.block_votes})
    if (offsets->empty()) offsets->push_back(0);
  const std::uint32_t block = from.component_blocks[run.component], end = from.component_blocks[run.component_end];
  const std::uint32_t listed = from.block_votes[block], listed_end = from.block_votes[end];
  // Slots and votes get new numbers: the run's first ones follow all earlier ones. Differences are modulo 2^32.
  const auto components = static_cast<std::uint32_t>(to.component_blocks.size()) - 1;
  const std::uint32_t slots = out.component_slots[components] - run.slot;
  const auto votes = static_cast<std::uint32_t>(to.vote.size()) - run.vote;
  append_offsets(to.component_blocks, from.component_blocks, run.component, run.component_end);
  append_offsets(to.block_votes, from.block_votes, block, end);
  append_offsets(to.block_slots, from.block_slots, block, end);
  for (std::uint32_t k = from.block_slots[block]; k < from.block_slots[end]; ++k)
    to.slot.push_back(from.slot[k] + slots);
  for (std::uint32_t k = listed; k < listed_end; ++k) to.vote.push_back(from.vote[k] + votes);
  append(to.first, from.first, listed, listed_end);
  append(to.second, from.second, listed, listed_end);
}

}  // namespace

Groups take_share(const Groups& groups, const Share& share) {
  Groups out;
  out.component_slots = out.component_pairs = out.pair_votes = {0};
  const std::size_t columns = groups.covariates.count();
  std::size_t components = 0, slot_count = 0, pairs = 0, votes = 0;
  for (const ComponentRange& run : share) {
    components += run.component_end - run.component;
    slot_count += run.slot_end - run.slot;
    pairs += run.pair_end - run.pair;
    votes += run.vote_end - run.vote;
  }
  out.component_slots.reserve(components + 1);
  out.component_pairs.reserve(components + 1);
  out.slot_item.reserve(slot_count);
  out.covariates.value.reserve(slot_count * columns);
  out.pair_first.reserve(pairs);
  out.pair_second.reserve(pairs);
  out.pair_votes.reserve(pairs + 1);
  out.votes.reserve(votes);
  if (!groups.weight.empty()) out.weight.reserve(votes);
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
    if (!groups.weight.empty()) append(out.weight, groups.weight, run.vote, run.vote_end);
    append(out.covariates.value, groups.covariates.value, run.slot * columns, run.slot_end * columns);
    if (groups.sources > 0) append(out.slot_source, groups.slot_source, run.slot, run.slot_end);
  }
  for (std::size_t r = 0; r < share.size() && !groups.views.empty(); ++r) append_views(out, groups, share[r]);
  out.annotators = groups.annotators;
  out.answers = groups.answers;
  out.covariates.names = groups.covariates.names;
  out.covariates.sd = groups.covariates.sd;
  out.covariates.features = groups.covariates.features;
  out.sources = groups.sources;
  out.all_seen = groups.all_seen;
  return out;
}

}  // namespace voxpop
