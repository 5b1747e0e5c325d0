#pragma once
#include <string>
#include <vector>

#include "evaluate/score.h"
#include "label/labels.h"
#include "voxpop/context.h"

namespace voxpop {

/// Reads CSV, TSV or JSONL (.gz too). Columns: left, right, preference (see KnownAnswers); or item, and one of gold
/// (larger is better) or rank (smaller is better). Each item counts once, and so does each pair, in either order of its
/// items. Throws Error(kBadInput) with file, line and value. It also throws if two rows contradict each other, if a row
/// compares an item with itself, or if some items have a gold value and others have a rank.
Gold read_gold(const std::string& path, const Votes& votes, const Context& context);

/// A model's predictions for gold pairs. Pairs with votes: pairs/probability_better. Other pairs within a component:
/// from the items' scores, whose errors are taken as independent. Pairs between components are left out.
Trials compare_with_gold_pairs(const Labels& labels, const Gold& gold);

/// The same, predicted by the share of the pair's votes plus one vote for each side; 1/2 for pairs without votes.
Trials compare_majority_with_gold(const Labels& labels, const Gold& gold);

/// `score`, `component`: [items]; items of component -1 are left out. Accuracy and tau-b are NaN if there is no pair to
/// compare. tau-b is also NaN if all scores or all gold values are equal. Takes n log n steps (Knight 1966).
GoldOrder compare_with_gold_order(const Column<float>& score, const Column<std::int32_t>& component, const Gold& gold,
                                  const Context& context = {});

/// Number of gold pairs whose items are in two components: votes do not connect the items.
std::size_t count_apart(const Column<std::int32_t>& component, const Gold& gold);

/// [items] Share of wins in each item's votes, ties half: the scores of majority vote.
Column<float> win_shares(const Labels& labels);

}  // namespace voxpop
