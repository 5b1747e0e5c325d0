#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "fit/device.h"
#include "fit/fit.h"
#include "group/weights.h"

namespace voxpop {

// What the choices on the command line mean.
inline const std::map<std::string, Model> kModels = {
    {"bt", Model::kBradleyTerry}, {"crowd-bt", Model::kCrowdBt}, {"rater", Model::kRater}, {"lapse", Model::kLapse}};
inline const std::map<std::string, Ties> kTies = {
    {"model", Ties::kModel}, {"half", Ties::kHalf}, {"drop", Ties::kDrop}};

inline const std::map<std::string, Repeats> kRepeats = {
    {"all", Repeats::kAll}, {"first", Repeats::kFirst}, {"last", Repeats::kLast}, {"one", Repeats::kOne}};

/// Options of every verb that fits.
struct ModelOptions {
  std::string ties = "model";
  std::string repeats;  ///< empty: as VoteUse has it
  bool no_side_bias = false;
  std::string device = "auto";
  std::size_t memory_limit = 0;
  int threads = 0;
  int max_iterations = 200;
  bool no_adversaries = false;
  std::vector<std::string> ignore;

  VoteUse vote_use() const {
    return {.repeats = repeats.empty() ? std::nullopt : std::optional(kRepeats.at(repeats)),
            .side_bias = !no_side_bias};
  }
  CovariateChoice covariates() const {
    const auto used = [&](const char* name) { return std::ranges::find(ignore, name) == ignore.end(); };
    return {.prior_score = used("prior_score"), .features = used("features")};
  }
  FitOptions fit_options(const std::string& model, const Groups& groups) const {
    return {.model = kModels.at(model),
            .answers = groups.answers,
            .covariates = groups.covariates.count(),
            .tastes = groups.covariates.features,
            .adversaries = !no_adversaries,
            .max_iterations = max_iterations};
  }
};
void add_model_options(CLI::App& verb, ModelOptions& options);
/// Where the CPU will fit, keeps this process within options.memory_limit; `output`: beside it there is room; empty:
/// here.
void limit_memory(const ModelOptions& options, const std::string& output);

}  // namespace voxpop
