#include "files/fit_file.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "core/stopwatch.h"
#include "files/fit_columns.h"
#include "files/fit_record.h"
#include "hdf5/hdf5.h"

namespace voxpop {
namespace {

/// Reads columns and tables of one file. Every error names the file and the dataset.
class FitReader {
 public:
  FitReader(const std::string& path, const Context& context) : file_(path, context) {
    const std::string schema = file_.attribute("voxpop_schema");
    if (schema != "fit/1")
      throw bad_input("{}: {}; it must be a fit, 'fit/1' (voxpop fit VOTES.h5 -o FIT.h5 makes one)", path,
                      schema.empty() ? "no root attribute 'voxpop_schema'" : "schema '" + shown(schema) + "'");
  }
  const InputHdf5& file() const { return file_; }

  Column<float> floats(const std::string& name, std::size_t rows) const {
    require_rows(name, file_.rows(name), rows);  // check before allocating the size that the file claims
    return narrowed(file_.read_floats(name));
  }
  /// Also refuses NaN.
  Column<float> floats_within(const std::string& name, std::size_t rows, float low, float high) const {
    Column<float> column = floats(name, rows);
    for (std::size_t row = 0; row < rows; ++row)
      if (!(column[row] >= low && column[row] <= high))
        throw bad_input("{}: '{}' row {} is {}; it must be from {} to {}", file_.path(), name, row, column[row], low,
                        high);
    return column;
  }
  Column<float> optional_floats(const std::string& name, std::size_t rows) const {
    return file_.has(name) ? floats(name, rows) : Column<float>();
  }
  Column<float> matrix(const std::string& name, std::size_t rows, std::size_t columns) const {
    const InputHdf5::MatrixShape shape = file_.matrix_shape(name);
    require_rows(name, shape.rows, rows);
    if (shape.columns != columns)
      throw bad_input("{}: '{}' has {} columns; it must have {}", file_.path(), name, shape.columns, columns);
    const std::vector<double> wide = file_.read_matrix(name);
    if (!std::ranges::all_of(wide, [](double x) { return std::isfinite(x); }))
      throw bad_input("{}: '{}' has NaN or infinite values; copy the file again", file_.path(), name);
    return narrowed(wide);
  }
  Column<std::uint32_t> indices(const std::string& name, std::size_t rows, std::uint64_t limit, const char* of) const {
    require_rows(name, file_.rows(name), rows);
    const Column<std::uint32_t> column = file_.read_indices(name, limit, of);
    return {column.begin(), column.end()};
  }
  Column<std::uint32_t> counts(const std::string& name, std::size_t rows) const {
    return indices(name, rows, std::uint64_t{1} << 32, "numbers of votes");
  }
  template <class Integer>
  Column<Integer> integers(const std::string& name, std::size_t rows, std::int64_t low, std::int64_t high) const {
    require_rows(name, file_.rows(name), rows);
    const auto refuse = [&](std::uint64_t row, const std::string& value) {
      return bad_input("{}: '{}' row {} is {}; it must be from {} to {}", file_.path(), name, row, value, low, high);
    };
    const auto column = file_.read_integers<Integer>(name, {0, rows}, low, high, refuse);
    return {column.begin(), column.end()};
  }

  Column<std::int8_t> flags(const std::string& name, std::size_t rows) const {
    require_rows(name, file_.rows(name), rows);
    const std::size_t last = flag_names().size() - 1;
    const auto column =
        file_.read_enum(name, 0, static_cast<std::int64_t>(last), [&](std::uint64_t row, const std::string& value) {
          return bad_input("{}: '{}' row {} is {}; it must be from 0 to {}", file_.path(), name, row, value, last);
        });
    return {column.begin(), column.end()};
  }

