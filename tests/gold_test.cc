#include "group/gold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "core/error.h"
#include "engine_comparison.h"
#include "evaluate/left_out.h"
#include "fit/fit.h"
#include "helpers.h"
#include "host_backend.h"
#include "label/gold_labels.h"
#include "label/labels.h"
#include "votes/known.h"

namespace voxpop {
namespace {

/// Priors of the annotators, with gold's behind them.
std::vector<Population> known_of(const Groups& groups, const GoldVotes& gold) {
  std::vector<Population> known(groups.voters(), not_known());
  for (const double discrimination : gold.discrimination) known.push_back(known_discrimination(discrimination));
  return known;
}

TEST(AddGold, puts_answers_behind_the_votes_of_their_pairs) {
  // Components {0, 1, 2} and {3, 4}; the pair of 0 and 2 has no votes.
  Votes votes = test::make_votes(5, 2, {{0, 1, 0, 1}, {2, 1, 1, 1}, {3, 4, 0, -1}, {0, 1, 1, -1}});
  KnownPairs gold;
  gold.add(1, 0, 1.0f);   // 1 is better
  gold.add(2, 0, 0.0f);   // 0 is better
  gold.add(0, 3, 1.0f);   // two components
  gold.add(4, 3, 0.75f);  // 4, by an annotator of its own
  gold.add(0, 1, 0.0f);   // the first answer again
  Groups groups = group_votes(votes, Ties::kModel);
  const Groups before = groups;
  const GoldVotes places = add_gold(groups, gold, votes.item_ids);
  ASSERT_EQ(groups.pairs(), before.pairs() + 1);
  EXPECT_EQ(groups.voters(), 2u);
  EXPECT_EQ(groups.annotators, 4u);
  ASSERT_EQ(places.discrimination.size(), 2u);
  EXPECT_EQ(places.pair[2], GoldVotes::kNone);
  EXPECT_EQ(places.vote[4], places.vote[0]);
  EXPECT_EQ(std::ranges::count_if(groups.votes, [&](VoteCode vote) { return groups.is_gold(vote); }), 3);
  EXPECT_TRUE(std::ranges::is_sorted(groups.component_pairs));
  EXPECT_EQ(groups.component_pairs.back(), groups.pairs());
  for (const std::size_t row : {0, 1, 3}) {
    const std::uint32_t pair = places.pair[row], vote = places.vote[row];
    const std::uint32_t better = gold.probability[row] > 0.5f ? gold.left[row] : gold.right[row];
    ASSERT_EQ(vote + 1, groups.pair_votes[pair + 1]);
    const std::uint32_t slot = groups.votes[vote].winner() > 0 ? groups.pair_first[pair] : groups.pair_second[pair];
    EXPECT_EQ(groups.slot_item[slot], better) << row;
    EXPECT_EQ(groups.given_weight_of(vote), 0);
  }
  EXPECT_EQ(groups.pair_votes[places.pair[1]] + 1, groups.pair_votes[places.pair[1] + 1]);  // gold alone
  for (std::size_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      EXPECT_TRUE(groups.pair_first[p] >= groups.component_slots[c] &&
                  groups.pair_second[p] < groups.component_slots[c + 1]);
}

TEST(AddGold, answers_that_contradict_each_other_are_refused) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, 1}});
  KnownPairs gold;
  gold.add(0, 1, 1.0f);
  gold.add(1, 0, 1.0f);
  Groups groups = group_votes(votes, Ties::kModel);
  EXPECT_THROW(add_gold(groups, gold, votes.item_ids), Error);
}

/// An answer of 80 % makes the better item of a pair without other evidence the likelier one with about that.
TEST(AddGold, an_answer_counts_as_sure_as_it_is) {
  for (const float sure : {0.6f, 0.8f, 0.95f}) {
    const double discrimination = [&] {
      Votes votes = test::make_votes(2, 1, {{0, 1, 0, 1}});
      KnownPairs gold;
      gold.add(0, 1, sure);
      Groups groups = group_votes(votes, Ties::kModel);
      return add_gold(groups, gold, votes.item_ids).discrimination.front();
    }();
    std::mt19937 random(1);
    std::normal_distribution<double> difference(0, std::sqrt(2.0));
    double right = 0;
    constexpr int kDraws = 200'000;
    for (int i = 0; i < kDraws; ++i) right += 1 / (1 + std::exp(-discrimination * std::abs(difference(random))));
    EXPECT_NEAR(right / kDraws, sure, 0.02);
  }
}

