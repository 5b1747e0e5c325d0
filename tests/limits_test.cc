#include "group/limits.h"

#include <oneapi/tbb/task_arena.h>

#include <map>

#include "guards/findings.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Row;

/// Figures of votes, and what is said of them.
struct Looked : Limits {
  std::vector<Finding> findings;
};

Looked limits_of(std::size_t items, std::size_t annotators, const std::vector<Row>& rows, Ties ties = Ties::kHalf) {
  Votes votes = test::make_votes(items, annotators, rows);
  const Groups groups = group_votes(votes, ties);
  const Limits limits = find_limits(groups, votes);
  return {limits, find_findings(votes, limits, 0)};
}

bool warns(const Looked& looked, const std::string& text) {
  return std::ranges::any_of(looked.findings, [&](const Finding& f) { return test::contains(f.text, text); });
}

// Two annotators on both orders of each pair of a triangle: nothing to warn of.
const std::vector<Row> kGood = {{0, 1, 0, 1}, {1, 0, 1, -1}, {1, 2, 0, 1}, {2, 1, 1, -1}, {2, 0, 0, -1}, {0, 2, 1, 1}};

TEST(Limits, counts) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 0});  // a tie, and annotator 0's second vote on the pair
  rows.push_back({3, 4, 2, 1});  // another component; annotator 2 is alone there
  const Looked limits = limits_of(7, 4, rows);
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

TEST(Limits, good_votes_get_no_warning) { EXPECT_TRUE(limits_of(3, 2, kGood).findings.empty()); }

TEST(Limits, dropped_ties_are_counted) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 0});
  const Looked limits = limits_of(3, 2, rows, Ties::kDrop);
  EXPECT_EQ(limits.dropped_ties, 1u);
  EXPECT_EQ(limits.ties, 0u);
  EXPECT_EQ(limits.votes, 6u);
}

TEST(Limits, one_vote_a_pair) {
  const Looked apart = limits_of(6, 2, {{0, 1, 0, 1}, {2, 3, 1, 1}, {4, 5, 0, 1}});
  EXPECT_FALSE(apart.reliability_identified());
  EXPECT_TRUE(
      warns(apart, "say nothing about reliability: only 0 of 3 votes share an item with another one (100 % of pairs"));
  EXPECT_EQ(apart.findings[0].level, Level::kDoNotTrain);
  EXPECT_FALSE(warns(apart, "hardly show how annotators differ"));
  const Looked limits = limits_of(6, 2, {{0, 1, 0, 1}, {1, 2, 1, 1}, {4, 5, 0, 1}});
  EXPECT_EQ(limits.checking_votes, 0u);
  EXPECT_FALSE(limits.annotators_identified());
  EXPECT_TRUE(limits.reliability_identified());
  EXPECT_TRUE(warns(
      limits, "hardly show how annotators differ: only 0 % of them could contradict another vote (100 % of pairs"));
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
    const Looked limits = limits_of(600, 1, rows);
    EXPECT_EQ(limits.side_bias_identified(), drawn);
    EXPECT_EQ(warns(limits, "items are shown on the same side each time"), !drawn);
    // 14/6: the mean of 5^2/5, 3^2/5 and 1/5, twice; at the most 5; luck takes 0.06 of it.
    EXPECT_NEAR(limits.side_keeping, drawn ? 0 : (14.0 / 6 - 1) / 4, 0.06);
  }
}

TEST(Limits, sides_never_swapped) {
  const Looked limits = limits_of(2, 2, {{0, 1, 0, 1}, {0, 1, 1, -1}});
  EXPECT_FALSE(limits.side_bias_identified());
  EXPECT_TRUE(
      warns(limits, "(only 0.0 % of repeated pairs were swapped), so side bias cannot be separated from preference"));
  EXPECT_FALSE(warns(limits_of(2, 2, {{0, 1, 0, 1}, {1, 0, 1, -1}}), "side bias"));
}

TEST(Limits, an_annotator_alone) {
  std::vector<Row> rows = kGood;
  rows.push_back({3, 4, 2, 1});
  EXPECT_TRUE(warns(limits_of(5, 3, rows), "1 of 3 annotators (such as 'a2') share no pair with anyone"));
  EXPECT_FALSE(warns(limits_of(3, 2, kGood), "share no pair"));
}

