#include "fit/engine.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "core/error.h"
#include "double_ep.h"
#include "engine_comparison.h"
#include "fit/products.h"
#include "formulas/fixed_point.h"

namespace voxpop {
namespace {

using test::DoubleEp;
using test::EngineInput;
using test::KnownVote;
using test::Row;

constexpr PassOptions kSettle = {.sweeps = 60, .exact = true};

/// Votes on one component by annotators of all kinds; the first items - 1 make it connected.
std::vector<KnownVote> random_component(std::uint32_t items, int votes, double tie_share) {
  std::mt19937 random(items);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  std::vector<KnownVote> out;
  for (int v = 0; v < votes; ++v) {
    std::uint32_t first = static_cast<std::uint32_t>(uniform(0, items)),
                  second = static_cast<std::uint32_t>(uniform(0, items));
    if (v + 1 < static_cast<int>(items)) first = v, second = v + 1;
    if (first == second) continue;
    const double winner = uniform(0, 1) < tie_share ? 0 : uniform(0, 1) < 0.6 ? 1 : -1;
    out.push_back({std::min(first, second), std::max(first, second), winner, uniform(-1, 3), uniform(-1, 1)});
  }
  return out;
}

/// The engine in single precision against EP in double precision: 32 items are a lane of a small kernel, more are
/// dense.
class Component : public testing::TestWithParam<std::tuple<std::uint32_t, int, double>> {};

TEST_P(Component, matches_double_precision) {
  const auto [items, count, ties] = GetParam();
  const std::vector<KnownVote> votes = random_component(items, count, ties);
  const DoubleEp ep(items, votes);
  const EngineInput input(items, votes);
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  EXPECT_LT(engine->update_components(input.raters, kSettle).solved.change, 1e-3);
  const Posterior posterior = engine->posterior(input.raters, {});
  ASSERT_EQ(input.groups.components(), 1u);
  for (std::size_t p = 0; p < input.groups.pairs(); ++p) {
    const std::uint32_t i = input.groups.pair_first[p], j = input.groups.pair_second[p];  // slots are items here
    const double sd = std::sqrt(ep.pair_variance(i, j));
    EXPECT_NEAR(posterior.pair_mean[p], ep.pair_mean(i, j), 1e-3 * sd);
    EXPECT_NEAR(std::sqrt(posterior.pair_variance[p]), sd, 1e-3 * sd);
  }
  for (std::uint32_t i = 0; i < items; ++i) {
    EXPECT_NEAR(posterior.slot_mean[i], ep.mean(i), 1e-3);
    EXPECT_NEAR(posterior.slot_variance[i], ep.covariance(i, i) - 1.0 / items, 1e-3);
  }
  EXPECT_NEAR(posterior.log_evidence, ep.log_evidence, 1e-3 + 2e-6 * count);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Component,
                         testing::Values(std::tuple(2, 3, 0.0), std::tuple(7, 40, 0.2), std::tuple(32, 400, 0.0),
                                         std::tuple(32, 400, 0.2), std::tuple(33, 400, 0.2), std::tuple(100, 2000, 0.0),
                                         std::tuple(20, 9000, 0.1)));  // more than 8,192 votes: dense

/// Two sites that are no numbers, which fixed point would add up to 0: the posterior must show them.
TEST(Engine, sites_that_are_no_numbers_are_not_lost) {
  for (const auto& [items, dense_items] :
       {std::pair(3u, kDenseItems), std::pair(40u, kDenseItems), std::pair(40u, 32u)}) {
    const std::vector<KnownVote> votes = random_component(items, 300, 0);
    const EngineInput input(items, votes);
    const auto engine = make_cpu_engine(input.groups, *choose_kernels(), dense_items);
    FitRun run;
    EngineState state = engine->save(run);
    const auto& begin = input.groups.pair_votes;
    std::size_t pair = 0;
    while (begin[pair + 1] - begin[pair] < 2) ++pair;
    for (const std::uint32_t vote : {begin[pair], begin[pair] + 1})
      state.sites.precision[vote] = state.sites.shift[vote] = std::numeric_limits<float>::quiet_NaN();
    engine->load(state);
    const Posterior posterior = engine->posterior(input.raters, {});
    EXPECT_TRUE(std::isnan(posterior.pair_mean[pair] + posterior.pair_variance[pair])) << items;
  }
}

/// Single precision leaves nothing between the variances of two items and their covariance.
TEST(Engine, pairs_known_very_well_have_a_variance) {
  std::vector<KnownVote> votes = {{0, 1, 1, 1, 0}, {1, 2, 1, 1, 0}, {2, 3, 1, 1, 0}, {3, 4, -1, 1, 0}};
  for (int v = 0; v < 7000; ++v) votes.push_back({0, 1, v % 2 == 0 ? 1.0 : -1.0, 1, 0});
  const EngineInput input(5, votes);
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  FitRun run;
  EngineState state = engine->save(run);
  for (std::uint32_t v = 0; v < input.groups.pair_votes[1]; ++v) state.sites.precision[v] = kLargestPrecision;
  for (std::uint32_t v = input.groups.pair_votes[1]; v < input.groups.votes.size(); ++v)
    state.sites.precision[v] = 0.1f;
  engine->load(state);
  const Posterior posterior = engine->posterior(input.raters, {});
  EXPECT_GT(posterior.pair_variance[0], 0);
  EXPECT_LT(posterior.pair_variance[0], 1e-5);
  EXPECT_TRUE(std::isfinite(posterior.log_evidence));
}

TEST(Engine, one_vote) {
  // The posterior of d = N(0, 2) given sigma(d): see tests/reference_ep.py, "1 vote, plain".
  const EngineInput input(2, {{0, 1, 1, 1, 0}});
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  engine->update_components(input.raters, kSettle);
  const Posterior posterior = engine->posterior(input.raters, {});
  EXPECT_NEAR(posterior.pair_mean[0], 0.72632369, 1e-5);
  EXPECT_NEAR(posterior.pair_variance[0], 1.47245389, 1e-5);
  EXPECT_NEAR(posterior.slot_mean[0], 0.36316185, 1e-5);
  EXPECT_NEAR(posterior.slot_mean[1], -0.36316185, 1e-5);
  EXPECT_NEAR(posterior.slot_variance[0], 1.47245389 / 4, 1e-5);
  EXPECT_NEAR(posterior.log_evidence, -0.69314718, 1e-5);
  EXPECT_EQ(from_fixed(posterior.annotators[0].decided), 1);
  const PairLabels labels = engine->label_pairs(2);
  const test::Density d([](double x) { return test::log_normal(x, 0.72632369, 1.47245389); }, -15, 17);
  const auto win = [](double x) { return 1 / (1 + std::exp(-2 * x)); };
  const auto entropy = [](double p) { return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p); };
  EXPECT_NEAR(labels.probability[0], d.average(win), 1e-5);
  EXPECT_NEAR(labels.better[0], 0.5 * std::erfc(-0.72632369 / std::sqrt(2 * 1.47245389)), 1e-5);
  const double gain = entropy(d.average(win)) - d.average([&](double x) { return entropy(win(x)); });
  EXPECT_NEAR(labels.information[0], gain, 0.015);  // "reported to two digits"
}

// The cavity of a pair's only vote is 0 but for rounding, which must not decide.
TEST(Engine, agreement_is_one_half_where_nothing_else_says_who_is_better) {
  const EngineInput input(4, {{0, 1, 1, 1, 0}, {2, 3, -1, 1.3, 0.5}});
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  engine->update_components(input.raters, kSettle);
  const Posterior posterior = engine->posterior(input.raters, {});
  EXPECT_EQ(from_fixed(posterior.annotators[0].agreement), 0.5);
  EXPECT_EQ(from_fixed(posterior.annotators[1].agreement), 0.5);
}

TEST(Engine, squares_are_the_posterior_mean_square) {
  for (const auto& votes : {std::vector<KnownVote>{{0, 1, 1, 0, 0}}, {{0, 1, 1, 2, 0}, {0, 1, 1, 1.5, 1}}}) {
    const DoubleEp ep(2, votes);
    const EngineInput input(2, votes);
    const auto engine = make_cpu_engine(input.groups, *choose_kernels());
    const double square = std::pow(ep.pair_mean(0, 1), 2) + ep.pair_variance(0, 1);
    const PassResult pass = engine->update_components(input.raters, kSettle);
    EXPECT_NEAR(from_fixed(pass.solved.squares), square / 2, 1e-4);
    EXPECT_EQ(pass.solved.freedom, 1);
  }
}

/// Sites that follow a stretch of all discriminations are a better start, and no more than that.
TEST(Engine, a_stretch_changes_nothing_in_the_end) {
  const std::vector<KnownVote> votes = random_component(8, 60, 0.2);
  EngineInput input(8, votes);
  const auto direct = make_cpu_engine(input.groups, *choose_kernels());
  const auto stretched = make_cpu_engine(input.groups, *choose_kernels());
  std::vector<RaterRecord> before = input.raters;
  for (RaterRecord& rater : before) rater.discrimination /= 1.25f;
  stretched->update_components(before, kSettle);
  stretched->update_components(input.raters, {.stretch = 1.25f, .exact = true});
  stretched->update_components(input.raters, kSettle);
  direct->update_components(input.raters, kSettle);
  const Posterior a = stretched->posterior(input.raters, {}), b = direct->posterior(input.raters, {});
  for (std::size_t p = 0; p < a.pair_mean.size(); ++p) EXPECT_NEAR(a.pair_mean[p], b.pair_mean[p], 1e-4);
}

TEST(Engine, uncertain_annotators_move_scores_less) {
  EngineInput input(2, {{0, 1, 1, 1.5, 0}, {0, 1, 1, 1.5, 0}});
  const auto mean = [&] {
    const auto engine = make_cpu_engine(input.groups, *choose_kernels());
    engine->update_components(input.raters, {.sweeps = 30, .uncertain = true, .exact = true});
    return engine->posterior(input.raters, {.uncertain = true}).pair_mean[0];
  };
  const float known = mean();
  for (RaterRecord& rater : input.raters) rater.discrimination_variance = 1;
  EXPECT_LT(mean(), 0.99f * known);
}

TEST(Engine, all_ties_leave_scores_even) {
  std::vector<KnownVote> votes = random_component(10, 100, 1);
  for (KnownVote& vote : votes) vote.side_bias = 0;
  const EngineInput input(10, votes);
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  engine->update_components(input.raters, kSettle);
  const Posterior posterior = engine->posterior(input.raters, {});
  for (const float mean : posterior.slot_mean) EXPECT_NEAR(mean, 0, 1e-5);
  for (const float variance : posterior.pair_variance) {
    EXPECT_GT(variance, 0);
    EXPECT_LT(variance, 2);
  }
  for (const ReportSums& sums : posterior.annotators) EXPECT_EQ(sums.decided, 0);
}

// All sites of a component move at once: undamped, they overshoot for good and means reach 1,675.
TEST(Engine, a_strong_discrimination_stays_bounded) {
  for (const double tie_share : {0.0, 0.5}) {
    std::vector<KnownVote> votes = random_component(12, 300, tie_share);
    for (KnownVote& vote : votes) vote.discrimination = 50;
    for (const bool exact : {false, true}) {
      const EngineInput input(12, votes);
      const auto engine = make_cpu_engine(input.groups, *choose_kernels());
      const PassResult pass =
          engine->update_components(input.raters, {.sweeps = 30, .annotators = true, .exact = exact});
      EXPECT_TRUE(std::isfinite(pass.solved.change));
      const Posterior posterior = engine->posterior(input.raters, {});
      EXPECT_TRUE(std::isfinite(posterior.log_evidence));
      float largest_mean = 0;
      for (const float mean : posterior.pair_mean) largest_mean = std::max(largest_mean, std::abs(mean));
      EXPECT_LT(largest_mean, 10);
      for (const float variance : posterior.pair_variance) EXPECT_GT(variance, 0);
    }
  }
}

/// Prompts of 2 to 6 items, and three larger components: 33 and 60 items, and 20 items with more than 8,192 votes.
Groups mixed_groups(std::uint32_t annotators, std::uint32_t voters) {
  test::Sizes sizes;
  for (std::uint32_t prompt = 0; prompt < 700; ++prompt) sizes.push_back({2 + prompt % 5, 12});
  for (const auto& large : test::Sizes{{33, 500}, {60, 5000}, {20, 8300}}) sizes.push_back(large);
  return test::random_groups(sizes, annotators, test::Said::kHalfTies, 11, voters);
}

struct Outcomes {
  PassResult pass;
  Posterior posterior;
  PairLabels labels;
};

Outcomes run(const Groups& groups, const std::vector<RaterRecord>& raters, const Kernels& kernels) {
  const auto engine = make_cpu_engine(groups, kernels);
  engine->update_components(raters, {.sweeps = 3, .uncertain = true});
  Outcomes out;
  out.pass = engine->update_components(raters, {.sweeps = 2, .annotators = true, .grid = true, .uncertain = true});
  out.posterior = engine->posterior(raters, {.uncertain = true});
  out.labels = engine->label_pairs(1.1f);
  return out;
}

template <class Numbers>
bool same_bits(const Numbers& a, const Numbers& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

void expect_same_bits(const Outcomes& a, const Outcomes& b) {
  EXPECT_TRUE(same_bits(a.pass.annotators, b.pass.annotators));
  EXPECT_TRUE(same_bits(a.pass.grid, b.pass.grid));
  EXPECT_EQ(a.pass.solved.change, b.pass.solved.change);
  EXPECT_TRUE(same_bits(a.posterior.slot_mean, b.posterior.slot_mean));
  EXPECT_TRUE(same_bits(a.posterior.slot_variance, b.posterior.slot_variance));
  EXPECT_TRUE(same_bits(a.posterior.pair_mean, b.posterior.pair_mean));
  EXPECT_TRUE(same_bits(a.posterior.pair_variance, b.posterior.pair_variance));
  EXPECT_TRUE(same_bits(a.posterior.annotators, b.posterior.annotators));
  EXPECT_EQ(a.posterior.log_evidence, b.posterior.log_evidence);
  EXPECT_TRUE(same_bits(a.labels.probability, b.labels.probability));
  EXPECT_TRUE(same_bits(a.labels.better, b.labels.better));
  EXPECT_TRUE(same_bits(a.labels.information, b.labels.information));
}

Outcomes run_on_threads(int threads, const Groups& groups, const std::vector<RaterRecord>& raters) {
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, threads);
  oneapi::tbb::task_arena arena(threads);
  return arena.execute([&] { return run(groups, raters, *choose_kernels()); });
}

TEST(Engine, any_number_of_threads_gives_the_same_bits) {
  const Groups groups = mixed_groups(50, 50);
  const std::vector<RaterRecord> raters = test::random_raters(50);
  const Outcomes one = run_on_threads(1, groups, raters);
  for (const int threads : {2, 3}) {
    SCOPED_TRACE(threads);
    expect_same_bits(one, run_on_threads(threads, groups, raters));
  }
}

/// Beyond 65,536 annotators all threads add to one array, atomically.
TEST(Engine, many_annotators_give_the_same_bits) {
  const Groups groups = mixed_groups(70000, 70000);
  const std::vector<RaterRecord> raters = test::random_raters(70000);
  const Outcomes one = run_on_threads(1, groups, raters);
  expect_same_bits(one, run_on_threads(3, groups, raters));
  // The same votes by 50 of 70,000 annotators, and of 50.
  const Outcomes shared = run_on_threads(3, mixed_groups(70000, 50), raters);
  Outcomes few = run_on_threads(3, mixed_groups(50, 50), test::random_raters(50));
  few.pass.annotators.resize(70000);
  few.pass.grid.resize(70000);
  few.posterior.annotators.resize(70000);
  expect_same_bits(shared, few);
}

class KernelSet : public testing::TestWithParam<const char*> {};

TEST_P(KernelSet, agrees_with_generic) {
  const Kernels* kernels = choose_kernels(GetParam());
  if (kernels == nullptr) GTEST_SKIP() << "this processor cannot run " << GetParam();
  EXPECT_STREQ(kernels->name, GetParam());
  const Groups groups = mixed_groups(50, 50);
  const std::vector<RaterRecord> raters = test::random_raters(50);
  const Outcomes a = run(groups, raters, *choose_kernels("generic")), b = run(groups, raters, *kernels);
  const auto expect_near = [](const Column<float>& x, const Column<float>& y) {
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-4) << i;
  };
  expect_near(a.posterior.slot_mean, b.posterior.slot_mean);
  expect_near(a.posterior.slot_variance, b.posterior.slot_variance);
  expect_near(a.posterior.pair_mean, b.posterior.pair_mean);
  expect_near(a.posterior.pair_variance, b.posterior.pair_variance);
  expect_near(a.labels.probability, b.labels.probability);
  expect_near(a.labels.better, b.labels.better);
  expect_near(a.labels.information, b.labels.information);
  EXPECT_NEAR(a.posterior.log_evidence, b.posterior.log_evidence, 1e-4 * std::abs(a.posterior.log_evidence));
  for (std::size_t r = 0; r < raters.size(); ++r) {
    EXPECT_NEAR(from_fixed(a.pass.annotators[r].gradient_gamma), from_fixed(b.pass.annotators[r].gradient_gamma), 0.02);
    EXPECT_NEAR(from_fixed(a.pass.annotators[r].information_beta), from_fixed(b.pass.annotators[r].information_beta),
                0.02);
    EXPECT_NEAR(from_fixed(a.pass.grid[r].log_z[0]), from_fixed(b.pass.grid[r].log_z[0]), 0.02);
  }
}

