#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <string_view>

#include "core/error.h"
#include "files/fit_record.h"
#include "formulas/elementary.h"
#include "voxpop/version.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

/// Thresholds of graded votes, starting with the first, which is 0. Empty without grades.
std::vector<float> thresholds_of(const Fit& fit) {
  if (fit.answers.levels() == 1) return {};
  return {fit.scale.edge + 1, fit.scale.edge + 1 + fit.answers.levels()};
}

Json describe_population(const Fit& fit) {
  const Population& population = fit.population;
  Json json = {{"item_sd", 1.0},
               {"discrimination_mean", population.mean},
               {"discrimination_sd", std::sqrt(population.variance)},
               {"side_bias_sd", std::sqrt(population.side_bias_variance)},
               {"reference_discrimination", fit.reference_discrimination},
               {"score_unit", fit.score_unit},
               {"view_sd", std::sqrt(fit.view_variance)}};
  if (fit.scale.own_ties)
    json.update({{"tie_habit_median", share_of(population.habit_mean)},
                 {"tie_habit_logit_sd", std::sqrt(population.habit_variance)},
                 {"prompt_tie_habit_logit_sd", std::sqrt(fit.prompt_variance)}});
  if (fit.model == Model::kCrowdBt)
    json.update({{"eta_median", share_of(population.share_mean)},
                 {"eta_logit_sd", std::sqrt(population.share_variance)},
                 {"reference_eta", fit.reference_share}});
  return json;
}

Json describe_start(const EarlierFit& earlier, const WarmStart& start, std::size_t contradicted) {
  return {{"path", earlier.file.path},       {"bytes", earlier.file.bytes},
          {"xxh3", earlier.file.xxh3},       {"annotators_known", start.known},
          {"annotators_new", start.unknown}, {"annotators_contradicted", contradicted}};
}

Json describe_weights(const VoteWeights& weights) {
  return {{"total", weights.total},
          {"repeated_votes", weights.repeated},
          {"weigh_together_as_one", weights.shared},
          {"left_out_as_repeats", weights.dropped},
          {"judgements_of_several_pairs", weights.judgements},
          {"votes_in_them", weights.in_judgements}};
}

Json describe_copies(const Copies& copies, const Strings& annotator_ids) {
  Json clusters = Json::array();
  for (const CopyCluster& cluster : copies.clusters) {
    Json members = Json::array();
    for (const std::uint32_t a : cluster.members) members.push_back(annotator_ids[a]);
    clusters.push_back({{"annotators", members},
                        {"comparisons", cluster.comparisons},
                        {"differing", cluster.differing},
                        {"differing_expected", cluster.expected},
                        {"copied", cluster.copied()},
                        {"p_value_corrected", cluster.p_value}});
  }
  return {{"tested", copies.tested}, {"clusters", clusters}};
}

Json describe_covariates(const CovariateLabels& covariates) {
  Json json = Json::array();
  for (std::size_t k = 0; k < covariates.names.size(); ++k) {
    json.push_back({{"name", covariates.names[k]},
                    {"coefficient", covariates.coefficient[k]},
                    {"std_error", covariates.coefficient_se[k]}});
    if (k < covariates.taste_sd.size()) json.back()["taste_sd"] = covariates.taste_sd[k];
  }
  return json;
}

Json describe_embedding(const EmbeddingLabels& labels, const Embeddings& embeddings) {
  return {{"source", embeddings.source},
          {"dimensions", embeddings.dimensions},
          {"variance_explained", labels.explained},
          {"variance_explained_se", labels.explained_se},
          {"rounds", labels.rounds}};
}

/// Number and standard deviation of the sources, and the best ones.
Json describe_sources(const Votes& votes, const SourceLabels& sources, const Fit& fit) {
  Json best = Json::array();
  for (const std::size_t row : best_sources(sources, kShownSources))
    best.push_back({{"id", votes.source_ids[sources.row[row]]},
                    {"score", sources.score[row]},
                    {"std_error", sources.std_error[row]}});
  return {{"count", sources.row.size()}, {"sd", fit.score_unit * fit.source_sd}, {"best", best}};
}

