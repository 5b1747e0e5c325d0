#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "guards/findings.h"

namespace voxpop {

/// An item, or all items of one source, for which several annotators vote far more often than others' votes predict,
/// while they judge other items normally: a ring that lifts it, or a shared taste.
struct Lift {
  bool source = false;
  std::uint32_t of = 0;                ///< the item, or the source (a row of Votes::source_ids)
  std::vector<std::uint32_t> members;  ///< annotators, ascending
  std::size_t tested = 0;              ///< annotators with enough votes on it
  /// The members' decided votes on it; those for it; expected number of these.
  double votes = 0, won = 0, expected = 0;
};

/// Tests each annotator's decided votes on one item against the fit's predictions: votes won minus votes expected, in
/// standard errors that include chance, the uncertainty of the item's score, and annotators' own views. An item is
/// lifted if at least two annotators have a p-value below 0.001 (or below 0.01), and the binomial probability of so
/// many annotators is below 0.01 after Bonferroni's correction for all items and for both limits. Only annotators with
/// votes of total weight 8 or more on the item are tested. Time is linear in the votes. Only for fits with
/// discriminations.
std::vector<Lift> find_lifts(const Groups& groups, const Fit& fit, const Sites& sites);

/// Adds a finding for each lift.
void add_lift_findings(const std::vector<Lift>& lifts, const Strings& item_ids, const Strings& source_ids,
                       const Strings& annotator_ids, std::vector<Finding>& findings);

}  // namespace voxpop