TEST_P(KernelSet, agrees_with_generic_on_own_views) {
  const Kernels* kernels = choose_kernels(GetParam());
  if (kernels == nullptr) GTEST_SKIP() << "this processor cannot run " << GetParam();
  const Groups groups = test::groups_with_views(test::prompts(60), 6, test::Said::kBinary);
  const Raters raters(test::random_raters(6));
  PassOptions options;
  options.view_variance = 0.7f;
  const auto solved_by = [&](const Kernels& some) {
    const auto engine = make_cpu_engine(groups, some);
    for (int pass = 0; pass < 3; ++pass) engine->update_components(raters, options);
    return engine->posterior(raters, options);
  };
  const Posterior a = solved_by(*choose_kernels("generic")), b = solved_by(*kernels);
  ASSERT_EQ(b.vote_mean.size(), groups.votes.size());
  for (std::size_t v = 0; v < groups.votes.size(); ++v) {
    ASSERT_NEAR(a.vote_mean[v], b.vote_mean[v], 2e-4) << v;
    ASSERT_NEAR(a.vote_variance[v], b.vote_variance[v], 2e-4) << v;
  }
  for (std::size_t p = 0; p < groups.pairs(); ++p) ASSERT_NEAR(a.pair_mean[p], b.pair_mean[p], 2e-4) << p;
  EXPECT_NEAR(a.log_evidence, b.log_evidence, 1e-4 * std::abs(a.log_evidence));
}

