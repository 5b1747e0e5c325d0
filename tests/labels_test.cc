#include "label/labels.h"

#include "formulas/fixed_point.h"
#include "helpers.h"

namespace voxpop {
namespace {

using Indices = Column<std::uint32_t>;
using Floats = Column<float>;

std::pair<Flag, double> flag(double discrimination, double se, double side_bias, double side_bias_se) {
  return flag_annotator(discrimination, se, side_bias, side_bias_se);
}

void expect_flag(const std::pair<Flag, double>& got, Flag flag, double probability) {
  EXPECT_EQ(got.first, flag) << flag_names()[static_cast<std::size_t>(got.first)];
  EXPECT_NEAR(got.second, probability, 2e-4);
}

// Normal distribution function: 0.0228 at -2, 0.5 at 0, 0.8413 at 1, 0.9772 at 2, 0.9987 at 3.
TEST(Flag, literal_cases) {
  expect_flag(flag(1.0, 0.05, 0, 0.1), Flag::kOk, 1);
  expect_flag(flag(0.7, 0.05, 0, 0.1), Flag::kOk, 0.9772);
  expect_flag(flag(0.4, 0.1, 0, 0.1), Flag::kNoisy, 0.9772 - 0.0062);  // 2 sds below 0.6, 2.5 above 0.15
  expect_flag(flag(0.0, 0.05, 0, 0.1), Flag::kRandom, 0.9987 - 0.0228);
  expect_flag(flag(-0.8, 0.1, 0, 0.1), Flag::kAdversarial, 1);
  expect_flag(flag(-0.8, 0.1, 3, 0.1), Flag::kAdversarial, 1);
  expect_flag(flag(0.0, 0.05, 3, 0.3), Flag::kSideClicker, 0.9772);
  expect_flag(flag(0.0, 0.05, -3, 0.3), Flag::kSideClicker, 0.9772);
  expect_flag(flag(1.0, 0.05, 3, 0.3), Flag::kOk, 0.9990);  // biased, but tells items apart; 3.1 sds below 3.93
}

// Who always clicks one side does not show its discrimination, which stays what is usual: 1 +- 0.3. Scores differ by
// sqrt(2) logits, so that 2.94 sqrt(1 + pi / 4) = 3.93 logits of side bias send 95 % of the votes that way.
TEST(Flag, who_always_clicks_one_side_is_not_ok) {
  expect_flag(flag(1.0, 0.3, 7, 1), Flag::kSideClicker, 0.9988);
  expect_flag(flag(1.0, 0.3, -7, 1), Flag::kSideClicker, 0.9988);
  expect_flag(flag(1.0, 0.05, 3, 0.1), Flag::kOk, 1);
  EXPECT_EQ(flag_annotator(1.0, 0.05, 7, 0.3, 100, 5).first, Flag::kOk);  // of items that differ by five times as much
}

TEST(Flag, thin_evidence_is_no_flag) {
  // ok 0.4207 less 0.0013 of it, as bias may be beyond 3.22 where discrimination is 0.5; side clicker 0.3173 * 0.4642;
  // random 0.6827 * 0.1269; noisy 0.6827 * 0.3373; adversarial 0.1151.
  expect_flag(flag(0.5, 0.5, 0, 1), Flag::kTooFewVotes, 0.4202);
  expect_flag(flag(0.9, 0.5, 0, 0.1), Flag::kTooFewVotes, 0.7257);  // 0.6 sds above 0.6, which is below 0.75
  expect_flag(flag(1.0, 0.5, 0, 0.1), Flag::kOk, 0.7881);
  expect_flag(flag(0.601, 0.15, 0, 0.1), Flag::kOk, 0.5027);  // as well known as that, the likelier one is said
}

/// Labels of pairs that a test makes up.
class MadeUpEngine : public Engine {
 public:
  explicit MadeUpEngine(PairLabels labels) : labels_(std::move(labels)) {}
  std::string device() const override { return "none"; }
  PassResult update_components(const Raters&, const PassOptions&) override { return {}; }
  Posterior posterior(const Raters&, const PassOptions&) override { return {}; }
  const Sites& sites() override { return sites_; }
  EngineState save(FitRun&) override { return {}; }
  void load(const EngineState&) override {}
  PairLabels label_pairs(float discrimination, float) override {
    EXPECT_EQ(discrimination, 2.0f);
    return labels_;
  }

