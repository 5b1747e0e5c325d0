// A fit that is kept, ended and taken up again has the bits of one that ran through.

#include "files/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>

#include "core/error.h"
#include "engine_comparison.h"
#include "host_backend.h"

namespace voxpop {
namespace {

using test::make_host_engine;
using test::prompts;
using test::random_groups;
using test::Said;

struct Ended {};

/// Ends the process, so to say, behind an iteration.
class EndsAfter : public FitKeeper {
 public:
  EndsAfter(FitKeeper& inner, int iterations) : inner_(inner), left_(iterations) {}
  void resume(FitRun& run, Engine& engine) override { inner_.resume(run, engine); }
  void keep(FitRun& run, Engine& engine) override {
    inner_.keep(run, engine);
    if (--left_ == 0) throw Ended();
  }

 private:
  FitKeeper& inner_;
  int left_;
};

template <class Column>
void expect_same_bits(const Column& a, const Column& b, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  EXPECT_TRUE(a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0) << what;
}

class CheckpointTest : public test::FileTest {
 protected:
  Checkpoint checkpoint(const char* what = "these votes") { return {path("kept"), {{"inputs", what}}, 0, {}}; }

  /// Ends behind every iteration in turn, going on from it each time.
  void expect_same_fit_in_pieces(const Groups& groups, const test::MakeEngine& make, FitOptions options) {
    options.answers = groups.answers;
    options.covariates = groups.covariates.count();
    options.tastes = groups.covariates.features;
    options.sources = static_cast<int>(groups.sources);
    const auto fit = [&](FitKeeper* keeper) {
      const auto engine = make(groups);
      return fit_model(
          *engine, count_votes(groups), options, [](int, double) {}, keeper);
    };
    const Fit whole = fit(nullptr);
    int pieces = 0;
    for (bool done = false; !done; ++pieces) {
      Checkpoint file = checkpoint();
      EndsAfter keeper(file, 1 + pieces % 3);
      try {
        const Fit last = fit(&keeper);
        expect_same_bits(last.posterior.pair_mean, whole.posterior.pair_mean, "pair means");
        expect_same_bits(last.posterior.slot_variance, whole.posterior.slot_variance, "slot variances");
        expect_same_bits(last.annotators, whole.annotators, "annotators");
        expect_same_bits(last.tastes, whole.tastes, "tastes");
        expect_same_bits(last.sources, whole.sources, "sources");
        EXPECT_EQ(last.posterior.log_evidence, whole.posterior.log_evidence);
        EXPECT_EQ(last.iterations, whole.iterations);
        done = true;
      } catch (const Ended&) {
      }
    }
    EXPECT_GT(pieces, 2);
    checkpoint().remove();
    EXPECT_EQ(files(), 0u);
  }
};

const test::MakeEngine kCpu = [](const Groups& groups) { return make_cpu_engine(groups, *choose_kernels()); };
const test::MakeEngine kHost = [](const Groups& groups) { return make_host_engine(groups); };
const test::MakeEngine kSlabs = [](const Groups& groups) {
  return make_host_engine(groups, test::HostBackend(), std::size_t{8} << 20);
};

TEST_F(CheckpointTest, small_and_dense_components) {
  expect_same_fit_in_pieces(random_groups({{3, 5}, {33, 500}, {60, 2000}, {4, 9}}, 10, Said::kTies), kCpu, {});
  expect_same_fit_in_pieces(random_groups(prompts(300), 8, Said::kGrades), kCpu, {});
  expect_same_fit_in_pieces(random_groups(prompts(2000), 8, Said::kBinary), kCpu, {.sample_votes = 4000});
}

TEST_F(CheckpointTest, a_sparse_component_with_covariates) {
  expect_same_fit_in_pieces(test::with_covariates(random_groups({{9, 30}, {2100, 9000}, {2200, 9000}}, 9, Said::kTies)),
                            kCpu, {});
}

TEST_F(CheckpointTest, sources) {
  const Groups groups = test::with_sources(random_groups(prompts(300), 8, Said::kBinary), 5);
  expect_same_fit_in_pieces(groups, kCpu, {});
  expect_same_fit_in_pieces(groups, kHost, {});
}

TEST_F(CheckpointTest, the_engine_of_a_device) {
  expect_same_fit_in_pieces(random_groups(prompts(300), 8, Said::kBinary), kHost, {});
  expect_same_fit_in_pieces(test::with_covariates(random_groups({{9, 30}, {2100, 9000}}, 9, Said::kBinary)), kHost, {});
  const Groups many = random_groups(prompts(20000), 8, Said::kBinary);
  ASSERT_GT(make_host_engine(many, test::HostBackend(), std::size_t{8} << 20)->slabs(), 1u);
  expect_same_fit_in_pieces(many, kSlabs, {});
}

TEST_F(CheckpointTest, of_something_else_is_refused) {
  const Groups groups = random_groups(prompts(100), 8, Said::kBinary);
  const auto engine = kCpu(groups);
  Checkpoint file = checkpoint();
  EndsAfter keeper(file, 2);
  EXPECT_THROW(fit_model(
                   *engine, count_votes(groups), {}, [](int, double) {}, &keeper),
               Ended);
  FitRun run;
  run.annotators.resize(8);
  try {
    checkpoint("others");
    FAIL() << "taken for its own";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kBadInput);
    EXPECT_TRUE(test::contains(error.what(), "inputs")) << error.what();
  }
  const Groups fewer = random_groups(prompts(99), 8, Said::kBinary);
  const auto other = kCpu(fewer);
  EXPECT_THROW(checkpoint().resume(run, *other), Error);
}

/// Keeps the fit after three iterations, changed and with a checksum that is right: as a file made to do harm.
class Crafts : public FitKeeper {
 public:
  using Change = std::function<void(FitRun&, EngineState&)>;
  Crafts(Checkpoint& file, Change change) : file_(file), change_(std::move(change)) {}
  void resume(FitRun&, Engine&) override {}
  void keep(FitRun& run, Engine& engine) override {
    if (run.state.iterations < 3) return;
    FitRun changed = run;
    EngineState state = engine.save(changed);
    change_(changed, state);
    engine.load(state);
    file_.keep(changed, engine);
    throw Ended();
  }

