// Components dealt over ranks: every one once, and shares that add up to the whole.

#include "ranks/deal.h"

#include <numeric>

#include "engine_comparison.h"

namespace voxpop {
namespace {

using test::prompts;
using test::random_groups;
using test::Said;
using test::Sizes;

std::uint64_t votes_in(const Share& share) {
  return std::accumulate(share.begin(), share.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const ComponentRange& run) { return sum + run.vote_end - run.vote; });
}

TEST(Deal, every_component_goes_to_one_rank) {
  Sizes sizes = prompts(3000);
  for (const auto& large : Sizes{{40, 900}, {35, 700}, {2100, 5000}, {6, 9000}}) sizes.push_back(large);
  const Groups groups = random_groups(sizes, 20, Said::kTies);
  for (const int ranks : {1, 2, 3, 7}) {
    std::vector<int> owners(groups.components(), 0);
    for (const Share& share : deal_components(groups, ranks, 4))
      for (const ComponentRange& run : share) {
        EXPECT_LT(run.component, run.component_end);
        for (std::uint32_t c = run.component; c < run.component_end; ++c) ++owners[c];
      }
    EXPECT_EQ(owners, std::vector<int>(groups.components(), 1)) << ranks;
  }
}

TEST(Deal, work_is_even) {
  const Groups groups = random_groups(prompts(20000), 20, Said::kBinary);
  for (const int ranks : {2, 3, 8}) {
    const double even = static_cast<double>(groups.votes.size()) / ranks;
    for (const Share& share : deal_components(groups, ranks, 4))
      EXPECT_NEAR(static_cast<double>(votes_in(share)) / even, 1, 0.05) << ranks;
  }
  const Groups large = random_groups({{60, 3000}, {61, 3000}, {62, 3000}, {63, 3000}}, 20, Said::kBinary);
  for (const Share& share : deal_components(large, 2, 1)) EXPECT_EQ(votes_in(share), 6000u);
}

TEST(Deal, more_ranks_than_components) {
  const Groups groups = random_groups({{5, 20}, {60, 900}}, 9, Said::kBinary);
  std::size_t idle = 0;
  for (const Share& share : deal_components(groups, 5, 1)) {
    idle += share.empty();
    EXPECT_EQ(take_share(groups, share).votes.size(), votes_in(share));
  }
  EXPECT_GE(idle, 3u);
}

/// Sums are integers: the shares' come to exactly the whole's, in samples, too.
TEST(Deal, shares_add_up_to_the_whole) {
  Sizes sizes = prompts(3000);
  for (const auto& large : Sizes{{40, 900}, {35, 700}, {6, 9000}}) sizes.push_back(large);
  const Groups groups = test::with_sources(test::with_covariates(random_groups(sizes, 20, Said::kTies)), 7);
  const Raters raters(test::random_raters(20), {}, test::random_source_scores(7));
  for (const std::uint32_t stride : {1u, 4u}) {
    const PassOptions pass{.sweeps = 2, .stride = stride, .annotators = true, .blend = Blend::kMirror};
    const PassResult whole = make_cpu_engine(groups, *choose_kernels())->update_components(raters, pass);
    PassResult sum;
    sum.annotators.resize(20);
    sum.sources.resize(groups.sources);
    for (const Share& share : deal_components(groups, 3, stride)) {
      Groups part = take_share(groups, share);
      const PassResult own = make_cpu_engine(part, *choose_kernels())->update_components(raters, pass);
      for (std::size_t a = 0; a < 20; ++a) {
        sum.annotators[a].gradient_gamma += own.annotators[a].gradient_gamma;
        sum.annotators[a].information_share += own.annotators[a].information_share;
      }
      sum.covariates.gradient[0] += own.covariates.gradient[0];
      for (std::size_t g = 0; g < groups.sources; ++g) {
        sum.sources[g].gradient += own.sources[g].gradient;
        sum.sources[g].information += own.sources[g].information;
      }
      sum.solved.squares += own.solved.squares;
      sum.solved.freedom += own.solved.freedom;
      sum.solved.change = std::max(sum.solved.change, own.solved.change);
    }
    for (std::size_t a = 0; a < 20; ++a) {
      EXPECT_EQ(sum.annotators[a].gradient_gamma, whole.annotators[a].gradient_gamma) << a;
      EXPECT_EQ(sum.annotators[a].information_share, whole.annotators[a].information_share) << a;
    }
    EXPECT_EQ(sum.covariates.gradient[0], whole.covariates.gradient[0]);
    for (std::size_t g = 0; g < groups.sources; ++g) {
      EXPECT_EQ(sum.sources[g].gradient, whole.sources[g].gradient) << g;
      EXPECT_EQ(sum.sources[g].information, whole.sources[g].information) << g;
    }
    EXPECT_EQ(sum.solved.squares, whole.solved.squares);
    EXPECT_EQ(sum.solved.freedom, whole.solved.freedom);
    EXPECT_EQ(sum.solved.change, whole.solved.change);
  }
}

}  // namespace
}  // namespace voxpop
