#include "label/drift.h"

#include "helpers.h"
#include "label/labels.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

Drift drift_of(Votes& votes) {
  const Groups groups = group_votes(votes, Ties::kModel);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
  return find_drift(groups, fit, engine->sites(), votes.timestamp);
}

Votes simulated(double drift, std::uint64_t seed, std::uint64_t annotators = 300) {
  return simulate_votes({.prompts = 12000,
                         .pairs_per_prompt = 3,
                         .votes_per_pair = 3,
                         .annotators = annotators,
                         .mix = {},
                         .days = 3000,
                         .drift = drift,
                         .seed = seed});
}

/// p-values are those of the likeliest of several bounds, and rather too large.
TEST(Drift, no_change_is_seldom_found) {
  double tested = 0, below = 0, lowest = 1;
  for (const std::uint64_t seed : {1, 2}) {
    Votes votes = simulated(0, seed);
    for (const float p : drift_of(votes).p_value) {
      if (std::isnan(p)) continue;
      tested += 1;
      below += p < 0.05f;
      lowest = std::min(lowest, double{p});
    }
  }
  EXPECT_GT(tested, 400);
  EXPECT_GT(below / tested, 0.01);
  EXPECT_LT(below / tested, 0.06);
  EXPECT_GT(lowest, 1e-5);
}

TEST(Drift, a_change_is_found) {
  Votes votes = simulated(0.2, 3, 60);
  const Truth truth = *votes.truth;
  const Drift drift = drift_of(votes);
  std::vector<std::uint32_t> count(60, 0);
  for (std::size_t w = 0; w < drift.windows.votes.size(); ++w)
    count[drift.windows.annotator[w]] += drift.windows.votes[w];
  constexpr std::uint32_t kEnough = 1000;  // with three votes a pair, a vote says little of its annotator
  double drifters = 0, found = 0;
  int false_alarms = 0;
  for (std::size_t a = 0; a < 60; ++a) {
    const bool said = drift.corrected_p_value[a] < 0.01f;
    if (truth.drifts[a] == 0) false_alarms += said;
    if (truth.drifts[a] == 0 || count[a] < kEnough) continue;
    drifters += 1;
    found += said;
  }
  EXPECT_GE(drifters, 5);
  EXPECT_GE(found, 0.9 * drifters);
  EXPECT_EQ(false_alarms, 0);

  // The windows show it: a fall to a quarter, in units that the fall itself moves a little.
  double early = 0, late = 0, windows = 0;
  for (std::size_t w = 0; w + 1 < drift.windows.annotator.size(); ++w) {
    const std::uint32_t a = drift.windows.annotator[w];
    if (truth.drifts[a] == 0 || count[a] < kEnough) continue;
    if (w == 0 || drift.windows.annotator[w - 1] != a) early += drift.windows.discrimination[w];
    if (drift.windows.annotator[w + 1] != a) {
      late += drift.windows.discrimination[w];
      windows += 1;
    }
  }
  EXPECT_GT(early / windows, 0.8);
  EXPECT_LT(late / windows, 0.65);  // drawn towards the others, who stay at 1
}

TEST(Drift, windows_are_in_order_of_time) {
  // 120 votes of annotator 0, given backwards and a minute apart, with a night after the first 60; 99 of annotator 1.
  std::vector<test::Row> rows;
  for (std::uint32_t v = 0; v < 120; ++v) rows.push_back({2 * v, 2 * v + 1, 0, 1});
  for (std::uint32_t v = 0; v < 99; ++v) rows.push_back({2 * v, 2 * v + 1, 1, 1});
  Votes votes = test::make_votes(240, 2, rows);
  for (int v = 119; v >= 0; --v) votes.timestamp.push_back(1000 + 60 * v + (v >= 60 ? 40000 : 0));
  for (int v = 0; v < 99; ++v) votes.timestamp.push_back(v);
  const WindowColumns windows = drift_of(votes).windows;
  EXPECT_EQ(windows.annotator, (Column<std::uint32_t>{0, 0}));
  EXPECT_EQ(windows.votes, (Column<std::uint32_t>{60, 60}));
  EXPECT_EQ(windows.start, (Column<std::int64_t>{1000, 44600}));
  EXPECT_EQ(windows.end, (Column<std::int64_t>{4540, 48140}));
  EXPECT_FLOAT_EQ(windows.votes_per_hour[0], 60);
}

TEST(Drift, expected_accuracy_is_true) {
  Votes votes = simulated(0, 4);
  const Truth truth = *votes.truth;
  const Column<std::uint32_t> left = votes.left, right = votes.right, annotator = votes.annotator;
  const Drift drift = drift_of(votes);
  std::vector<double> correct(300, 0), expected(300, 0), count(300, 0);
  for (std::size_t v = 0; v < left.size(); ++v)
    correct[annotator[v]] += (truth.score[left[v]] > truth.score[right[v]]) == (votes.preference[v] > 0);
  for (std::size_t w = 0; w < drift.windows.votes.size(); ++w) {
    expected[drift.windows.annotator[w]] += double{drift.windows.expected_accuracy[w]} * drift.windows.votes[w];
    count[drift.windows.annotator[w]] += drift.windows.votes[w];
  }
  double off = 0, annotators = 0;
  for (std::size_t a = 0; a < 300; ++a) {
    if (count[a] < 200) continue;
    off += (expected[a] - correct[a]) / count[a];
    annotators += 1;
  }
  EXPECT_NEAR(off / annotators, 0, 0.02);
}

TEST(Holm, by_hand) {
  const Column<float> corrected = holm({0.01f, 0.04f, 0.03f, NAN, 0.005f});
  EXPECT_FLOAT_EQ(corrected[4], 0.02f);
  EXPECT_FLOAT_EQ(corrected[0], 0.03f);
  EXPECT_FLOAT_EQ(corrected[2], 0.06f);
  EXPECT_FLOAT_EQ(corrected[1], 0.06f);  // no smaller than the one before
  EXPECT_TRUE(std::isnan(corrected[3]));
}

/// scipy.stats.chi2.sf
TEST(ChiSquared, tail) {
  EXPECT_NEAR(chi_squared_tail(3.841458820694124, 1), 0.05, 1e-9);
  EXPECT_NEAR(chi_squared_tail(40.289360437593864, 22), 0.01, 1e-9);
}

}  // namespace
}  // namespace voxpop
