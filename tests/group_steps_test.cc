// The device's grouping, on the host, against group_votes().

#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_CPP
#include "kernels/group_steps.h"

#include <cstring>
#include <random>

#include "helpers.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

struct HostCopies {
  void in(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
  void out(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
};

void expect_same_groups(const Votes& votes, Ties ties) {
  Votes a = votes, b = votes;
  const Groups expected = group_votes(a, ties), groups = group_votes_in_steps(b, ties, true, HostCopies());
  test::expect_same_groups(groups, expected);
  EXPECT_TRUE(b.left.empty());
  ASSERT_TRUE(groups.on_device.has_value());  // here the device is the host
  const GroupArrays& kept = *groups.on_device;
  EXPECT_TRUE(std::equal(groups.component_slots.begin(), groups.component_slots.end(), kept.component_slots));
  EXPECT_TRUE(std::equal(groups.component_pairs.begin(), groups.component_pairs.end(), kept.component_pairs));
  EXPECT_TRUE(std::equal(groups.pair_first.begin(), groups.pair_first.end(), kept.pair_first));
  EXPECT_TRUE(std::equal(groups.pair_second.begin(), groups.pair_second.end(), kept.pair_second));
  EXPECT_TRUE(std::equal(groups.pair_votes.begin(), groups.pair_votes.end(), kept.pair_votes));
  EXPECT_EQ(std::memcmp(groups.votes.data(), kept.votes, groups.votes.size() * sizeof(VoteCode)), 0);
}

Votes random_votes(std::uint32_t items, std::uint32_t rows, std::uint32_t reach, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<test::Row> out;
  while (out.size() < rows) {
    const auto left = static_cast<std::uint32_t>(random() % items), step = static_cast<std::uint32_t>(random() % reach);
    const std::uint32_t right = (left + step) % items;
    if (left != right) out.push_back({left, right, static_cast<std::uint32_t>(random() % 7), int(random() % 3) - 1});
  }
  return test::make_votes(items, 7, out);
}

TEST(GroupSteps, one_vote) { expect_same_groups(test::make_votes(5, 1, {{3, 1, 0, 1}}), Ties::kHalf); }

TEST(GroupSteps, simulated_votes) {
  expect_same_groups(simulate_votes({.prompts = 3000, .mix = {}, .ties = 0.2, .seed = 5}), Ties::kHalf);
  expect_same_groups(simulate_votes({.prompts = 3000, .mix = {}, .ties = 0.2, .seed = 5}), Ties::kDrop);
}

TEST(GroupSteps, random_graphs) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    expect_same_groups(random_votes(400, 150, 5, seed), Ties::kHalf);    // many components, items without votes
    expect_same_groups(random_votes(400, 300, 400, seed), Ties::kDrop);  // a large one among small ones
    expect_same_groups(random_votes(50, 2000, 50, seed), Ties::kHalf);   // one, and many votes a pair
  }
}

TEST(GroupSteps, a_chain_is_one_component) {
  std::vector<test::Row> rows;
  for (std::uint32_t i = 20000; i > 0; --i) rows.push_back({i, i - 1, 0, 1});
  expect_same_groups(test::make_votes(20001, 1, rows), Ties::kHalf);
}

TEST(GroupSteps, nothing_but_dropped_ties) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, 0}});
  EXPECT_THROW(group_votes_in_steps(votes, Ties::kDrop, false, HostCopies()), Error);
}

}  // namespace
}  // namespace voxpop
