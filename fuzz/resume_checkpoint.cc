// Checkpoints with some of their numbers and datasets replaced, and a checksum that is right. Every file must be
// refused, or the fit goes on from it to numbers or to an error.

#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>

#include "dataset.h"
#include "files/checkpoint.h"
#include "group/covariates.h"
#include "group/sources.h"
#include "harness.h"

namespace voxpop {
namespace {

using fuzz::odd;

/// Items with features, ties and strengths, sources; two components.
Votes make_votes() {
  Votes votes;
  for (int i = 0; i < 8; ++i) {
    votes.item_ids.push_back("i" + std::to_string(i));
    votes.features.push_back(static_cast<float>(i * i));
    votes.prompt.push_back(static_cast<std::uint32_t>(i / 4));
    votes.source.push_back(static_cast<std::uint32_t>(i % 3));
  }
  for (const char* id : {"a0", "a1", "a2", "a3"}) votes.annotator_ids.push_back(id);
  for (const char* id : {"m0", "m1", "m2"}) votes.source_ids.push_back(id);
  votes.feature_names.push_back("length");
  for (const char* id : {"p0", "p1"}) votes.prompt_ids.push_back(id);
  for (std::uint32_t v = 0; v < 80; ++v) {
    const std::uint32_t left = v % 8, right = left / 4 * 4 + (left + 1 + v % 3) % 4;
    votes.left.push_back(left);
    votes.right.push_back(right);
    votes.annotator.push_back(v % 4);
    votes.preference.push_back(static_cast<std::int8_t>(v % 7 == 0 ? 0 : left > right ? 1 + v % 2 : -1));
  }
  votes.inputs.push_back({"votes.h5", 0, ""});
  return votes;
}

const Groups& known_groups() {
  static const Groups groups = [] {
    Votes votes = make_votes();
    const Votes kept = votes;  // grouping takes the columns
    Groups made = group_votes(votes, Ties::kModel);
    made.covariates = find_covariates(kept, made, {});
    set_sources(made, kept);
    return made;
  }();
  return groups;
}

struct Ended {};

/// Keeps a fit after so many iterations, as the input would have it.
class Crafts : public FitKeeper {
 public:
  Crafts(FuzzedDataProvider& in, Checkpoint& file, int iterations) : in_(in), file_(file), left_(iterations) {}
  void resume(FitRun&, Engine&) override {}
  void keep(FitRun& run, Engine& engine) override {
    if (--left_ > 0 && run.state.phase != Phase::kDone) return;
    FitRun changed = run;
    EngineState state = engine.save(changed);
    for (int edits = in_.ConsumeIntegralInRange(0, 5); edits > 0; --edits) change(changed, state);
    engine.load(state);
    file_.keep(changed, engine);
    throw Ended();
  }

 private:
  template <class Column>
  void change_word(Column& column) {
    if (!column.empty()) change_word(column.data(), column.size() * sizeof column[0]);
  }
  void change_word(void* data, std::size_t bytes) {
    const std::size_t words = bytes / sizeof(std::int32_t);
    const std::size_t word = in_.ConsumeIntegralInRange<std::size_t>(0, words - 1);
    constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kMost = std::numeric_limits<float>::max();
    std::int32_t value = in_.PickValueInArray<std::int32_t>(
        {0, 1, -1, 2, 7, 100, 1 << 20, std::numeric_limits<std::int32_t>::max(),
         std::numeric_limits<std::int32_t>::min(), std::bit_cast<std::int32_t>(kNaN),
         std::bit_cast<std::int32_t>(kMost), std::bit_cast<std::int32_t>(1e5f), 0x7ff00000, 0x40f00000, 0x412e8480});
    if (odd(in_)) value = in_.ConsumeIntegral<std::int32_t>();
    std::memcpy(static_cast<char*>(data) + word * sizeof value, &value, sizeof value);
  }
  void change(FitRun& run, EngineState& state) {
    switch (in_.ConsumeIntegralInRange(0, 15)) {
      case 0:
        return change_word(run.annotators);
      case 1:
        return change_word(run.tastes);
      case 2:
        return change_word(run.sources);
      case 3:
        return change_word(state.sites.precision);
      case 4:
        return change_word(state.sites.shift);
      case 5:
        return change_word(state.pair_mean);
      case 6:
        return change_word(state.pair_variance);
      case 7:
        return change_word(state.prompts);
      default:
        return change_word(&run.state, sizeof run.state);
    }
  }

  FuzzedDataProvider& in_;
  Checkpoint& file_;
  int left_;
};

/// Another dataset in the place of one of the file's.
void change_datasets(FuzzedDataProvider& in, const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const std::string name =
      in.PickValueInArray({"state", "annotators", "site_shift", "pair_mean", "solutions", "prompts"});
  H5Ldelete(file, name.c_str(), H5P_DEFAULT);
  fuzz::write_dataset(in, file,
                      {name, fuzz::Kind::kInt32, in.ConsumeIntegralInRange<std::uint64_t>(0, 400), 0,
                       [](std::uint64_t i) { return static_cast<double>(i); }});
  H5Fclose(file);
}

}  // namespace
}  // namespace voxpop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  FuzzedDataProvider in(data, size);
  const Groups& groups = known_groups();
  FitOptions options{.answers = groups.answers};
  options.model = in.PickValueInArray({Model::kRater, Model::kBradleyTerry, Model::kCrowdBt});
  options.covariates = groups.covariates.count();
  options.tastes = groups.covariates.features;
  options.sources = static_cast<int>(groups.sources);
  options.max_iterations = 20;
  const int iterations = in.ConsumeIntegralInRange(1, 25);
  const bool other_datasets = odd(in);
  const std::string path = fuzz::folder() + "/kept";
  std::filesystem::remove(path);
  const auto fit = [&](FitKeeper& keeper) {
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    return fit_model(
        *engine, count_votes(groups), options, [](int, double) {}, &keeper);
  };
  bool is_kept = false;
  {
    Checkpoint file(path, {{"inputs", "fuzz"}}, 0, fuzz::context());
    Crafts crafts(in, file, iterations);
    try {
      fit(crafts);
    } catch (const Ended&) {
      is_kept = true;
    } catch (const Error&) {  // numbers that the engine takes no state from
    }
  }
  if (!is_kept) return 0;
  if (other_datasets) change_datasets(in, path);
  fuzz::ends_well([&] {
    Checkpoint file(path, {{"inputs", "fuzz"}}, 0, fuzz::context());
    Fit found;
    try {
      found = fit(file);
    } catch (const Error& error) {
      if (error.exit() == Exit::kNotConverged) return;  // from numbers that no fit has, it may diverge
      throw;
    }
    VOXPOP_REQUIRE(std::ranges::all_of(found.posterior.pair_mean, [](float x) { return std::isfinite(x); }));
    VOXPOP_REQUIRE(found.iterations <= options.max_iterations * (found.mirrored ? 2 : 1));  // mirrored, it goes on
  });
  return 0;
}
