#pragma once
#include <string>
#include <vector>

#include "formulas/covariates.h"
#include "voxpop/column.h"

namespace voxpop {

struct Groups;
struct Votes;

/// What is known of items beside their votes, as the fit takes it: columns centred within each component, with unit
/// variance there. Features first, then the prior score.
struct Covariates {
  Column<float> value;                     ///< [S][count], by slot
  std::vector<std::string> names;          ///< [count]
  std::vector<double> sd;                  ///< [count] of the column within components, in its own unit
  int features = 0;                        ///< the first so many are features; the last may be the prior score
  std::vector<std::string> left_out = {};  ///< the same for all items of each component: they say nothing
  int count() const { return static_cast<int>(names.size()); }
};

struct CovariateChoice {
  bool prior_score = true, features = true;
};

/// Throws Error(kBadInput) for more than kMaxCovariates columns.
Covariates find_covariates(const Votes& votes, const Groups& groups, const CovariateChoice& choice);

}  // namespace voxpop
