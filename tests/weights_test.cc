#include "group/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "fit/counted_engine.h"
#include "fit/fit.h"
#include "formulas/fixed_point.h"
#include "group/views.h"
#include "helpers.h"
#include "host_backend.h"
#include "label/labels.h"

namespace voxpop::test {
namespace {

/// Votes by 6 annotators on 3 prompts of 5 items, and on one of 40; a weight from 1 to 4 each.
std::pair<Votes, std::vector<float>> random_votes() {
  std::mt19937 random(3);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  std::vector<Row> rows;
  std::vector<float> weights;
  std::uint32_t first = 0;
  for (const std::uint32_t size : {5u, 5u, 5u, 40u}) {
    for (std::uint32_t v = 0; v < 6 * size; ++v) {
      const std::uint32_t left = v < size ? v : below(size),
                          right = (left + 1 + (v < size ? 0 : below(size - 1))) % size;
      const bool better = left < right;  // items are in order of quality, and one vote in four is wrong
      rows.push_back({first + left, first + right, below(6), below(10) == 0 ? 0 : (below(4) == 0) != better ? 1 : -1});
      weights.push_back(static_cast<float>(1 + below(4)));
    }
    first += size;
  }
  return {make_votes(first, 6, rows), weights};
}

/// Each row as often as its weight says.
Votes repeated(const Votes& votes, const std::vector<float>& weights) {
  std::vector<Row> rows;
  for (std::size_t v = 0; v < votes.size(); ++v)
    for (int copy = 0; copy < static_cast<int>(weights[v]); ++copy)
      rows.push_back({votes.left[v], votes.right[v], votes.annotator[v], votes.preference[v]});
  return make_votes(votes.item_ids.size(), votes.annotator_ids.size(), rows);
}

class IntegerWeights : public testing::TestWithParam<Model> {};

TEST_P(IntegerWeights, are_so_many_equal_votes) {
  auto [votes, weights] = random_votes();
  Votes many = repeated(votes, weights);
  votes.weight.assign(weights.begin(), weights.end());
  Groups weighed = group_votes(votes, Ties::kModel), all = group_votes(many, Ties::kModel);
  weigh_votes(weighed, votes, {.repeats = Repeats::kAll});
  weigh_votes(all, many, {.repeats = Repeats::kAll});
  ASSERT_TRUE(all.weight.empty());
  ASSERT_EQ(weighed.weight.size(), weights.size());
  EXPECT_EQ(count_votes(weighed), count_votes(all));
  const FitOptions options{.model = GetParam(), .answers = all.answers};
  const auto fit_by = [&](Engine& engine, const Groups& groups) {
    return fit_model(engine, count_votes(groups), options, [](int, double) {});
  };
  const auto reference_engine = make_cpu_engine(all, *choose_kernels());
  const Fit reference = fit_by(*reference_engine, all);
  const auto cpu = make_cpu_engine(weighed, *choose_kernels());
  const auto parallel = make_host_engine(weighed, HostBackend());
  for (Engine* engine : std::vector<Engine*>{cpu.get(), parallel.get()}) {
    const Fit fit = fit_by(*engine, weighed);
    for (std::size_t a = 0; a < fit.annotators.size(); ++a) {
      EXPECT_NEAR(fit.annotators[a].discrimination, reference.annotators[a].discrimination, 1e-4);
      EXPECT_NEAR(fit.annotators[a].side_bias, reference.annotators[a].side_bias, 1e-4);
    }
    for (std::size_t p = 0; p < all.pairs(); ++p) {
      EXPECT_NEAR(fit.posterior.pair_mean[p], reference.posterior.pair_mean[p], 1e-4) << p;
      EXPECT_NEAR(fit.posterior.pair_variance[p], reference.posterior.pair_variance[p], 1e-4) << p;
    }
    EXPECT_NEAR(fit.posterior.log_evidence, reference.posterior.log_evidence, 1e-2);
    for (std::size_t a = 0; a < fit.annotators.size(); ++a)
      EXPECT_EQ(fit.posterior.annotators[a].decided, reference.posterior.annotators[a].decided);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, IntegerWeights, testing::Values(Model::kBradleyTerry, Model::kCrowdBt, Model::kRater));

/// Votes with many equal ones: of two annotators, or of Bradley-Terry's, who are all alike.
TEST(Weights, equal_votes_counted_into_one_make_the_same_fit) {
  for (const Model model : {Model::kBradleyTerry, Model::kRater}) {
    auto [votes, weights] = random_votes();
    for (std::uint32_t& annotator : votes.annotator) annotator %= 2;
    for (float& weight : weights) weight *= 4;
    Votes many = repeated(votes, weights);
    const Groups groups = group_votes(many, Ties::kModel);
    const std::optional<CountedVotes> counted = count_equal_votes(groups, model == Model::kBradleyTerry);
    ASSERT_TRUE(counted);
    EXPECT_LE(3 * counted->groups.votes.size(), groups.votes.size());
    EXPECT_NEAR(std::accumulate(counted->groups.weight.begin(), counted->groups.weight.end(), 0.0),
                static_cast<double>(groups.votes.size()), 1e-3);
    const auto fit_by = [&](Engine& engine) {
      return fit_model(engine, count_votes(groups), {.model = model, .answers = groups.answers}, [](int, double) {});
    };
    const auto make = [](const Groups& some) { return make_cpu_engine(some, *choose_kernels()); };
    const auto plain = make(groups), once = make_counted_engine(groups, model, make);
    const Fit expected = fit_by(*plain), fit = fit_by(*once);
    for (std::size_t p = 0; p < groups.pairs(); ++p) {
      EXPECT_NEAR(fit.posterior.pair_mean[p], expected.posterior.pair_mean[p], 1e-4);
      EXPECT_NEAR(fit.posterior.pair_variance[p], expected.posterior.pair_variance[p], 1e-4);
    }
    for (std::size_t a = 0; a < 2; ++a) {
      const ReportSums &is = fit.posterior.annotators[a], &was = expected.posterior.annotators[a];
      EXPECT_NEAR(from_fixed(is.agreement), from_fixed(was.agreement), 1e-2);
      EXPECT_NEAR(from_fixed(is.better), from_fixed(was.better), 1e-2);
      EXPECT_NEAR(from_fixed(is.bits), from_fixed(was.bits), 1e-2);
      EXPECT_EQ(is.decided, was.decided);
    }
    const Sites &sites = once->sites(), &plain_sites = plain->sites();
    ASSERT_EQ(sites.shift.size(), groups.votes.size());
    for (std::size_t v = 0; v < groups.votes.size(); ++v) {
      EXPECT_NEAR(sites.precision[v] / plain_sites.precision[v], 1, 1e-3);
      EXPECT_NEAR(sites.shift[v], plain_sites.shift[v], 1e-3 * (1 + std::abs(plain_sites.shift[v])));
    }
  }
}

TEST(Weights, votes_that_differ_are_not_counted) {
  const SimulateOptions options = sparse_arena(2000, 500, 1);
  Votes votes = simulate_votes(options);
  EXPECT_FALSE(count_equal_votes(group_votes(votes, Ties::kModel), false));
}

/// All pairs of `items` items, as one judgement.
Votes ranking(std::uint32_t items) {
  std::vector<Row> rows;
  for (std::uint32_t i = 0; i < items; ++i)
    for (std::uint32_t j = i + 1; j < items; ++j) rows.push_back({i, j, 0, 1});
  Votes votes = make_votes(items, 1, rows);
  votes.judgement.assign(rows.size(), 0);
  return votes;
}

TEST(Weights, a_ranking_tells_as_much_as_plackett_and_luce_say) {
  // 4 (K - H) / (K (K - 1)): H is 1.5, 1.83333, 2.28333, 2.82897.
  for (const auto& [items, weight] : {std::pair{2u, 1.0}, {3u, 7.0 / 9}, {5u, 0.543333}, {9u, 0.342835}}) {
    Votes votes = ranking(items);
    Groups groups = group_votes(votes, Ties::kModel);
    weigh_votes(groups, votes, {});
    for (std::uint32_t v = 0; v < groups.votes.size(); ++v) EXPECT_NEAR(groups.weight_of(v), weight, 1e-5) << items;
  }
}

/// 4 (K - H) / (K (K - 1)) with K = 33: H is 4.088798.
TEST(Weights, where_views_are_modelled_rankings_too_large_for_one_are_weighed) {
  for (const auto& [items, weight] : {std::pair{5u, 1.0}, {32u, 1.0}, {33u, 0.109511}}) {
    Votes votes = ranking(items);
    Groups groups = group_votes(votes, Ties::kModel);
    weigh_votes(groups, votes, {.repeats = std::nullopt, .views = true});
    for (std::uint32_t v = 0; v < groups.votes.size(); ++v) EXPECT_NEAR(groups.weight_of(v), weight, 1e-5) << items;
    EXPECT_EQ(find_views(groups, votes).empty(), items == 33) << items;
  }
}

/// That the best of five is chosen is one choice among five, which tells 2/5 of what four votes would.
TEST(Weights, the_best_of_several_is_one_choice) {
  Votes votes = make_votes(5, 1, {{2, 0, 0, 1}, {1, 2, 0, -1}, {2, 3, 0, 1}, {2, 4, 0, 1}});
  votes.judgement.assign(4, 3);
  Groups groups = group_votes(votes, Ties::kModel);
  const VoteWeights weights = weigh_votes(groups, votes, {});
  EXPECT_NEAR(weights.total, 4 * 0.4, 1e-6);
  EXPECT_EQ(weights.judgements, 1u);
}

TEST(Weights, pairs_without_a_common_item_are_votes_of_their_own) {
  Votes votes = make_votes(4, 1, {{0, 1, 0, 1}, {2, 3, 0, -1}});
  votes.judgement.assign(2, 3);
  Groups groups = group_votes(votes, Ties::kModel);
  weigh_votes(groups, votes, {});
  EXPECT_TRUE(groups.weight.empty());
}

TEST(Weights, halves_of_a_soft_vote_stay_as_they_are) {
  Votes votes = make_votes(2, 1, {{0, 1, 0, 1}, {0, 1, 0, -1}});
  votes.judgement.assign(2, 7);
  votes.weight = {0.75f, 0.25f};
  Groups groups = group_votes(votes, Ties::kModel);
  weigh_votes(groups, votes, {});
  EXPECT_EQ(groups.weight, (Column<float>{0.75f, 0.25f}));
}

/// Annotator 0 votes four times on one pair, annotator 1 once.
Votes bot() { return make_votes(2, 2, {{0, 1, 0, 1}, {1, 0, 0, 1}, {0, 1, 1, -1}, {0, 1, 0, 1}, {0, 1, 0, 1}}); }

TEST(Weights, repeats_weigh_together_as_one_vote) {
  Votes votes = bot();
  Groups groups = group_votes(votes, Ties::kModel);
  const VoteWeights weights = weigh_votes(groups, votes, {});
  EXPECT_EQ(groups.weight, (Column<float>{0.25f, 0.25f, 1, 0.25f, 0.25f}));
  EXPECT_EQ(weights.repeated, 3u);
  EXPECT_EQ(weights.shared, 4u);
}

TEST(Weights, repeats_that_are_independent_or_nobodys_count_each) {
  for (const auto& say : std::vector<std::function<void(Votes&)>>{[](Votes& votes) {
                                                                    votes.anonymous = {{0, 5}};
                                                                  },
                                                                  [](Votes& votes) {
                                                                    votes.independent = {{0, 5}};
                                                                  },
                                                                  [](Votes& votes) {
                                                                    votes.judgement = {0, 1, 2, 3, 4};
                                                                  }}) {
    Votes votes = bot();
    say(votes);
    Groups groups = group_votes(votes, Ties::kModel);
    weigh_votes(groups, votes, {});
    EXPECT_TRUE(groups.weight.empty());
  }
}

TEST(Weights, the_first_or_last_of_repeats_goes_by_time) {
  for (const auto& [repeats, row] : {std::pair{Repeats::kFirst, 3u}, std::pair{Repeats::kLast, 1u}}) {
    Votes votes = bot();
    votes.timestamp = {50, 90, 10, 20, 60};
    Groups groups = group_votes(votes, Ties::kModel);
    const VoteWeights weights = weigh_votes(groups, votes, {.repeats = repeats});
    EXPECT_EQ(weights.dropped, 3u);
    EXPECT_EQ(groups.vote_row, (Column<std::uint32_t>{std::min(row, 2u), std::max(row, 2u)}));
    EXPECT_EQ(groups.pair_votes, (Column<std::uint32_t>{0, 2}));
  }
}

TEST(Weights, votes_of_unknown_sides_say_nothing_of_side_bias) {
  std::vector<Row> rows;
  for (std::uint32_t i = 0; i < 60; ++i) rows.push_back({i % 5, (i + 1 + i % 3) % 5, i % 2, 1});  // the left one won
  Votes votes = make_votes(5, 2, rows);
  votes.unknown_sides = {{0, 60}};
  Groups groups = group_votes(votes, Ties::kModel);
  weigh_votes(groups, votes, {.repeats = Repeats::kAll});
  int on_left = 0;
  for (const VoteCode vote : groups.votes) {
    EXPECT_EQ(vote.side(), 0.0f);
    on_left += (vote.winner() > 0) == vote.first_on_left();
  }
  EXPECT_GT(on_left, 15);  // sides are drawn: the winner is not always on the left
  EXPECT_LT(on_left, 45);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit =
      fit_model(*engine, count_votes(groups), {.model = Model::kRater, .answers = groups.answers}, [](int, double) {});
  EXPECT_NEAR(fit.annotators[0].side_bias, 0, 1e-6);
  const Labels labels = make_labels(groups, fit, find_pair_labels(*engine, fit), 5, 60);
  EXPECT_EQ(labels.annotators.side_bias[0], 0.0f);
  EXPECT_TRUE(std::isnan(labels.annotators.side_bias_se[0]));
}

TEST(Weights, one_pair_however_often_is_too_few_votes) {
  EXPECT_EQ(flag_annotator(2, 0.05, 0, 0.1, 2).first, Flag::kOk);
  EXPECT_EQ(flag_annotator(2, 0.05, 0, 0.1, 1).first, Flag::kTooFewVotes);
  Votes votes = bot();
  EXPECT_EQ(count_distinct_pairs(group_votes(votes, Ties::kModel)), (Column<std::uint32_t>{1, 1}));
}

}  // namespace
}  // namespace voxpop::test
