#pragma once
#include "fit/fit.h"
#include "group/gold.h"
#include "label/labels.h"

namespace voxpop {

/// An answer that is so sure is taken as known where annotators are judged by it.
inline constexpr float kKnownAnswer = 0.9f;

/// Each annotator's votes on pairs whose answer is known, and how many of them are right.
void judge_on_gold(const Groups& groups, const KnownPairs& gold, const GoldVotes& places, AnnotatorLabels& annotators);

/// What the fit says of each known answer without it. `sites`: those that it rests on.
GoldLabels label_gold(const Groups& groups, const Fit& fit, const KnownPairs& gold, const GoldVotes& places,
                      const Sites& sites);

}  // namespace voxpop
