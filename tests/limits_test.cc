#include "group/limits.h"

#include "helpers.h"

namespace voxpop {
namespace {

using test::Row;

Limits limits_of(std::size_t items, std::size_t annotators, const std::vector<Row>& rows, Ties ties = Ties::kHalf) {
  Votes votes = test::make_votes(items, annotators, rows);
  const Groups groups = group_votes(votes, ties);
  return find_limits(groups, votes);
}

bool warns(const Limits& limits, const std::string& text) {
  const std::vector<std::string> warnings = limits.warnings();
  return std::any_of(warnings.begin(), warnings.end(), [&](const std::string& w) { return test::contains(w, text); });
}

// Two annotators on both orders of each pair of a triangle: nothing to warn of.
const std::vector<Row> kGood = {{0, 1, 0, 1}, {1, 0, 1, -1}, {1, 2, 0, 1}, {2, 1, 1, -1}, {2, 0, 0, -1}, {0, 2, 1, 1}};

TEST(Limits, counts) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 0});  // a tie, and annotator 0's second vote on the pair
  rows.push_back({3, 4, 2, 1});  // another component; annotator 2 is alone there
  const Limits limits = limits_of(7, 4, rows);
  EXPECT_EQ(limits.votes, 8u);
  EXPECT_EQ(limits.pairs, 4u);
  EXPECT_EQ(limits.items, 7u);
  EXPECT_EQ(limits.components, 2u);
  EXPECT_EQ(limits.annotators, 3u);
  EXPECT_EQ(limits.ties, 1u);
  EXPECT_EQ(limits.dropped_ties, 0u);
  EXPECT_EQ(limits.items_without_votes, 2u);
  EXPECT_EQ(limits.largest_component_items, 3u);
  EXPECT_EQ(limits.pairs_with_one_vote, 1u);
  EXPECT_EQ(limits.annotators_alone, 1u);
  EXPECT_EQ(limits.first_alone, "a2");
  EXPECT_EQ(limits.duplicate_votes, 1u);
  EXPECT_EQ(limits.repeated_pairs, 3u);
  EXPECT_EQ(limits.swapped_pairs, 3u);
  EXPECT_EQ(limits.checking_votes, 5u);  // 8 votes, of which a spanning forest takes 2 + 1
}

TEST(Limits, good_votes_get_no_warning) { EXPECT_EQ(limits_of(3, 2, kGood).warnings(), std::vector<std::string>{}); }

TEST(Limits, dropped_ties_are_counted) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 0});
  const Limits limits = limits_of(3, 2, rows, Ties::kDrop);
  EXPECT_EQ(limits.dropped_ties, 1u);
  EXPECT_EQ(limits.ties, 0u);
  EXPECT_EQ(limits.votes, 6u);
}

TEST(Limits, one_vote_a_pair) {
  EXPECT_TRUE(warns(limits_of(6, 2, {{0, 1, 0, 1}, {2, 3, 1, 1}, {4, 5, 0, 1}}), "not identified: no two votes share"));
  const Limits limits = limits_of(6, 2, {{0, 1, 0, 1}, {1, 2, 1, 1}, {4, 5, 0, 1}});
  EXPECT_EQ(limits.checking_votes, 0u);
  EXPECT_FALSE(limits.annotators_identified());
  EXPECT_TRUE(
      warns(limits, "hardly tell annotators apart: only 0 % of them could contradict another vote (100 % of pairs"));
}

/// Six responses to each of 100 prompts, every pair once. The better-known models' always stand on the left: a side
/// bias and a difference of models would look the same. Or sides are drawn.
TEST(Limits, single_votes_whose_items_keep_their_side) {
  for (const bool drawn : {false, true}) {
    std::vector<Row> rows;
    std::uint32_t random = 1;
    for (std::uint32_t prompt = 0; prompt < 100; ++prompt)
      for (std::uint32_t i = 0; i < 6; ++i)
        for (std::uint32_t j = i + 1; j < 6; ++j) {
          random = random * 1664525u + 1013904223u;
          const bool swap = drawn && random >> 31;
          rows.push_back({6 * prompt + (swap ? j : i), 6 * prompt + (swap ? i : j), 0, 1});
        }
    const Limits limits = limits_of(600, 1, rows);
    EXPECT_EQ(limits.side_bias_identified(), drawn);
    EXPECT_EQ(warns(limits, "items keep to one side"), !drawn);
    // 14/6: the mean of 5^2/5, 3^2/5 and 1/5, twice; at the most 5; luck takes 0.06 of it.
    EXPECT_NEAR(limits.side_keeping, drawn ? 0 : (14.0 / 6 - 1) / 4, 0.06);
  }
}

TEST(Limits, sides_never_swapped) {
  const Limits limits = limits_of(2, 2, {{0, 1, 0, 1}, {0, 1, 1, -1}});
  EXPECT_FALSE(limits.side_bias_identified());
  EXPECT_TRUE(warns(limits, "(0.0 % of repeated pairs were swapped): side bias cannot be told from preference"));
  EXPECT_FALSE(warns(limits_of(2, 2, {{0, 1, 0, 1}, {1, 0, 1, -1}}), "side bias"));
}

TEST(Limits, an_annotator_alone) {
  std::vector<Row> rows = kGood;
  rows.push_back({3, 4, 2, 1});
  EXPECT_TRUE(warns(limits_of(5, 3, rows), "1 of 3 annotators (e.g. 'a2') share no pair with anyone"));
  EXPECT_FALSE(warns(limits_of(3, 2, kGood), "share no pair"));
}

TEST(Limits, a_single_annotator) {
  const Limits limits = limits_of(2, 1, {{0, 1, 0, 1}, {1, 0, 0, 1}});
  EXPECT_FALSE(limits.annotators_identified());
  EXPECT_TRUE(warns(limits, "There is one annotator only"));
  EXPECT_FALSE(warns(limits, "share no pair"));
}

TEST(Limits, duplicates_and_items_without_votes) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 1});
  const Limits limits = limits_of(4, 2, rows);
  EXPECT_TRUE(warns(limits, "1 votes (14 %) repeat an annotator's earlier vote on the same pair"));
  EXPECT_TRUE(warns(limits, "1 of 4 items have no vote that counts"));
}

}  // namespace
}  // namespace voxpop
