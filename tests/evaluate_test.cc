#include <array>
#include <fstream>
#include <map>
#include <numeric>
#include <random>

#include "core/error.h"
#include "evaluate/calibration.h"
#include "evaluate/gold.h"
#include "evaluate/held_out.h"
#include "evaluate/left_out.h"
#include "helpers.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

std::unique_ptr<Engine> make(const Groups& groups) { return make_cpu_engine(groups, *choose_kernels()); }

Groups simulated(double ties = 0) {
  Votes votes = simulate_votes({.prompts = 1500, .annotators = 40, .mix = {}, .ties = ties, .seed = 3});
  return group_votes(votes, Ties::kModel);
}

TEST(Folds, spread_the_votes_of_a_pair) {
  const Groups groups = simulated();
  const std::vector<std::uint8_t> folds = draw_folds(groups, 3, 1);
  std::vector<double> count(3, 0);
  for (std::size_t p = 0; p < groups.pairs(); ++p) {
    std::vector<int> mine(3, 0);
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      ++mine[folds[v]];
      ++count[folds[v]];
    }
    ASSERT_LE(*std::max_element(mine.begin(), mine.end()) - *std::min_element(mine.begin(), mine.end()), 1);
  }
  for (const double c : count) EXPECT_NEAR(c / static_cast<double>(folds.size()), 1.0 / 3, 0.01);
  EXPECT_EQ(draw_folds(groups, 3, 1), folds);
  EXPECT_NE(draw_folds(groups, 3, 2), folds);
}

/// What is said of votes that are hidden is what a fit says that never had them.
TEST(HeldOut, hidden_votes_leave_no_trace) {
  Votes all = simulate_votes({.prompts = 400, .annotators = 20, .mix = {}, .ties = 0.2, .seed = 3});
  Votes fewer = all;
  const Groups groups = group_votes(all, Ties::kModel);
  const std::vector<std::uint8_t> folds = draw_folds(groups, 2, 1);
  std::vector<bool> hidden(folds.size());
  for (std::size_t v = 0; v < folds.size(); ++v) hidden[groups.vote_row[v]] = folds[v] == 0;
  const auto keep = [&](auto& column) {
    std::size_t kept = 0;
    for (std::size_t row = 0; row < hidden.size(); ++row)
      if (!hidden[row]) column[kept++] = column[row];
    column.resize(kept);
  };
  keep(fewer.left);
  keep(fewer.right);
  keep(fewer.annotator);
  keep(fewer.preference);
  const Groups rest = group_votes(fewer, Ties::kModel);
  const auto engine = make(rest);
  const Fit fit = fit_model(*engine, count_votes(rest), {.answers = rest.answers}, [](int, double) {});
  const Predictions predictions = predict_held_out(groups, folds, {.answers = groups.answers}, make, [](int, int) {});

  // The same items' pairs; 4 votes each, so that both folds have some of every pair.
  ASSERT_EQ(rest.pairs(), groups.pairs());
  double worst = 0;
  for (std::size_t p = 0; p < groups.pairs(); ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      if (folds[v] != 0) continue;
      const AnnotatorPosterior& a = fit.annotators[groups.votes[v].annotator()];
      const double side = groups.votes[v].first_on_left() ? 1 : -1;
      // The chance of left, given that it is no tie, by brute force over d and the annotator's posterior.
      const double mean = fit.posterior.pair_mean[p], variance = fit.posterior.pair_variance[p];
      const double eta = side * a.discrimination * mean + a.side_bias;
      const double spread = a.discrimination * a.discrimination * variance +
                            a.discrimination_variance * (mean * mean + variance) + 2 * a.covariance * mean * side +
                            a.side_bias_variance;
      // The habit of a tie is a mean over what is not known of it.
      const std::size_t c = std::ranges::upper_bound(rest.component_pairs, static_cast<std::uint32_t>(p)) -
                            rest.component_pairs.begin() - 1;
      const TieHabit prompt = fit.posterior.prompts[c];
      const double habit_sd = std::sqrt(a.habit_variance + prompt.variance);
      double habit = 0, weights = 0, left = 0, right = 0;
      for (double z = -8; z <= 8; z += 0.02) {
        const double weight = std::exp(-z * z / 2);
        habit += weight / (1 + std::exp(-(a.habit_logit + prompt.mean + habit_sd * z)));
        weights += weight;
      }
      habit /= weights;
      for (double z = -8; z <= 8; z += 0.02) {
        const double chance = 1 / (1 + std::exp(-eta - std::sqrt(spread) * z)), weight = std::exp(-z * z / 2);
        const double decided = 1 - 4 * habit * chance * (1 - chance);
        left += weight * decided * chance;
        right += weight * decided * (1 - chance);
      }
      worst = std::max(worst, std::abs(predictions.left[v] - left / (left + right)));
    }
  EXPECT_LT(worst, 2e-3);
}

