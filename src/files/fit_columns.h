#pragma once
// The columns of fit/1, to be written to a file or given to a program in memory.

#include <string>
#include <utility>
#include <vector>

#include "voxpop/labels.h"

namespace voxpop {

/// Ids of the rows of a fit's tables. `prompt`: for each item, the row of its prompt in `prompts`; empty without
/// prompts.
struct FitIds {
  const Strings &items, &annotators, &prompts, &sources;
  const Column<std::uint32_t>& prompt;
};

/// Calls file.write(name, column), file.write_matrix(name, column, values per row) or file.write_enum(name, column,
/// names) for each column. A column that is not a member of the arguments is passed as a std::vector or as Strings.
/// Such a column lives only during the call, so `file` must copy each std::vector and Strings that it keeps.
template <class File>
void write_columns(File& file, const FitIds& ids, const Labels& labels, const Reliability& reliability) {
  const ItemLabels& items = labels.items;
  file.write("items/id", ids.items);
  file.write("items/score", items.score);
  file.write("items/std_error", items.std_error);
  file.write("items/votes", items.votes);
  file.write("items/component", items.component);
  if (!items.controlled_score.empty()) file.write("items/controlled_score", items.controlled_score);
  if (!ids.prompt.empty()) {
    file.write("items/prompt", ids.prompt);
    file.write("prompts/id", ids.prompts);
  }

  const CovariateLabels& covariates = labels.covariates;
  if (!covariates.names.empty()) {
    file.write("covariates/name", covariates.names);
    file.write("covariates/coefficient", covariates.coefficient);
    file.write("covariates/coefficient_se", covariates.coefficient_se);
    if (!covariates.taste_sd.empty()) file.write("covariates/taste_sd", covariates.taste_sd);
  }

  if (labels.embedding) {
    const EmbeddingLabels& embedding = *labels.embedding;
    file.write("covariates/embedding", embedding.coefficient);
    file.write("covariates/embedding_se", embedding.coefficient_se);
    file.write("covariates/embedding_variance_explained", std::vector<double>{embedding.explained});
    file.write("covariates/embedding_variance_explained_se", std::vector<double>{embedding.explained_se});
  }

  const SourceLabels& sources = labels.sources;
  if (!sources.row.empty()) {
    file.write("sources/id", ids.sources);
    file.write("sources/score", sources.score);
    file.write("sources/std_error", sources.std_error);
  }

  const AnnotatorLabels& annotators = labels.annotators;
  file.write("annotators/id", ids.annotators);
  file.write("annotators/votes", annotators.votes);
  if (!annotators.distinct_pairs.empty()) file.write("annotators/distinct_pairs", annotators.distinct_pairs);
  file.write("annotators/discrimination", annotators.discrimination);
  file.write("annotators/discrimination_se", annotators.discrimination_se);
  file.write("annotators/side_bias", annotators.side_bias);
  file.write("annotators/side_bias_se", annotators.side_bias_se);
  for (const auto& [name, column] :
       {std::pair{"annotators/tie_habit", &annotators.tie_habit},
        std::pair{"annotators/tie_habit_se", &annotators.tie_habit_se},
        std::pair{"components/tie_habit", &labels.components.tie_habit},
        std::pair{"components/tie_habit_se", &labels.components.tie_habit_se},
        std::pair{"annotators/eta", &annotators.eta}, std::pair{"annotators/eta_se", &annotators.eta_se}})
    if (!column->empty()) file.write(name, *column);
  if (!annotators.taste.empty()) {
    file.write_matrix("annotators/taste", annotators.taste, covariates.taste_sd.size());
    file.write_matrix("annotators/taste_se", annotators.taste_se, covariates.taste_sd.size());
  }
  file.write("annotators/agreement", annotators.agreement);
  file.write("annotators/expected_accuracy", annotators.expected_accuracy);
  file.write("annotators/bits_per_vote", annotators.bits_per_vote);
  if (!annotators.gold_votes.empty()) {
    file.write("annotators/gold_votes", annotators.gold_votes);
    file.write("annotators/gold_right", annotators.gold_right);
    file.write("annotators/gold_right_low", annotators.gold_right_low);
    file.write("annotators/gold_right_high", annotators.gold_right_high);
  }
  file.write_enum("annotators/flag", annotators.flag, flag_names());
  file.write("annotators/flag_probability", annotators.flag_probability);
  if (!annotators.copies.empty()) file.write("annotators/copies", annotators.copies);

  if (labels.gold) {
    file.write("gold/left", labels.gold->left);
    file.write("gold/right", labels.gold->right);
    file.write("gold/probability", labels.gold->probability);
    file.write("gold/probability_without", labels.gold->without);
    file.write("gold/contradicted", labels.gold->contradicted);
  }

  if (labels.drift) {
    const Drift& drift = *labels.drift;
    file.write("annotators/change_statistic", drift.statistic);
    file.write("annotators/change_p_value", drift.p_value);
    file.write("annotators/change_p_value_corrected", drift.corrected_p_value);
    const WindowColumns& windows = drift.windows;
    file.write("annotators/windows/annotator", windows.annotator);
    file.write("annotators/windows/start", windows.start);
    file.write("annotators/windows/end", windows.end);
    file.write("annotators/windows/votes", windows.votes);
    file.write("annotators/windows/expected_accuracy", windows.expected_accuracy);
    file.write("annotators/windows/expected_accuracy_se", windows.expected_accuracy_se);
    file.write("annotators/windows/discrimination", windows.discrimination);
    file.write("annotators/windows/discrimination_se", windows.discrimination_se);
    file.write("annotators/windows/side_bias", windows.side_bias);
    file.write("annotators/windows/side_bias_se", windows.side_bias_se);
    file.write("annotators/windows/votes_per_hour", windows.votes_per_hour);
  }

  const PairColumns& pairs = labels.pairs;
  file.write("pairs/left", pairs.left);
  file.write("pairs/right", pairs.right);
  file.write("pairs/votes", pairs.votes);
  file.write("pairs/ties", pairs.ties);
  file.write("pairs/flagged_votes", pairs.flagged_votes);
  file.write("pairs/wins_left", pairs.wins_left);
  file.write("pairs/probability", pairs.probability);
  file.write("pairs/probability_better", pairs.probability_better);
  file.write("pairs/margin", pairs.margin);
  file.write("pairs/margin_se", pairs.margin_se);
  file.write("pairs/information_gain", pairs.information_gain);
  if (!pairs.target.empty()) {
    file.write("pairs/target", pairs.target);
    file.write("pairs/weight", pairs.weight);
  }

  std::vector<float> trials, predicted, observed;
  for (const ReliabilityBin& bin : reliability.bins) {
    trials.push_back(static_cast<float>(bin.trials));
    predicted.push_back(static_cast<float>(bin.predicted));
    observed.push_back(static_cast<float>(bin.observed));
  }
  file.write("reliability/votes", trials);
  file.write("reliability/predicted", predicted);
  file.write("reliability/observed", observed);

  file.write("votes/probability_correct", labels.vote_probability_correct);
  if (!labels.vote_target.empty()) {
    file.write("votes/target", labels.vote_target);
    file.write("votes/weight", labels.vote_weight);
  }
  if (!labels.vote_count.empty()) file.write("votes/count", labels.vote_count);
}

}  // namespace voxpop
