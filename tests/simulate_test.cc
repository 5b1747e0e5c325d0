#include "simulate/simulate.h"

#include <xxhash.h>

#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"
#include "helpers.h"

namespace voxpop {
namespace {

std::string usage_error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kUsage);
    return error.what();
  }
  return "no error";
}

std::map<std::string, int> kinds(const Votes& votes) {
  std::map<std::string, int> count;
  for (std::size_t a = 0; a < votes.truth->kind.size(); ++a) ++count[std::string(votes.truth->kind[a])];
  return count;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double covariance(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / static_cast<double>(a.size()) - mean(a) * mean(b);
}

/// What an annotator who neither lapses nor drifts sees in a vote, without its taste.
double logit(const Votes& votes, std::size_t v) {
  const Truth& truth = *votes.truth;
  const std::uint32_t a = votes.annotator[v];
  return truth.discrimination[a] * (truth.score[votes.left[v]] - truth.score[votes.right[v]]) + truth.side_bias[a];
}

double tie_chance(const Votes& votes, std::size_t v) {
  const double left = sigmoid(logit(votes, v));
  return votes.truth->tie_habit[votes.annotator[v]] * 4 * left * (1 - left);
}

template <class Column>
std::uint64_t hash(const Column& column) {
  return XXH3_64bits(column.data(), column.size() * sizeof column[0]);
}

/// Items that hang together with item 0.
std::size_t joined_items(const Votes& votes) {
  std::vector<std::uint32_t> parent(votes.item_ids.size());
  std::iota(parent.begin(), parent.end(), 0u);
  const auto root = [&](std::uint32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (std::size_t v = 0; v < votes.size(); ++v) parent[root(votes.left[v])] = root(votes.right[v]);
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < parent.size(); ++i) count += root(i) == root(0);
  return count;
}

/// Each annotator's votes in the order of time.
std::vector<std::vector<std::size_t>> votes_in_time(const Votes& votes) {
  std::vector<std::vector<std::size_t>> rows(votes.annotator_ids.size());
  for (std::size_t v = 0; v < votes.size(); ++v) rows[votes.annotator[v]].push_back(v);
  for (auto& of_one : rows)
    std::sort(of_one.begin(), of_one.end(),
              [&](std::size_t a, std::size_t b) { return votes.timestamp[a] < votes.timestamp[b]; });
  return rows;
}

TEST(Simulate, the_same_seed_gives_the_same_votes) {
  const SimulateOptions options{.prompts = 200, .annotators = 30, .mix = {}, .ties = 0.1, .seed = 5};
  const Votes a = simulate_votes(options), b = simulate_votes(options);
  EXPECT_EQ(a.left, b.left);
  EXPECT_EQ(a.right, b.right);
  EXPECT_EQ(a.annotator, b.annotator);
  EXPECT_EQ(a.preference, b.preference);
  EXPECT_EQ(a.truth->score, b.truth->score);
  SimulateOptions other = options;
  other.seed = 6;
  EXPECT_NE(simulate_votes(other).preference, a.preference);
}

TEST(Simulate, first_votes_of_seed_1_on_every_machine) {
  const Votes votes = simulate_votes({.prompts = 2, .annotators = 10, .mix = {}, .seed = 1});
  ASSERT_EQ(votes.size(), 40u);
  EXPECT_EQ(votes.item_ids[0], "p0/r0");
  EXPECT_EQ(votes.item_ids[7], "p1/r3");
  EXPECT_EQ(votes.prompt, (Column<std::uint32_t>{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(votes.annotator_ids[9], "a9");
  const auto first = [](const auto& column) { return std::vector<int>(column.begin(), column.begin() + 8); };
  EXPECT_EQ(first(votes.left), (std::vector<int>{2, 1, 1, 2, 0, 2, 0, 0}));
  EXPECT_EQ(first(votes.right), (std::vector<int>{1, 2, 2, 1, 2, 0, 2, 2}));
  EXPECT_EQ(first(votes.annotator), (std::vector<int>{5, 8, 7, 4, 5, 2, 9, 7}));
  EXPECT_EQ(first(votes.preference), (std::vector<int>{-1, 1, 1, 1, 1, -1, 1, -1}));
  EXPECT_NEAR(votes.truth->score[0], 1.804968, 1e-6);
}

TEST(Simulate, a_prompt_has_distinct_pairs_and_a_pair_distinct_annotators) {
  const Votes votes = simulate_votes({.prompts = 300,
                                      .responses = 4,
                                      .pairs_per_prompt = 5,
                                      .votes_per_pair = 4,
                                      .annotators = 12,
                                      .mix = {},
                                      .seed = 2});
  ASSERT_EQ(votes.size(), 300u * 5 * 4);
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::set<std::uint32_t>> voters;
  std::map<std::uint32_t, std::set<std::pair<std::uint32_t, std::uint32_t>>> pairs;
  int swapped = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const auto pair = std::pair(std::min(votes.left[v], votes.right[v]), std::max(votes.left[v], votes.right[v]));
    EXPECT_TRUE(voters[pair].insert(votes.annotator[v]).second);
    EXPECT_EQ(votes.prompt[pair.first], votes.prompt[pair.second]);
    pairs[votes.prompt[pair.first]].insert(pair);
    swapped += votes.left[v] > votes.right[v];
  }
  for (const auto& [pair, who] : voters) EXPECT_EQ(who.size(), 4u);
  for (const auto& [prompt, of_prompt] : pairs) EXPECT_EQ(of_prompt.size(), 5u);
  EXPECT_NEAR(swapped / 6000.0, 0.5, 0.03);
}

TEST(Simulate, kinds_come_in_the_shares_asked_for) {
  const auto count = kinds(simulate_votes({.prompts = 10, .annotators = 1000, .mix = {}, .seed = 1}));
  EXPECT_NEAR(count.at("good"), 700, 5);
  EXPECT_NEAR(count.at("noisy"), 150, 5);
  EXPECT_NEAR(count.at("clicker"), 100, 5);
  EXPECT_NEAR(count.at("adversary"), 50, 5);
  EXPECT_EQ(kinds(simulate_votes({.prompts = 10, .annotators = 20, .mix = parse_mix("adversary=1")})).at("adversary"),
            20);
}

TEST(Simulate, the_reference_annotator_has_discrimination_1) {
  Truth truth = *simulate_votes({.prompts = 10, .annotators = 301, .mix = {}, .seed = 4}).truth;
  std::sort(truth.discrimination.begin(), truth.discrimination.end());
  EXPECT_NEAR(truth.discrimination[150], 1, 1e-12);
}

TEST(Simulate, votes_follow_the_truth) {
  const Votes votes = simulate_votes({.prompts = 5000, .annotators = 50, .mix = parse_mix("good=1"), .seed = 9});
  // Of all votes with a logit near +1, 73 % go to the left.
  double left = 0, count = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const std::uint32_t a = votes.annotator[v];
    const double eta =
        votes.truth->discrimination[a] * (votes.truth->score[votes.left[v]] - votes.truth->score[votes.right[v]]) +
        votes.truth->side_bias[a];
    if (std::abs(eta - 1) > 0.2) continue;
    count += 1;
    left += votes.preference[v] == 1;
  }
  EXPECT_GT(count, 2000);
  EXPECT_NEAR(left / count, 0.7311, 0.03);
}

TEST(Simulate, ties_come_in_the_share_asked_for) {
  for (const double share : {0.0, 0.1, 0.3}) {
    const Votes votes = simulate_votes({.prompts = 1000, .annotators = 50, .mix = {}, .ties = share, .seed = 8});
    const auto ties = std::count(votes.preference.begin(), votes.preference.end(), 0);
    EXPECT_NEAR(static_cast<double>(ties) / static_cast<double>(votes.size()), share, 0.01);
  }
}

TEST(Simulate, ties_follow_annotators_habits) {
  const Votes votes = simulate_votes({.prompts = 4000, .annotators = 300, .mix = {}, .ties = 0.3, .seed = 9});
  std::vector<double> logits, share(300, 0), expected(300, 0), count(300, 0);
  for (const double habit : votes.truth->tie_habit) logits.push_back(std::log(habit / (1 - habit)));
  EXPECT_NEAR(std::sqrt(covariance(logits, logits)), 0.7, 0.1);
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const std::uint32_t a = votes.annotator[v];
    share[a] += votes.preference[v] == 0;
    expected[a] += tie_chance(votes, v);
    count[a] += 1;
  }
  for (std::size_t a = 0; a < 300; ++a) EXPECT_NEAR(share[a], expected[a], 4 * std::sqrt(0.25 * count[a]) + 1) << a;
}

TEST(Simulate, arena_and_chain) {
  const Votes arena = simulate_votes({.shape = Shape::kArena,
                                      .prompts = 500,
                                      .responses = 20,
                                      .pairs_per_prompt = 2,
                                      .votes_per_pair = 1,
                                      .annotators = 5,
                                      .mix = {}});
  EXPECT_EQ(arena.size(), 1000u);
  EXPECT_EQ(arena.item_ids.size(), 20u);
  EXPECT_TRUE(arena.prompt.empty());
  for (std::size_t v = 0; v < arena.size(); ++v) EXPECT_NE(arena.left[v], arena.right[v]);
  const Votes chain = simulate_votes(
      {.shape = Shape::kChain, .prompts = 50, .responses = 2, .votes_per_pair = 1, .annotators = 5, .mix = {}});
  EXPECT_EQ(chain.size(), 99u);
  for (std::size_t v = 0; v < chain.size(); ++v)
    EXPECT_EQ(std::max(chain.left[v], chain.right[v]) - std::min(chain.left[v], chain.right[v]), 1u);
}

// Hashes of what was drawn before there were the options from --grades on: without them, files stay as they are.
// Votes with ties are drawn since by annotators' habits.
TEST(Simulate, files_without_the_later_options_stay_as_they_were) {
  struct Case {
    SimulateOptions options;
    std::uint64_t left, right, annotator, preference;
  };
  const Case cases[] = {
      {{.prompts = 300, .annotators = 30, .mix = {}, .seed = 7},
       0xbd78ea96e95fe454,
       0x103e0346e422d104,
       0xa3d498977ce250a5,
       0xf5332f7233105a0b},
      {{.prompts = 300, .annotators = 30, .mix = {}, .ties = 0.2, .seed = 7},
       0xbd78ea96e95fe454,
       0x103e0346e422d104,
       0xa3d498977ce250a5,
       0xe56bbde0e02d6f1},
      {{.shape = Shape::kArena,
        .prompts = 3000,
        .responses = 100,
        .pairs_per_prompt = 1,
        .votes_per_pair = 1,
        .annotators = 30,
        .mix = {},
        .seed = 11},
       0x403de698843cdc22,
       0xae53c16a4b084656,
       0x61f41d68a62c33a8,
       0x6b05c0ba86343b8e},
      {{.shape = Shape::kChain, .prompts = 100, .annotators = 30, .mix = {}, .ties = 0.1, .seed = 12},
       0xc4294c8f1cf665ce,
       0x6735201602b02e8b,
       0xda971a16e0cf6699,
       0x6e5d20d18996667d},
  };
  for (const Case& expected : cases) {
    const Votes votes = simulate_votes(expected.options);
    EXPECT_EQ(hash(votes.left), expected.left);
    EXPECT_EQ(hash(votes.right), expected.right);
    EXPECT_EQ(hash(votes.annotator), expected.annotator);
    EXPECT_EQ(hash(votes.preference), expected.preference);
    EXPECT_TRUE(votes.timestamp.empty() && votes.prior_score.empty() && votes.features.empty());
  }
}

TEST(Simulate, an_options_draws_leave_the_others_as_they_are) {
  const Votes plain = simulate_votes({.prompts = 500, .annotators = 30, .mix = {}, .ties = 0.1, .seed = 3});
  const Votes timed = simulate_votes({.prompts = 500,
                                      .annotators = 30,
                                      .mix = {},
                                      .ties = 0.1,
                                      .prior_score = 0.5,
                                      .days = 100,
                                      .bursts = 0.2,
                                      .seed = 3});
  EXPECT_EQ(timed.preference, plain.preference);
  const Votes full = simulate_votes({.prompts = 500,
                                     .annotators = 30,
                                     .mix = {},
                                     .ties = 0.1,
                                     .grades = 3,
                                     .lapse_rate = 0.1,
                                     .features = 2,
                                     .taste_sd = 0.2,
                                     .days = 100,
                                     .drift = 0.2,
                                     .bursts = 0.2,
                                     .seed = 3});
  EXPECT_EQ(full.left, plain.left);
  EXPECT_EQ(full.annotator, plain.annotator);
  EXPECT_EQ(full.timestamp, timed.timestamp);
  EXPECT_NE(full.preference, plain.preference);
}

TEST(Simulate, grades_follow_the_thresholds) {
  const Votes votes =
      simulate_votes({.prompts = 3000, .annotators = 50, .mix = {}, .ties = 0.15, .grades = 3, .seed = 4});
  const std::vector<double>& thresholds = votes.truth->thresholds;
  ASSERT_EQ(thresholds.size(), 3u);
  EXPECT_EQ(thresholds, (std::vector<double>{0, 1, 2}));
  const double edges[] = {-1e9, -2, -1, 0, 0, 1, 2, 1e9};
  const auto total = static_cast<double>(votes.size());
  for (int grade = -3; grade <= 3; ++grade) {
    double expected = 0;
    for (std::size_t v = 0; v < votes.size(); ++v) {
      const double eta = logit(votes, v), tie = tie_chance(votes, v);
      expected += grade == 0 ? tie : (1 - tie) * (sigmoid(edges[grade + 4] - eta) - sigmoid(edges[grade + 3] - eta));
    }
    const auto found = std::count(votes.preference.begin(), votes.preference.end(), grade);
    EXPECT_NEAR(static_cast<double>(found) / total, expected / total, 0.005) << grade;
    EXPECT_GT(expected / total, 0.05);
  }
  // Grades add strengths to the same votes.
  const Votes signs = simulate_votes({.prompts = 3000, .annotators = 50, .mix = {}, .ties = 0.15, .seed = 4});
  for (std::size_t v = 0; v < votes.size(); ++v)
    ASSERT_EQ((votes.preference[v] > 0) - (votes.preference[v] < 0), signs.preference[v]);
  EXPECT_EQ(simulate_votes({.prompts = 10, .mix = {}, .grades = 2}).truth->thresholds, (std::vector<double>{0, 1}));
}

TEST(Simulate, lapses_come_at_the_rate_asked_for) {
  const Votes votes = simulate_votes({.prompts = 4000,
                                      .annotators = 1001,
                                      .mix = parse_mix("good=1"),
                                      .ties = 0.2,
                                      .grades = 3,
                                      .lapse_rate = 0.3,
                                      .seed = 5});
  std::vector<double> rates = votes.truth->lapse_rate, logits;
  ASSERT_EQ(rates.size(), 1001u);
  for (const double rate : rates) logits.push_back(std::log(rate / (1 - rate)));
  EXPECT_NEAR(std::sqrt(covariance(logits, logits)), 0.7, 0.06);
  std::sort(rates.begin(), rates.end());
  EXPECT_NEAR(rates[500], 0.3, 0.03);
  // Where the better item is plain, whoever prefers the other one clicked.
  double plain = 0, wrong = 0, expected = 0;
  std::map<int, double> strengths;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const double eta = logit(votes, v), bias = votes.truth->side_bias[votes.annotator[v]];
    if (std::abs(eta) < 6) continue;
    plain += 1;
    expected += votes.truth->lapse_rate[votes.annotator[v]] * sigmoid(eta > 0 ? -bias : bias);
    if (votes.preference[v] * eta >= 0) continue;
    wrong += 1;
    strengths[std::abs(votes.preference[v])] += 1;
  }
  EXPECT_GT(plain, 2000);
  EXPECT_NEAR(wrong / plain, expected / plain, 0.025);
  EXPECT_NEAR(expected / plain, 0.16, 0.03);
  for (int strength = 1; strength <= 3; ++strength) EXPECT_NEAR(strengths[strength] / wrong, 1.0 / 3, 0.08) << strength;
  const auto ties = std::count(votes.preference.begin(), votes.preference.end(), 0);
  EXPECT_NEAR(static_cast<double>(ties) / static_cast<double>(votes.size()), 0.2, 0.01);
}

