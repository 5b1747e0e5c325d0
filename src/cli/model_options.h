#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "fit/device.h"
#include "fit/fit.h"
#include "group/views.h"
#include "group/weights.h"

namespace voxpop {

// What the choices on the command line mean.
inline const std::map<std::string, Model> kModels = {
    {"bt", Model::kBradleyTerry}, {"crowd-bt", Model::kCrowdBt}, {"rater", Model::kRater}};
/// Takes the models' names; says what became of one that was retired.
CLI::Validator known_model();
/// Refuses the empty name.
CLI::Validator file_name();
inline const std::map<std::string, Ties> kTies = {
    {"model", Ties::kModel}, {"half", Ties::kHalf}, {"drop", Ties::kDrop}};

inline const std::map<std::string, Repeats> kRepeats = {
    {"all", Repeats::kAll}, {"first", Repeats::kFirst}, {"last", Repeats::kLast}, {"one", Repeats::kOne}};

inline const std::map<std::string, ViewChoice> kViews = {
    {"auto", ViewChoice::kAuto}, {"on", ViewChoice::kOn}, {"off", ViewChoice::kOff}};

/// Options of every verb that fits.
struct ModelOptions {
  std::string ties = "model";
  std::string repeats;  ///< empty: as VoteUse has it
  bool no_side_bias = false;
  std::string views = "auto";
  std::string device = "auto";
  std::size_t memory_limit = 0;
  int threads = 0;
  int max_iterations = 200;
  bool no_adversaries = false;
  std::vector<std::string> ignore;
  std::string embeddings;  ///< file; empty: 'items/embedding'

  VoteUse vote_use(ViewUse views_used) const {
    return {.repeats = repeats.empty() ? std::nullopt : std::optional(kRepeats.at(repeats)),
            .side_bias = !no_side_bias,
            .views = views_used != ViewUse::kNone};
  }
  /// Only rater knows annotators' own views.
  ViewUse view_use(const std::string& model, const Groups& groups, const Votes& votes) const {
    return has_discriminations(kModels.at(model)) ? choose_views(groups, votes, kViews.at(views)) : ViewUse::kNone;
  }
  bool uses(const char* name) const { return std::ranges::find(ignore, name) == ignore.end(); }
  CovariateChoice covariates() const { return {.prior_score = uses("prior_score"), .features = uses("features")}; }
  bool uses_sources() const { return uses("sources"); }
  FitOptions fit_options(const std::string& model, const Groups& groups, ViewUse views_used) const {
    return {.model = kModels.at(model),
            .answers = groups.answers,
            .covariates = groups.covariates.count(),
            .tastes = groups.covariates.features,
            .sources = static_cast<int>(groups.sources),
            .views = views_used,
            .adversaries = !no_adversaries,
            .max_iterations = max_iterations};
  }
};
void add_model_options(CLI::App& verb, ModelOptions& options);
/// The items' embeddings, of the file that is named or of the votes' files; null: there are none, or the model does not
/// use them.
std::shared_ptr<const Embeddings> read_embeddings(const ModelOptions& options, const std::string& model,
                                                  const std::vector<std::string>& inputs, const Votes& votes,
                                                  bool quiet);
/// Where to fit: as choose_device(); embeddings are fitted on a CPU, by one process.
DeviceChoice choose_device(const ModelOptions& options, const Votes& votes, const Embeddings* embeddings);
/// Where it is certain that the CPU will fit, keeps this process within options.memory_limit; else that is up to
/// begin_memory_limit(), once the device is chosen. `output`: beside it there is room; empty: here.
void limit_memory(const ModelOptions& options, const std::string& output);

}  // namespace voxpop
