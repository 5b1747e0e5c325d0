#include "harness.h"

#include <simdjson.h>
#include <sys/mman.h>
#include <unistd.h>

#include <oneapi/tbb/global_control.h>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <set>

#include "cli/file_watch.h"
#include "core/error.h"
#include "group/bursts.h"
#include "group/sources.h"
#include "guards/findings.h"
#include "hdf5/watched_call.h"
#include "job/fit_job.h"

namespace voxpop::fuzz {
namespace {

// One thread: the same input takes the same way each time.
const oneapi::tbb::global_control one_thread(oneapi::tbb::global_control::max_allowed_parallelism, 1);

// Damaged files that keep HDF5 busy come one after the other. Its crashes are the sanitizer's to report.
ProgramFileWatch file_watch(std::chrono::seconds(1), ProgramFileWatch::Crashes::kOthers);

void check_ids(const Strings& ids) {
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    VOXPOP_REQUIRE(seen.insert(ids[i]).second);
    VOXPOP_REQUIRE(simdjson::validate_utf8(ids[i]));
  }
}

void check_finite(const Column<float>& column) {
  for (const float x : column) VOXPOP_REQUIRE(std::isfinite(x));
}
void check_within(const Column<float>& column, float low, float high) {
  for (const float x : column) VOXPOP_REQUIRE(x >= low && x <= high);
}

}  // namespace

const Context& context() {
  static const Context watched = {.watch = &file_watch};
  return watched;
}

void fail(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
  std::abort();
}

bool ends_well(const std::function<void()>& act) {
  try {
    act();
    return true;
  } catch (const Error& error) {
    VOXPOP_REQUIRE(error.exit() == Exit::kBadInput || error.exit() == Exit::kFileSystem ||
                   error.exit() == Exit::kUsage);
    VOXPOP_REQUIRE(std::string_view(error.what()).size() > 10);
    return false;
  }
}

std::string memory_file(std::string_view bytes, int which) {
  static std::array<int, 4> files = {-1, -1, -1, -1};
  int& file = files.at(which);
  if (file < 0) file = memfd_create("input", 0);
  if (ftruncate(file, 0) != 0 || pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
      lseek(file, 0, SEEK_SET) != 0)
    std::abort();
  return "/proc/self/fd/" + std::to_string(file);
}

const std::string& folder() {
  static const std::string path = [] {
    const auto own = std::filesystem::temp_directory_path() / ("voxpop-fuzz." + std::to_string(getpid()));
    std::filesystem::create_directories(own);
    return own.string();
  }();
  return path;
}

void check_votes(const Votes& votes) {
  const std::size_t rows = votes.size(), items = votes.item_ids.size();
  VOXPOP_REQUIRE(rows > 0);
  VOXPOP_REQUIRE(votes.left.size() == rows && votes.right.size() == rows && votes.annotator.size() == rows);
  VOXPOP_REQUIRE(votes.timestamp.empty() || votes.timestamp.size() == rows);
  VOXPOP_REQUIRE(votes.prompt.empty() ? votes.prompt_ids.empty() : votes.prompt.size() == items);
  VOXPOP_REQUIRE(votes.prior_score.empty() || votes.prior_score.size() == items);
  VOXPOP_REQUIRE(votes.features.size() == (votes.features.empty() ? 0 : items * votes.feature_names.size()));
  for (const std::uint32_t prompt : votes.prompt) VOXPOP_REQUIRE(prompt < votes.prompt_ids.size());
  for (std::size_t row = 0; row < rows; ++row) {
    VOXPOP_REQUIRE(votes.left[row] < items && votes.right[row] < items && votes.left[row] != votes.right[row]);
    VOXPOP_REQUIRE(votes.annotator[row] < votes.annotator_ids.size());
    VOXPOP_REQUIRE(std::abs(votes.preference[row]) <= kMaxLevels);
    VOXPOP_REQUIRE(votes.prompt.empty() || votes.prompt[votes.left[row]] == votes.prompt[votes.right[row]]);
  }
  for (const float x : votes.prior_score) VOXPOP_REQUIRE(std::isfinite(x));
  for (const float x : votes.features) VOXPOP_REQUIRE(std::isfinite(x));
  for (const Strings* ids :
       {&votes.item_ids, &votes.annotator_ids, &votes.prompt_ids, &votes.source_ids, &votes.feature_names})
    check_ids(*ids);
}

Labels check_fit(Votes votes, const FitRequest& request, const EarlierFit* earlier) {
  find_bursts(votes);
  FitJob job(request, context());
  if (earlier != nullptr) job.start_from(*earlier);
  FitRecord record = job.run(std::move(votes));
  for (const Finding& finding : record.findings) VOXPOP_REQUIRE(!finding.text.empty());
  VOXPOP_REQUIRE(std::isfinite(record.fit.posterior.log_evidence));
  VOXPOP_REQUIRE(record.fit.reference_discrimination > 0 && std::isfinite(record.fit.reference_discrimination));
  VOXPOP_REQUIRE(describe(record).is_object());
  Labels labels = std::move(record.labels);
  check_finite(labels.items.score);
  check_finite(labels.items.std_error);
  check_finite(labels.items.controlled_score);
  check_finite(labels.sources.score);
  check_finite(labels.sources.std_error);
  check_finite(labels.covariates.coefficient);
  check_finite(labels.covariates.coefficient_se);
  check_finite(labels.covariates.taste_sd);
  check_finite(labels.pairs.margin);
  check_finite(labels.pairs.margin_se);
  check_finite(labels.pairs.information_gain);
  check_within(labels.pairs.probability, 0, 1);
  for (const Column<float>* target : {&labels.pairs.target, &labels.vote_target}) check_within(*target, 0, 1);
  for (const Column<float>* weight : {&labels.pairs.weight, &labels.vote_weight}) {
    check_finite(*weight);
    for (const float w : *weight) VOXPOP_REQUIRE(w >= 0);
  }
  check_within(labels.pairs.probability_better, 0, 1);
  const AnnotatorLabels& annotators = labels.annotators;
  check_finite(annotators.discrimination);
  check_finite(annotators.side_bias);
  check_finite(annotators.taste);
  check_finite(annotators.taste_se);
  if (has_discriminations(request.model)) {
    check_finite(annotators.discrimination_se);
    check_finite(annotators.side_bias_se);
  }
  for (const Column<float>* share : {&annotators.tie_habit, &annotators.eta}) check_within(*share, 0, 1);
  check_finite(annotators.eta_se);
  for (std::size_t a = 0; a < annotators.votes.size(); ++a) {
    const bool unknown = annotators.flag[a] == static_cast<std::int8_t>(Flag::kUnknown);
    VOXPOP_REQUIRE(std::isnan(annotators.flag_probability[a]) == (unknown || request.model == Model::kBradleyTerry));
    VOXPOP_REQUIRE(std::isnan(annotators.flag_probability[a]) ||
                   (annotators.flag_probability[a] >= 0 && annotators.flag_probability[a] <= 1));
    VOXPOP_REQUIRE(std::isnan(annotators.agreement[a]) ||
                   (annotators.agreement[a] >= 0 && annotators.agreement[a] <= 1));
    VOXPOP_REQUIRE(std::isnan(annotators.expected_accuracy[a]) ||
                   (annotators.expected_accuracy[a] >= 0 && annotators.expected_accuracy[a] <= 1.001f));
  }
  VOXPOP_REQUIRE(labels.pairs.left.size() == labels.pairs.probability.size());
  return labels;
}

}  // namespace voxpop::fuzz
