#include "label/truth_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "formulas/calibration_error.h"
#include "formulas/elementary.h"

namespace voxpop {
namespace {

double correlation(const Column<float>& x, const Column<float>& y) {
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n,
               mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xy / std::sqrt(xx * yy);
}

}  // namespace

double expected_calibration_error(const Column<float>& predicted, const Column<float>& outcome, int bins) {
  std::vector<double> difference(bins, 0);
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    difference[calibration_bin(predicted[i], bins)] += predicted[i] - outcome[i];
  }
  return calibration_error(difference, static_cast<double>(predicted.size()));
}

double area_under_curve(const Column<float>& value, const std::vector<bool>& positive) {
  std::vector<std::size_t> order(value.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return value[a] < value[b]; });
  double above = 0, positives = 0, negatives = 0;
  for (std::size_t i = 0; i < order.size();) {  // groups of equal values
    double p = 0, n = 0;
    const float at = value[order[i]];
    for (; i < order.size() && value[order[i]] == at; ++i) (positive[order[i]] ? p : n) += 1;
    above += p * (negatives + n / 2);
    positives += p;
    negatives += n;
  }
  return positives * negatives > 0 ? above / (positives * negatives) : std::numeric_limits<double>::quiet_NaN();
}

TruthComparison compare_with_truth(const Labels& labels, const Truth& truth) {
  const PairColumns& pairs = labels.pairs;
  Column<float> probability(pairs.left.size()), better(pairs.left.size()), difference(pairs.left.size());
  double ordered = 0, majority = 0;
  const auto credit = [](double guess, double fact) { return guess * fact > 0 ? 1.0 : guess == 0 ? 0.5 : 0.0; };
  for (std::size_t p = 0; p < difference.size(); ++p) {
    const double d = truth.score[pairs.left[p]] - truth.score[pairs.right[p]];
    difference[p] = static_cast<float>(d);
    probability[p] = static_cast<float>(sigmoid(d));
    better[p] = d > 0 ? 1.0f : 0.0f;
    ordered += credit(pairs.margin[p], d);
    majority += credit(2 * pairs.wins_left[p] - static_cast<float>(pairs.votes[p]), d);
  }
  const AnnotatorLabels& annotators = labels.annotators;
  Column<float> estimate, fact, badness;
  std::vector<bool> bad;
  double covered = 0;
  for (std::size_t a = 0; a < truth.discrimination.size(); ++a) {
    if (annotators.votes[a] == 0) continue;
    estimate.push_back(annotators.discrimination[a]);
    fact.push_back(static_cast<float>(truth.discrimination[a]));
    badness.push_back(-annotators.discrimination[a]);
    bad.push_back(truth.kind[a] != "good");
    covered += std::abs(estimate.back() - fact.back()) <= 1.96f * annotators.discrimination_se[a];
  }
  const auto count = static_cast<double>(difference.size());
  return {.ece_probability = expected_calibration_error(pairs.probability, probability),
          .ece_probability_better = expected_calibration_error(pairs.probability_better, better),
          .pairs_ordered = ordered / count,
          .pairs_ordered_majority = majority / count,
          .margin_correlation = correlation(pairs.margin, difference),
          .discrimination_correlation = correlation(estimate, fact),
          .coverage = covered / static_cast<double>(fact.size()),
          .auc_bad_annotators = area_under_curve(badness, bad)};
}

}  // namespace voxpop