TEST(HeldOut, predictions_of_a_true_model_are_calibrated) {
  const Groups groups = simulated(0.2);
  const std::vector<std::uint8_t> folds = draw_folds(groups, 4, 1);
  const auto trials = [&](const Predictions& predictions) {
    Trials out;
    for (std::uint32_t v = 0; v < groups.votes.size(); ++v) {
      if (!groups.votes[v].decided()) continue;
      out.predicted.push_back(predictions.left[v]);
      out.outcome.push_back((groups.votes[v].winner() > 0) == groups.votes[v].first_on_left());
      out.cluster.push_back(v);
    }
    return score(out);
  };
  const Predictions rater = predict_held_out(groups, folds, {.answers = groups.answers}, make, [](int, int) {});
  const Score good = trials(rater), majority = trials(predict_by_majority(groups, folds));
  EXPECT_LT(good.ece, 1.2 * good.ece_by_chance_high);
  EXPECT_LT(good.log_loss.value, majority.log_loss.value - 3 * majority.log_loss.std_error);
  // Ties: as many as predicted.
  double predicted = 0, seen = 0;
  for (std::size_t v = 0; v < groups.votes.size(); ++v) {
    if (groups.votes[v].decided()) continue;
    seen += 1;
    predicted += std::exp(rater.log_probability[v]);
  }
  EXPECT_GT(predicted / seen, 0.2);  // ties are likelier where they happen than on average
}

TEST(HeldOut, a_single_vote_is_predicted_from_nothing) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, 1}});
  const Groups groups = group_votes(votes, Ties::kModel);
  const Predictions rater = predict_held_out(groups, {0}, {.answers = groups.answers}, make, [](int, int) {});
  EXPECT_NEAR(rater.left[0], 0.5, 1e-3);
  EXPECT_FLOAT_EQ(predict_by_majority(groups, {0}).left[0], 0.5f);
}

TEST(Majority, by_hand) {
  // One pair, 3 votes in 3 folds: left, left, right of item 0; the third is shown the other way round.
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}});
  const Groups groups = group_votes(votes, Ties::kModel);
  const Predictions predictions = predict_by_majority(groups, {0, 1, 2});
  EXPECT_FLOAT_EQ(predictions.left[0], 2.0f / 4);  // of one win and one loss
  EXPECT_FLOAT_EQ(predictions.left[2], 1.0f / 4);  // item 1, shown left, lost twice
}

