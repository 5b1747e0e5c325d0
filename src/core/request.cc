#include "voxpop/request.h"

#include <array>
#include <utility>

#include "core/error.h"
#include "core/strings.h"

namespace voxpop {
namespace {

constexpr std::array kModelNames = {"bt", "crowd-bt", "rater"};
constexpr std::array kTiesNames = {"model", "half", "drop"};
constexpr std::array kRepeatsNames = {"all", "first", "last", "one"};
constexpr std::array kViewNames = {"auto", "on", "off"};
constexpr std::array kFoldsNames = {"vote", "block"};

template <class Choice, std::size_t N>
const char* name_in(const std::array<const char*, N>& names, Choice choice) {
  return names.at(static_cast<std::size_t>(choice));
}

template <class Choice, std::size_t N>
Choice find_name(const std::array<const char*, N>& names, std::string_view name, const char* what) {
  std::string all;
  for (std::size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<Choice>(i);
    all += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  throw usage_error("{}: '{}' is not one of {}", what, shown(name), all);
}

void check_wishes(const ModelWishes& wishes) {
  if (wishes.max_iterations < 1) throw usage_error("max_iterations is {}; it must be 1 or more", wishes.max_iterations);
}

}  // namespace

const char* name_of(Model model) { return name_in(kModelNames, model); }
const char* name_of(Ties ties) { return name_in(kTiesNames, ties); }
const char* name_of(Repeats repeats) { return name_in(kRepeatsNames, repeats); }
const char* name_of(ViewChoice views) { return name_in(kViewNames, views); }
const char* name_of(FoldsBy folds_by) { return name_in(kFoldsNames, folds_by); }

Model model_named(std::string_view name) {
  if (name == "lapse")
    throw usage_error(
        "model: 'lapse' was removed, because it measured how often each annotator ties; use rater, which estimates "
        "that");
  return find_name<Model>(kModelNames, name, "model");
}
Ties ties_named(std::string_view name) { return find_name<Ties>(kTiesNames, name, "ties"); }
Repeats repeats_named(std::string_view name) { return find_name<Repeats>(kRepeatsNames, name, "repeats"); }
ViewChoice views_named(std::string_view name) { return find_name<ViewChoice>(kViewNames, name, "views"); }
FoldsBy folds_by_named(std::string_view name) { return find_name<FoldsBy>(kFoldsNames, name, "folds_by"); }

void FitRequest::check() const {
  check_wishes(*this);
  if (model != Model::kRater && views == ViewChoice::kOn)
    throw usage_error(
        "views is 'on' (--views on), but the model {} has no annotators' own views; set model to 'rater' (--model "
        "rater)",
        name_of(model));
  if (model != Model::kCrowdBt && !adversaries)
    throw usage_error(
        "adversaries is false (--no-adversaries), but only the model crowd-bt has this setting, and model is {}; leave "
        "it out",
        name_of(model));
  if (!(checkpoint_every >= 0)) throw usage_error("checkpoint_every is {}; it must be 0 or more", checkpoint_every);
}

void EvaluateRequest::check() const {
  check_wishes(*this);
  if (models.empty()) throw usage_error("models (--models) is empty; name at least one model");
  if (folds < 2 || folds > 100) throw usage_error("folds is {}; it must be from 2 to 100", folds);
}

}  // namespace voxpop