TEST(Simulate, clicks_go_where_the_side_bias_leads) {
  const Votes votes =
      simulate_votes({.prompts = 2000, .annotators = 100, .mix = parse_mix("good=.5,clicker=.5"), .lapse_rate = 0.9});
  double left = 0, count = 0, expected = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const std::uint32_t a = votes.annotator[v];
    const double bias = votes.truth->side_bias[a], rate = votes.truth->lapse_rate[a];
    if (bias < 1) continue;
    count += 1;
    left += votes.preference[v] > 0;
    expected += rate * sigmoid(bias) + (1 - rate) * sigmoid(logit(votes, v));
  }
  EXPECT_GT(count, 5000);
  EXPECT_NEAR(left / count, expected / count, 0.01);
}

TEST(Simulate, features_and_tastes) {
  const Votes votes = simulate_votes({.prompts = 10000,
                                      .annotators = 301,
                                      .mix = parse_mix("good=1"),
                                      .features = 3,
                                      .feature_effect = 1,
                                      .taste_sd = 0.8,
                                      .seed = 6});
  const Truth& truth = *votes.truth;
  EXPECT_EQ(votes.feature_names[0], "length");
  EXPECT_EQ(votes.feature_names[2], "f2");
  EXPECT_EQ(truth.feature_coefficients, (std::vector<double>{1, -0.5, 0.25}));
  ASSERT_EQ(votes.features.size(), 3 * 40000u);
  ASSERT_EQ(truth.taste.size(), 3 * 301u);
  EXPECT_NEAR(std::sqrt(covariance(truth.score, truth.score)), 2, 0.03);
  EXPECT_NEAR(std::sqrt(covariance(truth.taste, truth.taste)), 0.8, 0.06);
  for (std::size_t f = 0; f < 3; ++f) {
    std::vector<double> column;
    for (std::size_t i = f; i < votes.features.size(); i += 3) column.push_back(votes.features[i]);
    EXPECT_NEAR(covariance(column, column), 1, 0.03);
    EXPECT_NEAR(covariance(column, truth.score), truth.feature_coefficients[f], 0.04) << f;
  }
  // Votes that everyone else would find even, but this annotator's taste does not.
  double left = 0, count = 0, expected = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    double taste = 0;
    for (std::size_t f = 0; f < 3; ++f)
      taste += truth.taste[3 * votes.annotator[v] + f] *
               (votes.features[3 * votes.left[v] + f] - votes.features[3 * votes.right[v] + f]);
    if (std::abs(logit(votes, v)) > 0.3 || taste < 1) continue;
    count += 1;
    left += votes.preference[v] > 0;
    expected += sigmoid(logit(votes, v) + taste);
  }
  EXPECT_GT(count, 2000);
  EXPECT_NEAR(left / count, expected / count, 0.025);
  EXPECT_GT(expected / count, 0.8);
}

