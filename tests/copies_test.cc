#include "guards/copies.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <random>

#include "group/gold.h"
#include "group/views.h"
#include "group/weights.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Row;

/// Pairs of items of their own, and people who judge them. Nothing here uses the program's own simulation.
struct World {
  std::mt19937_64 random;
  std::size_t pairs;
  std::vector<double> difference;      ///< [pairs] of the true scores, first less second
  std::vector<double> discrimination;  ///< [people]
  std::vector<double> taste;           ///< [people] or empty
  std::vector<double> length;          ///< [pairs] in what they differ beside
  double ties = 0;                     ///< of an even pair
  std::vector<Row> rows;

  World(
      std::uint64_t seed, std::size_t pair_count, std::size_t people,
      const std::function<double(std::size_t)>& discrimination_of = [](std::size_t) { return 1.0; })
      : random(seed), pairs(pair_count) {
    std::normal_distribution<double> normal;
    for (std::size_t p = 0; p < pairs; ++p) difference.push_back(2 * normal(random));
    for (std::size_t p = 0; p < pairs; ++p) length.push_back(1.4 * normal(random));
    for (std::size_t a = 0; a < people; ++a) discrimination.push_back(discrimination_of(a));
  }
  double uniform() { return std::uniform_real_distribution<double>()(random); }
  int answer(double logit) {
    const double first = 1 / (1 + std::exp(-logit));
    if (uniform() < ties * 4 * first * (1 - first)) return 0;
    return uniform() < first ? 1 : -1;
  }
  void vote(std::size_t pair, std::size_t annotator, int preference) {
    const auto item = static_cast<std::uint32_t>(2 * pair), who = static_cast<std::uint32_t>(annotator);
    if (uniform() < 0.5)
      rows.push_back({item, item + 1, who, preference});
    else
      rows.push_back({item + 1, item, who, -preference});
  }
  /// `votes` a pair, by people drawn for it.
  void judge(std::size_t votes) {
    std::vector<std::size_t> people(discrimination.size());
    for (std::size_t a = 0; a < people.size(); ++a) people[a] = a;
    for (std::size_t p = 0; p < pairs; ++p) {
      std::shuffle(people.begin(), people.end(), random);
      for (std::size_t i = 0; i < votes; ++i) {
        const std::size_t a = people[i];
        vote(p, a, answer(discrimination[a] * difference[p] + (taste.empty() ? 0 : taste[a] * length[p])));
      }
    }
  }
  /// `accounts` more annotators who all vote on all pairs as somebody of this discrimination did; a share `apart` of
  /// each one's votes is drawn anew.
  void copy(std::size_t accounts, double leader, double apart = 0) {
    std::vector<int> answers;
    for (std::size_t p = 0; p < pairs; ++p) answers.push_back(answer(leader * difference[p]));
    for (std::size_t c = 0; c < accounts; ++c)
      for (std::size_t p = 0; p < pairs; ++p)
        vote(p, discrimination.size() + c, uniform() < apart ? answer(0) : answers[p]);
  }
};

struct Outcome {
  Copies suspects, copies;
  double right = 0, claimed = 0;  ///< of all pairs, on average
};

/// As `voxpop fit` does it.
Outcome find(const World& world, std::size_t annotators) {
  Votes votes = test::make_votes(2 * world.pairs, annotators, world.rows);
  Groups groups = group_votes(votes, Ties::kModel);
  Outcome out;
  out.copies = out.suspects = suspect_copies(groups);
  std::unique_ptr<Engine> engine;
  Fit fit;
  const auto fit_them = [&] {
    groups.weight.clear();
    weigh_copies(groups, out.copies);
    engine = make_cpu_engine(groups, *choose_kernels());
    FitOptions options;
    options.answers = groups.answers;
    fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  };
  fit_them();
  if (!out.suspects.clusters.empty()) {
    out.copies = confirm_copies(groups, fit, engine->sites(), out.suspects);
    fit_them();
  }
  for (std::size_t p = 0; p < groups.pairs(); ++p) {
    const double mean = fit.posterior.pair_mean[p];
    const double sure = 0.5 * std::erfc(-std::abs(mean) / std::sqrt(2.0 * fit.posterior.pair_variance[p]));
    const std::size_t pair = groups.slot_item[groups.pair_first[p]] / 2;
    out.right += (mean > 0) == (world.difference[pair] > 0);
    out.claimed += sure;
  }
  out.right /= static_cast<double>(groups.pairs());
  out.claimed /= static_cast<double>(groups.pairs());
  return out;
}

