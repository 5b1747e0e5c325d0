#include "io/fit_file.h"

#include <nlohmann/json.hpp>

#include "io/hdf5.h"

namespace voxpop {

void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, const nlohmann::ordered_json& provenance,
               bool compress) {
  OutputHdf5 file(output, compress);
  file.write_attribute("voxpop_schema", "fit/1");
  file.write_attribute("provenance", provenance.dump());

  const ItemLabels& items = labels.items;
  file.write("items/id", votes.item_ids);
  file.write("items/score", items.score);
  file.write("items/std_error", items.std_error);
  file.write("items/votes", items.votes);
  file.write("items/component", items.component);
  if (!votes.prompt.empty()) {
    file.write("items/prompt", votes.prompt);
    file.write("prompts/id", votes.prompt_ids);
  }

  const AnnotatorLabels& annotators = labels.annotators;
  file.write("annotators/id", votes.annotator_ids);
  file.write("annotators/votes", annotators.votes);
  file.write("annotators/discrimination", annotators.discrimination);
  file.write("annotators/discrimination_se", annotators.discrimination_se);
  file.write("annotators/side_bias", annotators.side_bias);
  file.write("annotators/side_bias_se", annotators.side_bias_se);
  file.write("annotators/agreement", annotators.agreement);
  file.write("annotators/expected_accuracy", annotators.expected_accuracy);
  file.write("annotators/bits_per_vote", annotators.bits_per_vote);
  file.write_enum("annotators/flag", annotators.flag, flag_names());
  file.write("annotators/flag_probability", annotators.flag_probability);

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
  file.finish();
}

}  // namespace voxpop