/// Gold and trusted annotators on the device's engine as on the CPU's.
TEST(Gold, engines_agree) {
  Votes votes = simulate_votes(
      {.prompts = 400, .annotators = 20, .mix = {.good = .4, .noisy = 0, .clicker = 0, .adversary = .6}, .seed = 3});
  const Truth truth = *votes.truth;
  KnownPairs gold;
  for (std::size_t v = 0; v < 400; v += 8)
    gold.add(votes.left[v], votes.right[v], truth.score[votes.left[v]] > truth.score[votes.right[v]] ? 1.0f : 0.0f);
  Groups groups = group_votes(votes, Ties::kModel);
  const GoldVotes places = add_gold(groups, gold, votes.item_ids);
  FitOptions options;
  options.known = known_of(groups, places);
  options.known[7] = known_to_be_good();
  test::expect_same_fit(groups, options, [](const Groups& some) { return test::make_host_engine(some); });
}

TEST(Voices, neither_few_with_many_votes_nor_many_with_few_decide) {
  const auto share_of_first = [](std::size_t first, const std::vector<std::uint32_t>& votes_of) {
    const std::vector<std::uint64_t> voices = find_voices(votes_of);
    double mine = 0, all = 0;
    for (std::size_t a = 0; a < voices.size(); ++a) {
      all += static_cast<double>(voices[a]);
      if (a < first) mine += static_cast<double>(voices[a]);
    }
    return mine / all;
  };
  std::vector<std::uint32_t> votes_of(6, 300);  // 55 % of the votes
  votes_of.resize(24, 82);
  EXPECT_LT(share_of_first(6, votes_of), 0.3);
  votes_of.assign(101, 50);  // 2.7 % of the votes
  votes_of.resize(201, 1800);
  EXPECT_LT(share_of_first(101, votes_of), 0.11);
  votes_of.assign(10, 7);
  EXPECT_DOUBLE_EQ(share_of_first(5, votes_of), 0.5);
}

TEST(ReferenceMedian, cannot_be_bought_with_ids) {
  std::vector<double> value;
  std::vector<std::uint32_t> votes_of;
  for (int a = 0; a < 100; ++a) value.push_back(1 + 0.002 * a), votes_of.push_back(1800);
  const double honest = reference_median(value, votes_of);
  value.resize(201, -1);
  votes_of.resize(201, 50);
  EXPECT_NEAR(reference_median(value, votes_of), honest, 0.012);  // six of a hundred ranks
}

class KnownTest : public test::FileTest {
 protected:
  std::vector<float> answers(const std::string& values) {
    KnownAnswers known("gold.csv");
    std::string word;
    for (const char c : values + " ")
      if (c == ' ')
        known.add(std::exchange(word, ""), 2);
      else
        word += c;
    return known.probabilities();
  }
};

TEST_F(KnownTest, answers_are_words_signs_or_probabilities) {
  EXPECT_EQ(answers("left Right tie"), (std::vector<float>{1, 0, 0.5f}));
  EXPECT_EQ(answers("1 -1 0 +2"), (std::vector<float>{1, 0, 0.5f, 1}));
  EXPECT_EQ(answers("0.25 1 0 left"), (std::vector<float>{0.25f, 1, 0, 1}));
  for (const char* bad : {"1 0", "0.3 -1", "0.3 2", "both", "", "1.5", "nan", "10"})
    EXPECT_THROW(answers(bad), Error) << bad;
}

TEST_F(KnownTest, files) {
  Strings items;
  for (const char* id : {"x", "y", "z"}) items.push_back(id);
  std::ofstream(path("g.csv")) << "left,right,preference\nx,y,left\nz,x,0\ny,unknown,1\nz,y,-1\n";
  const KnownPairs known = read_known_pairs(path("g.csv"), items, {});
  EXPECT_EQ(known.left, (Column<std::uint32_t>{0, 2}));
  EXPECT_EQ(known.right, (Column<std::uint32_t>{1, 1}));
  EXPECT_EQ(known.probability, (Column<float>{1, 0}));
  std::ofstream(path("t.jsonl")) << R"({"annotator": "z"})"
                                 << "\n"
                                 << R"({"annotator": "x"})"
                                 << "\n";
  EXPECT_EQ(read_trusted(path("t.jsonl"), items, {}), (std::vector<std::uint32_t>{0, 2}));
  for (const char* bad :
       {"left,right,preference\nx,x,left\n", "left,right,preference\nu,v,left\n", "left,right\nx,y\n"}) {
    std::ofstream(path("bad.csv")) << bad;
    EXPECT_THROW(read_known_pairs(path("bad.csv"), items, {}), Error) << bad;
  }
}

