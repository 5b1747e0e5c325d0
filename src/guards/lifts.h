#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "guards/findings.h"

namespace voxpop {

/// An item, or all that one source wrote, for which several annotators vote far more often than others' votes make
/// likely, while they judge the rest as others do: a ring that lifts it, or a taste that they share.
struct Lift {
  bool source = false;
  std::uint32_t of = 0;                     ///< the item, or the source (a row of Votes::source_ids)
  std::vector<std::uint32_t> members;       ///< annotators, ascending
  std::size_t tested = 0;                   ///< annotators with enough votes on it
  double votes = 0, won = 0, expected = 0;  ///< the members' decided votes on it; those for it; those to be expected
};

/// Each annotator's decided votes on one item are tested against what the fit says of them: won less expected, in
/// standard errors that allow for chance, for how well the item's score is known, and for annotators' own views. An
/// item is lifted where two or more have a p-value below 0.001, or below 0.01, and so many of them a chance (binomial)
/// below 0.01 after Bonferroni's correction for the items and for both bounds. Of votes whose annotator has 8 or more
/// on the item; time linear in the votes. Fits with discriminations only.
std::vector<Lift> find_lifts(const Groups& groups, const Fit& fit, const Sites& sites);

/// Says which.
void add_lift_findings(const std::vector<Lift>& lifts, const Strings& item_ids, const Strings& source_ids,
                       const Strings& annotator_ids, std::vector<Finding>& findings);

}  // namespace voxpop
