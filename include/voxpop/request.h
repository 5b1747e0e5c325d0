#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "voxpop/export.h"
#include "voxpop/model.h"

namespace voxpop {

/// How a tie counts. kModel: as an answer of its own. kHalf: as half a vote for each side. kDrop: not at all.
enum class Ties { kModel, kHalf, kDrop };

/// How an annotator's repeated votes on one pair count. kAll: each as a vote. kFirst, kLast: only the first or last one
/// counts. kOne: together as one vote.
enum class Repeats { kAll, kFirst, kLast, kOne };

/// Whether to model annotators' own views of items. kAuto: if the votes show that there are such views. kOn: always.
/// kOff: never.
enum class ViewChoice { kAuto, kOn, kOff };

/// What is held out together. kVote: single votes; the annotator's other votes on the same items may then reveal the
/// answer. kBlock: all votes of a block, so that the prediction comes from other annotators, as labels do.
enum class FoldsBy { kVote, kBlock };

// Names on the command line, in files and in Python.
VOXPOP_EXPORT const char* name_of(Model model);
VOXPOP_EXPORT const char* name_of(Ties ties);
VOXPOP_EXPORT const char* name_of(Repeats repeats);
VOXPOP_EXPORT const char* name_of(ViewChoice views);
VOXPOP_EXPORT const char* name_of(FoldsBy folds_by);
/// Inverse of name_of(). Throws Error(kUsage) that lists the valid names.
VOXPOP_EXPORT Model model_named(std::string_view name);
VOXPOP_EXPORT Ties ties_named(std::string_view name);
VOXPOP_EXPORT Repeats repeats_named(std::string_view name);
VOXPOP_EXPORT ViewChoice views_named(std::string_view name);
VOXPOP_EXPORT FoldsBy folds_by_named(std::string_view name);

/// Options that all fits of votes have in common.
struct ModelWishes {
  Ties ties = Ties::kModel;
  /// None: repeats count as one vote together, except votes that are marked as independent.
  std::optional<Repeats> repeats = std::nullopt;
  bool side_bias = true;                 ///< false: treat all sides as unknown, so that no side bias is estimated
  ViewChoice views = ViewChoice::kAuto;  ///< only `rater`
  bool adversaries = true;               ///< crowd-bt: eta below 1/2 is allowed
  // Whether to use these properties of items if the votes have them.
  bool use_prior_score = true, use_features = true, use_sources = true, use_embeddings = true;
  int max_iterations = 200;
};

/// Options of one fit. Which data there are (ties, features, ...) is taken from the votes.
struct FitRequest : ModelWishes {
  Model model = Model::kRater;
  /// Path of an earlier fit (fit/1) of the same model: its annotators' estimates are the priors of this fit. Empty:
  /// none.
  std::string warm_start = {};
  /// Fits five more times, each without a fifth of the votes. Corrects pairs/probability by the predictions for the
  /// votes left out, if this lowers their log loss by more than its standard error.
  bool calibrate = false;
  std::uint32_t seed = 1;  ///< of the folds of `calibrate`; the models use no random numbers
  bool force = false;      ///< gives labels even if nothing shows which of two camps of annotators is right
  bool strict = false;     ///< treat a fit that does not converge as an error
  /// Checkpoint file that the fit saves itself to. If it exists, the fit resumes from it. Empty: none.
  std::string checkpoint = {};
  double checkpoint_every = 60;  ///< seconds between checkpoints
  /// How the fit was requested, such as a command line; copied to the provenance.
  std::string asked_by = {};

  /// Throws Error(kUsage) if options contradict each other.
  VOXPOP_EXPORT void check() const;
};

/// Options of a comparison of models on held-out votes.
struct EvaluateRequest : ModelWishes {
  std::vector<Model> models = {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater};
  int folds = 5;                                   ///< number of parts that are held out in turn, 2 to 100
  std::optional<FoldsBy> folds_by = std::nullopt;  ///< none: kBlock if the votes call for it, see best_folds()
  std::uint32_t seed = 1;                          ///< of the folds
  bool calibrate = false;                          ///< also evaluates each model with its logits times a slope

  /// Throws Error(kUsage) if options contradict each other.
  VOXPOP_EXPORT void check() const;
};

}  // namespace voxpop
