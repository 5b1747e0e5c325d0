#pragma once
#include "evaluate/score.h"
#include "fit/fit.h"

namespace voxpop {

/// A fit's predictions of decided votes that it has seen, each from all the others: small components are solved again
/// without the vote; in larger ones its EP site is taken out (Opper and Winther 2000). What it says of its annotator is
/// taken out, too, but for shares and habits. Of some `most` votes, chosen by a hash, where there are more; of fewer
/// where components are small.
Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most = 250'000);

}  // namespace voxpop
