#pragma once
#include <cstdint>
#include <vector>

#include "fit/engine.h"

namespace voxpop {

/// [annotators] voice of each annotator: its weight where annotators are counted rather than votes. The voice is the
/// annotator's number of votes, up to a limit. The limit is a quarter of the votes of the annotator who gave the median
/// vote (all votes sorted by their annotators' numbers of votes). So a few annotators with most votes do not decide
/// alone, and neither do many ids with few votes. Unit: quarters of a vote.
std::vector<std::uint64_t> find_voices(const std::vector<std::uint32_t>& votes_of);

/// Median of `value` [annotators] among annotators with enough votes, weighted by voice. The definition says what is
/// enough.
double reference_median(const std::vector<double>& value, const std::vector<std::uint32_t>& votes_of);

/// How the annotators, and what is known, relate to the scores of a fit. Votes determine scores and discriminations
/// only up to a common sign. The published sign is the one that more annotators follow, unless gold or trusted
/// annotators show the other one.
struct Standing {
  double agreement = 1;  ///< P(gamma > 0) - P(gamma < 0), mean over annotators, weighted by voice
  double unrelated = 0;  ///< share of voices whose votes hardly depend on the scores
  double against = 0;    ///< share of voices that clearly contradict the scores: P(gamma < 0) > 0.95
  double known = 0;  ///< excess of known answers and trusted annotators that agree over those that contradict, in sds
                     ///< of chance
  double known_share = 1;  ///< the same excess as a share of all that is known: 1 all agree, -1 all contradict
  std::size_t trusted = 0, trusted_follow = 0;  ///< annotators known to be good: those with votes, and those who follow
                                                ///< the scores

  /// Whether gold and trusted annotators determine the sign.
  bool known_tells() const { return known >= 2 || known <= -2; }
  /// Whether there are two camps. If the sign is then unknown, all labels may be inverted. Without camps, an unknown
  /// sign can invert little.
  bool camps() const { return against >= 0.2; }
  bool wrong_way_round() const { return known_tells() ? known < 0 : agreement < 0; }
  /// Whether the annotators who do not follow these scores are so many that they might agree on other scores.
  bool in_doubt() const { return known < 2 && (known_share < 0.25 || 2 * unrelated > agreement); }
};

/// How far annotators follow the scores, measured by how often their votes agree with all other votes. Returns the mean
/// of 2 P - 1, weighted by voice, where P is the probability that random votes agree less. `of` [annotators]: which
/// annotators to use. `reports` [annotators]: from a posterior.
double find_following(const std::vector<ReportSums>& reports, const std::vector<std::uint32_t>& votes_of,
                      const std::vector<bool>& of);

/// Contribution of a trusted annotator who follows or contradicts the scores to Standing::known, in sds. Under the
/// prior of trusted annotators, N(r, r^2 / 4) with r the population's root mean square, 1 annotator in 44 votes against
/// quality. This corresponds to 2 sds. So a single trusted annotator determines the sign.
inline constexpr double kTrusted = 2.1;

/// `known`: as FitOptions::known. `reports`: from a posterior, shows whether gold agrees with the votes; null: gold is
/// ignored.
Standing find_standing(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of,
                       const std::vector<Population>& known, const std::vector<ReportSums>* reports);

/// Discriminations below this share of the annotators' root mean square count as unrelated to the scores.
inline constexpr double kUnrelated = 0.25;

/// Share of annotators that follow the scores minus the share that contradicts them, weighted by voice. Only
/// discriminations beyond kUnrelated count.
double find_followers(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of);

/// Root mean square of the annotators' discriminations, weighted by voice.
double strength_of(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of);

}  // namespace voxpop
