#include "guards/lifts.h"

#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <numbers>
#include <span>
#include <utility>

#include "core/strings.h"
#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/component.h"
#include "formulas/elementary.h"
#include "formulas/label.h"
#include "group/by_annotator.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::uint32_t>;

/// Fewer votes on an item cannot be distinguished from chance.
constexpr double kFewest = 8;
/// One-sided p-values of one annotator on one item: a few very small ones, or more of moderately small ones.
constexpr double kSurprising[] = {1e-3, 1e-2};

/// Sums of one annotator's votes on an item, or on a source's items.
struct Record {
  std::uint32_t of, annotator;
  double votes = 0, won = 0, expected = 0, chance = 0, slope = 0;

  /// Probability of at least so many votes for it by chance. `open`: variance of the unknown part of its score.
  double p_value(double open) const {
    const double variance = chance + slope * slope * open;
    return normal_cdf(-(won - expected - 0.5) / std::sqrt(std::max(variance, 1e-9)));
  }
};

/// Probability of `least` or more successes in `trials`.
double binomial_tail(std::size_t least, std::size_t trials, double p) {
  double tail = 0;
  for (std::size_t k = least; k <= trials; ++k) {
    const auto n = static_cast<double>(trials), x = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) + x * std::log(p) +
                     (n - x) * std::log1p(-p));
  }
  return tail;
}

/// Votes that can be in the record of an item.
struct Frequent {
  Column<std::uint8_t> kept;  ///< [V] 1: yes; 0: the annotator's votes in the component weigh too little together
  std::vector<std::uint64_t> voted;  ///< [annotators] number of decided votes in all components
};

Frequent find_frequent(const Groups& groups) {
  constexpr double kLeast = kFewest * 0.999;  // rounding depends on the order of a sum
  constexpr std::uint32_t kAtOnce = 1 << 14;
  struct Met {
    double weight = 0;  // in one component
    std::uint64_t votes = 0;
  };
  Frequent out{Column<std::uint8_t>(groups.votes.size()), std::vector<std::uint64_t>(groups.annotators, 0)};
  if (groups.annotators > kPrivateAnnotators) {  // a table per thread would be too large: all votes are kept
    const auto votes = static_cast<std::uint32_t>(groups.votes.size());
    oneapi::tbb::parallel_for(Range(0, votes, kAtOnce), [&](const Range& part) {
      for (std::uint32_t v = part.begin(); v < part.end(); ++v) {
        out.kept[v] = 1;
        if (groups.is_voted(v))
          std::atomic_ref(out.voted[groups.votes[v].annotator()]).fetch_add(1, std::memory_order_relaxed);
      }
    });
    return out;
  }
  oneapi::tbb::enumerable_thread_specific<std::vector<Met>> threads(groups.annotators);
  const auto meet = [&](std::vector<Met>& met, std::uint32_t v) -> Met& { return met[groups.votes[v].annotator()]; };
  oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(groups.components()), 64), [&](const Range& range) {
    for (std::uint32_t c = range.begin(); c < range.end(); ++c) {
      const ComponentRange all = groups.range(c, c + 1);
      if (all.vote_end - all.vote > kSmallVotes) {  // most annotators have enough votes
        oneapi::tbb::parallel_for(Range(all.vote, all.vote_end, kAtOnce), [&](const Range& part) {
          std::vector<Met>& met = threads.local();
          for (std::uint32_t v = part.begin(); v < part.end(); ++v) {
            out.kept[v] = 1;
            meet(met, v).votes += groups.is_voted(v);
          }
        });
        continue;
      }
      std::vector<Met>& met = threads.local();
      bool any = false;
      for (std::uint32_t v = all.vote; v < all.vote_end; ++v) {
        if (!groups.is_voted(v)) continue;
        Met& own = meet(met, v);
        ++own.votes;
        own.weight += groups.weight_of(v);
        any |= own.weight >= kLeast;
      }
      for (std::uint32_t v = all.vote; v < all.vote_end; ++v) out.kept[v] = any && meet(met, v).weight >= kLeast;
      for (std::uint32_t v = all.vote; v < all.vote_end; ++v) meet(met, v).weight = 0;
    }
  });
  for (const std::vector<Met>& met : threads)
    for (std::size_t a = 0; a < met.size(); ++a) out.voted[a] += met[a].votes;
  return out;
}

