#pragma once
#include <string>
#include <vector>

#include "formulas/covariates.h"
#include "voxpop/column.h"

namespace voxpop {

struct Groups;
struct Votes;

/// Known properties of items as the fit uses them: columns with mean 0 within each component and variance 1 there.
/// Features come first, then the prior score.
struct Covariates {
  Column<float> value;             ///< [S][count], row of each slot
  std::vector<std::string> names;  ///< [count]
  std::vector<double> sd;  ///< [count] standard deviation within components before scaling, in the column's own unit
  int features = 0;        ///< number of columns that are features; a column after them is the prior score
  std::vector<std::string> left_out = {};  ///< columns that are constant in each component: they give no information
  int count() const { return static_cast<int>(names.size()); }
};

struct CovariateChoice {
  bool prior_score = true, features = true;
};

/// Throws Error(kBadInput) if there are more than kMaxCovariates columns.
Covariates find_covariates(const Votes& votes, const Groups& groups, const CovariateChoice& choice);

}  // namespace voxpop
