// The device engine's orchestration, on the host: chunks, slabs, privatised sums, steps between passes.

#include "engine_comparison.h"
#include "host_backend.h"

namespace voxpop {
namespace {

using test::HostBackend;
using test::make_host_engine;
using test::prompts;
using test::random_groups;
using test::Said;
using test::Sizes;

const test::MakeEngine kHost = [](const Groups& groups) { return make_host_engine(groups); };

TEST(ParallelEngine, one_vote) { test::expect_same_passes(random_groups({{2, 1}}, 1, Said::kBinary), kHost); }

TEST(ParallelEngine, small_components) {
  test::expect_same_passes(random_groups(prompts(700), 50, Said::kBinary), kHost);
  test::expect_same_passes(random_groups(prompts(700), 50, Said::kHalfTies), kHost);
}

TEST(ParallelEngine, components_of_every_small_size) {
  test::expect_same_passes(random_groups(test::every_small_size(9), 20, Said::kHalfTies), kHost);
}

TEST(ParallelEngine, large_components) {
  test::expect_same_passes(random_groups({{33, 400}}, 9, Said::kHalfTies), kHost);
  test::expect_same_passes(random_groups({{3, 5}, {33, 500}, {150, 5000}, {20, 8300}, {4, 9}}, 30, Said::kHalfTies),
                           kHost);
}

TEST(ParallelEngine, more_annotators_than_a_block_has_room_for) {
  test::expect_same_passes(random_groups(prompts(300), 65537, Said::kBinary), kHost);
  // The same sums, in the block and outside.
  const Groups groups = random_groups(prompts(300), 40, Said::kHalfTies);
  const auto raters = test::random_raters(40);
  const PassOptions pass{.sweeps = 2, .annotators = true, .grid = true, .uncertain = true};
  const PassResult inside = make_host_engine(groups)->update_components(raters, pass);
  const PassResult outside = make_host_engine(groups, HostBackend(5, 0))->update_components(raters, pass);
  test::expect_sums_near(inside.annotators, outside.annotators, count_votes(groups), 0, "sums");
  test::expect_sums_near(inside.grid, outside.grid, count_votes(groups), 0, "grid");
}

TEST(ParallelEngine, many_votes_on_one_component) {
  test::expect_same_passes(random_groups({{40, 100000}}, 100, Said::kBinary), kHost);
}

TEST(ParallelEngine, ten_million_votes_on_one_component) {
  test::expect_same_sums(random_groups({{40, 10000000}}, 100, Said::kBinary), kHost);
}

TEST(ParallelEngine, any_number_of_blocks_gives_the_same_bits) {
  const Groups groups = random_groups(prompts(2000), 50, Said::kHalfTies);
  const auto raters = test::random_raters(50);
  const PassOptions pass{.sweeps = 2, .annotators = true, .grid = true, .uncertain = true};
  const PassResult one = make_host_engine(groups, HostBackend(1))->update_components(raters, pass);
  const PassResult many = make_host_engine(groups, HostBackend(7))->update_components(raters, pass);
  test::expect_sums_near(one.annotators, many.annotators, count_votes(groups), 0, "sums");
  EXPECT_EQ(one.solved.squares, many.solved.squares);
  EXPECT_EQ(one.solved.change, many.solved.change);
}

/// Memory for a few components at a time: the passes are the same.
TEST(ParallelEngine, slabs) {
  Sizes sizes = prompts(400);
  for (const auto& large : Sizes{{40, 900}, {35, 700}, {33, 100}}) sizes.push_back(large);
  const Groups plain = random_groups(sizes, 10, Said::kHalfTies);
  for (const Groups& groups : {plain, test::with_sources(plain, 5)}) {
    const auto slabs = [&](std::size_t limit) { return make_host_engine(groups, HostBackend(), limit)->slabs(); };
    EXPECT_EQ(slabs(std::size_t{1} << 30), 1u);
    std::size_t too_little = 0, enough = std::size_t{1} << 30;
    while (enough - too_little > 256) {
      const std::size_t middle = (too_little + enough) / 2;
      try {
        slabs(middle);
        enough = middle;
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::kDevice);
        too_little = middle;
      }
    }
    EXPECT_GT(slabs(enough), 3u);
    const test::MakeEngine least = [&](const Groups& g) { return make_host_engine(g, HostBackend(), enough); };
    test::expect_same_passes(groups, least);
    test::expect_same_fit(groups, {}, least);
  }
}

TEST(ParallelEngine, all_that_votes_can_say) {
  const test::Sizes sizes = {{2, 9}, {3, 30}, {5, 60}, {33, 400}};
  for (const Said said : {Said::kBinary, Said::kHalfTies, Said::kTies, Said::kGrades})
    for (const Blend blend : {Blend::kNone, Blend::kMirror}) {
      SCOPED_TRACE(testing::Message() << "votes " << static_cast<int>(said) << ", blend " << static_cast<int>(blend));
      test::expect_same_passes(random_groups(sizes, 9, said), kHost, blend);
    }
  for (const Said said : {Said::kBinary, Said::kHalfTies, Said::kTies, Said::kGrades})
    test::expect_same_passes(test::with_unseen_votes(random_groups(prompts(200), 20, said)), kHost);
  for (const Said said : {Said::kBinary, Said::kGrades}) {
    const Groups groups = test::with_covariates(random_groups(sizes, 9, said));
    for (const Blend blend : {Blend::kNone, Blend::kMirror}) test::expect_same_passes(groups, kHost, blend);
    test::expect_same_passes(test::with_sources(groups, 5), kHost);
    test::expect_same_passes(test::with_sources(random_groups(sizes, 9, said), 3), kHost);
  }
  // More sources than a block adds up by itself.
  test::expect_same_passes(test::with_sources(random_groups(prompts(400), 9, Said::kBinary), 300), kHost);
}

TEST(ParallelEngine, annotators_with_views_of_their_own) {
  for (const Said said : {Said::kBinary, Said::kTies, Said::kGrades}) {
    SCOPED_TRACE(testing::Message() << "votes " << static_cast<int>(said));
    test::expect_same_passes(test::groups_with_views({{2, 9}, {3, 30}, {5, 60}, {33, 400}, {40, 90}}, 9, said), kHost);
  }
  test::expect_same_passes(test::with_covariates(test::groups_with_views({{5, 60}, {34, 300}}, 9, Said::kBinary)),
                           kHost);
  test::expect_same_passes(test::groups_with_views({{60, 3000}}, 3, Said::kBinary),
                           kHost);  // blocks too large to be ones
  Votes votes = simulate_votes({.prompts = 600, .annotators = 20, .mix = {}, .ties = 0.2, .seed = 4});
  Groups groups = group_votes(votes, Ties::kModel);
  groups.views = find_views(groups, votes);
  test::expect_same_fit(groups, {}, kHost);
  const test::MakeEngine slabs = [](const Groups& g) {
    return make_host_engine(g, HostBackend(), std::size_t{80} << 20);
  };
  test::expect_same_fit(groups, {}, slabs);
}

TEST(ParallelEngine, whole_fits) {
  Votes votes = simulate_votes({.prompts = 1500, .annotators = 40, .mix = {}, .seed = 4});
  const Groups groups = group_votes(votes, Ties::kHalf);
  test::expect_same_fit(groups, {.model = Model::kBradleyTerry}, kHost);
  test::expect_same_fit(groups, {}, kHost);
  test::expect_same_fit(groups, {.sample_votes = 5000}, kHost);
  test::expect_same_fit(random_groups({{3, 5}, {33, 500}, {60, 2000}, {4, 9}}, 10, Said::kHalfTies), {}, kHost);
}

TEST(ParallelEngine, a_sparse_component) {
  test::expect_same_passes(random_groups({{3, 9}, {2100, 9000}}, 9, Said::kTies), kHost);
  test::expect_same_passes(test::with_covariates(random_groups({{2100, 9000}}, 9, Said::kBinary)), kHost);
  test::expect_same_passes(test::with_sources(random_groups({{2100, 9000}}, 9, Said::kBinary), 4), kHost);
}

TEST(ParallelEngine, whole_fits_of_all_models) {
  Votes votes = simulate_votes({.prompts = 600, .annotators = 20, .mix = {}, .ties = 0.2, .seed = 4});
  const Groups ties = group_votes(votes, Ties::kModel);
  for (const Model model : {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater}) {
    SCOPED_TRACE(static_cast<int>(model));
    test::expect_same_fit(ties, {.model = model}, kHost);
  }
  // Grades at random wander, and rounding with them: the first iterations are compared.
  test::expect_same_fit(random_groups(prompts(300), 8, Said::kGrades), {.max_iterations = 12}, kHost);
  Votes graded = simulate_votes({.prompts = 600, .annotators = 20, .mix = {}, .ties = 0.2, .grades = 3, .seed = 4});
  test::expect_same_fit(group_votes(graded, Ties::kModel), {}, kHost);
  test::expect_same_fit(test::with_covariates(ties), {}, kHost);
  for (const Model model : {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater})
    test::expect_same_fit(test::with_sources(ties, 6), {.model = model}, kHost);
}

}  // namespace
}  // namespace voxpop
