#pragma once
#include "evaluate/score.h"
#include "fit/fit.h"
#include "group/view_blocks.h"

namespace voxpop {

/// A fit's predictions of decided votes that it has seen, each from all or nearly all of the others: components are
/// solved again without the vote, or a twentieth of their votes at a time; in very large ones its EP site is taken out
/// (Opper and Winther 2000). What it says of its annotator is taken out, too, but for habits. Of some `most` votes,
/// chosen by a hash, where there are more; of fewer where solving again takes long.
///
/// Trials::blind is what annotators' side biases alone say; NaN of repeats, which agree with themselves.
///
/// With `blocks`, each from all but its block: from what others say of its items, and its annotator elsewhere. Votes
/// that no other block says anything of are left out of the trials, and so are components that are too large to be
/// solved again.
Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most = 250'000,
                        const ViewBlocks* blocks = nullptr);

/// Annotators whose votes contradict their priors [annotators], those of an earlier fit: the score test of each at its
/// prior, by what others say of its items; scores' own squares, and what the prior leaves open, are their variance.
/// 0.001 after Holm's correction.
std::vector<std::size_t> find_contradicted(const Groups& groups, const Fit& fit, const Sites& sites,
                                           const std::vector<Population>& priors);

/// A score test's statistic, in standard errors that are taken between votes; and between votes or between annotators,
/// whichever are larger: an annotator whose discrimination came out high by chance weighs all its votes too much.
struct AgreementTest {
  double by_votes = 0, by_voters = 0;
};

/// Whether votes follow what others say of their items, and not only a side: the score test of a slope from blind to
/// seeing predictions. Of coin tosses the statistic is about 0. A vote predicts others as they predict it, so the
/// variance is twice that of independent trials.
AgreementTest agreement_with_others(const Trials& left_out);

}  // namespace voxpop
