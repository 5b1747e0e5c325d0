// A fit that is kept, ended and taken up again has the bits of one that ran through.

#include "files/checkpoint.h"

#include <cstring>

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

}  // namespace
}  // namespace voxpop