Json describe_gold(const Votes& votes, const GoldLabels& gold) {
  constexpr std::size_t kMost = 100;
  Json contradicted = Json::array();
  std::size_t used = 0, against = 0;
  for (std::size_t row = 0; row < gold.left.size(); ++row) {
    used += !std::isnan(gold.without[row]);
    if (gold.contradicted[row] == 0 || ++against > kMost) continue;
    contradicted.push_back({{"left", votes.item_ids[gold.left[row]]},
                            {"right", votes.item_ids[gold.right[row]]},
                            {"given", gold.probability[row]},
                            {"without", gold.without[row]}});
  }
  return {{"pairs", gold.left.size()}, {"used", used}, {"contradicted", against}, {"contradictions", contradicted}};
}

Json describe_standing(const Fit& fit) {
  Json json = {{"told", fit.sign_is_told},
               {"mirrored", fit.mirrored},
               {"agreement", fit.standing.agreement},
               {"unrelated", fit.standing.unrelated},
               {"against", fit.standing.against},
               {"known_sds", fit.standing.known}};
  if (fit.rival)
    json["rival"] = {{"following", fit.rival->following},
                     {"log_evidence", fit.rival->log_evidence},
                     {"ordered_alike", fit.rival->ordered_alike}};
  return json;
}

/// A value of the provenance that a warm start needs. Throws Error(kBadInput) if it is missing or has another type.
template <class Value>
Value require(const nlohmann::ordered_json& provenance, const char* place, const std::string& path) {
  try {
    return provenance.at(Json::json_pointer(place)).get<Value>();
  } catch (const nlohmann::json::exception&) {
    throw bad_input("{}: attribute 'provenance' has no usable {}; fit again with this version of voxpop", path, place);
  }
}

/// The population from the means and standard deviations that describe_population() wrote.
Population population_of(const nlohmann::ordered_json& provenance, const std::string& model, const std::string& path) {
  const auto number = [&](const char* place) { return require<double>(provenance, place, path); };
  const auto variance = [&](const char* place) { return number(place) * number(place); };
  Population out;
  out.mean = number("/hyperparameters/discrimination_mean");
  if (model == "rater") {
    out.variance = variance("/hyperparameters/discrimination_sd");
    out.side_bias_variance = variance("/hyperparameters/side_bias_sd");
  }
  if (provenance.contains("/hyperparameters/tie_habit_median"_json_pointer)) {
    out.habit_mean = logit(number("/hyperparameters/tie_habit_median"));
    if (model == "rater") out.habit_variance = variance("/hyperparameters/tie_habit_logit_sd");
  }
  if (model == "crowd-bt") {
    out.share_mean = logit(number("/hyperparameters/eta_median"));
    out.share_variance = variance("/hyperparameters/eta_logit_sd");
  }
  return out;
}

}  // namespace

std::string why_not_converged(const Fit& fit, int max_iterations) {
  if (fit.converged) return "";
  if (fit.iterations >= max_iterations)
    return fmt::format("not converged after {} iterations (change {:.1e}). Raise max_iterations (--max-iterations)",
                       fit.iterations, fit.change);
  return fmt::format(
      "not converged: annotators converged after {} iterations, but some scores still moved by {:.2g} of their "
      "standard errors. This happens if an item wins or loses (almost) all its votes. More iterations do not help; the "
      "model bt may help (--model bt)",
      fit.iterations, fit.change);
}

