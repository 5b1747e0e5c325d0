#include "fit/sparse.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <random>

#include "engine_comparison.h"
#include "fit/dense.h"
#include "fit/group_view.h"
#include "fit/tbb_backend.h"

namespace voxpop {
namespace {

/// A connected graph, `pairs_an_item` random pairs an item, with the sites of a settled fit: dense solutions, random
/// raters.
struct SettledGraph {
  Groups groups;
  std::vector<RaterRecord> raters;
  std::vector<float> site_precision, site_shift, pair_mean, pair_variance;
  VoteScale scale{};
  float coefficient[kMaxCovariates] = {0.4f, -0.2f, 0.3f};
  std::vector<float> source_score = test::random_source_scores(4);

  SettledGraph(std::uint32_t items, std::uint32_t pairs_an_item, int sweeps) {
    std::mt19937 engine(items);
    const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
    std::vector<test::Row> rows;
    const auto add = [&](std::uint32_t a, std::uint32_t b) {
      if (a == b) return;
      for (int vote = 0; vote < 2; ++vote) rows.push_back({a, b, random() % 50, random() % 5 < 3 ? 1 : -1});
    };
    for (std::uint32_t i = 1; i < items; ++i) add(i, random() % i);
    for (std::uint32_t k = 0; k < items * (pairs_an_item - 1); ++k) add(random() % items, random() % items);
    Votes votes = test::make_votes(items, 50, rows);
    groups = test::with_sources(test::with_covariates(group_votes(votes, Ties::kModel)), 4);
    raters = test::random_raters(50);
    site_precision.assign(groups.votes.size(), 0);
    site_shift = site_precision;
    pair_mean.assign(groups.pairs(), 0);
    pair_variance.assign(groups.pairs(), 2);
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      SolveSums ignored;
      solve_dense(view(), 0, nullptr, nullptr, ignored, nullptr, nullptr, nullptr);
      choose_kernels()->votes(view(), 0, static_cast<std::uint32_t>(groups.votes.size()), 0, 0, {.exact = true});
    }
  }

