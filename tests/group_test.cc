#include "group/group.h"

#include <random>

#include "core/error.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::make_votes;
using test::Row;
using Indices = Column<std::uint32_t>;

/// A vote of a grouping in words, by item index: "2>4 a0 left" = annotator 0 saw item 2 on the left and preferred it.
std::string describe(const Groups& groups, std::size_t pair, std::size_t vote) {
  const VoteCode code = groups.votes[vote];
  const char* outcome = code.winner() > 0 ? ">" : code.winner() < 0 ? "<" : "=";
  return std::to_string(groups.slot_item[groups.pair_first[pair]]) + outcome +
         std::to_string(groups.slot_item[groups.pair_second[pair]]) + " a" + std::to_string(code.annotator()) +
         (code.first_on_left() ? " left" : " right");
}

std::vector<std::string> describe(const Groups& groups) {
  std::vector<std::string> out;
  for (std::size_t p = 0; p < groups.pairs(); ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
      out.push_back(describe(groups, p, v));
  return out;
}

// Items 1, 3, 5 are one component, 0 and 4 another, 2 and 7 a third, and 6 has no vote.
const std::vector<Row> kRows = {{5, 1, 0, 1}, {3, 1, 1, -1}, {0, 4, 0, 0}, {1, 3, 2, 1}, {4, 0, 1, 1}, {7, 2, 1, -1}};

TEST(Group, literal_example) {
  Votes votes = make_votes(8, 3, kRows);
  const Groups groups = group_votes(votes, Ties::kHalf);
  // By items, then votes: {2, 7} has one vote, {0, 4} two, {1, 3, 5} three items.
  EXPECT_EQ(groups.component_slots, (Indices{0, 2, 4, 7}));
  EXPECT_EQ(groups.component_pairs, (Indices{0, 1, 2, 4}));
  EXPECT_EQ(groups.slot_item, (Indices{2, 7, 0, 4, 1, 3, 5}));
  EXPECT_EQ(groups.pair_first, (Indices{0, 2, 4, 4}));
  EXPECT_EQ(groups.pair_second, (Indices{1, 3, 5, 6}));
  EXPECT_EQ(groups.pair_votes, (Indices{0, 1, 3, 5, 6}));
  EXPECT_EQ(groups.vote_row, (Indices{5, 2, 4, 1, 3, 0}));
  EXPECT_EQ(describe(groups), (std::vector<std::string>{"2>7 a1 right", "0=4 a0 left", "0<4 a1 right", "1>3 a1 right",
                                                        "1>3 a2 left", "1<5 a0 right"}));
  EXPECT_EQ(groups.annotators, 3u);
  EXPECT_TRUE(groups.answers.ties);
  EXPECT_TRUE(groups.answers.half_ties);
  EXPECT_EQ(groups.items_of(2), 3u);
  EXPECT_EQ(groups.votes_of(2), 3u);
}

TEST(Group, equal_components_are_in_order_of_their_first_item) {
  Votes votes = make_votes(6, 1, {{5, 4, 0, 1}, {1, 3, 0, 1}, {0, 2, 0, 1}});
  EXPECT_EQ(group_votes(votes, Ties::kHalf).slot_item, (Indices{0, 2, 1, 3, 4, 5}));
}

TEST(Group, one_vote) {
  Votes votes = make_votes(2, 1, {{1, 0, 0, -1}});
  const Groups groups = group_votes(votes, Ties::kHalf);
  EXPECT_EQ(groups.components(), 1u);
  EXPECT_EQ(groups.pairs(), 1u);
  EXPECT_EQ(describe(groups), (std::vector<std::string>{"0>1 a0 right"}));
  EXPECT_TRUE(groups.answers.binary());
}

TEST(Group, dropped_ties_connect_nothing) {
  Votes votes = make_votes(8, 3, kRows);
  const Groups groups = group_votes(votes, Ties::kDrop);
  EXPECT_EQ(describe(groups),
            (std::vector<std::string>{"0<4 a1 right", "2>7 a1 right", "1>3 a1 right", "1>3 a2 left", "1<5 a0 right"}));
  EXPECT_TRUE(groups.answers.binary());
  Votes bridge = make_votes(4, 1, {{0, 1, 0, 1}, {1, 2, 0, 0}, {2, 3, 0, 1}});
  EXPECT_EQ(group_votes(bridge, Ties::kDrop).components(), 2u);
}

TEST(Group, levels_are_the_strengths_that_occur) {
  Votes votes = make_votes(3, 1, {{0, 1, 0, 5}, {1, 0, 0, 2}, {1, 2, 0, -5}, {2, 1, 0, -2}, {0, 2, 0, 0}});
  const Groups groups = group_votes(votes, Ties::kModel);
  EXPECT_EQ(groups.answers.strengths, (std::vector<int>{2, 5}));
  EXPECT_TRUE(groups.answers.ties);
  EXPECT_FALSE(groups.answers.half_ties);
  std::vector<int> levels;
  for (const VoteCode vote : groups.votes) levels.push_back(vote.level());
  EXPECT_EQ(levels, (std::vector<int>{2, -1, 0, -2, 1}));  // pairs 0 1 (5, then the second by 2), 0 2, 1 2 (-5, 2)
}

TEST(Group, only_ties_dropped_is_an_error) {
  Votes votes = make_votes(2, 1, {{0, 1, 0, 0}});
  try {
    group_votes(votes, Ties::kDrop);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kBadInput);
    EXPECT_PRED2(test::contains, error.what(), "votes.h5: every vote is a tie");
  }
}