Json describe(const FitRecord& record) {
  const FitRequest& request = record.request;
  const Votes& votes = record.votes;
  const Fit& fit = record.fit;
  const Labels& labels = record.labels;
  Json inputs = Json::array();
  for (const InputFile& input : votes.inputs)
    inputs.push_back({{"path", input.path}, {"bytes", input.bytes}, {"xxh3", input.xxh3}});
  Json json = {{"version", kVersion},
               {"command_line", request.asked_by},
               {"written", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
               {"inputs", inputs},
               {"votes", votes.size()},
               {"votes_counted", record.limits.votes},
               {"items", votes.item_ids.size()},
               {"annotators", votes.annotator_ids.size()},
               {"pairs", record.limits.pairs},
               {"components", record.limits.components},
               {"model", name_of(request.model)},
               {"ties", name_of(request.ties)},
               {"repeats", request.repeats ? name_of(*request.repeats) : "default"},
               {"side_bias", request.side_bias},
               {"views", fit.view_variance > 0},
               {"strengths", fit.answers.strengths},
               {"thresholds", thresholds_of(fit)},
               {"hyperparameters", describe_population(fit)},
               {"iterations", fit.iterations},
               {"converged", fit.converged},
               {"change", fit.change},
               {"log_evidence", fit.posterior.log_evidence},
               {"device", record.device},
               {"device_reason", record.why_device.empty() ? "asked for" : record.why_device},
               {"threads", record.threads},
               {"seed", request.seed},
               {"warnings", warnings_of(record.findings, record.warnings)},
               {"findings", to_json(record.findings)},
               {"weights", describe_weights(record.weights)},
               {"copies", describe_copies(record.copies, votes.annotator_ids)},
               {"votes_in_blocks", record.share_in_blocks},
               {"agreement_z", {{"by_votes", record.agreement.z}, {"by_annotators", record.agreement.z_of_voters}}}};
  if (has_discriminations(fit.model) && !record.earlier) json["sign"] = describe_standing(fit);
  if (const auto file = votes.known_files.find("prior_score"); file != votes.known_files.end())
    json["prior_score"] = {{"path", file->second.path}, {"xxh3", file->second.xxh3}};
  if (labels.gold) json["gold"] = describe_gold(votes, *labels.gold);
  if (!votes.trusted.empty())
    json["trusted"] = {
        {"annotators", votes.trusted.size()}, {"vote", fit.standing.trusted}, {"follow", fit.standing.trusted_follow}};
  if (record.earlier) json["warm_start"] = describe_start(*record.earlier, *record.start, record.contradicted);
  json["covariates"] = describe_covariates(labels.covariates);
  if (labels.embedding) json["embedding"] = describe_embedding(*labels.embedding, *votes.embeddings);
  if (!labels.sources.row.empty()) json["sources"] = describe_sources(votes, labels.sources, fit);
  json["flip_rate"] = flip_rate(labels);
  json["reliability"] = {{"method", record.reliability.method},
                         {"votes", static_cast<std::uint64_t>(record.reliability.trials())},
                         {"ece", record.reliability.ece()},
                         {"ece_by_chance", record.reliability.ece_by_chance()}};
  if (const auto& calibration = record.calibration)
    json["calibration"] = {{"method", "temperature"},
                           {"folds_by", name_of(record.folds_by)},
                           {"slope", calibration->slope},
                           {"held_out_votes", calibration->votes},
                           {"log_loss_gain", calibration->gain.value},
                           {"log_loss_gain_std_error", calibration->gain.std_error},
                           {"applied", calibration->helps()}};
  const Seconds& seconds = record.seconds;
  auto& phases = json["seconds"];
  add_phase(phases, "read", seconds.read);
  add_phase(phases, "group", seconds.group);
  add_phase(phases, "fit", seconds.fit);
  add_phase(phases, "calibrate", seconds.calibrate);
  add_phase(phases, "label", seconds.label);
  return json;
}

void add_phase(nlohmann::ordered_json& seconds, const std::string& phase, const Spent& spent) {
  seconds[phase] = spent.wall;
  seconds["cpu"][phase] = spent.cpu;
  seconds["main_thread"][phase] = spent.main_thread;
}

void read_population(const Json& provenance, const std::string& path, EarlierFit& out) {
  out.inputs = provenance.value("inputs", nlohmann::ordered_json::array()).dump();
  out.model = require<std::string>(provenance, "/model", path);
  out.population = population_of(provenance, out.model, path);
  out.reference_discrimination = require<double>(provenance, "/hyperparameters/reference_discrimination", path);
  out.score_unit = out.reference_discrimination;  // default for files without score_unit
  if (provenance.contains(Json::json_pointer("/hyperparameters/score_unit")))
    out.score_unit = require<double>(provenance, "/hyperparameters/score_unit", path);
  if (out.model == "crowd-bt")
    out.reference_share = require<double>(provenance, "/hyperparameters/reference_eta", path);
  for (const double strength : require<std::vector<double>>(provenance, "/strengths", path))
    out.strengths.push_back(static_cast<int>(std::clamp(strength, 0.0, 10.0)));  // a fit has 1 to 9
  out.thresholds = require<std::vector<float>>(provenance, "/thresholds", path);
  if (!out.thresholds.empty() && out.thresholds.size() != out.strengths.size())
    throw bad_input("{}: attribute 'provenance' has {} strengths and {} thresholds; copy the file again", path,
                    out.strengths.size(), out.thresholds.size());

  if (const std::string part = improper_part(out); !part.empty())
    throw bad_input("{}: attribute 'provenance' has impossible {}; fit again with this version of voxpop", path, part);
}

}  // namespace voxpop
