#include "simulate/simulate.h"

#include <map>
#include <set>

#include "core/error.h"
#include "helpers.h"

namespace voxpop {
namespace {

std::string usage_error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::kUsage);
    return error.what();
  }
  return "no error";
}

std::map<std::string, int> kinds(const Votes& votes) {
  std::map<std::string, int> count;
  for (std::size_t a = 0; a < votes.truth->kind.size(); ++a) ++count[std::string(votes.truth->kind[a])];
  return count;
}

TEST(Simulate, the_same_seed_gives_the_same_votes) {
  const SimulateOptions options{.prompts = 200, .annotators = 30, .mix = {}, .ties = 0.1, .seed = 5};
  const Votes a = simulate_votes(options), b = simulate_votes(options);
  EXPECT_EQ(a.left, b.left);
  EXPECT_EQ(a.right, b.right);
  EXPECT_EQ(a.annotator, b.annotator);
  EXPECT_EQ(a.preference, b.preference);
  EXPECT_EQ(a.truth->score, b.truth->score);
  SimulateOptions other = options;
  other.seed = 6;
  EXPECT_NE(simulate_votes(other).preference, a.preference);
}

TEST(Simulate, first_votes_of_seed_1_on_every_machine) {
  const Votes votes = simulate_votes({.prompts = 2, .annotators = 10, .mix = {}, .seed = 1});
  ASSERT_EQ(votes.size(), 40u);
  EXPECT_EQ(votes.item_ids[0], "p0/r0");
  EXPECT_EQ(votes.item_ids[7], "p1/r3");
  EXPECT_EQ(votes.prompt, (std::vector<std::uint32_t>{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(votes.annotator_ids[9], "a9");
  const auto first = [](const auto& column) { return std::vector<int>(column.begin(), column.begin() + 8); };
  EXPECT_EQ(first(votes.left), (std::vector<int>{2, 1, 1, 2, 0, 2, 0, 0}));
  EXPECT_EQ(first(votes.right), (std::vector<int>{1, 2, 2, 1, 2, 0, 2, 2}));
  EXPECT_EQ(first(votes.annotator), (std::vector<int>{5, 8, 7, 4, 5, 2, 9, 7}));
  EXPECT_EQ(first(votes.preference), (std::vector<int>{-1, 1, 1, 1, 1, -1, 1, -1}));
  EXPECT_NEAR(votes.truth->score[0], 1.804968, 1e-6);
}

TEST(Simulate, a_prompt_has_distinct_pairs_and_a_pair_distinct_annotators) {
  const Votes votes = simulate_votes({.prompts = 300,
                                      .responses = 4,
                                      .pairs_per_prompt = 5,
                                      .votes_per_pair = 4,
                                      .annotators = 12,
                                      .mix = {},
                                      .seed = 2});
  ASSERT_EQ(votes.size(), 300u * 5 * 4);
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::set<std::uint32_t>> voters;
  std::map<std::uint32_t, std::set<std::pair<std::uint32_t, std::uint32_t>>> pairs;
  int swapped = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const auto pair = std::pair(std::min(votes.left[v], votes.right[v]), std::max(votes.left[v], votes.right[v]));
    EXPECT_TRUE(voters[pair].insert(votes.annotator[v]).second);
    EXPECT_EQ(votes.prompt[pair.first], votes.prompt[pair.second]);
    pairs[votes.prompt[pair.first]].insert(pair);
    swapped += votes.left[v] > votes.right[v];
  }
  for (const auto& [pair, who] : voters) EXPECT_EQ(who.size(), 4u);
  for (const auto& [prompt, of_prompt] : pairs) EXPECT_EQ(of_prompt.size(), 5u);
  EXPECT_NEAR(swapped / 6000.0, 0.5, 0.03);
}

TEST(Simulate, kinds_come_in_the_shares_asked_for) {
  const auto count = kinds(simulate_votes({.prompts = 10, .annotators = 1000, .mix = {}, .seed = 1}));
  EXPECT_NEAR(count.at("good"), 700, 5);
  EXPECT_NEAR(count.at("noisy"), 150, 5);
  EXPECT_NEAR(count.at("clicker"), 100, 5);
  EXPECT_NEAR(count.at("adversary"), 50, 5);
  EXPECT_EQ(kinds(simulate_votes({.prompts = 10, .annotators = 20, .mix = parse_mix("adversary=1")})).at("adversary"),
            20);
}

TEST(Simulate, the_reference_annotator_has_discrimination_1) {
  Truth truth = *simulate_votes({.prompts = 10, .annotators = 301, .mix = {}, .seed = 4}).truth;
  std::sort(truth.discrimination.begin(), truth.discrimination.end());
  EXPECT_NEAR(truth.discrimination[150], 1, 1e-12);
}

TEST(Simulate, votes_follow_the_truth) {
  const Votes votes = simulate_votes({.prompts = 5000, .annotators = 50, .mix = parse_mix("good=1"), .seed = 9});
  // Of all votes with a logit near +1, 73 % go to the left.
  double left = 0, count = 0;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const std::uint32_t a = votes.annotator[v];
    const double eta =
        votes.truth->discrimination[a] * (votes.truth->score[votes.left[v]] - votes.truth->score[votes.right[v]]) +
        votes.truth->side_bias[a];
    if (std::abs(eta - 1) > 0.2) continue;
    count += 1;
    left += votes.preference[v] == 1;
  }
  EXPECT_GT(count, 2000);
  EXPECT_NEAR(left / count, 0.7311, 0.03);
}

TEST(Simulate, ties_come_in_the_share_asked_for) {
  for (const double share : {0.0, 0.1, 0.3}) {
    const Votes votes = simulate_votes({.prompts = 1000, .annotators = 50, .mix = {}, .ties = share, .seed = 8});
    const auto ties = std::count(votes.preference.begin(), votes.preference.end(), 0);
    EXPECT_NEAR(static_cast<double>(ties) / static_cast<double>(votes.size()), share, 0.01);
  }
}

TEST(Simulate, arena_and_chain) {
  const Votes arena = simulate_votes({.shape = Shape::kArena,
                                      .prompts = 500,
                                      .responses = 20,
                                      .pairs_per_prompt = 2,
                                      .votes_per_pair = 1,
                                      .annotators = 5,
                                      .mix = {}});
  EXPECT_EQ(arena.size(), 1000u);
  EXPECT_EQ(arena.item_ids.size(), 20u);
  EXPECT_TRUE(arena.prompt.empty());
  for (std::size_t v = 0; v < arena.size(); ++v) EXPECT_NE(arena.left[v], arena.right[v]);
  const Votes chain = simulate_votes(
      {.shape = Shape::kChain, .prompts = 50, .responses = 2, .votes_per_pair = 1, .annotators = 5, .mix = {}});
  EXPECT_EQ(chain.size(), 99u);
  for (std::size_t v = 0; v < chain.size(); ++v)
    EXPECT_EQ(std::max(chain.left[v], chain.right[v]) - std::min(chain.left[v], chain.right[v]), 1u);
}

TEST(Simulate, refuses_numbers_that_do_not_fit_together) {
  const auto error = [](const SimulateOptions& options) { return usage_error_of([&] { simulate_votes(options); }); };
  EXPECT_PRED2(test::contains, error({.responses = 1, .mix = {}}), "--responses must be at least 2");
  EXPECT_PRED2(test::contains, error({.responses = 3, .pairs_per_prompt = 4, .mix = {}}), "there are only 3 pairs");
  EXPECT_PRED2(test::contains, error({.votes_per_pair = 4, .annotators = 3, .mix = {}}),
               "--annotators must be at least --votes-per-pair");
}

TEST(ParseMix, literal) {
  const Mix mix = parse_mix("good=.5,adversary=0.25,noisy=0.25");
  EXPECT_EQ(mix.good, 0.5);
  EXPECT_EQ(mix.noisy, 0.25);
  EXPECT_EQ(mix.clicker, 0);
  EXPECT_EQ(mix.adversary, 0.25);
}

TEST(ParseMix, errors) {
  for (const std::string entry : {"good", "good=", "bad=1", "good=x", "good=0.5x", "good=-1", "good=2", "=1"})
    EXPECT_PRED2(test::contains, usage_error_of([&] { parse_mix(entry); }),
                 "--mix entry '" + entry + "' is not KIND=SHARE")
        << entry;
  EXPECT_PRED2(test::contains, usage_error_of([] { parse_mix("good=.5"); }),
               "--mix shares add up to 0.5; they must add up to 1");
  EXPECT_PRED2(test::contains, usage_error_of([] { parse_mix(""); }), "--mix shares add up to 0;");
}

}  // namespace
}  // namespace voxpop
