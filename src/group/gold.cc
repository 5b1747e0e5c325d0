#include "group/gold.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <tuple>

#include "core/error.h"
#include "core/strings.h"

namespace voxpop {
namespace {

constexpr long kSurest = 98;  ///< per cent

/// Probability that the likelier answer is right, in per cent.
long certainty_of(float probability) {
  return std::clamp(std::lround(100 * std::max(probability, 1 - probability)), 51L, kSurest);
}

/// Discrimination of an annotator who is right with this probability: the probit approximates the logit, and score
/// differences d are N(0, 2).
double discrimination_of(long certainty) {
  return 1.7 / std::numbers::sqrt2 * std::tan(std::numbers::pi * (0.01 * static_cast<double>(certainty) - 0.5));
}

struct Answer {
  std::uint32_t first, second;  ///< slots
  bool first_is_better;
  std::uint32_t annotator;
  std::size_t row;  ///< row of the known pairs
};

}  // namespace

GoldVotes add_gold(Groups& groups, const KnownPairs& gold, const Strings& item_ids) {
  GoldVotes out;
  out.pair.assign(gold.size(), GoldVotes::kNone);
  out.vote = out.pair;
  if (gold.size() == 0) return out;
  std::vector<std::uint32_t> slot_of(item_ids.size(), GoldVotes::kNone);
  for (std::uint32_t slot = 0; slot < groups.slot_item.size(); ++slot) slot_of[groups.slot_item[slot]] = slot;
  const auto component_of = [&](std::uint32_t slot) {
    return std::upper_bound(groups.component_slots.begin(), groups.component_slots.end(), slot);
  };
  groups.gold_from = static_cast<std::uint32_t>(groups.annotators);
  std::map<long, std::uint32_t> annotator_of;
  std::vector<Answer> answers;
  for (std::size_t row = 0; row < gold.size(); ++row) {
    const std::uint32_t left = slot_of[gold.left[row]], right = slot_of[gold.right[row]];
    if (left == GoldVotes::kNone || right == GoldVotes::kNone || component_of(left) != component_of(right)) continue;
    const long certainty = certainty_of(gold.probability[row]);
    const auto [known, is_new] = annotator_of.emplace(certainty, static_cast<std::uint32_t>(groups.annotators));
    if (is_new) {
      ++groups.annotators;
      out.discrimination.push_back(discrimination_of(certainty));
    }
    answers.push_back({std::min(left, right), std::max(left, right), (gold.probability[row] > 0.5f) == (left < right),
                       known->second, row});
  }
  std::ranges::sort(answers, {}, [](const Answer& a) { return std::tuple(a.first, a.second, a.row); });

  if (groups.given_weight.empty()) groups.given_weight.assign(groups.votes.size(), 1.0f);
  Groups with;
  with.pair_votes = {0};
  const auto copy_pair = [&](std::size_t pair) {
    const auto append = [&](auto& to, const auto& from) {
      if (!from.empty())
        to.insert(to.end(), from.begin() + groups.pair_votes[pair], from.begin() + groups.pair_votes[pair + 1]);
    };
    append(with.votes, groups.votes);
    append(with.weight, groups.weight);
    append(with.given_weight, groups.given_weight);
    append(with.vote_row, groups.vote_row);
  };
  const auto slots_of = [&](std::size_t pair) { return std::pair(groups.pair_first[pair], groups.pair_second[pair]); };
  std::size_t pair = 0;
  for (auto answer = answers.begin(); pair < groups.pairs() || answer != answers.end();) {
    const bool answered = answer != answers.end() &&
                          (pair == groups.pairs() || std::pair(answer->first, answer->second) <= slots_of(pair));
    const auto slots = answered ? std::pair(answer->first, answer->second) : slots_of(pair);
    with.pair_first.push_back(slots.first);
    with.pair_second.push_back(slots.second);
    if (pair < groups.pairs() && slots == slots_of(pair)) copy_pair(pair++);
    const auto vote = static_cast<std::uint32_t>(with.votes.size());
    for (const Answer* said = nullptr; answer != answers.end() && slots == std::pair(answer->first, answer->second);
         ++answer) {
      out.pair[answer->row] = static_cast<std::uint32_t>(with.pair_first.size() - 1);
      out.vote[answer->row] = vote;
      if (said != nullptr && (said->first_is_better != answer->first_is_better || said->annotator != answer->annotator))
        throw bad_input("gold: two different answers for '{}' and '{}'; keep one of them",
                        shown(item_ids[gold.left[answer->row]]), shown(item_ids[gold.right[answer->row]]));
      if (said != nullptr) continue;
      said = &*answer;
      const int level = groups.answers.levels();
      with.votes.push_back(VoteCode::make(answer->annotator, answer->first_is_better ? level : -level, true, false));
      if (!groups.weight.empty()) with.weight.push_back(1);
      with.given_weight.push_back(0);
      with.vote_row.push_back(GoldVotes::kNone);
    }
    with.pair_votes.push_back(static_cast<std::uint32_t>(with.votes.size()));
  }
  for (std::uint32_t& first : groups.component_pairs) {  // first pair of the component: after pairs of earlier slots
    const std::size_t component = &first - groups.component_pairs.data();
    first = static_cast<std::uint32_t>(std::ranges::lower_bound(with.pair_first, groups.component_slots[component]) -
                                       with.pair_first.begin());
  }
  groups.pair_first = std::move(with.pair_first);
  groups.pair_second = std::move(with.pair_second);
  groups.pair_votes = std::move(with.pair_votes);
  groups.votes = std::move(with.votes);
  groups.weight = std::move(with.weight);
  groups.given_weight = std::move(with.given_weight);
  groups.vote_row = std::move(with.vote_row);
  groups.on_device.reset();
  return out;
}

}  // namespace voxpop