TEST(Limits, a_single_annotator) {
  const Looked limits = limits_of(2, 1, {{0, 1, 0, 1}, {1, 0, 0, 1}});
  EXPECT_FALSE(limits.annotators_identified());
  EXPECT_TRUE(warns(limits, "There is only one annotator"));
  EXPECT_FALSE(warns(limits, "share no pair"));
}

/// A thousand pairs, a vote each, and so many of them a second vote: fifty say something, a few do not.
TEST(Limits, a_handful_of_second_votes) {
  for (const std::uint32_t second : {0u, 10u, 49u, 50u, 400u}) {
    std::vector<Row> rows;
    for (std::uint32_t pair = 0; pair < 1000; ++pair) rows.push_back({2 * pair, 2 * pair + 1, 0, pair % 2 ? 1 : -1});
    for (std::uint32_t pair = 0; pair < second; ++pair) rows.push_back({2 * pair + 1, 2 * pair, 1, 1});
    const Looked limits = limits_of(2000, 2, rows);
    EXPECT_EQ(limits.sharing_judgements(), second);
    EXPECT_EQ(limits.reliability_identified(), second >= 50);
    EXPECT_EQ(has_kind(limits.findings, kReliabilityUnknown), second < 50);
  }
}

TEST(Limits, who_repeats_itself) {
  std::vector<Row> rows = kGood;
  for (int i = 0; i < 20; ++i) rows.push_back({i % 2 ? 0u : 1u, i % 2 ? 1u : 0u, 2, i % 2 ? 1 : -1});
  const Looked limits = limits_of(3, 3, rows);
  EXPECT_EQ(limits.repeaters, 1u);
  EXPECT_EQ(limits.worst_repeater.id, "a2");
  EXPECT_EQ(limits.worst_repeater.votes, 20u);
  EXPECT_EQ(limits.worst_repeater.repeats, 19u);
  EXPECT_TRUE(warns(limits, "'a2': 19 of 20 votes are repeats, on one pair."));

  // On two pairs; beside another who does so less.
  rows = kGood;
  for (int i = 0; i < 40; ++i) rows.push_back({0, i % 2 ? 1u : 2u, 2, i % 4 < 2 ? 1 : -1});
  for (int i = 0; i < 12; ++i) rows.push_back({2, 1, 3, i % 2 ? 1 : -1});
  const Looked two = limits_of(3, 4, rows);
  EXPECT_TRUE(warns(two, "'a2': 38 of 40 votes are repeats, on 2 pairs. 2 annotators do this."));
  EXPECT_EQ(two.duplicate_votes, 38u + 11u);
}

TEST(Limits, repeats_that_are_independent_or_anonymous_are_nobodys_fault) {
  std::vector<Row> rows;
  for (int i = 0; i < 40; ++i) rows.push_back({i % 2 ? 0u : 1u, i % 2 ? 1u : 0u, 0, i % 3 ? 1 : -1});
  for (const bool anonymous : {false, true}) {
    Votes votes = test::make_votes(2, 1, rows);
    if (anonymous) {
      votes.annotator_ids = Strings();
      votes.annotator_ids.push_back("anonymous");
      votes.anonymous = {{0, 40}};
    } else {
      votes.independent = {{0, 40}};
    }
    const Groups groups = group_votes(votes, Ties::kHalf);
    const Limits limits = find_limits(groups, votes);
    EXPECT_EQ(limits.dependent_repeats, 0u);
    EXPECT_EQ(limits.duplicate_votes, anonymous ? 0u : 39u);
    EXPECT_FALSE(has_kind(find_findings(votes, limits, 0), "repeated_votes"));
  }
}

/// A ranking never contradicts itself, and the halves of a soft vote repeat nobody.
TEST(Limits, parts_of_a_judgement_are_one) {
  std::vector<Row> rows;
  for (std::uint32_t prompt = 0; prompt < 100; ++prompt) {
    const std::uint32_t item = 3 * prompt;
    for (const Row& row : {Row{item, item + 1, 0, 1}, Row{item, item + 2, 0, 1}, Row{item + 1, item + 2, 0, 1}})
      rows.push_back(row);
  }
  Votes votes = test::make_votes(300, 1, rows);
  for (std::uint32_t v = 0; v < 300; ++v) votes.judgement.push_back(v / 3);
  Groups groups = group_votes(votes, Ties::kHalf);
  Limits limits = find_limits(groups, votes);
  EXPECT_EQ(limits.judgements, 100u);
  EXPECT_EQ(limits.sharing_judgements(), 0u);
  EXPECT_FALSE(limits.reliability_identified());

  rows.clear();
  for (std::uint32_t pair = 0; pair < 100; ++pair)
    for (const int preference : {1, -1}) rows.push_back({2 * pair, 2 * pair + 1, 0, preference});
  votes = test::make_votes(200, 1, rows);
  for (std::uint32_t v = 0; v < 200; ++v) votes.judgement.push_back(v < 100 ? v / 2 : kNoJudgement);
  groups = group_votes(votes, Ties::kHalf);
  limits = find_limits(groups, votes);
  EXPECT_EQ(limits.judgements, 150u);
  EXPECT_EQ(limits.duplicate_votes, 100u);
  EXPECT_EQ(limits.dependent_repeats, 50u);
}

