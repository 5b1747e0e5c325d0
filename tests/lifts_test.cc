#include "guards/lifts.h"

#include <fmt/format.h>

#include <random>

#include "formulas/component.h"
#include "group/sources.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Row;

constexpr std::uint32_t kPeople = 60, kItems = 20;

/// 60 people of `each` votes on 20 items; nothing here uses the program's own simulation. The first `ring` of them
/// always vote for item 7 and judge the rest like all others.
std::vector<Lift> find(std::uint64_t seed, std::uint32_t ring, bool sources = false, double own_view = 0,
                       int each = 200) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto uniform = [&] { return std::uniform_real_distribution<double>()(random); };
  std::vector<double> score(kItems);
  for (double& s : score) s = normal(random);
  score[7] = -0.5;  // a ring that lifts what is better than all else shows nothing, and changes nothing
  std::vector<Row> rows;
  for (std::uint32_t a = 0; a < kPeople; ++a) {
    const double gamma = std::exp(0.3 * normal(random)), side = 0.2 * normal(random);
    std::vector<double> seen = score;
    for (double& s : seen) s += own_view * normal(random);
    for (int vote = 0; vote < each; ++vote) {
      const auto left = static_cast<std::uint32_t>(uniform() * kItems);
      const std::uint32_t right = (left + 1 + static_cast<std::uint32_t>(uniform() * (kItems - 1))) % kItems;
      bool goes_left = uniform() < 1 / (1 + std::exp(-gamma * (seen[left] - seen[right]) - side));
      if (a < ring && (left == 7 || right == 7)) goes_left = left == 7;
      rows.push_back({left, right, a, goes_left ? 1 : -1});
    }
  }
  Votes votes = test::make_votes(kItems, kPeople, rows);
  if (sources) {  // each item is of a source of its own, and the last two of one
    for (std::uint32_t i = 0; i + 1 < kItems; ++i) votes.source_ids.push_back(fmt::format("s{}", i));
    for (std::uint32_t i = 0; i < kItems; ++i) votes.source.push_back(std::min(i, kItems - 2));
  }
  Groups groups = group_votes(votes, Ties::kModel);
  if (sources) set_sources(groups, votes);
  FitOptions options;
  options.answers = groups.answers;
  options.sources = static_cast<int>(groups.sources);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  return find_lifts(groups, fit, engine->sites());
}

TEST(Lifts, a_ring_that_lifts_one_item_is_found) {
  for (const std::uint32_t ring : {4, 6, 12})
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const std::vector<Lift> found = find(seed, ring);
      ASSERT_EQ(found.size(), 1u) << ring << " of them, seed " << seed;
      EXPECT_FALSE(found[0].source);
      EXPECT_EQ(found[0].of, 7u);
      EXPECT_EQ(found[0].won, found[0].votes);
      for (const std::uint32_t member : found[0].members) EXPECT_LT(member, ring);
      EXPECT_GE(3 * found[0].members.size(), ring);
    }
}

TEST(Lifts, in_a_component_of_few_votes) {
  ASSERT_LT(kPeople * 130, kSmallVotes);  // here the annotators with enough votes are found first
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<Lift> found = find(seed, 12, false, 0, 130);
    ASSERT_EQ(found.size(), 1u) << seed;
    EXPECT_EQ(found[0].of, 7u);
    EXPECT_EQ(found[0].won, found[0].votes);
    EXPECT_GT(found[0].tested, kPeople / 2);
    for (const std::uint32_t member : found[0].members) EXPECT_LT(member, 12u);
  }
}

TEST(Lifts, nobody_is_accused_of_honest_votes) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_TRUE(find(seed, 0).empty()) << seed;
    EXPECT_TRUE(find(seed, 0, false, 0.3).empty()) << seed << ", with views of their own";
  }
}

TEST(Lifts, of_a_source_too) {
  const std::vector<Lift> found = find(1, 6, true);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[1].source);
  EXPECT_EQ(found[1].of, 7u);
}

}  // namespace
}  // namespace voxpop
