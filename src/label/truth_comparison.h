#pragma once
#include "label/labels.h"

namespace voxpop {

/// Labels of simulated votes, compared with the true parameters.
struct TruthComparison {
  double ece_probability;         ///< expected calibration error of pairs/probability, 15 bins
  double ece_probability_better;  ///< the same for pairs/probability_better
  double pairs_ordered;           ///< share of pairs whose better item has the higher score
  double pairs_ordered_majority;  ///< the same by majority vote; equal counts of wins count one half
  double margin_correlation;      ///< correlation of pairs/margin with the true score difference
  double discrimination_correlation;
  double coverage;  ///< share of 95 % intervals of discrimination that include the true value
  /// Area under the ROC curve for finding annotators who are not "good" by their low discrimination.
  double auc_bad_annotators;
};

TruthComparison compare_with_truth(const Labels& labels, const Truth& truth);

/// Expected calibration error: mean over `bins` equal bins of |mean predicted - mean outcome|, weighted by their counts
/// (Guo et al. 2017). Outcomes are probabilities or 0/1.
double expected_calibration_error(const Column<float>& predicted, const Column<float>& outcome, int bins = 15);

/// Area under the ROC curve: probability that a positive has a higher value than a negative; equal values count one
/// half.
double area_under_curve(const Column<float>& value, const std::vector<bool>& positive);

}  // namespace voxpop