 private:
  Checkpoint& file_;
  Change change_;
};

class CraftedCheckpointTest : public CheckpointTest {
 protected:
  /// What resuming it says; "" where it goes on to an end.
  std::string resume_crafted(const Crafts::Change& change) {
    const auto fit = [&](FitKeeper& keeper) {
      const auto engine = kCpu(groups_);
      FitOptions options{.answers = groups_.answers, .max_iterations = 12};
      options.covariates = groups_.covariates.count();
      options.tastes = groups_.covariates.features;
      options.sources = static_cast<int>(groups_.sources);
      fit_model(
          *engine, count_votes(groups_), options, [](int, double) {}, &keeper);
    };
    {
      Checkpoint file = checkpoint();
      Crafts keeper(file, change);
      EXPECT_THROW(fit(keeper), Ended);
    }
    Checkpoint file = checkpoint();
    std::string said;
    try {
      fit(file);
    } catch (const Error& error) {
      said = error.what();
      EXPECT_TRUE(error.exit() == Exit::kBadInput || error.exit() == Exit::kNotConverged) << said;
    }
    std::filesystem::remove(path("kept"));
    return said;
  }

  Groups groups_ =
      test::with_sources(test::with_covariates(random_groups({{3, 5}, {9, 30}, {40, 300}}, 6, Said::kTies)), 3);
};

TEST_F(CraftedCheckpointTest, what_cannot_be_of_this_fit_is_refused) {
  EXPECT_EQ(resume_crafted([](FitRun&, EngineState&) {}), "");
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  const auto state = [](auto change) { return [=](FitRun& run, EngineState&) { change(run.state); }; };
  const std::vector<std::pair<const char*, Crafts::Change>> cases = {
      {"model", state([](FitState& s) { s.model = Model::kBradleyTerry; })},
      {"model", state([](FitState& s) { s.max_iterations = 2000000000; })},
      {"model", state([](FitState& s) { s.voters = 1e9; })},
      {"model", state([](FitState& s) { s.levels = 1000000; })},
      {"model", state([](FitState& s) { s.covariates = 100000000; })},
      {"model", state([](FitState& s) { s.tastes = 1000; })},
      {"model", state([](FitState& s) { s.tastes = -1; })},
      {"model", state([](FitState& s) { s.sources = 0; })},
      {"model", state([](FitState& s) { s.own_priors = true; })},
      {"model", state([](FitState& s) { s.own_tastes = true; })},
      {"model", state([](FitState& s) { s.prior_scale = 1; })},
      {"model", state([](FitState& s) { s.coefficient_prior_variance[0] = 0; })},
      {"model", state([](FitState& s) { std::memset(&s.creeps, 7, 1); })},
      {"iterations", state([](FitState& s) { s.iterations = -2000000000; })},
      {"iterations", state([](FitState& s) { s.iterations = s.max_iterations + 1; })},
      {"iterations", state([](FitState& s) { s.iterations = s.max_iterations; })},  // the annotators would move again
      {"iterations", state([](FitState& s) { s.last_sweeps = -2000000000; })},
      {"iterations", state([](FitState& s) { s.sweeps = 2000000000; })},
      {"iterations", state([](FitState& s) { s.sweeps = 0; })},
      {"iterations", state([](FitState& s) { s.stride = 0; })},
      {"iterations", state([](FitState& s) { s.phase = static_cast<Phase>(17); })},
      {"iterations", state([=](FitState& s) { s.stretch = nan; })},
      {"iterations", state([](FitState& s) { s.damping = 1e300; })},
      {"population", state([=](FitState& s) { s.population.mean = infinite; })},
      {"population", state([](FitState& s) { s.population.variance = -1; })},
      {"population", state([=](FitState& s) { s.source_variance = nan; })},
      {"thresholds", state([=](FitState& s) { s.scale.edge[kMaxLevels] = 3; })},
      {"views", state([](FitState& s) { s.view_variance = 1; })},
      {"views", state([](FitState& s) { s.tests_views = true; })},
      {"coefficients", state([=](FitState& s) { s.coefficient[0] = nan; })},
      {"coefficients", state([](FitState& s) { s.coefficient[kMaxCovariates - 1] = 1; })},
      {"annotators", [=](FitRun& run, EngineState&) { run.annotators[2].discrimination = nan; }},
      {"annotators", [](FitRun& run, EngineState&) { run.annotators[2].side_bias_variance = -1; }},
      {"tastes", [](FitRun& run, EngineState&) { run.tastes[1].variance = -1; }},
      {"sources", [](FitRun& run, EngineState&) { run.sources[1].variance = 0; }},
      {"sites", [](FitRun&, EngineState& e) { e.sites.precision[3] = -5; }},
      {"sites", [=](FitRun&, EngineState& e) { e.sites.shift[3] = static_cast<float>(nan); }},
      {"pairs", [=](FitRun&, EngineState& e) { e.pair_mean[3] = static_cast<float>(infinite); }},
      {"pairs", [](FitRun&, EngineState& e) { e.pair_variance[3] = -1; }},
      {"prompts", [=](FitRun&, EngineState& e) { e.prompts[0].mean = static_cast<float>(nan); }},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string said = resume_crafted(cases[i].second);
    EXPECT_TRUE(test::contains(said, "cannot belong to this fit")) << i << ": " << said;
    EXPECT_TRUE(test::contains(said, cases[i].first)) << i << ": " << said;
  }
}

/// Whatever a word of the state is made to be, the fit is refused, diverges or comes to its end.
TEST_F(CraftedCheckpointTest, any_word_of_the_state) {
  constexpr std::size_t kWords = sizeof(FitState) / sizeof(std::int32_t);
  const std::int32_t values[] = {-1, 1 << 20, 0x7ff00000};
  int refused = 0;
  for (std::size_t word = 0; word < kWords; ++word)
    for (const std::int32_t value : values)
      refused += !resume_crafted([&](FitRun& run, EngineState&) {
                    std::memcpy(reinterpret_cast<char*>(&run.state) + word * sizeof value, &value, sizeof value);
                  }).empty();
  EXPECT_GT(refused, static_cast<int>(kWords));
}

}  // namespace
}  // namespace voxpop