/// Votes of winners and losers beside votes whose sides are known: only the latter say something about sides.
TEST(Limits, unknown_sides_are_left_out_of_figures_on_sides) {
  std::vector<Row> rows = kGood;
  for (std::uint32_t a = 0; a < 2; ++a)
    for (int i = 0; i < 30; ++i) rows.push_back({3, 4, a, 1});
  Votes votes = test::make_votes(5, 2, rows);
  votes.unknown_sides = {{6, 66}};
  Groups groups = group_votes(votes, Ties::kHalf);
  Limits limits = find_limits(groups, votes);
  EXPECT_TRUE(limits.sides_known);
  EXPECT_EQ(limits.repeated_pairs, 3u);
  EXPECT_EQ(limits.swapped_pairs, 3u);
  EXPECT_EQ(limits.side_keeping, 0);
  EXPECT_FALSE(has_kind(find_findings(votes, limits, 0), "one_sided"));

  votes = test::make_votes(5, 2, rows);
  votes.unknown_sides = {{0, 66}};
  groups = group_votes(votes, Ties::kHalf);
  limits = find_limits(groups, votes);
  EXPECT_FALSE(limits.sides_known);
  EXPECT_EQ(limits.repeated_pairs, 0u);
  EXPECT_FALSE(has_kind(find_findings(votes, limits, 0), "sides_fixed"));
}

/// Counted in many ranges at a time or in one, the figures are those of a loop over all votes.
TEST(Limits, the_same_for_any_number_of_threads) {
  for (const Shape shape : {Shape::kRlhf, Shape::kArena}) {
    SimulateOptions options{.shape = shape, .prompts = 20000, .annotators = 40, .mix = {}, .seed = 3};
    if (shape == Shape::kArena) options = test::sparse_arena(200000, 40, 3);
    Votes votes = simulate_votes(options);
    const std::size_t rows = votes.size();
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> seen;
    std::map<std::uint64_t, std::pair<int, int>> ways;
    std::uint64_t repeats = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      const auto [low, high] = std::minmax(votes.left[row], votes.right[row]);
      const std::uint64_t pair = std::uint64_t{low} << 32 | high;
      repeats += seen[{pair, votes.annotator[row]}]++ > 0;
      ++(votes.left[row] == low ? ways[pair].first : ways[pair].second);
    }
    std::uint64_t swapped = 0, single = 0;
    for (const auto& [pair, count] : ways) {
      swapped += count.first > 0 && count.second > 0;
      single += count.first + count.second == 1;
    }
    const Groups groups = group_votes(votes, Ties::kModel);
    for (const int threads : {1, 2}) {
      const Limits limits = oneapi::tbb::task_arena(threads).execute([&] { return find_limits(groups, votes); });
      EXPECT_EQ(limits.duplicate_votes, repeats);
      EXPECT_EQ(limits.swapped_pairs, swapped);
      EXPECT_EQ(limits.pairs_with_one_vote, single);
      EXPECT_EQ(limits.pairs, ways.size());
      EXPECT_EQ(limits.annotators, 40u);
    }
  }
}

TEST(Limits, duplicates_and_items_without_votes) {
  std::vector<Row> rows = kGood;
  rows.push_back({0, 1, 0, 1});
  const Looked limits = limits_of(4, 2, rows);
  EXPECT_TRUE(warns(limits, "1 votes (14 %) repeat an earlier vote of the same annotator on the same pair"));
  EXPECT_TRUE(warns(limits, "1 of 4 items have no vote that counts"));
}

}  // namespace
}  // namespace voxpop
