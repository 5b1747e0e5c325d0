#include "group/limits.h"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/strings.h"
#include "voxpop/rows.h"

namespace voxpop {
namespace {

/// How far items keep to one side. Let an item be shown n times. E[(times left - times right)^2] is n if sides are
/// drawn for each vote, and n^2 if the item always has the same side. The result is the position of the observed sum
/// between these values, 0 to 1, after subtracting three standard errors of chance; never below 0.
double find_side_keeping(const Column<std::uint32_t>& shown, const Column<std::int32_t>& net) {
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

/// An annotator's votes in one range of pairs.
struct Voter {
  std::uint32_t last_pair = 0;  ///< index + 1 of the last pair that the annotator voted on
  std::uint32_t votes = 0, repeats = 0, dependent_repeats = 0;
  bool met = false;  ///< has a pair in common with another annotator
};

/// Counts in a range of pairs. Each range has its own array of annotators, so that no sorting and no sharing is needed.
class PairCounter {
 public:
  PairCounter(const Groups& groups, const Votes& votes, Column<std::uint32_t>& shown, Column<std::int32_t>& net)
      : groups_(groups),
        votes_(votes),
        shown_(shown),
        net_(net),
        some_unknown_(!votes.unknown_sides.empty()),
        voters_(groups.annotators) {}

  void count(std::uint32_t pair) {
    const std::uint32_t begin = groups_.pair_votes[pair], end = groups_.pair_votes[pair + 1];
    const std::uint32_t first = groups_.votes[begin].annotator();
    std::uint32_t sided = 0, first_on_left = 0;
    bool met = false;
    for (std::uint32_t v = begin; v < end; ++v) {
      const VoteCode vote = groups_.votes[v];
      Voter& voter = voters_[vote.annotator()];
      ++voter.votes;
      if (voter.last_pair == pair + 1) {
        ++voter.repeats;
        voter.dependent_repeats += is_dependent(groups_.vote_row[v]);
      }
      voter.last_pair = pair + 1;
      if (vote.annotator() != first) met = voter.met = true;
      ties += vote.level() == 0;
      if (some_unknown_ && contains(votes_.unknown_sides, groups_.vote_row[v])) continue;
      ++sided;
      first_on_left += vote.first_on_left();
    }
    if (met) voters_[first].met = true;
    pairs_with_one_vote += end - begin == 1;
    sided_votes += sided;
    if (sided == 0) return;
    repeated_pairs += sided > 1;
    swapped_pairs += first_on_left > 0 && first_on_left < sided;
    const auto net = static_cast<std::int32_t>(2 * first_on_left - sided);
    add(shown_[groups_.pair_first[pair]], sided);
    add(shown_[groups_.pair_second[pair]], sided);
    add(net_[groups_.pair_first[pair]], net);
    add(net_[groups_.pair_second[pair]], -net);
  }

  const Column<Voter>& voters() const { return voters_; }

  std::uint64_t ties = 0, pairs_with_one_vote = 0, repeated_pairs = 0, swapped_pairs = 0, sided_votes = 0;

 private:
  bool is_dependent(std::uint32_t row) const {
    return (votes_.independent.empty() || !contains(votes_.independent, row)) &&
           (votes_.judgement.empty() || votes_.judgement[row] == kNoJudgement);
  }
  /// Atomic: another range may have pairs with the same item.
  template <class Number>
  static void add(Number& sum, Number more) {
    std::atomic_ref(sum).fetch_add(more, std::memory_order_relaxed);
  }

  const Groups& groups_;
  const Votes& votes_;
  Column<std::uint32_t>& shown_;
  Column<std::int32_t>& net_;
  bool some_unknown_;
  Column<Voter> voters_;
};

/// First pairs of ranges with about equal numbers of votes, and the end. Each range needs an array of annotators, so a
/// range has at least about 4 votes per annotator: with many annotators there are fewer ranges.
std::vector<std::uint32_t> cut_pairs(const Groups& groups) {
  const auto threads = static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency());
  const std::size_t parts =
      std::min(4 * threads, 1 + groups.votes.size() / (4 * groups.annotators + (std::size_t{1} << 14)));
  std::vector<std::uint32_t> cuts = {0};
  for (std::size_t part = 1; part <= parts; ++part) {
    const auto end = std::lower_bound(groups.pair_votes.begin() + cuts.back(), groups.pair_votes.end() - 1,
                                      static_cast<std::uint32_t>(groups.votes.size() * part / parts));
    cuts.push_back(static_cast<std::uint32_t>(end - groups.pair_votes.begin()));
  }
  return cuts;
}

std::uint64_t count_judgements(const Votes& votes, std::uint64_t counted) {
  if (votes.judgement.empty()) return counted;
  std::vector<bool> seen;  // judgements are numbered in order of appearance
  std::uint64_t parts = 0, judgements = 0;
  for (const std::uint32_t judgement : votes.judgement) {
    if (judgement == kNoJudgement) continue;
    ++parts;
    if (judgement >= seen.size()) seen.resize(2 * std::size_t{judgement} + 1);
    judgements += !seen[judgement];
    seen[judgement] = true;
  }
  return counted - std::min(counted, parts) + judgements;
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
  limits.judgements = count_judgements(votes, limits.votes);
  for (std::size_t c = 0; c < groups.components(); ++c)
    limits.largest_component_items = std::max<std::uint64_t>(limits.largest_component_items, groups.items_of(c));

  Column<std::uint32_t> shown(groups.slot_item.size(), 0);
  Column<std::int32_t> net(groups.slot_item.size(), 0);
  const std::vector<std::uint32_t> cuts = cut_pairs(groups);
  std::vector<PairCounter> counters(cuts.size() - 1, PairCounter(groups, votes, shown, net));
  oneapi::tbb::parallel_for(std::size_t{0}, counters.size(), [&](std::size_t part) {
    for (std::uint32_t pair = cuts[part]; pair < cuts[part + 1]; ++pair) counters[part].count(pair);
  });
  std::uint64_t sided_votes = 0;
  for (const PairCounter& some : counters) {
    limits.ties += some.ties;
    limits.pairs_with_one_vote += some.pairs_with_one_vote;
    limits.repeated_pairs += some.repeated_pairs;
    limits.swapped_pairs += some.swapped_pairs;
    sided_votes += some.sided_votes;
  }
  limits.sides_known = sided_votes > 0;
  limits.side_keeping = find_side_keeping(shown, net);

  for (std::size_t a = 0; a < groups.annotators; ++a) {
    Voter all;
    std::uint64_t repeats = 0, voted = 0, dependent = 0;
    for (const PairCounter& some : counters) {
      const Voter& voter = some.voters()[a];
      voted += voter.votes;
      repeats += voter.repeats;
      dependent += voter.dependent_repeats;
      all.met = all.met || voter.met;
    }
    if (voted == 0) continue;
    ++limits.annotators;
    if (!all.met && limits.annotators_alone++ == 0) limits.first_alone = votes.annotator_ids[a];
    if (repeats == 0) continue;
    // Several people may share this id.
    if (!votes.anonymous.empty() && votes.annotator_ids[a] == "anonymous") continue;
    limits.duplicate_votes += repeats;
    limits.dependent_repeats += dependent;
    if (dependent < 9 || 10 * dependent < 9 * voted) continue;
    ++limits.repeaters;
    if (dependent > limits.worst_repeater.repeats)
      limits.worst_repeater = {std::string(votes.annotator_ids[a]), voted, dependent};
  }
  return limits;
}

}  // namespace voxpop
