#include "plan/plan.h"

#include <algorithm>
#include <cmath>

#include "formulas/elementary.h"
#include "formulas/label.h"

namespace voxpop {
namespace {

/// The share by which a vote with logit N(mean, variance) reduces the variance of its logit: variance * w / (1 +
/// variance * w), with w = E[p (1 - p)] by the approximation of MacKay (1992).
double share_explained(double mean, double variance) {
  const double shrunk = std::abs(mean) / std::sqrt(1 + 3.14159265 / 8 * variance);
  const double p = sigmoid(shrunk);
  const double w = p * (1 - p) / std::sqrt(1 + 3.14159265 / 8 * variance);
  return variance * w / (1 + variance * w);
}

float expected_bits(double discrimination, double margin, double variance) {
  return static_cast<float>(
      information_bits<double>(discrimination * margin, discrimination * discrimination * variance));
}

}  // namespace

std::vector<WantedVote> choose_pairs(const PairColumns& pairs, std::size_t items, std::size_t budget,
                                     double discrimination) {
  std::vector<float> left_over(items, 1.0f);  // [items] factor for the variance of differences with this item
  const auto state_of = [&](std::uint32_t p) {
    const float variance =
        pairs.margin_se[p] * pairs.margin_se[p] * left_over[pairs.left[p]] * left_over[pairs.right[p]];
    return WantedVote{p, expected_bits(discrimination, pairs.margin[p], variance), variance};
  };
  std::vector<WantedVote> heap(pairs.left.size()), chosen;
  for (std::uint32_t p = 0; p < heap.size(); ++p) heap[p] = state_of(p);
  const auto less = [](const WantedVote& a, const WantedVote& b) {
    return a.bits < b.bits || (a.bits == b.bits && a.pair > b.pair);
  };
  std::ranges::make_heap(heap, less);
  budget = std::min(budget, heap.size());
  while (chosen.size() < budget) {
    std::ranges::pop_heap(heap, less);
    WantedVote& best = heap.back();
    // Votes chosen since the pair was pushed may have lowered its value, but never raised it. If the pair still leads
    // with its new value, it is the best.
    const WantedVote now = state_of(best.pair);
    if (now.bits < best.bits) {
      best = now;
      std::ranges::push_heap(heap, less);
      continue;
    }
    chosen.push_back(best);
    const double told =
        share_explained(discrimination * pairs.margin[best.pair], discrimination * discrimination * best.variance);
    for (const std::uint32_t item : {pairs.left[best.pair], pairs.right[best.pair]})
      left_over[item] *= static_cast<float>(1 - 0.25 * told);
    heap.pop_back();
  }
  return chosen;
}

std::vector<std::uint32_t> reliable_annotators(const AnnotatorLabels& annotators, std::size_t most) {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t a = 0; a < annotators.votes.size(); ++a)
    if (annotators.votes[a] > 0 && static_cast<Flag>(annotators.flag[a]) == Flag::kOk) rows.push_back(a);
  const auto at_least = [&](std::uint32_t a) {
    const float error = annotators.discrimination_se[a];  // NaN if the model does not rate annotators
    return annotators.discrimination[a] - (std::isnan(error) ? 0 : 1.96f * error);
  };
  std::ranges::stable_sort(rows, std::greater(), at_least);
  rows.resize(std::min(rows.size(), most));
  return rows;
}

std::vector<WantedVote> assign_votes(const FitResult& fit, const std::vector<WantedVote>& votes,
                                     const std::vector<std::uint32_t>& annotators, std::size_t most_each,
                                     const std::function<bool(std::uint32_t, std::size_t)>& may_take) {
  const PairColumns& pairs = fit.labels.pairs;
  std::vector<std::size_t> taken(annotators.size(), 0);
  std::vector<WantedVote> out;
  std::size_t first_free = 0;
  for (std::size_t i = 0; i < votes.size(); ++i) {
    while (first_free < annotators.size() && taken[first_free] == most_each) ++first_free;
    for (std::size_t a = first_free; a < annotators.size(); ++a) {
      if (taken[a] == most_each || !may_take(annotators[a], i)) continue;
      ++taken[a];
      WantedVote vote = votes[i];
      vote.annotator = annotators[a];
      vote.bits =
          expected_bits(fit.labels.annotators.discrimination[annotators[a]], pairs.margin[vote.pair], vote.variance);
      out.push_back(vote);
      break;
    }
  }
  return out;
}

}  // namespace voxpop
