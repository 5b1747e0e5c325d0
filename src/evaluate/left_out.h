#pragma once
#include "evaluate/score.h"
#include "fit/fit.h"

namespace voxpop {

/// A fit's predictions of decided votes that it has seen, each from all or nearly all of the others: components are
/// solved again without the vote, or a twentieth of their votes at a time; in very large ones its EP site is taken out
/// (Opper and Winther 2000). What it says of its annotator is taken out, too, but for habits. Of some `most` votes,
/// chosen by a hash, where there are more; of fewer where solving again takes long.
Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most = 250'000);

}  // namespace voxpop