 private:
  Sites sites_;
  PairLabels labels_;
};

/// Items 0 to 5, of which 4 has no vote: components {3, 5}, two votes, and {0, 1, 2}, five votes.
class LabelsTest : public testing::Test {
 protected:
  LabelsTest() {
    Votes votes = test::make_votes(
        6, 3, {{5, 3, 0, 1}, {1, 0, 0, 1}, {0, 1, 1, 0}, {2, 0, 1, -1}, {1, 2, 0, -1}, {1, 2, 1, -1}, {3, 5, 1, 0}});
    groups_ = group_votes(votes, Ties::kHalf);
    // Slots are items 3, 5, 0, 1, 2; pairs are 3-5, 0-1, 0-2, 1-2.
    Fit fit;
    fit.reference_discrimination = fit.score_unit = 2;
    fit.annotators = {
        {.discrimination = 3, .side_bias = 0.5, .discrimination_variance = 0.04, .side_bias_variance = 0.09},
        {.discrimination = -2, .side_bias = 0, .discrimination_variance = 0.01, .side_bias_variance = 0.01},
        {.discrimination = 2, .side_bias = 0, .discrimination_variance = 4, .side_bias_variance = 1}};
    fit.posterior.slot_mean = {0.5f, -0.5f, 1, 0, -1};
    fit.posterior.slot_variance = {0.25f, 0.25f, 0.04f, 0.09f, 0.16f};
    fit.posterior.pair_mean = {1, 1, 2, 1};
    fit.posterior.pair_variance = {1, 0.25f, 0.16f, 0.09f};
    const std::int64_t one = to_fixed(1.0);
    fit.posterior.annotators = {{2 * one, one / 2, 3 * one, 3 * one}, {one, 2 * one, one, 2 * one}, {0, 0, 0, 0}};
    MadeUpEngine engine({{0.6f, 0.7f, 0.8f, 0.9f}, {0.65f, 0.75f, 0.85f, 0.95f}, {0.1f, 0.2f, 0.3f, 0.4f}});
    labels_ = make_labels(groups_, fit, find_pair_labels(engine, fit), 6, 7);
  }
  Groups groups_;
  Labels labels_;
};

TEST_F(LabelsTest, items_are_in_units_of_the_reference_annotator) {
  const ItemLabels& items = labels_.items;
  EXPECT_EQ(items.score, (Floats{2, 0, -2, 1, 0, -1}));
  EXPECT_EQ(items.votes, (Indices{3, 4, 3, 2, 0, 2}));
  EXPECT_EQ(items.component, (Column<std::int32_t>{0, 0, 0, 1, -1, 1}));  // numbered by first item
  const Floats std_error = {0.4f, 0.6f, 0.8f, 1, 2, 1};                   // without votes: the prior's
  for (std::size_t i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(items.std_error[i], std_error[i]);
}

TEST_F(LabelsTest, pairs_are_in_order_of_items) {
  const PairColumns& pairs = labels_.pairs;
  EXPECT_EQ(pairs.left, (Indices{0, 0, 1, 3}));
  EXPECT_EQ(pairs.right, (Indices{1, 2, 2, 5}));
  EXPECT_EQ(pairs.votes, (Indices{2, 1, 2, 2}));
  EXPECT_EQ(pairs.wins_left, (Floats{0.5f, 1, 0, 0.5f}));  // ties count half
  EXPECT_EQ(pairs.probability, (Floats{0.7f, 0.8f, 0.9f, 0.6f}));
  EXPECT_EQ(pairs.probability_better, (Floats{0.75f, 0.85f, 0.95f, 0.65f}));
  EXPECT_EQ(pairs.information_gain, (Floats{0.2f, 0.3f, 0.4f, 0.1f}));
  EXPECT_EQ(pairs.margin, (Floats{2, 4, 2, 2}));
  const Floats margin_se = {1, 0.8f, 0.6f, 2};
  for (std::size_t p = 0; p < 4; ++p) EXPECT_FLOAT_EQ(pairs.margin_se[p], margin_se[p]);
}

TEST_F(LabelsTest, votes_are_in_the_order_of_the_input) {
  const Floats& correct = labels_.vote_probability_correct;
  ASSERT_EQ(correct.size(), 7u);
  const Floats expected = {0.35f, 0.25f, NAN, 0.85f, 0.05f, 0.05f, NAN};
  for (std::size_t v = 0; v < 7; ++v) {
    if (std::isnan(expected[v])) {
      EXPECT_TRUE(std::isnan(correct[v])) << v;  // a tie
    } else {
      EXPECT_FLOAT_EQ(correct[v], expected[v]) << v;
    }
  }
}

TEST_F(LabelsTest, annotators) {
  const AnnotatorLabels& a = labels_.annotators;
  EXPECT_EQ(a.votes, (Indices{3, 4, 0}));
  EXPECT_EQ(a.discrimination, (Floats{1.5f, -1, 1}));
  EXPECT_EQ(a.side_bias, (Floats{0.5f, 0, 0}));
  // The posterior's sd, and 3 % of the method's own.
  EXPECT_NEAR(a.discrimination_se[0], std::hypot(0.1, 0.045), 1e-6);
  EXPECT_NEAR(a.discrimination_se[1], std::hypot(0.05, 0.03), 1e-6);
  EXPECT_NEAR(a.side_bias_se[0], 0.3, 1e-6);
  EXPECT_FLOAT_EQ(a.agreement[0], 2.0f / 3);
  EXPECT_FLOAT_EQ(a.agreement[1], 0.5f);
  EXPECT_FLOAT_EQ(a.expected_accuracy[0], 0.5f / 3);
  EXPECT_FLOAT_EQ(a.bits_per_vote[0], 1);  // of all votes, ties too
  EXPECT_FLOAT_EQ(a.bits_per_vote[1], 0.25f);
  EXPECT_TRUE(std::isnan(a.agreement[2]));
  EXPECT_EQ(flag_names()[a.flag[0]], "ok");
  EXPECT_EQ(flag_names()[a.flag[1]], "adversarial");
  EXPECT_EQ(flag_names()[a.flag[2]], "too_few_votes");
}

}  // namespace
}  // namespace voxpop
