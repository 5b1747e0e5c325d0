#pragma once
#include <optional>
#include <string>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "label/labels.h"

namespace voxpop {

/// What a fit published of its annotators, and the population that they came from: what a later fit can start from.
struct EarlierFit {
  InputFile file;
  std::string inputs;  ///< its votes, as JSON
  std::string model;
  Strings annotator_ids;
  AnnotatorLabels annotators;  ///< columns up to tastes
  CovariateLabels covariates;
  Population population;
  double reference_discrimination = 1, reference_share = 1;
  std::vector<int> strengths;     ///< of its votes
  std::vector<float> thresholds;  ///< empty for binary votes
};

/// What of its population, unit and thresholds no fit could have found, in words; "" where all is well.
std::string improper_part(const EarlierFit& earlier);

/// The inverse of make_labels(): published estimates as priors, without the 3 % that is the method's own error, joined
/// by `annotator_ids`. Whoever did not vote there is new.
WarmStart make_warm_start(const EarlierFit& earlier, const Strings& annotator_ids, const Groups& groups, Model model);

}  // namespace voxpop
