// Fits with some of their datasets and of their provenance replaced. Every file must be read or refused; what is read
// is reported, exported, planned from, and a later fit starts from it.

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "dataset.h"
#include "export/export.h"
#include "files/fit_file.h"
#include "harness.h"
#include "plan/plan.h"
#include "report/report.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;
using fuzz::Kind;

Votes make_votes() {
  Votes votes;
  for (int i = 0; i < 8; ++i) {
    votes.item_ids.push_back("i" + std::to_string(i));
    votes.features.push_back(static_cast<float>(i * i));
    votes.prompt.push_back(static_cast<std::uint32_t>(i / 4));
  }
  for (const char* id : {"i0", "i1", "i2"}) votes.annotator_ids.push_back(id);
  votes.feature_names.push_back("length");
  for (const char* id : {"i0", "i1"}) votes.prompt_ids.push_back(id);
  for (std::uint32_t v = 0; v < 90; ++v) {
    const std::uint32_t left = v % 8, right = left / 4 * 4 + (left + 1 + v % 3) % 4;
    votes.left.push_back(left);
    votes.right.push_back(right);
    votes.annotator.push_back(v % 3);
    votes.preference.push_back(static_cast<std::int8_t>(v % 7 == 0 ? 0 : left > right ? 1 + v % 2 : -1));
  }
  votes.inputs.push_back({"votes.h5", 0, ""});
  return votes;
}

const Votes& known_votes() {
  static const Votes votes = make_votes();
  return votes;
}

FitRequest request_of(Model model, int max_iterations) {
  FitRequest request;
  request.model = model;
  request.max_iterations = max_iterations;
  request.force = true;
  return request;
}

struct Base {
  std::string path;
  Json provenance;
};

Base make_base(Model model, const char* name) {
  const Labels labels = fuzz::check_fit(known_votes(), request_of(model, 30));
  Json provenance = {{"model", name},
                     {"inputs", Json::array()},
                     {"strengths", {1, 2}},
                     {"thresholds", {0.4, 1.5}},
                     {"converged", true},
                     {"iterations", 12},
                     {"warnings", {"careful"}},
                     {"reliability", {{"method", "left out"}}},
                     {"hyperparameters",
                      {{"discrimination_mean", 1.0},
                       {"discrimination_sd", 0.4},
                       {"side_bias_sd", 0.3},
                       {"reference_discrimination", 1.1},
                       {"tie_habit_median", 0.05},
                       {"tie_habit_logit_sd", 0.7},
                       {"eta_median", 0.85},
                       {"eta_logit_sd", 0.6},
                       {"reference_eta", 0.9}}},
                     {"seconds", Json::object()}};
  Reliability reliability;
  for (std::size_t bin = 0; bin < kReliabilityBins; ++bin) reliability.bins.push_back({1, 0.5, 0.5});
  const Base base{fuzz::folder() + "/" + name + ".h5", provenance};
  OutputFile output(base.path);
  write_fit(output, known_votes(), labels, reliability, provenance, false);
  return base;
}

const std::vector<Base>& bases() {
  static const std::vector<Base> all = {make_base(Model::kRater, "rater"), make_base(Model::kCrowdBt, "crowd-bt"),
                                        make_base(Model::kBradleyTerry, "bt")};
  return all;
}