TEST(Simulate, prior_scores_correlate_as_asked_for) {
  for (const double correlation : {0.0, 0.6, 0.95}) {
    const Votes votes =
        simulate_votes({.prompts = 5000, .mix = {}, .features = 1, .prior_score = correlation, .seed = 7});
    const std::vector<double> prior(votes.prior_score.begin(), votes.prior_score.end());
    const std::vector<double>& score = votes.truth->score;
    ASSERT_EQ(prior.size(), score.size());
    EXPECT_NEAR(mean(prior), 5, 0.01);
    EXPECT_NEAR(std::sqrt(covariance(prior, prior)), 0.3, 0.01);
    EXPECT_NEAR(covariance(prior, score) / std::sqrt(covariance(prior, prior) * covariance(score, score)), correlation,
                0.02);
  }
}

TEST(Simulate, timestamps_come_in_sessions_and_bursts) {
  const Votes votes =
      simulate_votes({.prompts = 1000, .annotators = 40, .mix = {}, .days = 30, .bursts = 0.25, .seed = 8});
  ASSERT_EQ(votes.timestamp.size(), votes.size());
  const auto [first, last] = std::minmax_element(votes.timestamp.begin(), votes.timestamp.end());
  EXPECT_GE(*first, 1767571200);  // 2026-01-05 00:00 UTC
  EXPECT_LT(*last, 1767571200 + 30 * 86400);
  EXPECT_GT(*last - *first, 29 * 86400);
  EXPECT_FALSE(std::is_sorted(votes.timestamp.begin(), votes.timestamp.end()));
  int bursts = 0;
  std::map<bool, double> gaps;  // by: within a session
  const auto rows = votes_in_time(votes);
  for (std::size_t a = 0; a < rows.size(); ++a) {
    std::size_t seconds = 0;
    for (std::size_t i = 1; i < rows[a].size(); ++i) {
      const std::int64_t gap = votes.timestamp[rows[a][i]] - votes.timestamp[rows[a][i - 1]];
      EXPECT_TRUE(gap == 1 || gap >= 20) << gap;
      seconds += gap == 1;
      gaps[gap <= 90] += 1;
    }
    bursts += votes.truth->bursts[a];
    if (votes.truth->bursts[a] != 0)
      EXPECT_GE(seconds, std::min<std::size_t>(rows[a].size() - 1, 33)) << a;
    else
      EXPECT_EQ(seconds, 0u) << a;
  }
  EXPECT_EQ(bursts, 10);
  EXPECT_NEAR(gaps[true] / (gaps[false] + 1), 50, 5);
}

