#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "guards/findings.h"

namespace voxpop {

/// Annotators who give the same answers far more often than people who judge apart from one another would: one person
/// under several ids, votes that are copied, a ring that votes by agreement.
struct CopyCluster {
  std::vector<std::uint32_t> members;  ///< annotators, ascending
  /// On pairs that others judged as well, in votes on even footing (of m members on a pair, m - 1 comparisons): how
  /// many there are, in how many two members chose differently, and in how many they would be expected to.
  double comparisons = 0, differing = 0, expected = 0;
  /// Chance of so few differing answers, were half of the answers copied, for all annotator pairs tested (Bonferroni).
  double p_value = 1;
  /// Of the differing answers that were to be expected, the share that is missing.
  double copied() const { return expected > 0 ? 1 - differing / expected : 0; }
};

struct Copies {
  std::vector<CopyCluster> clusters;  ///< by first member
  std::uint64_t tested = 0;           ///< annotator pairs who share enough pairs to be tested
  /// [annotators] the cluster of each; -1: none.
  Column<std::int32_t> numbers(std::size_t annotators) const;
};

/// Who may be copies, by the votes alone, in time linear in the votes: annotator pairs who differ on less than half as
/// many of their common pairs as other voters' votes there make likely, given how far each of the two agrees with
/// others at all; and those whose votes are all the same. Up to 32 voters a pair are compared, drawn by a hash. Of
/// these, those are cleared who differ as often as people as good as they are would, as far as others' votes tell.
Copies suspect_copies(const Groups& groups);

/// Those of the suspects whom a fit bears out that has counted each cluster as one voter. Of each pair it takes what
/// votes from outside the cluster say of the scores (the EP sites of the cluster's own are left out), and the largest
/// discrimination that the cluster may have by its agreement with them: good annotators agree often because they are
/// right. Copies are those who differ on less than half as many pairs as that predicts, and on a tenth of them at most.
Copies confirm_copies(const Groups& groups, const Fit& fit, const Sites& sites, const Copies& suspects);

/// Counts each cluster as one voter: on each pair one member's votes keep their weights, and the others' weigh next to
/// nothing. It is the first member who gave the cluster's most frequent answer there, so that one annotator stands for
/// the cluster, also where annotators are counted.
void weigh_copies(Groups& groups, const Copies& copies);

/// Gives each member the estimates of the one who stands for the cluster, after a fit of groups so weighed.
void share_estimates(const Groups& groups, const Copies& copies, Fit& fit);

/// Says who they are.
void add_copy_findings(const Copies& copies, const Strings& annotator_ids, std::vector<Finding>& findings);

}  // namespace voxpop