/// Vote by vote: of the pair's votes in other folds.
TEST(Majority, is_what_the_other_folds_say) {
  for (const int folds : {2, 7, 100}) {
    Votes votes = simulate_votes({.prompts = 60,
                                  .responses = 3,
                                  .pairs_per_prompt = 3,
                                  .votes_per_pair = 23,
                                  .mix = {},
                                  .ties = 0.3,
                                  .seed = 5});
    for (std::size_t row = 0; row < votes.preference.size(); ++row)
      if (row % 3 == 0) votes.preference[row] = static_cast<std::int8_t>(2 * votes.preference[row]);
    const Groups groups = group_votes(votes, Ties::kModel);
    const std::vector<std::uint8_t> fold = draw_folds(groups, folds, 1);
    const Predictions found = predict_by_majority(groups, fold);
    ASSERT_FALSE(found.log_probability.empty());
    std::map<int, std::map<int, double>> answers;  // by fold, by level towards the left
    const auto towards_left = [&](std::uint32_t v) {
      return groups.votes[v].level() * (groups.votes[v].first_on_left() ? 1 : -1);
    };
    for (std::uint32_t v = 0; v < fold.size(); ++v) answers[fold[v]][towards_left(v)] += 1;
    for (std::size_t p = 0; p < groups.pairs(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        double left = 1, decided = 2, same = 0, seen = 0;
        for (std::uint32_t w = groups.pair_votes[p]; w < groups.pair_votes[p + 1]; ++w) {
          if (fold[w] == fold[v]) continue;
          const int for_first = groups.votes[w].level();
          seen += 1;
          same += for_first == groups.votes[v].level();
          decided += for_first != 0;
          left += groups.votes[v].first_on_left() ? for_first > 0 : for_first < 0;
        }
        ASSERT_EQ(found.left[v], static_cast<float>(left / decided));
        double given = 1, all = 2 * groups.answers.levels() + (groups.answers.ties ? 1 : 0);
        for (const auto& [other, counts] : answers)
          for (const auto& [level, count] : counts) {
            if (other == fold[v]) continue;
            all += count;
            given += 0.5 * count * ((level == towards_left(v)) + (level == -towards_left(v)));
          }
        ASSERT_EQ(found.log_probability[v], static_cast<float>(std::log((same + 2 * given / all) / (seen + 2))));
      }
  }
}

/// scikit-learn's LogisticRegression(C=inf) finds constant 0.71337 and slope 0.26677 on the votes outside of fold 0.
TEST(PriorScore, is_a_logistic_regression) {
  Votes votes = test::make_votes(
      6, 1, {{0, 1, 0, 1}, {2, 3, 0, 1}, {4, 5, 0, -1}, {1, 0, 0, -1}, {3, 2, 0, 1}, {5, 4, 0, 1}, {0, 1, 0, 1}});
  Groups groups = group_votes(votes, Ties::kModel);
  const float known[] = {0.5f, -0.5f, 1, -1, 0.2f, -0.2f};
  groups.covariates = {{}, {"prior_score"}, {1}, 0};
  for (const std::uint32_t item : groups.slot_item) groups.covariates.value.push_back(known[item]);
  std::vector<std::uint8_t> folds(7, 1);
  for (std::size_t v = 0; v < 7; ++v)
    if (groups.vote_row[v] == 6) folds[v] = 0;
  const Predictions predictions = predict_by_covariate(groups, folds, 0);
  for (std::size_t v = 0; v < 7; ++v) {
    if (folds[v] != 0) continue;
    EXPECT_NEAR(predictions.left[v], 1 / (1 + std::exp(-0.71337 - 0.26677)), 1e-4);
  }
}

/// Logits that are half as long again as they should be come back; true ones stay.
TEST(Calibration, finds_the_slope) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform;
  std::normal_distribution<double> normal(0, 1.5);
  Trials right, sharp;
  std::vector<std::uint8_t> fold;
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const double logit = normal(random);
    for (auto* trials : {&right, &sharp}) {
      trials->predicted.push_back(static_cast<float>(1 / (1 + std::exp(-logit * (trials == &sharp ? 1.5 : 1)))));
      trials->cluster.push_back(i);
    }
    right.outcome.push_back(uniform(random) < 1 / (1 + std::exp(-logit)));
    sharp.outcome.push_back(right.outcome.back());
    fold.push_back(static_cast<std::uint8_t>(i % 5));
  }
  const Calibration found = find_calibration(sharp, fold);
  EXPECT_NEAR(found.slope, 1 / 1.5, 0.03);
  EXPECT_TRUE(found.helps());
  const Calibration none = find_calibration(right, fold);
  EXPECT_NEAR(none.slope, 1, 0.05);
  EXPECT_LT(none.gain.value, 2 * none.gain.std_error);
  PairColumns pairs;
  pairs.probability = {0.5f, 0.9f};
  calibrate_pairs(found, pairs);
  EXPECT_FLOAT_EQ(pairs.probability[0], 0.5f);
  EXPECT_NEAR(pairs.probability[1], 1 / (1 + std::pow(9, -found.slope)), 1e-5);
}