 private:
  static Column<float> narrowed(const std::vector<double>& wide) {
    Column<float> column(wide.size());
    std::transform(wide.begin(), wide.end(), column.begin(), [](double x) { return static_cast<float>(x); });
    return column;
  }
  void require_rows(const std::string& name, std::size_t rows, std::size_t expected) const {
    if (rows != expected)
      throw bad_input("{}: '{}' has {} rows, but the other columns of its table have {}", file_.path(), name, rows,
                      expected);
  }
  InputHdf5 file_;
};

/// Largest margin. Exports multiply margins by up to 1000; the product must stay a finite float.
constexpr float kMargin = 1e30f;
constexpr float kAny = std::numeric_limits<float>::max(), kPositive = std::numeric_limits<float>::min();

ItemLabels read_items(const FitReader& read, std::size_t items) {
  ItemLabels out;
  out.score = read.floats_within("items/score", items, -kAny, kAny);
  out.std_error = read.floats_within("items/std_error", items, 0, kAny);
  out.votes = read.counts("items/votes", items);
  out.component = read.integers<std::int32_t>("items/component", items, -1, static_cast<std::int64_t>(items) - 1);
  out.controlled_score = read.optional_floats("items/controlled_score", items);
  return out;
}

AnnotatorLabels read_annotators(const FitReader& read, std::size_t annotators) {
  AnnotatorLabels out;
  out.votes = read.counts("annotators/votes", annotators);
  for (const auto& [name, column] :
       {std::pair{"annotators/discrimination", &out.discrimination},
        std::pair{"annotators/discrimination_se", &out.discrimination_se},
        std::pair{"annotators/side_bias", &out.side_bias}, std::pair{"annotators/side_bias_se", &out.side_bias_se},
        std::pair{"annotators/agreement", &out.agreement},
        std::pair{"annotators/expected_accuracy", &out.expected_accuracy},
        std::pair{"annotators/bits_per_vote", &out.bits_per_vote},
        std::pair{"annotators/flag_probability", &out.flag_probability}})
    *column = read.floats(name, annotators);
  out.flag = read.flags("annotators/flag", annotators);
  if (read.file().has("annotators/copies"))
    out.copies =
        read.integers<std::int32_t>("annotators/copies", annotators, -1, static_cast<std::int64_t>(annotators) - 1);
  return out;
}

PairColumns read_pairs(const FitReader& read, std::size_t items) {
  PairColumns out;
  const std::size_t pairs = read.file().rows("pairs/left");
  out.left = read.indices("pairs/left", pairs, items, "item indices");
  out.right = read.indices("pairs/right", pairs, items, "item indices");
  out.votes = read.counts("pairs/votes", pairs);
  out.ties = read.counts("pairs/ties", pairs);
  out.flagged_votes = read.counts("pairs/flagged_votes", pairs);
  out.wins_left = read.floats_within("pairs/wins_left", pairs, 0, kAny);
  out.probability = read.floats_within("pairs/probability", pairs, 0, 1);
  out.probability_better = read.floats_within("pairs/probability_better", pairs, 0, 1);
  out.margin = read.floats_within("pairs/margin", pairs, -kMargin, kMargin);
  out.margin_se = read.floats_within("pairs/margin_se", pairs, 0, kMargin);
  out.information_gain = read.floats_within("pairs/information_gain", pairs, 0, kAny);
  if (read.file().has("pairs/target")) {
    out.target = read.floats_within("pairs/target", pairs, 0, 1);
    out.weight = read.floats_within("pairs/weight", pairs, 0, kAny);
  }
  return out;
}

Drift read_drift(const FitReader& read, std::size_t annotators) {
  Drift out;
  out.statistic = read.floats("annotators/change_statistic", annotators);
  out.p_value = read.floats("annotators/change_p_value", annotators);
  out.corrected_p_value = read.floats("annotators/change_p_value_corrected", annotators);
  WindowColumns& windows = out.windows;
  const std::string group = "annotators/windows/";
  const std::size_t rows = read.file().rows(group + "annotator");
  windows.annotator = read.indices(group + "annotator", rows, annotators, "annotator indices");
  windows.votes = read.counts(group + "votes", rows);
  constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min(), kHigh = ~kLow;
  windows.start = read.integers<std::int64_t>(group + "start", rows, kLow, kHigh);
  windows.end = read.integers<std::int64_t>(group + "end", rows, kLow, kHigh);
  for (const auto& [name, column] :
       {std::pair{"expected_accuracy", &windows.expected_accuracy},
        std::pair{"expected_accuracy_se", &windows.expected_accuracy_se},
        std::pair{"discrimination", &windows.discrimination},
        std::pair{"discrimination_se", &windows.discrimination_se}, std::pair{"side_bias", &windows.side_bias},
        std::pair{"side_bias_se", &windows.side_bias_se}, std::pair{"votes_per_hour", &windows.votes_per_hour}})
    *column = read.floats(group + name, rows);
  return out;
}

Reliability read_reliability(const FitReader& read, const nlohmann::ordered_json& provenance) {
  Reliability out;
  const auto method = "/reliability/method"_json_pointer;
  if (provenance.contains(method)) out.method = provenance.at(method).get<std::string>();
  const Column<float> votes = read.floats_within("reliability/votes", kReliabilityBins, 0, kAny);
  const Column<float> predicted = read.floats("reliability/predicted", kReliabilityBins);
  const Column<float> observed = read.floats("reliability/observed", kReliabilityBins);
  for (std::size_t bin = 0; bin < votes.size(); ++bin) {
    const auto is_share = [](float x) { return x >= 0 && x <= 1; };
    if (votes[bin] > 0 && !(is_share(predicted[bin]) && is_share(observed[bin])))
      throw bad_input(
          "{}: 'reliability' row {} has predicted {} and observed {}; both must be from 0 to 1; copy the file again",
          read.file().path(), bin, predicted[bin], observed[bin]);
    out.bins.push_back({votes[bin], predicted[bin], observed[bin]});
  }
  return out;
}

nlohmann::ordered_json read_provenance(const InputHdf5& file) {
  nlohmann::ordered_json provenance = parse_json(file.attribute("provenance"));
  if (!provenance.is_object())
    throw bad_input("{}: attribute 'provenance' is not a JSON object; copy the file again", file.path());
  const auto require_kind = [&](const char* place, bool (nlohmann::ordered_json::*is_kind)() const noexcept) {
    const nlohmann::ordered_json::json_pointer pointer(place);
    if (provenance.contains(pointer) && !(provenance.at(pointer).*is_kind)())
      throw bad_input("{}: attribute 'provenance' has a {} of the wrong type; copy the file again", file.path(), place);
  };
  for (const char* place : {"/model", "/reliability/method"}) require_kind(place, &nlohmann::ordered_json::is_string);
  require_kind("/converged", &nlohmann::ordered_json::is_boolean);
  require_kind("/iterations", &nlohmann::ordered_json::is_number_integer);
  for (const char* place : {"/warnings", "/findings"}) require_kind(place, &nlohmann::ordered_json::is_array);
  return provenance;
}

/// Reads the scores of sources, if the fit has any.
void read_sources(const FitReader& read, Strings& ids, SourceLabels& sources) {
  if (!read.file().has("sources/id")) return;
  ids = read.file().read_strings("sources/id");
  sources.score = read.floats_within("sources/score", ids.size(), -kAny, kAny);
  sources.std_error = read.floats_within("sources/std_error", ids.size(), kPositive, kAny);
}

}  // namespace

namespace {

/// Adds the sum of the phases, for each kind of time.
void add_totals(nlohmann::ordered_json& seconds) {
  seconds.erase("total");  // of a fit that was written before
  double total = 0;
  for (auto& phase : seconds)
    if (phase.is_object())
      add_totals(phase);
    else
      total += phase.get<double>();
  seconds["total"] = total;
}

void write_labels(OutputFile& output, const FitIds& ids, const Labels& labels, const Reliability& reliability,
                  nlohmann::ordered_json& provenance, bool compress, const Context& context) {
  const Stopwatch watch;
  OutputHdf5 file(output, compress, context);
  file.write_attribute("voxpop_schema", "fit/1");

  write_columns(file, ids, labels, reliability);
  auto& seconds = provenance["seconds"];
  add_phase(seconds, "write", watch.spent());
  add_totals(seconds);
  file.write_attribute("provenance", provenance.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  file.finish();
}

}  // namespace

void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, const Reliability& reliability,
               nlohmann::ordered_json& provenance, bool compress, const Context& context) {
  Strings sources;
  for (const std::uint32_t row : labels.sources.row) sources.push_back(votes.source_ids[row]);
  write_labels(output, {votes.item_ids, votes.annotator_ids, votes.prompt_ids, sources, votes.prompt}, labels,
               reliability, provenance, compress, context);
}

void write_fit(OutputFile& output, const FitResult& fit, nlohmann::ordered_json& provenance, bool compress,
               const Context& context) {
  write_labels(output, {fit.item_ids, fit.annotator_ids, fit.prompt_ids, fit.source_ids, fit.prompt}, fit.labels,
               fit.reliability, provenance, compress, context);
}

FitFile read_fit_file(const std::string& path, const Context& context) {
  const FitReader read(path, context);
  const InputHdf5& file = read.file();
  FitFile out;
  out.path = path;
  out.json = read_provenance(file);
  out.provenance = out.json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  for (const auto& warning : out.json.value("warnings", nlohmann::ordered_json::array()))
    if (warning.is_string()) out.warnings.push_back(warning.get<std::string>());
  out.converged = out.json.value("converged", false);
  out.iterations = out.json.value("iterations", 0);
  out.item_ids = file.read_strings("items/id");
  out.annotator_ids = file.read_strings("annotators/id");
  const std::size_t items = out.item_ids.size(), annotators = out.annotator_ids.size();
  if (file.has("items/prompt")) {
    out.prompt_ids = file.read_strings("prompts/id");
    out.prompt = read.indices("items/prompt", items, out.prompt_ids.size(), "prompt indices");
  }
  out.labels.items = read_items(read, items);
  out.labels.annotators = read_annotators(read, annotators);
  read_sources(read, out.source_ids, out.labels.sources);
  out.labels.pairs = read_pairs(read, items);
  const PairColumns& pairs = out.labels.pairs;
  for (std::size_t p = 0; p < pairs.left.size(); ++p) {
    for (const std::uint32_t item : {pairs.left[p], pairs.right[p]})
      if (out.labels.items.component[item] < 0)
        throw bad_input("{}: 'items/component' row {} is -1, but pair {} has that item; copy the file again", path,
                        item, p);
    if (out.labels.items.component[pairs.left[p]] != out.labels.items.component[pairs.right[p]])
      throw bad_input("{}: 'pairs' row {} has items of two components; copy the file again", path, p);
    const bool after =
        p == 0 || std::pair(pairs.left[p - 1], pairs.right[p - 1]) < std::pair(pairs.left[p], pairs.right[p]);
    if (pairs.left[p] >= pairs.right[p] || !after)
      throw bad_input(
          "{}: 'pairs' row {} is ({}, {}); left must be below right, and rows must be in ascending order; copy the "
          "file again",
          path, p, pairs.left[p], pairs.right[p]);
  }
  if (file.has("annotators/windows/annotator")) out.labels.drift = read_drift(read, annotators);
  out.reliability = read_reliability(read, out.json);
  return out;
}

Column<float> read_vote_counts(const std::string& path, std::size_t votes, const Context& context) {
  const FitReader read(path, context);
  if (!read.file().has("votes/count")) return Column<float>(votes, 1.0f);
  return read.floats_within("votes/count", votes, 0, kAny);
}

EarlierFit read_earlier_fit(const std::string& path, const Context& context) {
  const FitReader read(path, context);
  const InputHdf5& file = read.file();
  const nlohmann::ordered_json provenance = read_provenance(file);
  EarlierFit out;
  out.file = fingerprint(path, context);
  read_population(provenance, path, out);
  out.annotator_ids = file.read_strings("annotators/id");
  const std::size_t annotators = out.annotator_ids.size();
  out.annotators = read_annotators(read, annotators);
  const auto shares = [&](const char* name) { return read.floats_within(name, annotators, 0, 1); };
  if (file.has("annotators/tie_habit")) {
    out.annotators.tie_habit = shares("annotators/tie_habit");
    out.annotators.tie_habit_se = read.floats_within("annotators/tie_habit_se", annotators, 0, kAny);
  }
  if (out.model == "crowd-bt") {
    out.annotators.eta = shares("annotators/eta");
    out.annotators.eta_se = read.floats_within("annotators/eta_se", annotators, 0, kAny);
  }
  read_sources(read, out.source_ids, out.sources);
  if (!file.has("covariates/name")) return out;
  CovariateLabels& covariates = out.covariates;
  covariates.names = file.read_strings("covariates/name");
  const std::size_t count = covariates.names.size();
  covariates.coefficient = read.floats_within("covariates/coefficient", count, -kAny, kAny);
  covariates.coefficient_se = read.floats_within("covariates/coefficient_se", count, kPositive, kAny);
  if (!file.has("covariates/taste_sd")) return out;
  const std::size_t tastes = file.rows("covariates/taste_sd");
  covariates.taste_sd = read.floats_within("covariates/taste_sd", tastes, kPositive, kAny);
  out.annotators.taste = read.matrix("annotators/taste", annotators, tastes);
  out.annotators.taste_se = read.matrix("annotators/taste_se", annotators, tastes);
  return out;
}

}  // namespace voxpop