  FitView view() {
    FitView v = view_of(groups);
    v.site_precision = site_precision.data();
    v.site_shift = site_shift.data();
    v.pair_mean = pair_mean.data();
    v.pair_variance = pair_variance.data();
    v.raters = raters.data();
    v.kind = Likelihood::kBinary;
    v.scale = &scale;
    v.covariates = groups.covariates.value.data();
    v.coefficient = coefficient;
    v.covariate_count = groups.covariates.count();
    v.stretch = 1;
    v.slot_source = groups.slot_source.data();
    v.source_score = source_score.data();
    return v;
  }
};

struct Solution {
  std::vector<float> pair_mean, pair_variance, slot_mean, slot_variance;
  SolveSums sums;
  CovariateSums covariates{};
  std::vector<SourceSums> sources = std::vector<SourceSums>(4);
};

template <class Solve>
Solution solution_of(SettledGraph& graph, const Solve& solve) {
  Solution out;
  out.slot_mean.resize(graph.groups.slot_item.size());
  out.slot_variance = out.slot_mean;
  solve(graph.view(), out);
  out.pair_mean = graph.pair_mean;
  out.pair_variance = graph.pair_variance;
  return out;
}
Solution solve_sparse(SettledGraph& graph) {
  return solution_of(graph, [&](const FitView& view, Solution& out) {
    TbbBackend backend;
    SparseSolver<TbbBackend>(backend, graph.groups, 0)
        .solve(view, nullptr, out.slot_mean.data(), out.slot_variance.data(), &out.sums, &out.covariates,
               out.sources.data());
  });
}
Solution solve_exactly(SettledGraph& graph) {
  return solution_of(graph, [&](const FitView& view, Solution& out) {
    solve_dense(view, 0, out.slot_mean.data(), out.slot_variance.data(), out.sums, &out.covariates, out.sources.data(),
                nullptr);
  });
}

/// The middle of what is sorted by this, and the share within a fraction of 1.
struct Ratios {
  double median, within_quarter;
  Ratios(const std::vector<float>& got, const std::vector<float>& exact) {
    std::vector<double> ratio;
    for (std::size_t i = 0; i < got.size(); ++i) ratio.push_back(got[i] / exact[i]);
    std::sort(ratio.begin(), ratio.end());
    median = ratio[ratio.size() / 2];
    within_quarter = static_cast<double>(
                         std::count_if(ratio.begin(), ratio.end(), [](double r) { return std::abs(r - 1) < 0.25; })) /
                     static_cast<double>(ratio.size());
  }
};

TEST(Sparse, offsets_of_rows_go_beyond_32_bits) {
  const std::uint32_t most = 0xffffffffu;
  EXPECT_EQ(row_offsets({most, 0, most, 2}),
            (std::vector<std::uint64_t>{0, 0xffffffffull, 0xffffffffull, 0x1fffffffeull, 0x200000000ull}));
  EXPECT_EQ(row_offsets({}), std::vector<std::uint64_t>{0});
}

class SparseGraphs : public testing::TestWithParam<std::uint32_t> {};

TEST_P(SparseGraphs, agree_with_cholesky) {
  SettledGraph graph(2000, GetParam(), 3);
  ASSERT_EQ(graph.groups.components(), 1u);
  const Solution exact = solve_exactly(graph), got = solve_sparse(graph);
  double worst = 0;
  for (std::size_t p = 0; p < exact.pair_mean.size(); ++p)
    worst =
        std::max(worst, std::abs(got.pair_mean[p] - exact.pair_mean[p]) / std::sqrt(double{exact.pair_variance[p]}));
  EXPECT_LT(worst, 1e-3);
  const Ratios pairs(got.pair_variance, exact.pair_variance), slots(got.slot_variance, exact.slot_variance);
  RecordProperty("pair_median", std::to_string(pairs.median));
  RecordProperty("pair_within_quarter", std::to_string(pairs.within_quarter));
  EXPECT_NEAR(pairs.median, 1, 0.05);
  EXPECT_GT(pairs.within_quarter, 0.9);
  EXPECT_NEAR(slots.median, 1, 0.05);
  EXPECT_GT(slots.within_quarter, 0.9);
  EXPECT_EQ(got.sums.freedom, exact.sums.freedom);
  EXPECT_NEAR(from_fixed(got.sums.squares) / from_fixed(exact.sums.squares), 1, 0.02);
  EXPECT_NEAR(from_fixed(got.sums.log_evidence), from_fixed(exact.sums.log_evidence), 0.5 * std::sqrt(2000.0));
  for (int k = 0; k < 3; ++k) {
    EXPECT_NEAR(from_fixed(got.covariates.gradient[k]), from_fixed(exact.covariates.gradient[k]), 0.05);
    const double information = from_fixed(exact.covariates.information[triangle(k, k)]);
    EXPECT_NEAR(from_fixed(got.covariates.information[triangle(k, k)]), information, 0.25 * information);
  }
  for (int g = 0; g < 4; ++g) {
    const double information = from_fixed(exact.sources[g].information);
    EXPECT_NEAR(from_fixed(got.sources[g].gradient), from_fixed(exact.sources[g].gradient), 0.05) << g;
    EXPECT_NEAR(from_fixed(got.sources[g].information), information, 0.02 * information) << g;
  }
}
INSTANTIATE_TEST_SUITE_P(PairsAnItem, SparseGraphs, testing::Values(1u, 3u));

/// Scores along a chain with equal precisions t, far from its ends: H = I + t (second differences), whose inverse falls
/// off as r^distance; the variance of neighbours' difference is 2 (1 - r) / sqrt(1 + 4 t).
TEST(Sparse, chain_has_its_known_variance) {
  std::vector<test::Row> rows;
  constexpr std::uint32_t kItems = 30000;
  for (std::uint32_t i = 0; i + 1 < kItems; ++i) rows.push_back({i, i + 1, 0, 1});
  Votes votes = test::make_votes(kItems, 1, rows);
  const Groups groups = group_votes(votes, Ties::kModel);
  const double t = 0.8, r = (1 + 2 * t - std::sqrt(1 + 4 * t)) / (2 * t);
  std::vector<float> precision(groups.votes.size(), static_cast<float>(t)), shift(groups.votes.size(), 0.3f);
  Solution got;
  got.pair_mean.assign(groups.pairs(), 0);
  got.pair_variance.assign(groups.pairs(), 2);
  got.slot_mean.resize(kItems);
  got.slot_variance.resize(kItems);
  FitView view = view_of(groups);
  view.site_precision = precision.data();
  view.site_shift = shift.data();
  view.pair_mean = got.pair_mean.data();
  view.pair_variance = got.pair_variance.data();
  view.stretch = 1;
  TbbBackend backend;
  SparseSolver<TbbBackend>(backend, groups, 0)
      .solve(view, nullptr, got.slot_mean.data(), got.slot_variance.data(), &got.sums, nullptr, nullptr);
  double mean = 0, variance = 0, slot = 0;
  for (std::uint32_t p = 1000; p < kItems - 1000; ++p) {
    mean += got.pair_mean[p] / (kItems - 2000);
    variance += got.pair_variance[p] / (kItems - 2000);
    slot += got.slot_variance[p] / (kItems - 2000);
  }
  EXPECT_NEAR(variance, 2 * (1 - r) / std::sqrt(1 + 4 * t), 0.005);
  EXPECT_NEAR(slot, 1 / std::sqrt(1 + 4 * t), 0.005);
  EXPECT_NEAR(mean, 0, 1e-3);  // equal shifts cancel along a chain
  // log det of I + t (second differences), an item: log of ((1 + sqrt(1 + 4 t)) / 2)^2.
  const double log_determinant = -2 * from_fixed(got.sums.log_evidence);  // but for shift * mean, at the ends alone
  EXPECT_NEAR(log_determinant / kItems, 2 * std::log((1 + std::sqrt(1 + 4 * t)) / 2), 0.005);
}

TEST(Sparse, any_number_of_threads_gives_the_same_bits) {
  SettledGraph graph(1000, 3, 1);
  const auto solve_with = [&](int threads) {
    const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, threads);
    oneapi::tbb::task_arena arena(threads);
    return arena.execute([&] { return solve_sparse(graph); });
  };
  const Solution one = solve_with(1), two = solve_with(2), four = solve_with(4);
  for (const Solution* other : {&two, &four}) {
    EXPECT_EQ(one.pair_mean, other->pair_mean);
    EXPECT_EQ(one.pair_variance, other->pair_variance);
    EXPECT_EQ(one.slot_variance, other->slot_variance);
    EXPECT_EQ(one.sums.squares, other->sums.squares);
    EXPECT_EQ(one.sums.log_evidence, other->sums.log_evidence);
  }
}