/// scipy.stats.binomtest(k, n).proportion_ci(method="wilson").
TEST(JudgeOnGold, has_wilsons_interval) {
  std::vector<test::Row> rows(10, {0, 1, 0, 1});
  rows[3].preference = rows[7].preference = -1;
  rows.push_back({2, 3, 0, 1});
  Votes votes = test::make_votes(4, 2, rows);
  KnownPairs gold;
  gold.add(1, 0, 0.0f);
  gold.add(2, 3, 0.7f);  // too uncertain to judge by
  Groups groups = group_votes(votes, Ties::kModel);
  const GoldVotes places = add_gold(groups, gold, votes.item_ids);
  AnnotatorLabels labels;
  judge_on_gold(groups, gold, places, labels);
  EXPECT_EQ(labels.gold_votes, (Column<std::uint32_t>{10, 0}));
  EXPECT_FLOAT_EQ(labels.gold_right[0], 0.8f);
  EXPECT_NEAR(labels.gold_right_low[0], 0.4902, 1e-4);
  EXPECT_NEAR(labels.gold_right_high[0], 0.9433, 1e-4);
  EXPECT_TRUE(std::isnan(labels.gold_right[1]));
}

/// Labels are of votes and of people; an answer that all else contradicts is seen by what the fit says without it.
TEST(LabelGold, stands_beside_the_labels_and_shows_contradictions) {
  Votes votes = simulate_votes({.prompts = 300, .annotators = 15, .mix = {.good = 1}, .seed = 5});
  const Truth truth = *votes.truth;
  const Column<std::uint32_t> left = votes.left, right = votes.right;
  KnownPairs gold;
  std::size_t widest = 0;
  const auto gap = [&](std::size_t v) { return truth.score[left[v]] - truth.score[right[v]]; };
  for (std::size_t v = 0; v < left.size(); ++v)
    if (std::abs(gap(v)) > std::abs(gap(widest))) widest = v;
  for (std::size_t v = 0; v < left.size(); v += 40)
    if (v != widest) gold.add(left[v], right[v], gap(v) > 0 ? 1.0f : 0.0f);
  gold.add(left[widest], right[widest], gap(widest) > 0 ? 0.0f : 1.0f);  // wrong
  const std::size_t rows = votes.size(), items = votes.item_ids.size();
  Groups groups = group_votes(votes, Ties::kModel);
  const std::size_t pairs = groups.pairs();
  const GoldVotes places = add_gold(groups, gold, votes.item_ids);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  FitOptions options;
  options.answers = groups.answers;
  options.known = known_of(groups, places);
  const Fit fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  EXPECT_TRUE(fit.converged);
  EXPECT_FALSE(fit.mirrored);
  const GoldLabels told = label_gold(groups, fit, gold, places, engine->sites());
  EXPECT_EQ(told.contradicted.back(), 1);
  EXPECT_LE(std::ranges::count(told.contradicted, 1), 2);
  EXPECT_LT(gap(widest) > 0 ? 1 - told.without.back() : told.without.back(), 0.05);
  const Labels labels = make_labels(groups, fit, find_pair_labels(*engine, fit), items, rows);
  EXPECT_EQ(labels.annotators.votes.size(), 15u);
  EXPECT_EQ(labels.pairs.left.size(), pairs);
  EXPECT_EQ(labels.vote_probability_correct.size(), rows);
  std::uint64_t counted = 0;
  for (const std::uint32_t n : labels.pairs.votes) counted += n;
  EXPECT_EQ(counted, rows);
  EXPECT_EQ(predict_left_out(groups, fit, engine->sites()).predicted.size(), rows);
}

}  // namespace
}  // namespace voxpop
