#pragma once
#include <string>
#include <vector>

#include "evaluate/score.h"
#include "label/labels.h"
#include "voxpop/context.h"

namespace voxpop {

/// Reads CSV, TSV or JSONL (.gz too): columns left, right, preference (see KnownAnswers), or item and one of
/// gold (larger is better) or rank (smaller is better). A pair, in whichever order of its items, and an item count
/// once. Throws Error(kBadInput) naming file, line and value; also where two rows contradict each other, where a row
/// compares an item with itself, and where some items have a gold value and others a rank.
Gold read_gold(const std::string& path, const Votes& votes, const Context& context);

/// A model's labels against gold pairs: those that votes compare by pairs/probability_better; others of one component
/// by the items' scores, taken as independent. Pairs of two components are left out.
Trials compare_with_gold_pairs(const Labels& labels, const Gold& gold);

/// The same by the share of the pair's votes, with one added to each side; 1/2 where votes do not compare the pair.
Trials compare_majority_with_gold(const Labels& labels, const Gold& gold);

/// `score`, `component` [items]; component -1: left out. Without a pair to compare, accuracy and tau-b are NaN; so is
/// tau-b where all scores or all gold values are equal. Takes n log n steps (Knight 1966).
GoldOrder compare_with_gold_order(const Column<float>& score, const Column<std::int32_t>& component, const Gold& gold,
                                  const Context& context = {});

/// Gold pairs whose items lie in two components, which no votes compare.
std::size_t count_apart(const Column<std::int32_t>& component, const Gold& gold);

/// Each item's share of wins in its votes, ties half: the order by majority.
Column<float> win_shares(const Labels& labels);

}  // namespace voxpop
