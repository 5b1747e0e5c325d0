#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "guards/findings.h"

namespace voxpop {

/// Annotators who give the same answers far more often than independent people would: one person with several ids,
/// copied votes, or a ring that votes by agreement.
struct CopyCluster {
  std::vector<std::uint32_t> members;  ///< annotators, ascending
  /// Comparisons of members on pairs that others judged as well, with m - 1 comparisons for m members on a pair.
  /// `comparisons`: their number. `differing`: the number in which two members chose differently. `expected`: the
  /// expected number of these.
  double comparisons = 0, differing = 0, expected = 0;
  /// Probability of so few differing answers if half of the answers were copied; corrected for all annotator pairs
  /// tested (Bonferroni).
  double p_value = 1;
  /// Share of the expected differing answers that did not occur.
  double copied() const { return expected > 0 ? 1 - differing / expected : 0; }
};

struct Copies {
  std::vector<CopyCluster> clusters;  ///< in order of their first members
  std::uint64_t tested = 0;           ///< number of annotator pairs with enough common pairs to be tested
  /// [annotators] Cluster of each; -1: none.
  Column<std::int32_t> numbers(std::size_t annotators) const;
};

/// Finds suspects from the votes alone, in time linear in the votes. Two annotators are suspects if the number of their
/// differing answers on common pairs is less than half of the expected number. The expected number comes from other
/// voters' answers on these pairs, and from how much each of the two agrees with others in general. Annotators whose
/// votes are all the same are suspects, too. Up to 32 voters of a pair are compared, chosen by a hash. Suspects are
/// cleared if they differ as often as independent people who are equally good, as far as others' votes show this.
///
/// Up to `most_in_tables` annotators are compared in tables of all annotator pairs: up to 32 MB per thread. The sums
/// are integers, so the result does not depend on this or on the number of threads.
Copies suspect_copies(const Groups& groups, std::size_t most_in_tables = 2000);

/// Those suspects whom a fit confirms; the fit has counted each cluster as one voter. For each pair it uses what votes
/// outside the cluster say of the scores (without the EP sites of the cluster), and the largest discrimination that the
/// cluster's agreement with them allows, because good annotators agree often for being right. Copies differ on less
/// than half as many pairs as this predicts, and on at most a tenth of them.
Copies confirm_copies(const Groups& groups, const Fit& fit, const Sites& sites, const Copies& suspects);

/// Counts each cluster as one voter: on each pair the votes of one member keep their weights, and those of the others
/// are multiplied by kNextToNothing. The one member is the first who gave the cluster's most frequent answer on the
/// pair, so that one annotator represents the cluster where annotators are counted, too.
void weigh_copies(Groups& groups, const Copies& copies);

/// Copies the estimates of the member who represents the cluster to all members, after a fit with weigh_copies().
void share_estimates(const Groups& groups, const Copies& copies, Fit& fit);

/// Adds a finding for each cluster.
void add_copy_findings(const Copies& copies, const Strings& annotator_ids, std::vector<Finding>& findings);

}  // namespace voxpop