TEST(Score, by_hand) {
  const Trials trials{{0.9f, 0.8f, 0.5f, 0.2f}, {1, 0, 1, 0}, {0, 0, 1, 2}};
  const Score s = score(trials);
  const double losses[] = {-std::log(0.9), -std::log(0.2), -std::log(0.5), -std::log(0.8)};
  const double mean = (losses[0] + losses[1] + losses[2] + losses[3]) / 4;
  EXPECT_NEAR(s.log_loss.value, mean, 1e-6);
  const double a = losses[0] + losses[1] - 2 * mean, b = losses[2] - mean, c = losses[3] - mean;
  EXPECT_NEAR(s.log_loss.std_error, std::sqrt((a * a + b * b + c * c) * 3 / 2) / 4, 1e-6);
  EXPECT_NEAR(s.brier.value, (0.01 + 0.64 + 0.25 + 0.04) / 4, 1e-6);
  EXPECT_NEAR(s.accuracy.value, (1 + 0 + 0.5 + 1) / 4, 1e-9);
  // Bins of 1/15: 0.9 alone, 0.8 alone, 0.5 alone, 0.2 alone.
  EXPECT_NEAR(s.ece, (0.1 + 0.8 + 0.5 + 0.2) / 4, 1e-6);
}

/// Of true predictions, chance makes the error that is said, and rarely more than the quantile.
TEST(Score, calibration_error_by_chance) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform;
  double errors = 0, by_chance = 0, covered = 0;
  constexpr int kRepeats = 200;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    Trials trials;
    for (std::uint32_t i = 0; i < 1000; ++i) {
      const double p = uniform(random);
      trials.predicted.push_back(static_cast<float>(p));
      trials.outcome.push_back(uniform(random) < p);
      trials.cluster.push_back(i);
    }
    const Score s = score(trials);
    errors += s.ece;
    by_chance += s.ece_by_chance;
    covered += s.ece <= s.ece_by_chance_high;
  }
  EXPECT_NEAR(errors / kRepeats, by_chance / kRepeats, 0.1 * by_chance / kRepeats);
  EXPECT_NEAR(covered / kRepeats, 0.95, 0.04);
}

TEST(Score, clusters_widen_the_error) {
  std::vector<double> values;
  std::vector<std::uint32_t> alone, together;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    values.push_back(i / 10 % 2);  // ten alike
    alone.push_back(i);
    together.push_back(i / 10);
  }
  EXPECT_NEAR(clustered_mean(values, alone).std_error, 0.5 / std::sqrt(999.0), 1e-9);
  EXPECT_NEAR(clustered_mean(values, together).std_error, 0.5 / std::sqrt(99.0), 1e-9);
}

class GoldTest : public test::FileTest {
 protected:
  Gold read(const std::string& text, const std::string& name = "gold.csv") {
    std::ofstream(path(name)) << text;
    return read_gold(path(name), votes_, {});
  }
  std::string error_of(const std::string& text) {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::kBadInput);
      return error.what();
    }
    return "no error";
  }
  Votes votes_ = test::make_votes(4, 1, {{0, 1, 0, 1}, {1, 2, 0, 1}});
};