/// Copies of a leader of this discrimination are found, and nobody else; and their pairs are as sure as is claimed.
void expect_found(std::size_t accounts, double leader, double apart, double ties = 0) {
  constexpr int kSeeds = 4;  // the share that is right varies by 0.016 from one to the next
  double claimed = 0, right = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world(seed, 600, 60);
    world.ties = ties;
    world.judge(3);
    world.copy(accounts, leader, apart);
    const Outcome found = find(world, 60 + accounts);
    const std::string what = fmt::format("{} copies of {}, {} apart, seed {}", accounts, leader, apart, seed);
    ASSERT_EQ(found.copies.clusters.size(), 1u) << what;
    std::vector<std::uint32_t> members;
    for (std::size_t c = 0; c < accounts; ++c) members.push_back(static_cast<std::uint32_t>(60 + c));
    EXPECT_EQ(found.copies.clusters[0].members, members) << what;
    claimed += found.claimed / kSeeds;
    right += found.right / kSeeds;
  }
  EXPECT_NEAR(claimed, right, 0.03) << accounts << " copies of " << leader << ", " << apart << " apart";
  EXPECT_GT(right, 0.75);
}

TEST(Copies, are_found_and_count_once) {
  for (const std::size_t accounts : {3, 6})
    for (const double leader : {0.0, 1.0, -1.0}) {
      expect_found(accounts, leader, 0);
      expect_found(accounts, leader, 0.05);
    }
  expect_found(3, 1.0, 0, 0.3);
}

/// In how many of these worlds anybody is called a copy.
int found_among_honest(const std::function<double(std::size_t)>& discrimination, std::size_t pairs, std::size_t votes,
                       double taste, double ties, std::uint64_t seeds) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    World world(seed, pairs, 60, discrimination);
    world.ties = ties;
    if (taste > 0)
      for (std::size_t a = 0; a < 60; ++a)
        world.taste.push_back(std::normal_distribution<double>(0, taste)(world.random));
    world.judge(votes);
    found += !find(world, 60).copies.clusters.empty();
  }
  return found;
}

TEST(Copies, honest_people_are_none) {
  const auto alike = [](std::size_t) { return 1.0; };
  EXPECT_EQ(found_among_honest(alike, 600, 3, 0, 0, 20), 0);
  EXPECT_EQ(found_among_honest(alike, 600, 20, 0, 0, 20), 0);
  EXPECT_EQ(found_among_honest(alike, 600, 20, 0, 0.4, 5), 0);
  EXPECT_EQ(found_among_honest(alike, 600, 20, 1, 0, 5), 0);  // with tastes of their own
}

TEST(Copies, neither_the_good_nor_the_bad_are_copies_because_they_agree) {
  EXPECT_EQ(found_among_honest([](std::size_t a) { return a < 6 ? 8.0 : 0.5; }, 600, 20, 0, 0, 5), 0);
  EXPECT_EQ(found_among_honest([](std::size_t a) { return a < 18 ? -2.0 : 2.0; }, 600, 20, 0, 0, 5), 0);
  EXPECT_EQ(found_among_honest([](std::size_t a) { return a < 30 ? 0.0 : 2.0; }, 600, 20, 0, 0, 5), 0);
}

TEST(Copies, those_who_are_always_right_or_always_wrong_are_suspects_at_most) {
  for (const double always : {100.0, -100.0}) {
    World world(1, 600, 9, [=](std::size_t a) { return a < 3 ? always : 1.0; });
    world.judge(9);
    const Outcome found = find(world, 9);
    EXPECT_FALSE(found.suspects.clusters.empty());
    EXPECT_TRUE(found.copies.clusters.empty()) << always;
  }
}

