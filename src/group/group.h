#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "formulas/vote.h"
#include "group/covariates.h"
#include "voxpop/request.h"
#include "voxpop/votes.h"

namespace voxpop {

/// The levels and ties that occur in the votes.
struct Answers {
  std::vector<int> strengths = {1};  ///< strengths that occur, ascending; level k + 1 of a vote is strengths[k]
  bool ties = false;                 ///< whether there are ties
  bool half_ties = false;            ///< ties count as half a vote for each side
  double tie_share = 0;              ///< share of ties in the votes that count
  std::size_t components = 0;        ///< number of components of all votes
  bool own_ties() const { return ties && !half_ties; }  ///< ties are an answer of their own
  int levels() const { return static_cast<int>(strengths.size()); }
  bool binary() const { return levels() == 1 && !ties; }
  bool operator==(const Answers&) const = default;
};

/// The strengths that occur in votes that count. A level without votes would leave no distance between its thresholds.
Answers find_answers(const Column<std::int8_t>& preference, Ties ties);

/// Level of each strength, from 0 to kMaxLevels.
std::array<std::int8_t, kMaxLevels + 1> levels_of(const Answers& answers);

/// Pointers to the arrays of Groups: on the host, or on the device that grouped the votes.
struct GroupArrays {
  const std::uint32_t *component_slots, *component_pairs, *pair_first, *pair_second, *pair_votes;
  const VoteCode* votes;
  const float* weight;           ///< or null
  std::shared_ptr<void> memory;  ///< owner of the arrays on a device; null on the host
};

/// Neighbouring components with their slots, pairs and votes, as ranges of the arrays of Groups.
struct ComponentRange {
  std::uint32_t component, component_end, slot, slot_end, pair, pair_end, vote, vote_end;
};

/// Whether a fit models annotators' own views of items (formulas/views.h). kTested: if the fit finds that there are
/// such views. kAlways: in any case.
enum class ViewUse { kNone, kTested, kAlways };

/// Blocks: votes of one annotator that rest on the same view of some items. A component's blocks are neighbours. B
/// blocks.
struct Views {
  Column<std::uint32_t> component_blocks;  ///< [C + 1] first block of each component
  Column<std::uint32_t> block_slots;       ///< [B + 1] offset of each block's slots in `slot`
  Column<std::uint32_t> slot;              ///< slots of the blocks, ascending within a block
  Column<std::uint32_t> block_votes;       ///< [B + 1] offset of each block's votes in `vote`
  Column<std::uint32_t> vote;              ///< [V] votes of the blocks
  /// [V] in the order of `vote`: indices of its pair's items among the block's slots.
  Column<std::uint32_t> first, second;
  bool empty() const { return vote.empty(); }
};

/// Votes in fitting order: component by component (small ones first), and within a component pair by pair. A component
/// is a set of items that votes connect; scores of two components are never compared. A *slot* is an item's position in
/// this order. Sizes: C components, S slots, P pairs, V votes.
struct Groups {
  Column<std::uint32_t> component_slots;  ///< [C + 1] first slot of each component
  Column<std::uint32_t> component_pairs;  ///< [C + 1] first pair of each component
  Column<std::uint32_t> slot_item;        ///< [S] item index; ascending within a component
  Column<std::uint32_t> pair_first;       ///< [P] slot of the pair's first item (lower item index)
  Column<std::uint32_t> pair_second;      ///< [P] slot of the pair's second item
  Column<std::uint32_t> pair_votes;       ///< [P + 1] first vote of each pair
  Column<VoteCode> votes;                 ///< [V]
  Column<float> weight;                   ///< [V] the vote counts as that many equal votes; empty: all 1
  Column<float> given_weight;             ///< [V] the weight in the file, for numbers of votes; empty: all 1
  Column<std::uint32_t> vote_row;         ///< [V] input row
  std::size_t annotators = 0;
  std::uint32_t gold_from = 0xffffffffu;  ///< first annotator that represents known answers: add_gold()
  Answers answers;
  Covariates covariates;              ///< empty unless set by find_covariates()
  Column<std::uint32_t> slot_source;  ///< [S] source of each slot's item; empty unless set by set_sources()
  /// Number of sources with items here; the last one may stand for items without a known source.
  std::size_t sources = 0;
  std::vector<std::uint32_t> source_row;         ///< rows of Votes::source_ids of the known sources
  std::shared_ptr<const Embeddings> embeddings;  ///< of all items; null: none
  Views views;                                   ///< empty unless set by find_views()
  bool all_seen = true;                          ///< false if some votes are held out: VoteCode::seen()
  std::optional<GroupArrays> on_device;          ///< a second copy on a device, for an engine there

  GroupArrays arrays() const {
    return {component_slots.data(),
            component_pairs.data(),
            pair_first.data(),
            pair_second.data(),
            pair_votes.data(),
            votes.data(),
            weight.empty() ? nullptr : weight.data(),
            nullptr};
  }
  float weight_of(std::uint32_t vote) const { return weight.empty() ? 1.0f : weight[vote]; }
  float given_weight_of(std::uint32_t vote) const { return given_weight.empty() ? 1.0f : given_weight[vote]; }
  /// Whether a vote represents a known answer.
  bool is_gold(VoteCode vote) const { return vote.annotator() >= gold_from; }
  /// Whether the vote is an annotator's decision: no tie and no known answer.
  bool is_voted(std::uint32_t vote) const { return votes[vote].decided() && !is_gold(votes[vote]); }
  /// Number of annotators without the artificial ones of known answers.
  std::size_t voters() const { return std::min<std::size_t>(annotators, gold_from); }
  std::size_t components() const { return component_slots.size() - 1; }
  std::size_t pairs() const { return pair_first.size(); }
  std::uint32_t items_of(std::size_t component) const {
    return component_slots[component + 1] - component_slots[component];
  }
  std::uint32_t votes_of(std::size_t component) const {
    return pair_votes[component_pairs[component + 1]] - pair_votes[component_pairs[component]];
  }
  ComponentRange range(std::uint32_t begin, std::uint32_t end) const {
    const std::uint32_t pair = component_pairs[begin], pair_end = component_pairs[end];
    return {begin, end,      component_slots[begin], component_slots[end],
            pair,  pair_end, pair_votes[pair],       pair_votes[pair_end]};
  }
};

/// Groups votes. The result does not depend on the number of threads. Items without votes are in no component. Frees
/// the columns left, right and annotator of `votes`, which later steps do not need. Peak memory is about 23 bytes per
/// vote.
Groups group_votes(Votes& votes, Ties ties);

}  // namespace voxpop
