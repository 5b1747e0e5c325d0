#include "guards/lifts.h"

#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "core/strings.h"
#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/component.h"
#include "formulas/elementary.h"
#include "formulas/label.h"

namespace voxpop {
namespace {

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

/// Records of all annotators with enough votes on something, sorted by `of`. `of_slot`: item or source of a slot.
class Keeper {
 public:
  Keeper(const Groups& groups, const Fit& fit, const Sites& sites)
      : groups_(groups),
        fit_(fit),
        sites_(sites),
        model_(groups, fit),
        pair_of_(groups.votes.size()),
        first_of_(groups.voters() + 1, 0) {
    const auto each = [&](const auto& act) {
      for (std::uint32_t p = 0; p < groups.pairs(); ++p)
        for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
          if (groups.is_voted(v)) act(v, p);
    };
    each([&](std::uint32_t v, std::uint32_t p) {
      pair_of_[v] = p;
      ++first_of_[groups.votes[v].annotator() + 1];
    });
    std::partial_sum(first_of_.begin(), first_of_.end(), first_of_.begin());
    by_annotator_.assign(first_of_.back(), 0);
    std::vector<std::uint32_t> next(first_of_.begin(), first_of_.end() - 1);
    each([&](std::uint32_t v, std::uint32_t) { by_annotator_[next[groups.votes[v].annotator()]++] = v; });
  }

  std::vector<Record> records(const std::function<std::uint32_t(std::uint32_t)>& of_slot) const {
    std::vector<std::vector<Record>> parts(groups_.voters());
    oneapi::tbb::parallel_for(std::size_t{0}, groups_.voters(), [&](std::size_t a) {
      if (first_of_[a + 1] - first_of_[a] < 2) return;
      parts[a] = of_annotator(static_cast<std::uint32_t>(a), of_slot);
    });
    std::vector<Record> out;
    for (const std::vector<Record>& part : parts) out.insert(out.end(), part.begin(), part.end());
    std::ranges::stable_sort(out, std::less(), &Record::of);
    return out;
  }

 private:
  std::vector<Record> of_annotator(std::uint32_t a, const std::function<std::uint32_t(std::uint32_t)>& of_slot) const {
    // Item or source; 2 * index in by_annotator_, + 1 if it is the pair's second.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> sides;
    for (std::uint32_t k = first_of_[a]; k < first_of_[a + 1]; ++k) {
      const std::uint32_t vote = by_annotator_[k], pair = pair_of_[vote];
      const std::uint32_t first = of_slot(groups_.pair_first[pair]), second = of_slot(groups_.pair_second[pair]);
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
      for (std::size_t i = begin; i < end; ++i) record.votes += groups_.weight_of(by_annotator_[sides[i].second / 2]);
      if (record.votes < kFewest) continue;
      for (std::size_t i = begin; i < end; ++i) add(record, by_annotator_[sides[i].second / 2], sides[i].second % 2);
      out.push_back(record);
    }
    return out;
  }

  void add(Record& record, std::uint32_t v, bool second) const {
    const VoteCode vote = groups_.votes[v];
    const AnnotatorPosterior& a = fit_.annotators[record.annotator];
    const std::uint32_t pair = pair_of_[v];
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
  Column<std::uint32_t> pair_of_;
  std::vector<std::uint32_t> first_of_;  ///< [annotators + 1] offset of its decided votes in by_annotator_
  std::vector<std::uint32_t> by_annotator_;
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
  const Keeper keeper(groups, fit, sites);
  std::vector<Lift> out =
      lifts_among(keeper.records([](std::uint32_t slot) { return slot; }), false,
                  [&](std::uint32_t slot) { return fit.view_variance + double{fit.posterior.slot_variance[slot]}; });
  for (Lift& lift : out) lift.of = groups.slot_item[lift.of];
  if (groups.slot_source.empty()) return out;
  std::vector<Lift> sources = lifts_among(keeper.records([&](std::uint32_t slot) { return groups.slot_source[slot]; }),
                                          true, [&](std::uint32_t) { return fit.view_variance; });
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
