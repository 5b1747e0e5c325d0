#include "label/gold_labels.h"

#include <cmath>
#include <limits>

#include "fit/refit.h"
#include "formulas/elementary.h"

namespace voxpop {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Wilson's 95 % interval of a share (1927).
std::pair<double, double> share_interval(double right, double votes) {
  constexpr double kSds = 1.96;
  const double share = right / votes, z = kSds * kSds / votes;
  const double half = std::sqrt(z * share * (1 - share) + z * z / 4);
  return {(share + z / 2 - half) / (1 + z), (share + z / 2 + half) / (1 + z)};
}

bool is_known_answer(float probability) { return probability >= kKnownAnswer || probability <= 1 - kKnownAnswer; }

}  // namespace

void judge_on_gold(const Groups& groups, const KnownPairs& gold, const GoldVotes& places, AnnotatorLabels& annotators) {
  const std::size_t voters = groups.voters();
  std::vector<std::uint32_t> right(voters, 0);
  annotators.gold_votes.assign(voters, 0);
  std::vector<bool> seen(groups.pairs(), false);  // the same answer may occur twice
  for (std::size_t row = 0; row < gold.size(); ++row) {
    const std::uint32_t pair = places.pair[row];
    if (pair == GoldVotes::kNone || seen[pair] || !is_known_answer(gold.probability[row])) continue;
    seen[pair] = true;
    const bool first_is_left = groups.slot_item[groups.pair_first[pair]] == gold.left[row];
    const int better = (gold.probability[row] > 0.5f) == first_is_left ? 1 : -1;
    for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v) {
      if (!groups.is_voted(v)) continue;
      ++annotators.gold_votes[groups.votes[v].annotator()];
      right[groups.votes[v].annotator()] += groups.votes[v].winner() == better;
    }
  }
  for (std::size_t a = 0; a < voters; ++a) {
    const double votes = annotators.gold_votes[a];
    const auto [low, high] = votes > 0 ? share_interval(right[a], votes) : std::pair<double, double>(kNan, kNan);
    annotators.gold_right.push_back(votes > 0 ? static_cast<float>(right[a] / votes) : kNan);
    annotators.gold_right_low.push_back(static_cast<float>(low));
    annotators.gold_right_high.push_back(static_cast<float>(high));
  }
}

GoldLabels label_gold(const Groups& groups, const Fit& fit, const KnownPairs& gold, const GoldVotes& places,
                      const Sites& sites) {
  GoldLabels out{gold.left, gold.right, gold.probability, {}, {}};
  for (std::size_t row = 0; row < gold.size(); ++row) {
    const std::uint32_t pair = places.pair[row];
    double left = kNan;
    if (pair != GoldVotes::kNone) {
      const std::uint32_t vote = places.vote[row];
      const Cavity<double> seen = cavity_of_vote(groups, fit, sites, vote, pair);
      // Of the scores, without the views in the cavity: a gold vote is a block of its own.
      const double variance = seen.variance - 2 * fit.view_variance;
      const bool first_is_left = groups.slot_item[groups.pair_first[pair]] == gold.left[row];
      left = normal_cdf_of_variance(0, first_is_left ? -seen.mean : seen.mean, variance);
    }
    const bool given_left = gold.probability[row] > 0.5f;
    out.without.push_back(static_cast<float>(left));
    out.contradicted.push_back(is_known_answer(gold.probability[row]) &&
                               (given_left ? left : 1 - left) < kContradicted);
  }
  return out;
}

}  // namespace voxpop