TEST(Copies, many_alike_are_found_though_their_own_votes_make_agreement_usual) {
  World world(3, 600, 60);
  world.judge(3);
  world.copy(20, 0);
  const Outcome found = find(world, 80);
  ASSERT_EQ(found.copies.clusters.size(), 1u);
  EXPECT_EQ(found.copies.clusters[0].members.size(), 20u);
  EXPECT_NEAR(found.claimed, found.right, 0.03);
}

TEST(Copies, a_crowd_that_does_not_know_clears_nobody) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {  // no two honest votes on a pair
    World world(seed, 600, 60);
    world.judge(1);
    world.copy(3, 1.0, 0.05);
    EXPECT_EQ(find(world, 63).suspects.clusters.size(), 1u) << seed;
  }
}

TEST(Copies, are_found_beside_a_thousand_votes_a_pair) {
  World world(1, 60, 1200);
  world.judge(1200);
  world.copy(2, 0.3);
  const Outcome found = find(world, 1202);
  for (const CopyCluster& cluster : found.copies.clusters)
    EXPECT_EQ(cluster.members, (std::vector<std::uint32_t>{1200, 1201}));
}

TEST(Copies, are_the_same_with_and_without_tables_of_annotator_pairs) {
  for (const std::uint32_t repeats : {0, 1}) {
    World world(11, 600, 40);
    world.ties = 0.2;
    world.judge(6);
    world.copy(4, 0.5, 0.05);
    for (std::size_t r = 0; r < 500 * repeats; ++r) world.rows.push_back(world.rows[7 * r]);
    Votes votes = test::make_votes(1200, 44, world.rows);
    const Groups groups = group_votes(votes, Ties::kModel);
    const Copies in_tables = suspect_copies(groups), one_by_one = suspect_copies(groups, 0);
    EXPECT_EQ(in_tables.tested, one_by_one.tested);
    EXPECT_GT(in_tables.tested, 100u);
    ASSERT_EQ(in_tables.clusters.size(), 1u);
    ASSERT_EQ(one_by_one.clusters.size(), 1u);
    EXPECT_EQ(in_tables.clusters[0].members, one_by_one.clusters[0].members);
    EXPECT_EQ(in_tables.clusters[0].expected, one_by_one.clusters[0].expected);
  }
}

TEST(Copies, known_answers_are_nobodys) {
  World world(5, 600, 60);
  world.judge(6);
  Votes votes = test::make_votes(1200, 60, world.rows);
  KnownPairs gold;  // all that annotator 0 says
  for (const Row& row : world.rows)
    if (row.annotator == 0) gold.add(row.left, row.right, row.preference > 0 ? 1.0f : 0.0f);
  ASSERT_GT(gold.size(), 50u);
  Groups groups = group_votes(votes, Ties::kModel);
  add_gold(groups, gold, votes.item_ids);
  EXPECT_TRUE(suspect_copies(groups).clusters.empty());
}

TEST(Copies, the_halves_of_soft_votes_are_one_answer) {
  World world(6, 600, 20);
  std::normal_distribution<double> normal;
  Votes votes;
  std::vector<Row> rows;
  std::vector<float> weights;
  for (std::uint32_t p = 0; p < 600; ++p)
    for (std::uint32_t i = 0; i < 8; ++i) {
      const std::uint32_t who = (p * 7 + i * (p % 3 + 1)) % 20;
      const double first = 1 / (1 + std::exp(-world.difference[p] - normal(world.random)));
      rows.push_back({2 * p, 2 * p + 1, who, 1});
      weights.push_back(static_cast<float>(first));
      rows.push_back({2 * p, 2 * p + 1, who, -1});
      weights.push_back(static_cast<float>(1 - first));
    }
  votes = test::make_votes(1200, 20, rows);
  votes.weight.assign(weights.begin(), weights.end());
  Groups groups = group_votes(votes, Ties::kModel);
  weigh_votes(groups, votes, {});
  EXPECT_TRUE(suspect_copies(groups).clusters.empty());
}

