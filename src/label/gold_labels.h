#pragma once
#include "fit/fit.h"
#include "group/gold.h"
#include "label/labels.h"

namespace voxpop {

/// Annotators are judged only by answers with at least this probability.
inline constexpr float kKnownAnswer = 0.9f;

/// For each annotator: the number of votes on pairs with a known answer, and how many of them are right.
void judge_on_gold(const Groups& groups, const KnownPairs& gold, const GoldVotes& places, AnnotatorLabels& annotators);

/// The fit's probability of each known answer without this answer. `sites`: the sites that the fit's posterior consists
/// of.
GoldLabels label_gold(const Groups& groups, const Fit& fit, const KnownPairs& gold, const GoldVotes& places,
                      const Sites& sites);

}  // namespace voxpop
