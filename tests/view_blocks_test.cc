#include "group/view_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "helpers.h"

namespace voxpop::test {
namespace {

/// The same by the definition: votes of one who share an item are in one block, until nothing changes. Block of each
/// vote by its first vote.
std::vector<std::uint32_t> first_votes(const std::vector<Row>& rows, const std::vector<std::int64_t>& who) {
  std::vector<std::uint32_t> first(rows.size());
  for (std::uint32_t v = 0; v < rows.size(); ++v) first[v] = v;
  const auto meet = [&](const Row& a, const Row& b) {
    return a.left == b.left || a.left == b.right || a.right == b.left || a.right == b.right;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t v = 0; v < rows.size(); ++v)
      for (std::size_t w = 0; w < rows.size(); ++w)
        if (who[v] >= 0 && who[v] == who[w] && meet(rows[v], rows[w]) && first[v] > first[w]) {
          first[v] = first[w];
          changed = true;
        }
  }
  return first;
}

void expect_blocks(Votes& votes, const std::vector<Row>& rows, const std::vector<std::int64_t>& who) {
  const std::vector<std::uint32_t> expected = first_votes(rows, who);
  const Groups groups = group_votes(votes, Ties::kModel);
  const ViewBlocks blocks = find_view_blocks(groups, votes);
  ASSERT_EQ(blocks.of.size(), rows.size());
  std::vector<std::uint32_t> sizes(rows.size(), 0);
  std::set<std::uint32_t> apart;
  for (const std::uint32_t first : expected) {
    ++sizes[first];
    apart.insert(first);
  }
  EXPECT_EQ(blocks.count, apart.size());
  EXPECT_EQ(blocks.shared, static_cast<std::uint64_t>(
                               std::ranges::count_if(expected, [&](std::uint32_t first) { return sizes[first] > 1; })));
  std::uint32_t seen = 0;  // blocks are numbered in the order of their first votes
  for (std::uint32_t v = 0; v < rows.size(); ++v) {
    ASSERT_LE(blocks.of[v], seen);
    seen += blocks.of[v] == seen;
    for (std::uint32_t w = 0; w < v; ++w)
      ASSERT_EQ(blocks.of[v] == blocks.of[w], expected[groups.vote_row[v]] == expected[groups.vote_row[w]]);
  }
  std::uint64_t divided = 0;
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const ComponentRange range = groups.range(c, c + 1);
    std::set<std::uint32_t> here;
    for (std::uint32_t v = range.vote; v < range.vote_end; ++v) here.insert(blocks.of[v]);
    EXPECT_EQ(*here.rbegin() - *here.begin() + 1, here.size());  // neighbours, and nobody else's
    for (std::uint32_t v = range.vote; v < range.vote_end; ++v)
      divided += here.size() > 1 && sizes[expected[groups.vote_row[v]]] > 1;
  }
  EXPECT_EQ(blocks.divided, divided);
}

std::uint32_t below(std::uint32_t n, std::mt19937& random) { return static_cast<std::uint32_t>(random() % n); }

/// Votes on prompts of 2 to 7 items.
std::vector<Row> random_rows(std::uint32_t count, std::uint32_t annotators, std::mt19937& random) {
  std::vector<Row> rows;
  for (std::uint32_t v = 0; v < count; ++v) {
    const std::uint32_t prompt = below(6, random), items = 2 + prompt, left = below(items, random);
    const std::uint32_t right = (left + 1 + below(items - 1, random)) % items;
    rows.push_back({10 * prompt + left, 10 * prompt + right, below(annotators, random), v % 2 == 0 ? 1 : -1});
  }
  return rows;
}

TEST(ViewBlocks, are_votes_of_one_annotator_that_hang_together) {
  std::mt19937 random(1);
  for (const std::uint32_t annotators : {1u, 3u, 20u, 200u}) {
    const std::vector<Row> rows = random_rows(300, annotators, random);
    std::vector<std::int64_t> who;
    for (const Row& row : rows) who.push_back(row.annotator);
    Votes votes = make_votes(70, annotators, rows);
    expect_blocks(votes, rows, who);
  }
}

TEST(ViewBlocks, of_votes_without_a_name_are_their_judgements) {
  std::mt19937 random(2);
  const std::vector<Row> rows = random_rows(200, 3, random);
  Votes votes = make_votes(70, 3, rows);
  votes.anonymous = {{50, 150}};
  std::vector<std::int64_t> who;
  for (std::uint32_t v = 0; v < rows.size(); ++v) {
    const bool in_judgement = below(3, random) != 0;
    votes.judgement.push_back(in_judgement ? below(10, random) : kNoJudgement);
    const bool anonymous = v >= 50 && v < 150;
    who.push_back(!anonymous ? rows[v].annotator : in_judgement ? 1000 + std::int64_t{votes.judgement[v]} : -1);
  }
  expect_blocks(votes, rows, who);
}

}  // namespace
}  // namespace voxpop::test
