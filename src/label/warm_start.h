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
  Strings source_ids;
  SourceLabels sources;  ///< in the order of source_ids
  Population population;
  double reference_discrimination = 1, reference_share = 1;
  double score_unit = 1;  ///< of its scores, sources and coefficients; the reference discrimination without own views
  std::vector<int> strengths;     ///< of its votes
  std::vector<float> thresholds;  ///< empty for binary votes
};

/// What of its population, unit and thresholds no fit could have found, in words; "" where all is well.
std::string improper_part(const EarlierFit& earlier);

/// The inverse of make_labels(): published estimates as priors, without the 3 % that is the method's own error, joined
/// by `annotator_ids`. Whoever did not vote there is new. Sources are joined by `source_ids`, of the votes. `changed`,
/// ascending: annotators whose votes contradict what is known of them; that they vote at random, or the other way
/// round, is then as likely as not.
WarmStart make_warm_start(const EarlierFit& earlier, const Strings& annotator_ids, const Groups& groups, Model model,
                          const Strings& source_ids = Strings(), const std::vector<std::size_t>& changed = {});

}  // namespace voxpop
