#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "voxpop/export.h"
#include "voxpop/model.h"

namespace voxpop {

/// How a tie counts: as an answer of its own; as half a vote to each side; not at all.
enum class Ties { kModel, kHalf, kDrop };

/// What an annotator's repeated votes on one pair count: each as a vote; the first or last of them alone; all together
/// as one vote.
enum class Repeats { kAll, kFirst, kLast, kOne };

/// Whether annotators' own views of items are modelled: where the votes show that there are such; always; never.
enum class ViewChoice { kAuto, kOn, kOff };

/// What is held out at once: a vote, so that its annotator's other votes on the same items may give it away; or all of
/// them, so that what is predicted is another annotator's opinion, as labels are.
enum class FoldsBy { kVote, kBlock };

// The names of these on the command line, in files and in Python.
VOXPOP_EXPORT const char* name_of(Model model);
VOXPOP_EXPORT const char* name_of(Ties ties);
VOXPOP_EXPORT const char* name_of(Repeats repeats);
VOXPOP_EXPORT const char* name_of(ViewChoice views);
VOXPOP_EXPORT const char* name_of(FoldsBy folds_by);
/// And back. Throws Error(kUsage) with the names that there are.
VOXPOP_EXPORT Model model_named(std::string_view name);
VOXPOP_EXPORT Ties ties_named(std::string_view name);
VOXPOP_EXPORT Repeats repeats_named(std::string_view name);
VOXPOP_EXPORT ViewChoice views_named(std::string_view name);
VOXPOP_EXPORT FoldsBy folds_by_named(std::string_view name);

/// What every fit of votes may be asked for.
struct ModelWishes {
  Ties ties = Ties::kModel;
  /// None: one vote for an annotator's repeats, but all of votes that somebody said to be independent.
  std::optional<Repeats> repeats = std::nullopt;
  bool side_bias = true;  ///< false: sides of all votes are taken as unknown, so that no side bias is learnt
  ViewChoice views = ViewChoice::kAuto;  ///< rater alone
  bool adversaries = true;               ///< crowd-bt: eta may lie below 1/2
  // What is known of items is used where the votes have it.
  bool use_prior_score = true, use_features = true, use_sources = true, use_embeddings = true;
  int max_iterations = 200;
};

/// A fit that is asked for. Wishes only: what the votes are is found in them.
struct FitRequest : ModelWishes {
  Model model = Model::kRater;
  /// Path of an earlier fit (fit/1) of the same model: what it knows of annotators is their prior here. Empty: none.
  std::string warm_start = {};
  /// Fit five more times, each without a fifth of the votes, and correct pairs/probability by what those say, where
  /// that lowers their log loss by more than its standard error.
  bool calibrate = false;
  std::uint32_t seed = 1;  ///< of the folds of `calibrate`; the models draw nothing at random
  bool force = false;      ///< labels also where nobody can tell which of two camps is right
  bool strict = false;     ///< a fit that does not converge is an error
  /// File that keeps the fit on its way; where it is present, the fit goes on from it. Empty: none.
  std::string checkpoint = {};
  double checkpoint_every = 60;  ///< seconds
  /// For the provenance: how the fit was asked for, such as a command line.
  std::string asked_by = {};

  /// Throws Error(kUsage) for wishes that contradict each other.
  VOXPOP_EXPORT void check() const;
};

/// Models compared on votes that they have not seen.
struct EvaluateRequest : ModelWishes {
  std::vector<Model> models = {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater};
  int folds = 5;                                   ///< parts that votes are held out in, 2 to 100
  std::optional<FoldsBy> folds_by = std::nullopt;  ///< none: what the votes ask for
  std::uint32_t seed = 1;                          ///< of the folds
  bool calibrate = false;                          ///< also each model with its logits times a slope

  /// Throws Error(kUsage) for wishes that contradict each other.
  VOXPOP_EXPORT void check() const;
};

}  // namespace voxpop