TEST(Copies, of_rankings_by_annotators_with_views_of_their_own) {
  // Annotators 0 and 1 judge all prompts, hardly ever wrong; 2 to 31 rank as they see the items, and 32 to 34 as 2
  // does.
  constexpr std::uint32_t kPrompts = 200, kEach = 4, kPeople = 35;
  for (const bool with_copies : {false, true}) {
    std::mt19937_64 random(7);
    std::normal_distribution<double> normal;
    std::vector<Row> rows;
    Column<std::uint32_t> judgement;
    std::uint32_t rankings = 0;
    for (std::uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
      std::vector<double> score(kEach), shared(kEach);
      for (double& s : score) s = normal(random);
      for (std::uint32_t k = 0; k < kEach; ++k) shared[k] = score[k] + 0.7 * normal(random);
      const auto rank = [&](std::uint32_t who, const std::vector<double>& seen) {
        std::vector<std::uint32_t> order = {0, 1, 2, 3};
        std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) { return seen[a] > seen[b]; });
        for (std::uint32_t i = 0; i < kEach; ++i)
          for (std::uint32_t j = i + 1; j < kEach; ++j) {
            rows.push_back({kEach * prompt + order[i], kEach * prompt + order[j], who, 1});
            judgement.push_back(rankings);
          }
        ++rankings;
      };
      const auto with_noise = [&](double sd) {
        std::vector<double> seen = score;
        for (double& s : seen) s += sd * normal(random);
        return seen;
      };
      for (const std::uint32_t who : {0u, 1u}) rank(who, with_noise(0.05));
      for (std::uint32_t i = 0; i < 5; ++i) rank(3 + (prompt * 5 + i) % 29, with_noise(1));
      rank(2, shared);
      for (std::uint32_t who = 32; with_copies && who < kPeople; ++who) rank(who, shared);
    }
    Votes votes = test::make_votes(kEach * kPrompts, kPeople, rows);
    votes.judgement = judgement;
    Groups groups = group_votes(votes, Ties::kModel);
    weigh_votes(groups, votes, {.repeats = std::nullopt, .views = true});
    groups.views = find_views(groups, votes);
    Copies copies = suspect_copies(groups);
    ASSERT_TRUE(!with_copies || !copies.clusters.empty());
    weigh_copies(groups, copies);
    FitOptions options;
    options.answers = groups.answers;
    options.views = ViewUse::kAlways;
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Fit fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
    copies = confirm_copies(groups, fit, engine->sites(), copies);
    ASSERT_EQ(copies.clusters.size(), with_copies ? 1u : 0u);
    if (with_copies) {
      EXPECT_EQ(copies.clusters[0].members, (std::vector<std::uint32_t>{2, 32, 33, 34}));
    }
  }
}

TEST(Copies, weigh_together_as_one_vote) {
  // Annotators 1, 2, 3 are copies; 0 is not. On the first pair two of them say the same.
  Votes votes =
      test::make_votes(4, 4, {{0, 1, 0, 1}, {0, 1, 1, 1}, {0, 1, 2, -1}, {0, 1, 3, -1}, {2, 3, 0, -1}, {2, 3, 2, 1}});
  Groups groups = group_votes(votes, Ties::kModel);
  Copies copies;
  copies.clusters.emplace_back().members = {1, 2, 3};
  weigh_copies(groups, copies);
  std::map<std::pair<std::uint32_t, std::uint32_t>, float> weight;
  for (std::uint32_t p = 0; p < groups.pairs(); ++p)
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
      weight[{groups.slot_item[groups.pair_first[p]], groups.votes[v].annotator()}] = groups.weight[v];
  EXPECT_EQ(weight.at({0, 0}), 1);
  EXPECT_LT(weight.at({0, 1}), 1e-5f);
  EXPECT_EQ(weight.at({0, 2}), 1);  // the first of those who gave the most frequent answer
  EXPECT_LT(weight.at({0, 3}), 1e-5f);
  EXPECT_EQ(weight.at({2, 0}), 1);
  EXPECT_EQ(weight.at({2, 2}), 1);
}

}  // namespace
}  // namespace voxpop
