#pragma once
#include "evaluate/score.h"
#include "fit/fit.h"
#include "group/view_blocks.h"

namespace voxpop {

/// A fit's predictions for decided votes that it has seen. Each prediction uses all or nearly all of the other votes.
/// Components are solved again without the vote, or without a twentieth of their votes at a time; in very large
/// components the vote's EP site is taken out (Opper and Winther 2000). The vote's information about its annotator is
/// taken out, too, except for tie habits. If there are more than about `most` votes, a hash chooses that many; fewer if
/// refits take long.
///
/// Trials::blind: predictions from annotators' side biases alone; NaN for repeats, because they agree with their own
/// earlier vote.
///
/// With `blocks`, each prediction leaves out the vote's whole block. It uses other blocks' votes on the items, and the
/// annotator's votes elsewhere. Not included: votes on items without votes of other blocks, and components that are too
/// large to be solved again.
Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most = 250'000,
                        const ViewBlocks* blocks = nullptr);

/// Indices of annotators whose votes contradict their priors. `priors`: [annotators], from an earlier fit. Score test
/// of each annotator at its prior, given what others' votes say of the items. The variance is the sum of the squared
/// scores, plus the prior's uncertainty. Significance: 0.001 after Holm's correction.
std::vector<std::size_t> find_contradicted(const Groups& groups, const Fit& fit, const Sites& sites,
                                           const std::vector<Population>& priors);

/// Statistic of a score test, in standard errors. `by_votes`: standard errors from the variation between votes.
/// `by_voters`: between votes or between annotators, the larger one. An annotator whose discrimination is overestimated
/// by chance gives all its votes too much weight; only the variation between annotators shows this.
struct AgreementTest {
  double by_votes = 0, by_voters = 0;
};

/// Whether votes follow what other votes say of their items, and not only a side: score test of a slope from blind
/// predictions to full ones. For coin tosses the statistic is about 0. Two votes predict each other, so the variance is
/// twice that of independent trials.
AgreementTest agreement_with_others(const Trials& left_out);

}  // namespace voxpop
