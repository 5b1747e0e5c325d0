#include "job/evaluation_json.h"

#include "guards/findings.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

Json describe(const Estimate& e) { return {{"value", e.value}, {"std_error", e.std_error}}; }

Json describe(const Score& s) {
  Json bins = Json::array();
  for (const ReliabilityBin& bin : s.bins)
    bins.push_back({{"votes", bin.trials}, {"predicted", bin.predicted}, {"observed", bin.observed}});
  return {{"log_loss", describe(s.log_loss)},
          {"brier", describe(s.brier)},
          {"accuracy", describe(s.accuracy)},
          {"ece",
           {{"value", s.ece},
            {"low", s.ece_low},
            {"high", s.ece_high},
            {"by_chance", s.ece_by_chance},
            {"by_chance_high", s.ece_by_chance_high}}},
          {"reliability", bins}};
}

/// The scores of all models, and the difference of each pair of models.
Json describe(const ModelComparison& comparison, bool all_answers) {
  Json json;
  for (const ModelScore& model : comparison.models) {
    Json one = describe(model.score);
    one["converged"] = model.converged;
    if (model.slope > 0) one["slope"] = model.slope;
    if (all_answers && model.all_answers) one["log_loss_all_answers"] = describe(*model.all_answers);
    json["models"][model.name] = one;
  }
  for (const DivergedFit& fit : comparison.diverged)
    json["models"][fit.model] = {{"converged", false}, {"diverged", fit.why}};
  for (const LossDifference& difference : comparison.differences) {
    Json one = describe(difference.log_loss);
    one.update({{"model", difference.model}, {"minus", difference.minus}});
    json["log_loss_differences"].push_back(one);
  }
  return json;
}

Json describe(const GoldScore& model, const Gold& gold) {
  Json json = {{"model", model.name}};
  if (!gold.item.empty())
    json["order"] = {
        {"item_pairs", model.order.pairs}, {"accuracy", model.order.accuracy}, {"tau_b", model.order.tau_b}};
  if (model.pairs_compared > 0) {
    json["pairs"] = describe(model.pairs);
    json["pairs"]["compared"] = model.pairs_compared;
  }
  return json;
}

}  // namespace

Json describe(const EvaluateRequest& request, const EvaluateResult& result, const std::vector<std::string>& inputs,
              const Gold* gold) {
  Json json = {{"inputs", inputs},
               {"folds", request.folds},
               {"seed", request.seed},
               {"ties", name_of(request.ties)},
               {"votes", result.votes},
               {"decided_votes", result.decided_votes},
               {"std_errors_over", result.std_errors_over},
               {"folds_by", name_of(result.comparisons.front().by)},
               {"votes_in_blocks", result.votes_in_blocks}};
  json.update(describe(result.comparisons.front(), result.all_answers));
  if (result.comparisons.size() > 1) json["by_vote"] = describe(result.comparisons.back(), result.all_answers);
  if (result.gold && gold != nullptr) {
    for (const GoldScore& model : result.gold->models) json["gold"].push_back(describe(model, *gold));
    for (const DivergedFit& fit : result.gold->diverged)
      json["gold"].push_back({{"model", fit.model}, {"diverged", fit.why}});
    json["gold_rows"] = {
        {"unknown", gold->unknown}, {"repeated", gold->repeated}, {"ties", gold->ties}, {"apart", result.gold->apart}};
  }
  json["warnings"] = warnings_of(result.findings, result.warnings);
  json["findings"] = to_json(result.findings);
  return json;
}

}  // namespace voxpop
