#include "plan/plan.h"

#include "helpers.h"

namespace voxpop {
namespace {

PairColumns columns(Column<std::uint32_t> left, Column<std::uint32_t> right, Column<float> margin,
                    Column<float> margin_se) {
  PairColumns pairs;
  pairs.left = std::move(left);
  pairs.right = std::move(right);
  pairs.margin = std::move(margin);
  pairs.margin_se = std::move(margin_se);
  return pairs;
}

std::vector<std::uint32_t> rows(const std::vector<WantedVote>& votes) {
  std::vector<std::uint32_t> out;
  for (const WantedVote& vote : votes) out.push_back(vote.pair);
  return out;
}

/// H(E p) - E H(p) by numpy, 200 Gauss-Hermite nodes: mean 0, sd 1: 0.135193; mean 2, sd 1: 0.078143.
TEST(Plan, bits_are_mutual_information) {
  const auto votes = choose_pairs(columns({0, 2}, {1, 3}, {2, 0}, {1, 1}), 4, 2, 1);
  EXPECT_EQ(rows(votes), (std::vector<std::uint32_t>{1, 0}));
  EXPECT_NEAR(votes[0].bits, 0.135193, 1e-3);
  EXPECT_NEAR(votes[1].bits, 0.078143, 1e-3);
}

TEST(Plan, unsure_pairs_come_first_and_a_budget_beyond_all_takes_all) {
  const PairColumns pairs = columns({0, 2, 4}, {1, 3, 5}, {0, 0, 4}, {0.1f, 1, 1});
  EXPECT_EQ(rows(choose_pairs(pairs, 6, 2, 1)), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(rows(choose_pairs(pairs, 6, 100, 1)), (std::vector<std::uint32_t>{1, 2, 0}));
}

/// Three pairs of one triangle and, nearly as good, three of other prompts: no prompt is taken whole before others.
TEST(Plan, votes_are_spread_over_prompts) {
  const PairColumns pairs =
      columns({0, 0, 1, 3, 5, 7}, {1, 2, 2, 4, 6, 8}, {0, 0, 0, 0, 0, 0}, {1, 1, 1, 0.99f, 0.99f, 0.99f});
  EXPECT_EQ(rows(choose_pairs(pairs, 9, 4, 1)), (std::vector<std::uint32_t>{0, 3, 4, 5}));
}

FitFile fit_of_four() {
  FitFile fit;
  AnnotatorLabels& a = fit.labels.annotators;
  a.votes = {50, 500, 500, 500};
  a.discrimination = {1.5f, 1.2f, 1.4f, 0.2f};
  a.discrimination_se = {0.4f, 0.1f, 0.1f, 0.1f};
  a.flag = {0, 0, 0, static_cast<std::int8_t>(Flag::kNoisy)};
  fit.labels.pairs = columns({0, 2, 4}, {1, 3, 5}, {0, 0, 0}, {1, 1, 1});
  return fit;
}

TEST(Plan, reliable_is_what_is_known_for_sure) {
  const FitFile fit = fit_of_four();  // lower ends: 0.72, 1.00, 1.20; the fourth is flagged
  EXPECT_EQ(reliable_annotators(fit.labels.annotators, 10), (std::vector<std::uint32_t>{2, 1, 0}));
  EXPECT_EQ(reliable_annotators(fit.labels.annotators, 1), (std::vector<std::uint32_t>{2}));
}

TEST(Plan, assignment_holds_the_cap_and_asks_nobody_twice) {
  const FitFile fit = fit_of_four();
  const std::vector<WantedVote> wanted = {{0, 0.1f, 1}, {1, 0.1f, 1}, {2, 0.1f, 1}};
  const auto votes =
      assign_votes(fit, wanted, {2, 1}, 1, [](std::uint32_t a, std::size_t i) { return a != 2 || i > 0; });
  ASSERT_EQ(votes.size(), 2u);  // two people, one vote each
  EXPECT_EQ(votes[0].pair, 0u);
  EXPECT_EQ(votes[0].annotator, 1u);  // 2 has judged this pair
  EXPECT_EQ(votes[1].pair, 1u);
  EXPECT_EQ(votes[1].annotator, 2u);
  EXPECT_GT(votes[1].bits, votes[0].bits);  // the more reliable one tells more
}

}  // namespace
}  // namespace voxpop