TEST_F(GoldTest, pairs) {
  const Gold gold = read("left,right,preference\ni0,i1,left\ni2,i1,-1\ni0,i2,tie\ni9,i1,left\n");
  EXPECT_EQ(gold.left, (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(gold.right, (std::vector<std::uint32_t>{1, 1}));
  EXPECT_EQ(gold.preference, (std::vector<std::int8_t>{1, -1}));
  EXPECT_EQ(gold.ties, 1u);
  EXPECT_EQ(gold.unknown, 1u);
}

TEST_F(GoldTest, order) {
  const Gold gold = read("item,rank\ni0,1\ni1,2\ni2,3\n");
  // Items 0 > 1 > 2; scores have the last two the wrong way round, and one item is in another component.
  const GoldOrder order = compare_with_gold_order({3, 1, 2, 0}, {0, 0, 0, 1}, gold);
  EXPECT_EQ(order.pairs, 3);
  EXPECT_NEAR(order.accuracy, 2.0 / 3, 1e-9);
  EXPECT_NEAR(order.tau_b, 1.0 / 3, 1e-9);
  // scipy.stats.kendalltau([1, 2, 2, 3], [1, 1, 2, 3]) = 0.8
  const Gold ties = read("item,gold\ni0,1\ni1,2\ni2,2\ni3,3\n");
  EXPECT_NEAR(compare_with_gold_order({1, 1, 2, 3}, {0, 0, 0, 0}, ties).tau_b, 0.8, 1e-9);
}

/// Pair by pair.
GoldOrder order_by_pairs(const Column<float>& score, const Column<std::int32_t>& component, const Gold& gold) {
  double agree = 0, differ = 0, even = 0, gold_even = 0;  // even: in score alone
  for (std::size_t i = 0; i < gold.item.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      if (component[gold.item[i]] < 0 || component[gold.item[i]] != component[gold.item[j]]) continue;
      const double fact = gold.value[i] - gold.value[j], guess = score[gold.item[i]] - score[gold.item[j]];
      if (fact == 0)
        gold_even += guess != 0;
      else if (guess == 0)
        even += 1;
      else
        ((guess > 0) == (fact > 0) ? agree : differ) += 1;
    }
  GoldOrder out;
  out.pairs = agree + differ + even;
  out.accuracy = (agree + 0.5 * even) / out.pairs;
  out.tau_b = (agree - differ) / std::sqrt((agree + differ + even) * (agree + differ + gold_even));
  return out;
}

TEST_F(GoldTest, order_is_that_of_all_pairs) {
  std::mt19937_64 random(7);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const std::uint64_t items = 1 + random() % 60, values = 1 + random() % 30, components = 1 + random() % 4;
    Column<float> score(items);
    Column<std::int32_t> component(items);
    Gold gold;
    for (std::uint32_t i = 0; i < items; ++i) {
      score[i] = 0.1f * static_cast<float>(random() % values) - 1;
      component[i] = static_cast<std::int32_t>(random() % components) - (random() % 10 == 0 ? 5 : 0);
      if (random() % 5 == 0) continue;
      gold.item.push_back(i);
      gold.value.push_back(0.25 * static_cast<double>(random() % values));
    }
    std::ranges::shuffle(gold.item, random);
    const GoldOrder order = compare_with_gold_order(score, component, gold);
    const GoldOrder expected = order_by_pairs(score, component, gold);
    ASSERT_EQ(order.pairs, expected.pairs);
    if (expected.pairs == 0) {
      ASSERT_TRUE(std::isnan(order.accuracy) && std::isnan(order.tau_b));
      continue;
    }
    ASSERT_EQ(order.accuracy, expected.accuracy);
    ASSERT_TRUE(order.tau_b == expected.tau_b || (std::isnan(order.tau_b) && std::isnan(expected.tau_b)));
  }
}

/// scipy.stats.kendalltau (1.17) of the same 500 numbers, with many ties: 0.4868748417076263.
TEST_F(GoldTest, tau_b_is_that_of_scipy) {
  Column<float> score;
  Gold gold;
  for (std::uint32_t i = 0; i < 500; ++i) {
    const std::uint32_t s = (i * 7919 + i * i) % 101;
    score.push_back(static_cast<float>(s));
    gold.item.push_back(i);
    gold.value.push_back((i * 104729 + 3 * i * i) % 37 + s / 3);
  }
  EXPECT_NEAR(compare_with_gold_order(score, Column<std::int32_t>(500, 0), gold).tau_b, 0.4868748417076263, 1e-14);
}

/// A million items of one component: n log n steps take a second, all pairs an hour.
TEST_F(GoldTest, order_of_a_million_items) {
  constexpr std::uint32_t kItems = 1'000'000;
  Column<float> score(kItems);
  Gold gold;
  for (std::uint32_t i = 0; i < kItems; ++i) {
    score[i] = static_cast<float>(i);
    gold.item.push_back(i);
    gold.value.push_back(-static_cast<double>(i));
  }
  const GoldOrder order = compare_with_gold_order(score, Column<std::int32_t>(kItems, 0), gold);
  EXPECT_EQ(order.pairs, 0.5 * kItems * (kItems - 1));
  EXPECT_EQ(order.accuracy, 0);
  EXPECT_EQ(order.tau_b, -1);
}

TEST_F(GoldTest, a_pair_and_an_item_count_once) {
  const Gold gold = read(
      "left,right,preference\ni0,i1,left\ni1,i0,right\ni0,i1,left\ni2,i1,-1\ni0,i2,tie\ni2,i0,0\ni9,i1,left\n"
      "i9,i1,left\n");
  EXPECT_EQ(gold.left, (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(gold.right, (std::vector<std::uint32_t>{1, 1}));
  EXPECT_EQ(gold.preference, (std::vector<std::int8_t>{1, -1}));
  EXPECT_EQ(gold.ties, 1u);
  EXPECT_EQ(gold.unknown, 2u);
  EXPECT_EQ(gold.repeated, 3u);
  // How sure the gold labels are does not matter, only which item they prefer.
  EXPECT_EQ(read("left,right,preference\ni0,i1,0.7\ni1,i0,0.1\n").repeated, 1u);
  const Gold items = read("item,rank\ni0,1\ni1,2\n i0 ,1.0\n");
  EXPECT_EQ(items.item, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(items.repeated, 1u);
}

TEST_F(GoldTest, rows_that_contradict_each_other_are_named) {
  for (const char* row : {"i0,i1,right", "i1,i0,left", "i1,i0,tie"})
    EXPECT_PRED2(test::contains, error_of(std::string("left,right,preference\ni0,i1,left\ni1,i2,left\n") + row + "\n"),
                 "lines 2 and 4 give different answers for 'i");
  EXPECT_PRED2(test::contains, error_of("item,gold\ni0,1\ni1,1\ni0,2\n"), "lines 2 and 4 give 'i0' different values");
}

TEST_F(GoldTest, an_item_is_not_compared_with_itself) {
  EXPECT_PRED2(test::contains, error_of("left,right,preference\ni0,i1,left\ni1, i1,tie\n"),
               "line 3: 'i1' is compared with itself");
  EXPECT_PRED2(test::contains, error_of("left,right,preference\nnobody,nobody,left\n"),
               "line 2: 'nobody' is compared with itself");
  // Ids that differ in blanks alone are two where the votes have both.
  votes_.item_ids.push_back("i0 ");
  const Gold gold = read("left,right,preference\ni0,i0 ,left\n");
  EXPECT_EQ(gold.left, (std::vector<std::uint32_t>{0}));
  EXPECT_EQ(gold.right, (std::vector<std::uint32_t>{4}));
}

TEST_F(GoldTest, bad_input_is_named) {
  EXPECT_PRED2(test::contains, error_of("left,right,preference\ni0,i1,both\n"), "line 2");
  EXPECT_PRED2(test::contains, error_of("item,gold\ni0,high\n"), "high");
  EXPECT_PRED2(test::contains, error_of("item,weight\ni0,1\n"), "gold");
  EXPECT_PRED2(test::contains, error_of("item,gold\nx,1\n"), "none of its 1 rows");
}

/// Taking a vote's site out says nearly what fits say that were made without it.
TEST(LeftOut, agrees_with_twenty_folds) {
  Votes votes = simulate_votes({.prompts = 600, .annotators = 20, .mix = {}, .seed = 4});
  const Groups groups = group_votes(votes, Ties::kModel);
  const auto engine = make(groups);
  const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
  const Trials left_out = predict_left_out(groups, fit, engine->sites());
  const Predictions held_out =
      predict_held_out(groups, draw_folds(groups, 20, 1), {.answers = groups.answers}, make, [](int, int) {});
  const Trials expected = decided_trials(groups, held_out.left, find_clusters(groups));
  EXPECT_EQ(left_out.outcome, expected.outcome);
  double off = 0, off_in_sample = 0;
  for (std::size_t i = 0; i < left_out.predicted.size(); ++i) {
    off += std::abs(left_out.predicted[i] - expected.predicted[i]);
    off_in_sample += std::abs(left_out.outcome[i] - expected.predicted[i]);
  }
  EXPECT_LT(off / static_cast<double>(left_out.predicted.size()), 0.02);
  EXPECT_GT(off_in_sample / static_cast<double>(left_out.predicted.size()), 0.2);
  // The same votes, some of them.
  const Trials some = predict_left_out(groups, fit, engine->sites(), 100);
  EXPECT_GE(some.predicted.size(), 50u);
  EXPECT_LE(some.predicted.size(), 100u);
}

/// A ranking of each prompt's items: votes never contradict each other, so each says little beside the others, and much
/// without them. EP's cavities know nothing of that: by them the calibration error is 0.2.
class Rankings : public testing::TestWithParam<int> {};

TEST_P(Rankings, are_calibrated_when_left_out) {
  constexpr int kAnnotators = 4;
  const int items = GetParam(), prompts = 10000 / (items * items);
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  Votes votes;
  for (int prompt = 0; prompt < prompts; ++prompt) {
    std::vector<double> score(items);
    for (int i = 0; i < items; ++i) {
      score[i] = normal(random);
      votes.item_ids.push_back(std::to_string(prompt * items + i));
    }
    for (int i = 0; i < items; ++i)
      for (int j = 0; j < i; ++j) {
        const bool turned = random() % 2 == 1;
        votes.left.push_back(static_cast<std::uint32_t>(prompt * items + (turned ? j : i)));
        votes.right.push_back(static_cast<std::uint32_t>(prompt * items + (turned ? i : j)));
        votes.preference.push_back((score[i] > score[j]) == turned ? -1 : 1);
        votes.annotator.push_back(static_cast<std::uint32_t>(prompt % kAnnotators));
      }
  }
  for (int a = 0; a < kAnnotators; ++a) votes.annotator_ids.push_back(std::to_string(a));
  const Groups groups = group_votes(votes, Ties::kModel);
  const auto engine = make(groups);
  const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
  const Reliability left_out = reliability(predict_left_out(groups, fit, engine->sites()), "left out");
  const Predictions held_out =
      predict_held_out(groups, draw_folds(groups, 40, 1), {.answers = groups.answers}, make, [](int, int) {});
  const Reliability expected = reliability(decided_trials(groups, held_out.left, find_clusters(groups)), "held out");
  EXPECT_NEAR(left_out.ece(), expected.ece(), 0.01);
  for (std::size_t bin = 0; bin < kReliabilityBins; ++bin)
    if (left_out.bins[bin].trials > 100) {
      EXPECT_NEAR(left_out.bins[bin].observed, expected.bins[bin].observed, 0.1) << bin;
    }
}

/// Of 10 votes, which are left out one by one; of 66 and 780, a twentieth at a time; the last are no small components.
INSTANTIATE_TEST_SUITE_P(LeftOut, Rankings, testing::Values(5, 12, 40));

/// Rankings of five items by three annotators each, who see each item in their own way: scores' sd is 1, and so is that
/// of what an annotator adds to them.
Votes rankings_of_own_views(int prompts, bool alone) {
  constexpr int kItems = 5, kAnnotators = 12;
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  Votes votes;
  for (int prompt = 0; prompt < prompts; ++prompt) {
    std::array<double, kItems> score{};
    for (int i = 0; i < kItems; ++i) {
      score[i] = normal(random);
      votes.item_ids.push_back(std::to_string(prompt * kItems + i));
    }
    for (int k = 0; k < (alone ? 1 : 3); ++k) {
      std::array<double, kItems> view = score;
      for (double& x : view) x += normal(random);
      for (int i = 0; i < kItems; ++i)
        for (int j = 0; j < i; ++j) {
          const bool turned = random() % 2 == 1;
          votes.left.push_back(static_cast<std::uint32_t>(prompt * kItems + (turned ? j : i)));
          votes.right.push_back(static_cast<std::uint32_t>(prompt * kItems + (turned ? i : j)));
          votes.preference.push_back((view[i] > view[j]) == turned ? -1 : 1);
          votes.annotator.push_back(static_cast<std::uint32_t>((prompt + k * (prompt % 3 + 1)) % kAnnotators));
        }
    }
  }
  for (int a = 0; a < kAnnotators; ++a) votes.annotator_ids.push_back(std::to_string(a));
  return votes;
}

TEST(BlockFolds, keep_blocks_whole_and_spread_those_of_a_component) {
  Votes votes = rankings_of_own_views(200, false);
  const Groups groups = group_votes(votes, Ties::kModel);
  const ViewBlocks blocks = find_view_blocks(groups, votes);
  EXPECT_EQ(blocks.count, 600u);
  const std::vector<std::uint8_t> folds = draw_block_folds(groups, blocks, 5, 1);
  std::vector<int> of_block(blocks.count, -1), size(5, 0);
  for (std::size_t v = 0; v < folds.size(); ++v) {
    int& fold = of_block[blocks.of[v]];
    if (fold < 0) fold = folds[v];
    ASSERT_EQ(fold, folds[v]);
    ++size[folds[v]];
  }
  for (std::size_t b = 0; b < blocks.count; b += 3) {  // those of a component: to different folds
    EXPECT_NE(of_block[b], of_block[b + 1]);
    EXPECT_NE(of_block[b + 1], of_block[b + 2]);
  }
  for (const int votes_there : size) EXPECT_NEAR(votes_there, 1200, 240);
  EXPECT_NE(draw_block_folds(groups, blocks, 5, 2), folds);
}

TEST(BlockFolds, are_best_where_others_judged_the_same_items) {
  const auto best = [](Votes votes) {
    const Groups groups = group_votes(votes, Ties::kModel);
    return best_folds(find_view_blocks(groups, votes));
  };
  EXPECT_EQ(best(rankings_of_own_views(50, false)), FoldsBy::kBlock);
  EXPECT_EQ(best(rankings_of_own_views(50, true)), FoldsBy::kVote);
  EXPECT_EQ(best(simulate_votes({.prompts = 500, .annotators = 200, .mix = {}, .seed = 3})), FoldsBy::kVote);
}

/// With its block left out a vote is predicted as by a fit without the block; with itself alone left out, its
/// annotator's own ranking gives it away.
TEST(LeftOut, by_block_agrees_with_block_folds) {
  Votes votes = rankings_of_own_views(300, false);
  const Groups groups = group_votes(votes, Ties::kModel);
  const ViewBlocks blocks = find_view_blocks(groups, votes);
  const auto engine = make(groups);
  const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
  const Trials by_block = predict_left_out(groups, fit, engine->sites(), 250'000, &blocks);
  const Trials by_vote = predict_left_out(groups, fit, engine->sites());
  const Predictions held_out = predict_held_out(groups, draw_block_folds(groups, blocks, 20, 1),
                                                {.answers = groups.answers}, make, [](int, int) {});
  const Trials expected = decided_trials(groups, held_out.left, find_clusters(groups));
  ASSERT_EQ(by_block.outcome, expected.outcome);
  const auto mean = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  double off = 0;
  for (std::size_t i = 0; i < by_block.predicted.size(); ++i)
    off += std::abs(by_block.predicted[i] - expected.predicted[i]) / static_cast<double>(by_block.predicted.size());
  EXPECT_LT(off, 0.04);
  EXPECT_NEAR(mean(log_losses(by_block)), mean(log_losses(expected)), 0.05);
  EXPECT_LT(mean(log_losses(by_vote)), mean(log_losses(expected)) - 0.1);
}

/// An annotator of four votes is not to be taken for what the vote itself says of it: calibration is then 0.05 or
/// worse.
TEST(LeftOut, of_annotators_with_few_votes_is_calibrated) {
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    Votes votes = simulate_votes(test::sparse_arena(2000, 500, seed));
    const Groups groups = group_votes(votes, Ties::kModel);
    const auto engine = make(groups);
    const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
    const Reliability told = reliability(predict_left_out(groups, fit, engine->sites()), "left out");
    EXPECT_LT(told.ece(), 0.04) << seed;
  }
}

TEST(Reliability, by_hand) {
  const Reliability r = reliability({{0.1f, 0.12f, 0.95f, 0.5f}, {0, 1, 1, 0}, {0, 1, 2, 3}}, "by hand");
  EXPECT_EQ(r.bins.size(), 15u);
  EXPECT_EQ(r.trials(), 4);
  EXPECT_FLOAT_EQ(static_cast<float>(r.bins[1].predicted), 0.11f);  // 1/15 to 2/15
  EXPECT_EQ(r.bins[1].observed, 0.5);
  EXPECT_TRUE(std::isnan(r.bins[0].predicted));
  EXPECT_NEAR(r.ece(), (2 * 0.39 + 0.05 + 0.5) / 4, 1e-6);
  // sqrt(2 / pi) * (sqrt(2 * 0.11 * 0.89) + sqrt(0.95 * 0.05) + 0.5) / 4
  EXPECT_NEAR(r.ece_by_chance(), 0.231459, 1e-4);
}

}  // namespace
}  // namespace voxpop
