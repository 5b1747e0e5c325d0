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

/// The answers that votes give.
struct Answers {
  std::vector<int> strengths = {1};  ///< the strengths that occur, ascending: level k + 1 of a vote is strengths[k]
  bool ties = false;                 ///< whether any vote is a tie
  bool half_ties = false;            ///< which is then half a vote to each side
  double tie_share = 0;              ///< of the votes that count
  std::size_t components = 0;        ///< of all the votes
  bool own_ties() const { return ties && !half_ties; }  ///< ties are an answer of their own
  int levels() const { return static_cast<int>(strengths.size()); }
  bool binary() const { return levels() == 1 && !ties; }
  bool operator==(const Answers&) const = default;
};

/// The strengths that occur among votes that count. Levels that nobody uses would have no room between their
/// thresholds.
Answers find_answers(const Column<std::int8_t>& preference, Ties ties);

/// Level of each strength from 0 to kMaxLevels.
std::array<std::int8_t, kMaxLevels + 1> levels_of(const Answers& answers);

/// The arrays of Groups, wherever they lie: on the host, or on the device that grouped the votes.
struct GroupArrays {
  const std::uint32_t *component_slots, *component_pairs, *pair_first, *pair_second, *pair_votes;
  const VoteCode* votes;
  const float* weight;           ///< or null
  std::shared_ptr<void> memory;  ///< what keeps a device's arrays; null on the host
};

/// Neighbouring components, and what belongs to them, as ranges of the arrays of Groups.
struct ComponentRange {
  std::uint32_t component, component_end, slot, slot_end, pair, pair_end, vote, vote_end;
};

/// Whether a fit models annotators' own views of items (formulas/views.h): it finds out, or does.
enum class ViewUse { kNone, kTested, kAlways };

/// Votes of an annotator that rest on one view of some items, as blocks; a component's are neighbours. B blocks.
struct Views {
  Column<std::uint32_t> component_blocks;  ///< [C + 1] first block of each component
  Column<std::uint32_t> block_slots;       ///< [B + 1] where a block's slots begin in ...
  Column<std::uint32_t> slot;              ///< ... these, which ascend within a block
  Column<std::uint32_t> block_votes;       ///< [B + 1] where its votes begin in ...
  Column<std::uint32_t> vote;              ///< [V] ... these
  Column<std::uint32_t> first, second;     ///< [V] as `vote`: places of its pair's items among the block's slots
  bool empty() const { return vote.empty(); }
};

/// Votes in the order in which they are fitted: component by component (small ones first), within it pair by pair.
/// A component is a set of items that votes connect; scores of two components are never compared. A *slot* is an item's
/// place in that order. Sizes below: C components, S slots, P pairs, V votes.
struct Groups {
  Column<std::uint32_t> component_slots;  ///< [C + 1] first slot of each component
  Column<std::uint32_t> component_pairs;  ///< [C + 1] first pair of each component
  Column<std::uint32_t> slot_item;        ///< [S] item index; ascending within a component
  Column<std::uint32_t> pair_first;       ///< [P] slot of the pair's first item, the one of lower index
  Column<std::uint32_t> pair_second;      ///< [P] slot of its second item
  Column<std::uint32_t> pair_votes;       ///< [P + 1] first vote of each pair
  Column<VoteCode> votes;                 ///< [V]
  Column<float> weight;                   ///< [V] the vote is as so many equal ones; empty: each is one
  Column<float> given_weight;             ///< [V] what the file says of that, for counts; empty: each is one
  Column<std::uint32_t> vote_row;         ///< [V] row in the input
  std::size_t annotators = 0;
  std::uint32_t gold_from = 0xffffffffu;  ///< annotators from here on stand for known answers: add_gold()
  Answers answers;
  Covariates covariates;                  ///< none unless set: find_covariates()
  Column<std::uint32_t> slot_source;      ///< [S] source of each slot's item; empty unless set: set_sources()
  std::size_t sources = 0;                ///< that have items here; the last may be of those whose source is not known
  std::vector<std::uint32_t> source_row;  ///< rows of Votes::source_ids, of the sources that are known
  std::shared_ptr<const Embeddings> embeddings;  ///< of all items; null: there are none
  Views views;                                   ///< none unless set: find_views()
  bool all_seen = true;                          ///< false where votes are held out: VoteCode::seen()
  std::optional<GroupArrays> on_device;          ///< a second copy, which an engine on that device starts from

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
  /// Whether a vote stands for a known answer.
  bool is_gold(VoteCode vote) const { return vote.annotator() >= gold_from; }
  /// Whether somebody said who is better.
  bool is_voted(std::uint32_t vote) const { return votes[vote].decided() && !is_gold(votes[vote]); }
  /// Annotators who are somebody.
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

/// Groups votes; the result does not depend on the number of threads. Items without votes are in no component.
/// Consumes the vote columns left, right and annotator, which are not needed after it (memory: at its peak some 23
/// bytes a vote).
Groups group_votes(Votes& votes, Ties ties);

}  // namespace voxpop
