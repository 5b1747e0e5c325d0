// The CUDA engine on a device, against the CPU engine. Skipped, visibly, where no device can be used.

#include "core/error.h"
#include "engine_comparison.h"
#include "fit/cuda.h"

namespace voxpop {
namespace {

using test::prompts;
using test::random_groups;
using test::Said;
using test::Sizes;

class CudaDevice0 : public testing::Test {
 protected:
  void SetUp() override {
    const std::string problem = why_not_cuda(0);
    if (!problem.empty()) GTEST_SKIP() << problem;
  }
  static std::unique_ptr<Engine> make(const Groups& groups) { return make_cuda_engine(groups, 0, 0); }
};

TEST_F(CudaDevice0, all_that_votes_can_say) {
  for (const Said said : {Said::kBinary, Said::kHalfTies, Said::kTies, Said::kGrades})
    for (const Blend blend : {Blend::kNone, Blend::kMirror}) {
      SCOPED_TRACE(testing::Message() << "votes " << static_cast<int>(said) << ", blend " << static_cast<int>(blend));
      test::expect_same_passes(random_groups(prompts(2000), 50, said), make, blend);
    }
  test::expect_same_passes(test::with_covariates(random_groups({{3, 20}, {5, 60}, {33, 400}}, 9, Said::kTies)), make);
  test::expect_same_passes(test::with_unseen_votes(random_groups(prompts(2000), 50, Said::kGrades)), make);
}

TEST_F(CudaDevice0, a_sparse_component) {
  test::expect_same_passes(test::with_covariates(random_groups({{3, 9}, {20000, 90000}}, 9, Said::kTies)), make);
}

TEST_F(CudaDevice0, one_vote) { test::expect_same_passes(random_groups({{2, 1}}, 1, Said::kBinary), make); }

TEST_F(CudaDevice0, small_components) {
  test::expect_same_passes(random_groups(prompts(20000), 300, Said::kBinary), make);
  test::expect_same_passes(random_groups(prompts(20000), 300, Said::kHalfTies), make);
}

TEST_F(CudaDevice0, components_of_every_small_size) {
  test::expect_same_passes(random_groups(test::every_small_size(90), 20, Said::kHalfTies), make);
}

TEST_F(CudaDevice0, large_components) {
  test::expect_same_passes(random_groups({{33, 400}}, 9, Said::kHalfTies), make);
  test::expect_same_passes(
      random_groups({{3, 5}, {33, 500}, {150, 5000}, {20, 8300}, {2000, 60000}, {4, 9}}, 30, Said::kHalfTies), make);
}

TEST_F(CudaDevice0, more_annotators_than_a_block_has_room_for) {
  test::expect_same_passes(random_groups(prompts(20000), 65537, Said::kHalfTies), make);
}

TEST_F(CudaDevice0, ten_million_votes_on_one_component) {
  test::expect_same_sums(random_groups({{40, 10000000}}, 100, Said::kBinary), make);
}

TEST_F(CudaDevice0, every_run_gives_the_same_bits) {
  const Groups groups = random_groups(prompts(20000), 300, Said::kHalfTies);
  const auto raters = test::random_raters(300);
  const PassOptions pass{.sweeps = 2, .annotators = true, .grid = true, .uncertain = true};
  const PassResult first = make(groups)->update_components(raters, pass);
  for (int run = 0; run < 5; ++run) {
    const PassResult again = make(groups)->update_components(raters, pass);
    test::expect_sums_near(first.annotators, again.annotators, count_votes(groups), 0, "sums");
    test::expect_sums_near(first.grid, again.grid, count_votes(groups), 0, "grid");
    EXPECT_EQ(first.solved.squares, again.solved.squares);
    EXPECT_EQ(first.solved.change, again.solved.change);
  }
}

TEST_F(CudaDevice0, slabs_of_small_components) {
  const auto tight = [](const Groups& g) { return make_cuda_engine(g, 0, (std::size_t{6} << 20) + (1 << 19)); };
  test::expect_same_passes(random_groups(prompts(3000), 50, Said::kHalfTies), tight);
}

/// Memory for a part of the votes at a time; large components in several slabs.
TEST_F(CudaDevice0, slabs) {
  Sizes sizes = prompts(20000);
  for (const auto& large : Sizes{{40, 30000}, {35, 20000}, {60, 30000}, {90, 30000}, {50, 30000}})
    sizes.push_back(large);
  const Groups groups = random_groups(sizes, 50, Said::kHalfTies);
  const auto tight = [](const Groups& g) { return make_cuda_engine(g, 0, std::size_t{9} << 20); };
  test::expect_same_passes(groups, tight);
  test::expect_same_fit(groups, {}, tight);
}

TEST_F(CudaDevice0, too_little_memory_is_an_error) {
  const Groups groups = random_groups({{40, 100000}}, 50, Said::kHalfTies);
  try {
    make_cuda_engine(groups, 0, 1 << 20);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kDevice);
    EXPECT_PRED2(test::contains, error.what(), "--memory-limit");
  }
}

TEST_F(CudaDevice0, groups) {
  for (const Ties ties : {Ties::kHalf, Ties::kDrop}) {
    const Votes votes = simulate_votes({.prompts = 30000, .mix = {}, .ties = 0.2, .seed = 5});
    Votes a = votes, b = votes;
    const Groups expected = group_votes(a, ties), groups = group_votes_cuda(b, ties, 0, 0);
    test::expect_same_groups(groups, expected);
    EXPECT_TRUE(groups.on_device.has_value());
    test::expect_same_passes(groups, make);
  }
}

TEST_F(CudaDevice0, whole_fits) {
  Votes votes =
      simulate_votes({.prompts = 20000, .pairs_per_prompt = 3, .votes_per_pair = 3, .annotators = 300, .mix = {}});
  const Groups groups = group_votes(votes, Ties::kHalf);
  test::expect_same_fit(groups, {.model = Model::kBradleyTerry}, make);
  test::expect_same_fit(groups, {}, make);
  test::expect_same_fit(groups, {.sample_votes = 20000}, make);
  test::expect_same_fit(random_groups({{3, 5}, {33, 500}, {60, 2000}, {4, 9}}, 10, Said::kHalfTies), {}, make);
}

}  // namespace
}  // namespace voxpop