std::vector<Row> random_rows(std::uint32_t items, std::uint32_t annotators, int count) {
  std::mt19937 random(3);
  const auto below = [&](std::uint32_t n) { return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(random); };
  std::vector<Row> rows;
  for (int i = 0; i < count; ++i) {
    // Neighbours within blocks of up to 11 items, so that there are components of many sizes.
    const std::uint32_t left = below(items), right = (left / 11) * 11 + (left + 1 + below(3)) % 11;
    if (right != left && right < items)
      rows.push_back({left, right, below(annotators), static_cast<int>(below(3)) - 1});
  }
  return rows;
}

TEST(Group, every_vote_is_found_again) {
  const std::vector<Row> rows = random_rows(500, 20, 2000);
  Votes votes = make_votes(500, 20, rows);
  const Groups groups = group_votes(votes, Ties::kHalf);
  ASSERT_EQ(groups.votes.size(), rows.size());
  std::vector<bool> seen(rows.size(), false);
  for (std::size_t c = 0; c < groups.components(); ++c) {
    if (c > 0) {
      EXPECT_GE(std::pair(groups.items_of(c), groups.votes_of(c)),
                std::pair(groups.items_of(c - 1), groups.votes_of(c - 1)));
    }
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p) {
      const std::uint32_t first = groups.slot_item[groups.pair_first[p]],
                          second = groups.slot_item[groups.pair_second[p]];
      EXPECT_LT(first, second);
      EXPECT_GE(groups.pair_first[p], groups.component_slots[c]);
      EXPECT_LT(groups.pair_second[p], groups.component_slots[c + 1]);
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const Row& row = rows[groups.vote_row[v]];
        seen[groups.vote_row[v]] = true;
        EXPECT_EQ(std::pair(first, second), std::pair(std::min(row.left, row.right), std::max(row.left, row.right)));
        EXPECT_EQ(groups.votes[v].annotator(), row.annotator);
        EXPECT_EQ(groups.votes[v].first_on_left(), row.left == first);
        const std::uint32_t winner = row.preference > 0 ? row.left : row.right;
        EXPECT_EQ(groups.votes[v].level(), row.preference == 0 ? 0 : winner == first ? 1 : -1);
      }
    }
  }
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](bool s) { return s; }));
}

TEST(Group, the_order_of_votes_changes_only_their_order_within_a_pair) {
  std::vector<Row> rows = random_rows(500, 20, 2000);
  Votes votes = make_votes(500, 20, rows);
  const Groups before = group_votes(votes, Ties::kHalf);
  std::shuffle(rows.begin(), rows.end(), std::mt19937(4));
  votes = make_votes(500, 20, rows);
  const Groups after = group_votes(votes, Ties::kHalf);
  EXPECT_EQ(before.slot_item, after.slot_item);
  EXPECT_EQ(before.component_slots, after.component_slots);
  EXPECT_EQ(before.component_pairs, after.component_pairs);
  EXPECT_EQ(before.pair_first, after.pair_first);
  EXPECT_EQ(before.pair_second, after.pair_second);
  EXPECT_EQ(before.pair_votes, after.pair_votes);
  std::vector<std::string> a = describe(before), b = describe(after);
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  EXPECT_EQ(a, b);
}

/// Few items with very many votes are counted, others sorted: the order is the same, by pair and then by row.
TEST(Group, an_arena_is_in_the_order_of_a_sort) {
  std::vector<Row> rows;
  for (std::uint32_t v = 0, random = 1; v < 80'000; ++v) {
    random = random * 1664525u + 1013904223u;
    const std::uint32_t left = random >> 8 & 15, right = (left + 1 + (random >> 16) % 15) % 16;
    // Item 16 and 17 are a component of their own; every hundredth vote is a tie, and ties do not count.
    if (v % 1000 == 0)
      rows.push_back({16, 17, 0, 1});
    else
      rows.push_back({left, right, random >> 28, v % 100 == 1 ? 0 : random >> 20 & 1 ? 1 : -1});
  }
  Votes votes = test::make_votes(18, 16, rows);
  const Groups groups = group_votes(votes, Ties::kDrop);
  struct Expected {
    std::uint32_t low, high, row;
    auto operator<=>(const Expected&) const = default;
  };
  std::vector<Expected> small, arena;
  for (std::uint32_t v = 0; v < rows.size(); ++v)
    if (rows[v].preference != 0)
      (rows[v].left == 16 ? small : arena)
          .push_back({std::min(rows[v].left, rows[v].right), std::max(rows[v].left, rows[v].right), v});
  std::sort(arena.begin(), arena.end());
  small.insert(small.end(), arena.begin(), arena.end());
  ASSERT_EQ(groups.vote_row.size(), small.size());
  EXPECT_EQ(groups.pairs(), 1 + 16 * 15 / 2);
  for (std::uint32_t p = 0; p < groups.pairs(); ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const Row& row = rows[groups.vote_row[v]];
      ASSERT_EQ(groups.vote_row[v], small[v].row);
      ASSERT_EQ(groups.slot_item[groups.pair_first[p]], small[v].low);
      ASSERT_EQ(groups.slot_item[groups.pair_second[p]], small[v].high);
      ASSERT_EQ(groups.votes[v].annotator(), row.annotator);
      ASSERT_EQ(groups.votes[v].level(), row.left < row.right ? row.preference : -row.preference);
      ASSERT_EQ(groups.votes[v].first_on_left(), row.left < row.right);
    }
}

}  // namespace
}  // namespace voxpop
