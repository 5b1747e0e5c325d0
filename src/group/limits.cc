#include "group/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/strings.h"

namespace voxpop {

namespace {

/// If sides are drawn for each vote, an item shown n times has E[(times left - times right)^2] = n; if it never changes
/// sides, that is n^2. Where between the two the items lie together, less three standard errors of chance; never below
/// 0.
double find_side_keeping(const Groups& groups) {
  std::vector<std::uint32_t> shown(groups.slot_item.size(), 0);
  std::vector<std::int32_t> net(groups.slot_item.size(), 0);
  for (std::size_t p = 0; p < groups.pairs(); ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const std::int32_t first = groups.votes[v].first_on_left() ? 1 : -1;
      net[groups.pair_first[p]] += first;
      net[groups.pair_second[p]] -= first;
      ++shown[groups.pair_first[p]];
      ++shown[groups.pair_second[p]];
    }
  double found = 0, by_chance = 0, always = 0;
  for (std::size_t slot = 0; slot < shown.size(); ++slot) {
    const double n = shown[slot], difference = net[slot];
    if (n < 2) continue;
    found += difference * difference / n;
    by_chance += 1;
    always += n;
  }
  const double luck = 3 * std::sqrt(2 * by_chance);
  return always > by_chance ? std::max(0.0, (found - by_chance - luck) / (always - by_chance)) : 0;
}

}  // namespace

Limits find_limits(const Groups& groups, const Votes& votes) {
  Limits limits;
  limits.votes = groups.votes.size();
  limits.pairs = groups.pairs();
  limits.items = votes.item_ids.size();
  limits.components = groups.components();
  limits.items_without_votes = votes.item_ids.size() - groups.slot_item.size();
  limits.dropped_ties = votes.size() - groups.votes.size();
  limits.checking_votes = groups.votes.size() - (groups.slot_item.size() - groups.components());
  for (std::size_t c = 0; c < groups.components(); ++c)
    limits.largest_component_items = std::max<std::uint64_t>(limits.largest_component_items, groups.items_of(c));
  enum : std::uint8_t { kVoted = 1, kMet = 2 };
  std::vector<std::uint8_t> seen(groups.annotators, 0);
  std::vector<std::uint32_t> voters;
  for (std::size_t p = 0; p < groups.pairs(); ++p) {
    voters.clear();
    bool left = false, right = false;
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      voters.push_back(groups.votes[v].annotator());
      (groups.votes[v].first_on_left() ? left : right) = true;
      limits.ties += groups.votes[v].level() == 0;
    }
    limits.pairs_with_one_vote += voters.size() == 1;
    limits.repeated_pairs += voters.size() > 1;
    limits.swapped_pairs += left && right;
    std::sort(voters.begin(), voters.end());
    const bool met = voters.front() != voters.back();
    for (std::size_t i = 0; i < voters.size(); ++i) {
      limits.duplicate_votes += i > 0 && voters[i] == voters[i - 1];
      seen[voters[i]] |= met ? kVoted | kMet : kVoted;
    }
  }
  limits.side_keeping = find_side_keeping(groups);
  for (std::size_t a = 0; a < seen.size(); ++a) {
    limits.annotators += seen[a] != 0;
    if (seen[a] == kVoted && limits.annotators_alone++ == 0) limits.first_alone = votes.annotator_ids[a];
  }
  return limits;
}

std::vector<std::string> Limits::warnings() const {
  std::vector<std::string> out;
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  };
  if (votes > 0 && ties == votes)
    out.push_back("Every vote is a tie: nothing says which item of a pair is the better one.");
  if (annotators <= 1)
    out.push_back("There is one annotator only: how reliable they are cannot be told from their votes alone.");
  else if (checking_share() == 0 && pairs == components)
    out.push_back(
        "Discriminations are not identified: no two votes share an item, so none could contradict another. What is "
        "said of "
        "annotators is what is usual in the population; their side bias is known. Collect second votes.");
  else if (!annotators_identified())
    out.push_back(
        fmt::format("These votes can hardly tell annotators apart: only {:.0f} % of them could contradict another vote "
                    "({:.0f} % of pairs "
                    "have a single vote). Read discriminations as what is usual in the population, not as findings; "
                    "collect second votes.",
                    100 * checking_share(), share(pairs_with_one_vote, pairs)));
  if (annotators_alone > 0 && annotators_alone < annotators)
    out.push_back(fmt::format(
        "{} of {} annotators (e.g. '{}') share no pair with anyone, so nobody's votes check theirs directly.",
        annotators_alone, annotators, shown(first_alone)));
  if (repeated_pairs > 0 && !side_bias_identified())
    out.push_back(fmt::format(
        "Pairs are (almost) always shown the same way round ({:.1f} % of repeated pairs were swapped): side "
        "bias cannot be told from preference.",
        100 * swapped_share()));
  if (repeated_pairs == 0 && !side_bias_identified())
    out.push_back(fmt::format(
        "No pair has a second vote, and items keep to one side ({:.0f} % of the way from by chance to always): a side "
        "bias cannot be told from preference, and each may pass for the other. Show pairs both ways round; until then, "
        "--model bt knows no side bias.",
        100 * side_keeping));
  if (share(duplicate_votes, votes) >= 1)
    out.push_back(fmt::format(
        "{} votes ({:.2g} %) repeat an annotator's earlier vote on the same pair; each counts as evidence of its own.",
        duplicate_votes, share(duplicate_votes, votes)));
  if (items_without_votes > 0)
    out.push_back(fmt::format("{} of {} items have no vote that counts: their score is 0 +- the prior.",
                              items_without_votes, items));
  return out;
}

}  // namespace voxpop