TEST(Simulate, drifting_annotators_lose_three_quarters_of_their_discrimination) {
  const Votes votes =
      simulate_votes({.prompts = 4000, .annotators = 50, .mix = {}, .days = 365, .drift = 0.3, .seed = 9});
  const Truth& truth = *votes.truth;
  std::vector<double> discrimination = truth.discrimination;
  std::sort(discrimination.begin(), discrimination.end());
  EXPECT_NEAR(discrimination[25], 1, 1e-12);
  int drifting = 0;
  double better[2] = {0, 0}, expected[2] = {0, 0}, count[2] = {0, 0};
  const auto rows = votes_in_time(votes);
  for (std::size_t a = 0; a < rows.size(); ++a) {
    drifting += truth.drifts[a];
    if (truth.drifts[a] == 0) continue;
    EXPECT_EQ(truth.kind[a], "good");
    const std::size_t n = rows[a].size();
    const double early = truth.discrimination[a] / (1 - 0.75 * static_cast<double>(n / 2) / static_cast<double>(n));
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t v = rows[a][i];
      const bool later = i >= n - n / 2;
      const double difference = truth.score[votes.left[v]] - truth.score[votes.right[v]];
      const double eta = early * (later ? 0.25 : 1) * difference + truth.side_bias[a];
      count[later] += 1;
      better[later] += votes.preference[v] * difference > 0;
      expected[later] += difference > 0 ? sigmoid(eta) : sigmoid(-eta);
    }
  }
  EXPECT_EQ(drifting, 15);
  for (const int later : {0, 1}) {
    EXPECT_GT(count[later], 5000);
    EXPECT_NEAR(better[later] / count[later], expected[later] / count[later], 0.015);
  }
  EXPECT_GT(better[0] / count[0], better[1] / count[1] + 0.15);
}