/// Records of all annotators with enough votes on something, sorted by `of`. `of_slot`: item or source of a slot.
class Keeper {
 public:
  /// `votes`: those that can be in a record. `voted`: see Frequent.
  Keeper(const Groups& groups, const Fit& fit, const Sites& sites, VotesByAnnotator votes,
         const std::vector<std::uint64_t>& voted)
      : groups_(groups), fit_(fit), sites_(sites), model_(groups, fit), votes_(std::move(votes)), voted_(voted) {}

  template <class OfSlot>
  std::vector<Record> records(const OfSlot& of_slot) const {
    std::vector<std::vector<Record>> parts(groups_.voters());
    oneapi::tbb::parallel_for(std::size_t{0}, groups_.voters(), [&](std::size_t a) {
      if (voted_[a] >= 2) parts[a] = of_annotator(static_cast<std::uint32_t>(a), of_slot);
    });
    std::vector<Record> out;
    for (const std::vector<Record>& part : parts) out.insert(out.end(), part.begin(), part.end());
    std::ranges::stable_sort(out, std::less(), &Record::of);
    return out;
  }

 private:
  template <class OfSlot>
  std::vector<Record> of_annotator(std::uint32_t a, const OfSlot& of_slot) const {
    const std::span own(votes_.votes.begin() + static_cast<std::ptrdiff_t>(votes_.begin[a]),
                        votes_.votes.begin() + static_cast<std::ptrdiff_t>(votes_.begin[a + 1]));
    // Item or source; 2 * index in `own`, + 1 if it is the pair's second.
    std::vector<std::pair<std::uint32_t, std::uint64_t>> sides;
    for (std::size_t k = 0; k < own.size(); ++k) {
      const std::uint32_t first = of_slot(groups_.pair_first[own[k].pair]);
      const std::uint32_t second = of_slot(groups_.pair_second[own[k].pair]);
      if (first == second) continue;
      sides.emplace_back(first, 2 * k);
      sides.emplace_back(second, 2 * k + 1);
    }
    std::ranges::sort(sides);
    std::vector<Record> out;
    for (std::size_t begin = 0, end; begin < sides.size(); begin = end) {
      end = begin + 1;
      while (end < sides.size() && sides[end].first == sides[begin].first) ++end;
      Record record{sides[begin].first, a};
      for (std::size_t i = begin; i < end; ++i) record.votes += groups_.weight_of(own[sides[i].second / 2].vote);
      if (record.votes < kFewest) continue;
      for (std::size_t i = begin; i < end; ++i) add(record, own[sides[i].second / 2], sides[i].second % 2 != 0);
      out.push_back(record);
    }
    return out;
  }

  void add(Record& record, const VotesByAnnotator::Vote& at, bool second) const {
    const auto [v, pair] = at;
    const VoteCode vote = groups_.votes[v];
    const AnnotatorPosterior& a = fit_.annotators[record.annotator];
    const double weight = groups_.weight_of(v);
    // With own views, the annotator's other votes on the item would show its view; the scores contain little of it.
    const Cavity<double> known = fit_.view_variance == 0
                                     ? cavity_of_vote(groups_, fit_, sites_, v, pair)
                                     : Cavity<double>{fit_.posterior.pair_mean[pair],
                                                      fit_.posterior.pair_variance[pair] + 2 * fit_.view_variance};
    const double gamma = a.discrimination;
    const double mean = gamma * known.mean + a.side_bias * vote.side() + model_.taste(vote, pair);
    const double first_wins = sigmoid(mean / std::sqrt(1 + std::numbers::pi / 8 * gamma * gamma * known.variance));
    const double wins = second ? 1 - first_wins : first_wins, spread = first_wins * (1 - first_wins);
    record.won += (vote.winner() > 0) != second ? weight : 0;
    record.expected += weight * wins;
    record.chance += weight * spread;
    record.slope += weight * gamma * spread;
  }

