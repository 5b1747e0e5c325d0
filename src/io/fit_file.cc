#include "io/fit_file.h"

#include <nlohmann/json.hpp>

#include "core/stopwatch.h"
#include "io/hdf5.h"

namespace voxpop {

void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, nlohmann::ordered_json& provenance,
               bool compress) {
  const Stopwatch watch;
  OutputHdf5 file(output, compress);
  file.write_attribute("voxpop_schema", "fit/1");

  const ItemLabels& items = labels.items;
  file.write("items/id", votes.item_ids);
  file.write("items/score", items.score);
  file.write("items/std_error", items.std_error);
  file.write("items/votes", items.votes);
  file.write("items/component", items.component);
  if (!items.controlled_score.empty()) file.write("items/controlled_score", items.controlled_score);
  if (!votes.prompt.empty()) {
    file.write("items/prompt", votes.prompt);
    file.write("prompts/id", votes.prompt_ids);
  }

  const CovariateLabels& covariates = labels.covariates;
  if (!covariates.names.empty()) {
    file.write("covariates/name", covariates.names);
    file.write("covariates/coefficient", covariates.coefficient);
    file.write("covariates/coefficient_se", covariates.coefficient_se);
    if (!covariates.taste_sd.empty()) file.write("covariates/taste_sd", covariates.taste_sd);
  }

  const AnnotatorLabels& annotators = labels.annotators;
  file.write("annotators/id", votes.annotator_ids);
  file.write("annotators/votes", annotators.votes);
  file.write("annotators/discrimination", annotators.discrimination);
  file.write("annotators/discrimination_se", annotators.discrimination_se);
  file.write("annotators/side_bias", annotators.side_bias);
  file.write("annotators/side_bias_se", annotators.side_bias_se);
  for (const auto& [name, column] :
       {std::pair{"annotators/lapse_rate", &annotators.lapse_rate},
        std::pair{"annotators/lapse_rate_low", &annotators.lapse_rate_low},
        std::pair{"annotators/lapse_rate_high", &annotators.lapse_rate_high},
        std::pair{"annotators/eta", &annotators.eta}, std::pair{"annotators/eta_se", &annotators.eta_se}})
    if (!column->empty()) file.write(name, *column);
  if (!annotators.taste.empty()) {
    file.write_matrix("annotators/taste", annotators.taste, covariates.taste_sd.size());
    file.write_matrix("annotators/taste_se", annotators.taste_se, covariates.taste_sd.size());
  }
  file.write("annotators/agreement", annotators.agreement);
  file.write("annotators/expected_accuracy", annotators.expected_accuracy);
  file.write("annotators/bits_per_vote", annotators.bits_per_vote);
  file.write_enum("annotators/flag", annotators.flag, flag_names());
  file.write("annotators/flag_probability", annotators.flag_probability);

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
  file.write("pairs/wins_left", pairs.wins_left);
  file.write("pairs/probability", pairs.probability);
  file.write("pairs/probability_better", pairs.probability_better);
  file.write("pairs/margin", pairs.margin);
  file.write("pairs/margin_se", pairs.margin_se);
  file.write("pairs/information_gain", pairs.information_gain);

  file.write("votes/probability_correct", labels.vote_probability_correct);
  double total = 0;
  auto& seconds = provenance["seconds"];
  seconds["write"] = watch.seconds();
  for (const auto& phase : seconds) total += phase.get<double>();
  seconds["total"] = total;
  file.write_attribute("provenance", provenance.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  file.finish();
}

}  // namespace voxpop