TEST(Simulate, graph_is_a_tree_and_more) {
  const SimulateOptions options{.shape = Shape::kGraph,
                                .prompts = 500,
                                .responses = 4,
                                .pairs_per_prompt = 5,
                                .votes_per_pair = 1,
                                .annotators = 5,
                                .mix = {}};
  const Votes votes = simulate_votes(options);
  EXPECT_EQ(votes.size(), 2500u);
  EXPECT_EQ(votes.item_ids.size(), 2000u);
  EXPECT_TRUE(votes.prompt.empty());
  EXPECT_EQ(joined_items(votes), 2000u);
  for (std::size_t v = 0; v < 1999; ++v) EXPECT_EQ(std::max(votes.left[v], votes.right[v]), v + 1);
  for (std::size_t v = 0; v < votes.size(); ++v) EXPECT_NE(votes.left[v], votes.right[v]);
  EXPECT_NEAR(std::sqrt(covariance(votes.truth->score, votes.truth->score)), 2, 0.1);
}

TEST(Simulate, mix_joins_prompts_through_their_first_items_and_hubs) {
  const Votes votes = simulate_votes({.shape = Shape::kMix,
                                      .prompts = 250,
                                      .responses = 4,
                                      .pairs_per_prompt = 4,
                                      .votes_per_pair = 2,
                                      .annotators = 5,
                                      .mix = {}});
  EXPECT_EQ(votes.size(), 2 * (250u * 4 + 249 + 3 * 100));
  EXPECT_TRUE(votes.prompt.empty());
  EXPECT_EQ(votes.item_ids[5], "p1/r1");
  EXPECT_EQ(joined_items(votes), 1000u);
  std::vector<int> compared(1000);
  int across = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    ++compared[votes.left[v]];
    ++compared[votes.right[v]];
    if (votes.left[v] / 4 == votes.right[v] / 4) continue;
    ++across;
    EXPECT_TRUE(votes.left[v] % 4 == 0 || votes.right[v] % 4 == 0);
  }
  EXPECT_GT(across, 2 * 549 - 20);  // a hub may meet its own prompt's items
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_EQ(compared[i] >= 200, i % 400 == 0) << i;
}