/// The same votes as a dense component and as a sparse one, whole fits.
TEST(Sparse, whole_fit_agrees_with_a_dense_one) {
  Votes votes = simulate_votes({.shape = Shape::kGraph,
                                .prompts = 200,
                                .responses = 4,
                                .pairs_per_prompt = 12,
                                .annotators = 40,
                                .mix = {},
                                .seed = 2});
  const Groups groups = group_votes(votes, Ties::kModel);
  ASSERT_EQ(groups.components(), 1u);
  const auto fit_with = [&](std::uint32_t dense_items) {
    const auto engine = make_cpu_engine(groups, *choose_kernels(), dense_items);
    const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
    EXPECT_TRUE(fit.converged);
    return engine->label_pairs(static_cast<float>(fit.reference_discrimination));
  };
  const PairLabels dense = fit_with(kDenseItems), sparse = fit_with(kSmallItems);
  double off = 0;
  for (std::size_t p = 0; p < dense.probability.size(); ++p)
    off += std::abs(dense.probability[p] - sparse.probability[p]) / static_cast<double>(dense.probability.size());
  EXPECT_LT(off, 0.004);
  test::expect_near(sparse.probability, dense.probability, 0.03, "probability");
}

/// Signs are even and do not go together: of neighbouring sources, nor of columns.
TEST(Sparse, signs_are_random) {
  constexpr int kCount = 100000;
  double mean = 0, sources = 0, columns = 0;
  float before[kSparseColumns] = {};
  for (std::uint32_t i = 0; i < kCount; ++i) {
    float signs[kSparseColumns];
    detail::signs_of(i, 1, signs);
    for (int k = 0; k < kSparseColumns; ++k) {
      mean += signs[k];
      sources += signs[k] * before[k];
      columns += k > 0 ? signs[k] * signs[k - 1] : 0;
      before[k] = signs[k];
    }
  }
  const double allowed = 4 * std::sqrt(8.0 * kCount);
  EXPECT_NEAR(mean, 0, allowed);
  EXPECT_NEAR(sources, 0, allowed);
  EXPECT_NEAR(columns, 0, allowed);
}

}  // namespace
}  // namespace voxpop
