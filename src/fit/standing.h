#pragma once
#include <cstdint>
#include <vector>

#include "fit/engine.h"

namespace voxpop {

/// What each annotator counts where annotators are counted, not votes [annotators]: its votes, but no more than a
/// quarter of those of the annotator who gave the median vote (of all votes, by their annotators' numbers of votes). So
/// a few annotators with most of the votes do not decide alone, nor do many ids of few votes. In quarters of a vote.
std::vector<std::uint64_t> find_voices(const std::vector<std::uint32_t>& votes_of);

/// The median of `value` [annotators] among annotators with enough votes, each by its voice; see the definition.
double reference_median(const std::vector<double>& value, const std::vector<std::uint32_t>& votes_of);

/// How annotators, and what is known, stand to a fit's scores. Votes tell scores and discriminations only up to a
/// common sign: the one that more annotators follow is published, unless gold or trusted annotators say the other.
struct Standing {
  double agreement = 1;  ///< P(gamma > 0) - P(gamma < 0), the mean over annotators by their voices
  double unrelated = 0;  ///< share of the voices whose votes have little to do with the scores
  double against = 0;    ///< share of the voices that surely contradict the scores: P(gamma < 0) > 0.95
  double known = 0;      ///< how many more known answers and trusted annotators agree than contradict, in sds by chance
  double known_share = 1;  ///< the same as a share of all that is known: 1 all agree, -1 all contradict
  std::size_t trusted = 0, trusted_follow = 0;  ///< annotators known to be good who vote, and who follow the scores

  /// Whether what is known tells the sign.
  bool known_tells() const { return known >= 2 || known <= -2; }
  /// Whether there are two camps: a sign that nobody can tell may then turn all labels round. Without them there is
  /// little that could be turned.
  bool camps() const { return against >= 0.2; }
  bool wrong_way_round() const { return known_tells() ? known < 0 : agreement < 0; }
  /// Whether annotators who do not follow these scores are so many that they might agree on others.
  bool in_doubt() const { return known < 2 && (known_share < 0.25 || 2 * unrelated > agreement); }
};

/// How far annotators follow scores, by whether their votes agree with all others more often than by chance: the mean
/// of 2 P - 1 by their voices, P the chance of less agreement by chance. `of`: which annotators; `reports`: of a
/// posterior.
double find_following(const std::vector<ReportSums>& reports, const std::vector<std::uint32_t>& votes_of,
                      const std::vector<bool>& of);

/// What a trusted annotator who follows the scores, or contradicts them, adds to Standing::known, in sds. By their
/// prior, N(r, r^2 / 4), 1 in 44 votes against quality, which is 2 sds: so one alone tells the sign.
inline constexpr double kTrusted = 2.1;

/// `known`: as FitOptions has it. `reports`: of a posterior, which tells whether gold agrees with the rest; or null.
Standing find_standing(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of,
                       const std::vector<Population>& known, const std::vector<ReportSums>* reports);

/// Discriminations below this share of the annotators' root mean square have little to do with the scores.
inline constexpr double kUnrelated = 0.25;

/// How many more annotators, by their voices, follow scores with a discrimination beyond that than contradict them.
double find_followers(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of);

/// The annotators' root mean square, by their voices.
double strength_of(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of);

}  // namespace voxpop