TEST(Simulate, refuses_numbers_that_do_not_fit_together) {
  const auto error = [](const SimulateOptions& options) { return usage_error_of([&] { simulate_votes(options); }); };
  EXPECT_PRED2(test::contains, error({.responses = 1, .mix = {}}), "--responses must be at least 2");
  EXPECT_PRED2(test::contains, error({.responses = 3, .pairs_per_prompt = 4, .mix = {}}), "there are only 3 pairs");
  EXPECT_PRED2(test::contains, error({.votes_per_pair = 4, .annotators = 3, .mix = {}}),
               "--annotators must be at least --votes-per-pair");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_PRED2(test::contains, error({.mix = {}, .grades = 10}), "--grades must be from 0 to 9");
  for (const double rate : {-0.1, 0.91, nan})
    EXPECT_PRED2(test::contains, error({.mix = {}, .lapse_rate = rate}), "--lapse-rate must be from 0 to 0.9");
  EXPECT_PRED2(test::contains, error({.mix = {}, .features = 65}), "--features must be from 0 to 64");
  for (const double effect : {1.9, -1.9, nan})
    EXPECT_PRED2(test::contains, error({.mix = {}, .features = 1, .feature_effect = effect}), "--feature-effect ");
  EXPECT_PRED2(test::contains, error({.mix = {}, .features = 1, .taste_sd = -1}), "--taste-sd must be from 0 to 10");
  EXPECT_PRED2(test::contains, error({.mix = {}, .taste_sd = 1}), "--taste-sd needs --features");
  for (const double correlation : {-0.1, 1.0, nan})
    EXPECT_PRED2(test::contains, error({.mix = {}, .prior_score = correlation}), "--prior-score must be");
  EXPECT_PRED2(test::contains, error({.mix = {}, .days = 36501}), "--days must be from 0 to 36500");
  EXPECT_PRED2(test::contains, error({.mix = {}, .days = 9, .drift = 2}), "--drift must be a share");
  EXPECT_PRED2(test::contains, error({.mix = {}, .days = 9, .bursts = nan}), "--bursts must be a share");
  EXPECT_PRED2(test::contains, error({.mix = {}, .drift = 0.1}), "--drift and --bursts need --days");
  EXPECT_PRED2(test::contains, error({.prompts = 100, .annotators = 10, .mix = {}, .days = 99, .drift = 0.8}),
               "--drift 0.8: only 7 of 10 annotators are good ones with 10 votes or more");
  EXPECT_PRED2(test::contains, error({.prompts = 2000, .annotators = 10, .mix = {}, .days = 1}), "--days 1: the ");
  EXPECT_PRED2(test::contains, error({.prompts = 100, .mix = {}, .ties = 0.5, .lapse_rate = 0.9}),
               "--ties 0.5: at most 0.0");
  EXPECT_PRED2(test::contains, error({.shape = Shape::kGraph, .pairs_per_prompt = 3, .mix = {}}),
               "--shape graph: 150000 pairs cannot connect 200000 items");
  EXPECT_PRED2(test::contains, error({.shape = Shape::kMix, .pairs_per_prompt = 2, .mix = {}}),
               "--shape mix: --pairs-per-prompt 2 cannot connect 4 responses");
}

TEST(ParseMix, literal) {
  const Mix mix = parse_mix("good=.5,adversary=0.25,noisy=0.25");
  EXPECT_EQ(mix.good, 0.5);
  EXPECT_EQ(mix.noisy, 0.25);
  EXPECT_EQ(mix.clicker, 0);
  EXPECT_EQ(mix.adversary, 0.25);
}

TEST(ParseMix, errors) {
  for (const std::string entry : {"good", "good=", "bad=1", "good=x", "good=0.5x", "good=-1", "good=2", "=1"})
    EXPECT_PRED2(test::contains, usage_error_of([&] { parse_mix(entry); }), "--mix: '" + entry + "' is not KIND=SHARE")
        << entry;
  EXPECT_PRED2(test::contains, usage_error_of([] { parse_mix("good=.5"); }),
               "--mix: the shares add up to 0.5; they must add up to 1");
  EXPECT_PRED2(test::contains, usage_error_of([] { parse_mix(""); }), "--mix: the shares add up to 0;");
}

}  // namespace
}  // namespace voxpop
