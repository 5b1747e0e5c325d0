#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "files/fit_file.h"

namespace voxpop {

/// A vote to collect.
struct WantedVote {
  std::uint32_t pair;  ///< row of pairs/
  float bits;          ///< expected information about the pair's score difference, given the votes chosen before it
  float variance;      ///< of the score difference, given those votes; (logits of the reference annotator)^2
  std::uint32_t annotator = 0;  ///< row of annotators/; set by assign_votes()
};

/// Chooses the pairs whose next vote has the highest expected information, best first, one vote per pair: `budget`
/// pairs, or all if there are fewer. The choice is greedy. A vote on a pair also lowers the variance of pairs that
/// share an item with it, so a single prompt does not take all votes. The reduction is computed as if items were
/// equally uncertain and independent (differences that share an item then have correlation 1/2). `discrimination`: of
/// the annotators who will vote; 1 is the reference annotator.
std::vector<WantedVote> choose_pairs(const PairColumns& pairs, std::size_t items, std::size_t budget,
                                     double discrimination);

/// Rows of at most `most` annotators to ask, most reliable first. Only annotators flagged ok, sorted by the
/// discrimination that they exceed with probability 97.5 %.
std::vector<std::uint32_t> reliable_annotators(const AnnotatorLabels& annotators, std::size_t most);

/// Assigns each vote, best first, to the first of `annotators` with fewer than `most_each` votes that may take it. A
/// vote that no annotator may take is dropped. `may_take(annotator, vote)`: `vote` is an index into `votes`; false if
/// the annotator has already judged that pair.
std::vector<WantedVote> assign_votes(const FitResult& fit, const std::vector<WantedVote>& votes,
                                     const std::vector<std::uint32_t>& annotators, std::size_t most_each,
                                     const std::function<bool(std::uint32_t, std::size_t)>& may_take);

}  // namespace voxpop
