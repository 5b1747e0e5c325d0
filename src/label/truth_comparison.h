#pragma once
#include "label/labels.h"

namespace voxpop {

/// Labels of simulated votes against the truth they were drawn from.
struct TruthComparison {
  double ece_probability;         ///< expected calibration error of pairs/probability, 15 bins
  double ece_probability_better;  ///< and of pairs/probability_better
  double pairs_ordered;           ///< share of pairs whose better item has the higher score
  double pairs_ordered_majority;  ///< the same by majority vote; even pairs count one half
  double margin_correlation;      ///< of pairs/margin with the true score difference
  double discrimination_correlation;
  double coverage;            ///< share of 95 % intervals of discrimination that hold the truth
  double auc_bad_annotators;  ///< how well low discrimination finds annotators who are not "good"
};

TruthComparison compare_with_truth(const Labels& labels, const Truth& truth);

/// Expected calibration error: mean over `bins` equal bins of |mean predicted - mean outcome|, weighted by their counts
/// (Guo et al. 2017). Outcomes are probabilities or 0/1.
double expected_calibration_error(const Column<float>& predicted, const Column<float>& outcome, int bins = 15);

/// Area under the ROC curve: the chance that a positive has the higher value, ties one half.
double area_under_curve(const Column<float>& value, const std::vector<bool>& positive);

}  // namespace voxpop