  const Groups& groups_;
  const Fit& fit_;
  const Sites& sites_;
  const AnswerModel model_;
  const VotesByAnnotator votes_;
  const std::vector<std::uint64_t>& voted_;
};

/// Lifts among `records`, item by item. `open_of`: variance of the unknown part of an item's score.
std::vector<Lift> lifts_among(const std::vector<Record>& records, bool source,
                              const std::function<double(std::uint32_t)>& open_of) {
  std::size_t kinds = 0;
  for (std::size_t i = 0; i < records.size(); ++i) kinds += i == 0 || records[i].of != records[i - 1].of;
  std::vector<Lift> out;
  for (std::size_t begin = 0, end; begin < records.size(); begin = end) {
    const std::uint32_t of = records[begin].of;
    const double open = open_of(of);
    for (end = begin; end < records.size() && records[end].of == of;) ++end;
    for (const double surprising : kSurprising) {
      Lift lift{source, of, {}, end - begin};
      for (std::size_t i = begin; i < end; ++i) {
        const Record& record = records[i];
        if (record.p_value(open) > surprising) continue;
        lift.members.push_back(record.annotator);
        lift.votes += record.votes;
        lift.won += record.won;
        lift.expected += record.expected;
      }
      const double by_chance = binomial_tail(lift.members.size(), lift.tested, surprising);
      if (lift.members.size() < 2 || 2 * by_chance * static_cast<double>(kinds) > 0.01) continue;
      out.push_back(std::move(lift));
      break;
    }
  }
  return out;
}

}  // namespace

std::vector<Lift> find_lifts(const Groups& groups, const Fit& fit, const Sites& sites) {
  if (!has_discriminations(fit.model)) return {};
  const Frequent frequent = find_frequent(groups);
  const Keeper of_items(groups, fit, sites, sort_by_annotator(groups, frequent.kept), frequent.voted);
  std::vector<Lift> out =
      lifts_among(of_items.records([](std::uint32_t slot) { return slot; }), false,
                  [&](std::uint32_t slot) { return fit.view_variance + double{fit.posterior.slot_variance[slot]}; });
  for (Lift& lift : out) lift.of = groups.slot_item[lift.of];
  if (groups.slot_source.empty()) return out;
  const Keeper of_sources(groups, fit, sites, sort_by_annotator(groups), frequent.voted);
  std::vector<Lift> sources =
      lifts_among(of_sources.records([&](std::uint32_t slot) { return groups.slot_source[slot]; }), true,
                  [&](std::uint32_t) { return fit.view_variance; });
  for (Lift& lift : sources)
    if (lift.of < groups.source_row.size()) {  // skips the source of items without a known source
      lift.of = groups.source_row[lift.of];
      out.push_back(std::move(lift));
    }
  return out;
}

void add_lift_findings(const std::vector<Lift>& lifts, const Strings& item_ids, const Strings& source_ids,
                       const Strings& annotator_ids, std::vector<Finding>& findings) {
  constexpr std::size_t kShown = 6;
  for (const Lift& lift : lifts) {
    std::string names;
    for (std::size_t m = 0; m < std::min(lift.members.size(), kShown); ++m)
      names += (m == 0 ? "" : ", ") + shown(annotator_ids[lift.members[m]]);
    if (lift.members.size() > kShown) names += ", ...";
    findings.push_back(
        {"lifted", Level::kCare,
         fmt::format("{} of {} annotators ({}) vote for {} {} in {:.0f} of {:.0f} votes; {:.0f} were expected from "
                     "their other votes. Either they favour it on purpose, or they share a taste.",
                     lift.members.size(), lift.tested, names, lift.source ? "items from" : "item",
                     shown(lift.source ? source_ids[lift.of] : item_ids[lift.of]), lift.won, lift.votes, lift.expected),
         "Find out who they are. Fit again without these votes, and see what changes"});
  }
  std::ranges::stable_sort(findings, std::greater(), &Finding::level);
}

}  // namespace voxpop