INSTANTIATE_TEST_SUITE_P(All, KernelSet, testing::Values("generic", "avx2", "avx512"),
                         [](const auto& set) { return std::string(set.param); });

TEST(Kernels, unknown_set_is_none) { EXPECT_EQ(choose_kernels("sse9"), nullptr); }

TEST(Kernels, environment_names_the_set) {
  const char* before = std::getenv("VOXPOP_KERNELS");
  const std::string kept = before ? before : "";
  unsetenv("VOXPOP_KERNELS");
  const Kernels* fastest = choose_kernels();
  EXPECT_EQ(fastest, choose_kernels(fastest->name));
  setenv("VOXPOP_KERNELS", "", 1);
  EXPECT_EQ(choose_kernels(), fastest);
  for (const char* set : {"generic", "avx2", "avx512"}) {
    setenv("VOXPOP_KERNELS", set, 1);
    const Kernels* kernels = choose_kernels(set);
    if (kernels != nullptr) {
      EXPECT_EQ(choose_kernels(), kernels);
      EXPECT_STREQ(choose_products().name, set);
      EXPECT_STREQ(choose_kernels("generic")->name, "generic");  // a caller's choice goes before the environment's
    } else {
      EXPECT_THROW(choose_kernels(), Error);
    }
  }
  for (const char* none : {"sse9", "AVX2", "avx", "avx512 "}) {
    setenv("VOXPOP_KERNELS", none, 1);
    try {
      choose_kernels();
      ADD_FAILURE() << none;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::kUsage);
      EXPECT_NE(std::string(error.what()).find("generic, avx2, avx512"), std::string::npos);
    }
  }
  setenv("VOXPOP_KERNELS", kept.c_str(), 1);
}

