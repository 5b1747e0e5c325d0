#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "files/fit_file.h"

namespace voxpop {

/// A vote worth asking for.
struct WantedVote {
  std::uint32_t pair;  ///< row of pairs/
  float bits;          ///< expected information about the pair's score difference, votes above it taken as given
  float variance;      ///< of the score difference, those votes taken as given; (reference annotator's logits)^2
  std::uint32_t annotator = 0;  ///< row of annotators/, where assigned
};

/// The `budget` pairs, fewer if there are not as many, whose next vote is worth most in expected bits, one vote each,
/// the best first. Chosen greedily: a vote on a pair also tells about pairs that share an item with it, whose variance
/// falls as it does where items are equally uncertain and independent (differences that share an item correlate by
/// 1/2), so that no prompt takes more than its due. `discrimination`: of who will vote, 1 is the reference annotator.
std::vector<WantedVote> choose_pairs(const PairColumns& pairs, std::size_t items, std::size_t budget,
                                     double discrimination);

/// Rows of the annotators to ask, the most reliable first: flagged ok, by the discrimination that they have with 97.5
/// %; at most `most`.
std::vector<std::uint32_t> reliable_annotators(const AnnotatorLabels& annotators, std::size_t most);

/// Gives each vote, the best first, to the first of `annotators` that has less than `most_each` and may take it; votes
/// that nobody may take are dropped. `may_take(annotator, vote)`: false where it has judged that pair.
std::vector<WantedVote> assign_votes(const FitResult& fit, const std::vector<WantedVote>& votes,
                                     const std::vector<std::uint32_t>& annotators, std::size_t most_each,
                                     const std::function<bool(std::uint32_t, std::size_t)>& may_take);

}  // namespace voxpop
