#include "group/sources.h"

#include <algorithm>

namespace voxpop {

std::string set_sources(Groups& groups, const Votes& votes) {
  if (votes.source.empty()) return "";
  std::vector<std::uint32_t> items(votes.source_ids.size(), 0);  // number of items with votes, by source
  bool all_known = true;
  for (const std::uint32_t item : groups.slot_item) {
    const std::uint32_t source = votes.source[item];
    all_known = all_known && source != kNoSource;
    if (source != kNoSource) ++items[source];
  }
  if (std::ranges::all_of(items, [](std::uint32_t n) { return n <= 1; }))
    return "every source has only one item, so a source says no more than its item";
  const auto source_of = [&](std::uint32_t slot) { return votes.source[groups.slot_item[slot]]; };
  bool differ = false;
  for (std::size_t p = 0; p < groups.pairs() && !differ; ++p)
    differ = source_of(groups.pair_first[p]) != source_of(groups.pair_second[p]);
  if (!differ) return "no vote compares items of two sources";

  std::vector<std::uint32_t> number(items.size());
  for (std::uint32_t source = 0; source < items.size(); ++source)
    if (items[source] > 0) {
      number[source] = static_cast<std::uint32_t>(groups.source_row.size());
      groups.source_row.push_back(source);
    }
  const auto known = static_cast<std::uint32_t>(groups.source_row.size());
  groups.sources = known + (all_known ? 0 : 1);
  for (std::uint32_t slot = 0; slot < groups.slot_item.size(); ++slot)
    groups.slot_source.push_back(source_of(slot) == kNoSource ? known : number[source_of(slot)]);
  return "";
}

}  // namespace voxpop
