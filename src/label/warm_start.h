#pragma once
#include <optional>
#include <string>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "label/labels.h"

namespace voxpop {

/// The published annotators of a fit and their population, which a later fit can start from.
struct EarlierFit {
  InputFile file;
  std::string inputs;  ///< its input files, as JSON
  std::string model;
  Strings annotator_ids;
  AnnotatorLabels annotators;  ///< columns up to `taste`
  CovariateLabels covariates;
  Strings source_ids;
  SourceLabels sources;  ///< in the order of source_ids
  Population population;
  double reference_discrimination = 1, reference_share = 1;
  /// Unit of its scores, sources and coefficients; equals reference_discrimination if there are no own views.
  double score_unit = 1;
  std::vector<int> strengths;     ///< strengths of its votes
  std::vector<float> thresholds;  ///< empty for binary votes
};

/// Names the part of the earlier fit (population, unit or thresholds) that no fit could have produced; "" if there is
/// none.
std::string improper_part(const EarlierFit& earlier);

/// The inverse of make_labels(): published estimates become priors, without the 3 % for the method's own error.
/// Annotators are joined by `annotator_ids`; those without votes in the earlier fit count as new. Sources are joined by
/// `source_ids` of the new votes. `changed`, ascending: annotators whose votes contradict their earlier estimates.
/// Their priors become so wide that random or opposite votes are also likely.
WarmStart make_warm_start(const EarlierFit& earlier, const Strings& annotator_ids, const Groups& groups, Model model,
                          const Strings& source_ids = Strings(), const std::vector<std::size_t>& changed = {});

}  // namespace voxpop