/// What an annotator's votes add up to, against the same in double precision.
TEST(Engine, annotator_sums_match_double_precision) {
  const std::vector<KnownVote> votes = random_component(8, 60, 0.2);
  const DoubleEp ep(8, votes);
  const EngineInput input(8, votes);
  const auto engine = make_cpu_engine(input.groups, *choose_kernels());
  engine->update_components(input.raters, kSettle);
  const PassResult pass = engine->update_components(input.raters, {.annotators = true, .exact = true});
  for (std::size_t v = 0; v < votes.size(); ++v) {  // each vote has its own annotator, odd ones saw the pair swapped
    const AnnotatorTerms<double> terms = ep.terms(v);
    const AnnotatorSums& sums = pass.annotators[v];
    const double side = v % 2 == 0 ? 1 : -1;
    EXPECT_NEAR(from_fixed(sums.gradient_gamma), terms.gradient_gamma, 1e-3);
    EXPECT_NEAR(from_fixed(sums.gradient_beta), side * terms.gradient_beta, 1e-3);
    EXPECT_NEAR(from_fixed(sums.information_gamma), terms.information_gamma, 2e-3);
    EXPECT_NEAR(from_fixed(sums.information_cross), side * terms.information_cross, 2e-3);
    EXPECT_NEAR(from_fixed(sums.information_beta), terms.information_beta, 2e-3);
  }
}

}  // namespace
}  // namespace voxpop