/// Replaces something in the provenance, or all of it.
std::string spoil(FuzzedDataProvider& in, Json provenance) {
  if (fuzz::odd(in)) return in.ConsumeRandomLengthString(300);
  if (fuzz::odd(in)) return std::string(3000, '[');
  Json* at = &provenance;
  while (at->is_structured() && !at->empty() && !fuzz::odd(in)) {
    auto child = at->begin();
    std::advance(child, in.ConsumeIntegralInRange<std::size_t>(0, at->size() - 1));
    at = &*child;
  }
  static const std::vector<Json> values = {nullptr,
                                           true,
                                           0,
                                           -1,
                                           1e300,
                                           1e-300,
                                           0.5,
                                           1,
                                           "",
                                           "text",
                                           Json::array(),
                                           Json::object(),
                                           {1, 2, 3},
                                           std::uint64_t{1} << 63,
                                           9.9e9};
  *at = fuzz::odd(in) ? Json(in.ConsumeFloatingPoint<double>())
                      : values[in.ConsumeIntegralInRange<std::size_t>(0, values.size() - 1)];
  return provenance.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void replace_something(FuzzedDataProvider& in, hid_t file) {
  struct Known {
    const char* name;
    Kind kind;
    std::uint64_t rows, columns;
  };
  constexpr std::uint64_t kItems = 8, kAnnotators = 3, kPairs = 12;
  static const std::vector<Known> known = {{"items/id", Kind::kText, kItems, 0},
                                           {"items/score", Kind::kFloat32, kItems, 0},
                                           {"items/std_error", Kind::kFloat32, kItems, 0},
                                           {"items/votes", Kind::kUint32, kItems, 0},
                                           {"items/component", Kind::kInt32, kItems, 0},
                                           {"items/controlled_score", Kind::kFloat32, kItems, 0},
                                           {"items/prompt", Kind::kUint32, kItems, 0},
                                           {"prompts/id", Kind::kText, 2, 0},
                                           {"sources/id", Kind::kText, 2, 0},
                                           {"sources/score", Kind::kFloat32, 2, 0},
                                           {"sources/std_error", Kind::kFloat32, 2, 0},
                                           {"annotators/id", Kind::kText, kAnnotators, 0},
                                           {"annotators/votes", Kind::kUint32, kAnnotators, 0},
                                           {"annotators/discrimination", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/discrimination_se", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/side_bias", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/side_bias_se", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/flag", Kind::kEnum, kAnnotators, 0},
                                           {"annotators/flag_probability", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/copies", Kind::kInt32, kAnnotators, 0},
                                           {"annotators/agreement", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/expected_accuracy", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/bits_per_vote", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/tie_habit", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/tie_habit_se", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/eta", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/eta_se", Kind::kFloat32, kAnnotators, 0},
                                           {"annotators/taste", Kind::kFloat32, kAnnotators, 1},
                                           {"annotators/taste_se", Kind::kFloat32, kAnnotators, 1},
                                           {"covariates/name", Kind::kText, 1, 0},
                                           {"covariates/coefficient", Kind::kFloat32, 1, 0},
                                           {"covariates/coefficient_se", Kind::kFloat32, 1, 0},
                                           {"covariates/taste_sd", Kind::kFloat32, 1, 0},
                                           {"pairs/left", Kind::kUint32, kPairs, 0},
                                           {"pairs/right", Kind::kUint32, kPairs, 0},
                                           {"pairs/votes", Kind::kUint32, kPairs, 0},
                                           {"pairs/ties", Kind::kUint32, kPairs, 0},
                                           {"pairs/flagged_votes", Kind::kUint32, kPairs, 0},
                                           {"pairs/wins_left", Kind::kFloat32, kPairs, 0},
                                           {"pairs/probability", Kind::kFloat32, kPairs, 0},
                                           {"pairs/target", Kind::kFloat32, kPairs, 0},
                                           {"pairs/weight", Kind::kFloat32, kPairs, 0},
                                           {"pairs/probability_better", Kind::kFloat32, kPairs, 0},
                                           {"pairs/margin", Kind::kFloat32, kPairs, 0},
                                           {"pairs/margin_se", Kind::kFloat32, kPairs, 0},
                                           {"pairs/information_gain", Kind::kFloat32, kPairs, 0},
                                           {"reliability/votes", Kind::kFloat32, kReliabilityBins, 0},
                                           {"reliability/predicted", Kind::kFloat32, kReliabilityBins, 0},
                                           {"reliability/observed", Kind::kFloat32, kReliabilityBins, 0}};
  const Known& one = known[in.ConsumeIntegralInRange<std::size_t>(0, known.size() - 1)];
  if (H5Lexists(file, one.name, H5P_DEFAULT) > 0) H5Ldelete(file, one.name, H5P_DEFAULT);
  const bool whole = one.kind != Kind::kFloat32;
  fuzz::write_dataset(in, file, {one.name, one.kind, one.rows, one.columns, [&](std::uint64_t) {
                                   return whole ? in.ConsumeIntegralInRange(0, 2) : in.ConsumeProbability<double>();
                                 }});
}

void use(const FitFile& fit) {
  const std::string page = render_page(summarize_fit(fit));
  VOXPOP_REQUIRE(page.size() > 1000);
  for (const ExportFormat format : {ExportFormat::kJsonl, ExportFormat::kNemoAligner, ExportFormat::kCsv}) {
    std::vector<TextOutput> outputs;
    outputs.emplace_back(fuzz::folder() + "/rows");
    ExportOptions options;
    options.format = format;
    options.margin_scale = 1000;
    options.keep_ties = options.keep_undecided = true;
    export_rows(fit, {}, options, outputs, [](std::uint64_t) {});
    outputs[0].commit();
    std::ifstream rows(fuzz::folder() + "/rows");
    for (std::string row; format != ExportFormat::kCsv && std::getline(rows, row);) VOXPOP_REQUIRE(Json::accept(row));
  }
  const auto annotators = reliable_annotators(fit.labels.annotators, 3);
  assign_votes(fit, choose_pairs(fit.labels.pairs, fit.item_ids.size(), 10, 1), annotators, 5,
               [](std::uint32_t, std::size_t) { return true; });
}

}  // namespace
}  // namespace voxpop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  FuzzedDataProvider in(data, size);
  const Base& base = bases()[in.ConsumeIntegralInRange<std::size_t>(0, bases().size() - 1)];
  const std::string path = fuzz::folder() + "/fit.h5";
  std::filesystem::copy_file(base.path, path, std::filesystem::copy_options::overwrite_existing);
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  VOXPOP_REQUIRE(file >= 0);
  for (int changes = in.ConsumeIntegralInRange(0, 3); changes > 0; --changes) replace_something(in, file);
  if (in.ConsumeBool()) {
    H5Adelete(file, "provenance");
    fuzz::write_attribute(in, file, "provenance", {spoil(in, base.provenance)}, true);
  }
  VOXPOP_REQUIRE(H5Fclose(file) >= 0);

  FitFile fit;
  if (fuzz::ends_well([&] { fit = read_fit_file(path, fuzz::context()); })) fuzz::ends_well([&] { use(fit); });
  EarlierFit earlier;
  if (!fuzz::ends_well([&] { earlier = read_earlier_fit(path); })) return 0;
  const Model models[] = {Model::kRater, Model::kCrowdBt, Model::kBradleyTerry};
  const char* const names[] = {"rater", "crowd-bt", "bt"};
  for (int m = 0; m < 3; ++m)
    if (earlier.model == names[m])
      fuzz::ends_well([&] { fuzz::check_fit(known_votes(), request_of(models[m], 10), &earlier); });
  return 0;
}
