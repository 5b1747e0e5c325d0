#include "job/evaluate_job.h"

#include "voxpop/voxpop.h"

#include <atomic>
#include <cmath>
#include <random>

#include "core/error.h"
#include "fit/counted_engine.h"
#include "fit/device.h"
#include "helpers.h"

namespace voxpop {
namespace {

Votes simulated(double ties = 0.2) {
  return simulate_votes({.prompts = 150, .annotators = 15, .mix = {}, .ties = ties, .seed = 3});
}

Gold gold_of(const Votes& votes) {
  Gold gold;
  for (std::uint32_t i = 0; i < votes.item_ids.size(); ++i) {
    gold.item.push_back(i);
    gold.value.push_back(votes.truth->score[i]);
  }
  for (std::uint32_t i = 0; i + 1 < votes.item_ids.size(); i += 2) {
    gold.left.push_back(i);
    gold.right.push_back(i + 1);
    gold.preference.push_back(votes.truth->score[i] > votes.truth->score[i + 1] ? 1 : -1);
  }
  return gold;
}

EvaluateRequest request() {
  EvaluateRequest wanted;
  wanted.models = {Model::kBradleyTerry, Model::kRater};
  wanted.folds = 2;
  wanted.folds_by = FoldsBy::kVote;
  return wanted;
}

std::unique_ptr<Engine> engine_for(Model model, const Groups& groups) {
  static const Context context;  // an engine may ask it for as long as it is there
  return make_counted_engine(groups, model, [](const Groups& some) {
    return make_engine({Device::Kind::kCpu, 0}, some, context);
  });
}

template <class Act>
Exit exit_of(const Act& act, std::string* text = nullptr) {
  try {
    act();
  } catch (const Error& error) {
    if (text != nullptr) *text = error.what();
    return error.exit();
  }
  return Exit::kDone;
}

/// Of a model whose engines fail from the `first` one on.
MakeModelEngine failing(Model which, int first) {
  auto made = std::make_shared<std::atomic<int>>(0);
  return [=](Model model, const Groups& groups) {
    if (model == which && ++*made >= first) throw Error(Exit::kNotConverged, "the fit diverged");
    return engine_for(model, groups);
  };
}

TEST(EvaluateJob, says_as_plain_data_what_the_models_say) {
  Votes votes = simulated();
  const Gold gold = gold_of(votes);
  const EvaluateResult result = evaluate(votes, request(), {.threads = 2}, &gold);
  ASSERT_EQ(result.comparisons.size(), 1u);
  const ModelComparison& comparison = result.comparisons.front();
  ASSERT_EQ(comparison.models.size(), 3u);
  EXPECT_EQ(comparison.models[0].name, "majority");
  EXPECT_EQ(comparison.models[1].name, "bt");
  EXPECT_EQ(comparison.models[2].name, "rater");
  EXPECT_EQ(comparison.base().name, "bt");
  ASSERT_EQ(comparison.differences.size(), 3u);
  const Estimate more = comparison.difference("rater", "bt"), less = comparison.difference("bt", "rater");
  EXPECT_EQ(more.value, -less.value);
  EXPECT_EQ(more.std_error, less.std_error);
  EXPECT_NEAR(more.value, comparison.models[2].score.log_loss.value - comparison.models[1].score.log_loss.value, 1e-12);
  std::uint64_t decided = 0;
  for (const std::int8_t p : votes.preference) decided += p != 0;
  EXPECT_EQ(result.votes, votes.preference.size());
  EXPECT_EQ(result.decided_votes, decided);
  ASSERT_TRUE(result.gold);
  ASSERT_EQ(result.gold->models.size(), 3u);
  EXPECT_GT(result.gold->models[2].order.accuracy, 0.6);
  EXPECT_FALSE(result.diverged());
}

TEST(EvaluateJob, a_request_checks_itself) {
  const auto exit_for = [](const std::function<void(EvaluateRequest&)>& change) {
    EvaluateRequest wanted = request();
    change(wanted);
    return exit_of([&] { evaluate(simulated(), wanted, {}); });
  };
  EXPECT_EQ(exit_for([](EvaluateRequest& r) { r.models.clear(); }), Exit::kUsage);
  EXPECT_EQ(exit_for([](EvaluateRequest& r) { r.folds = 1; }), Exit::kUsage);
  EXPECT_EQ(exit_for([](EvaluateRequest& r) { r.folds = 101; }), Exit::kUsage);
  EXPECT_EQ(exit_for([](EvaluateRequest& r) { r.max_iterations = 0; }), Exit::kUsage);
}

/// In its first or last fold, or only in the fit of all votes: what the others say stays the same.
TEST(EvaluateJob, keeps_what_did_not_diverge) {
  const Votes votes = simulated();
  const Gold gold = gold_of(votes);
  const EvaluateResult whole = evaluate_with(engine_for, votes, request(), {}, &gold);
  for (const int first : {1, 2, 3}) {  // two folds, then all votes
    const EvaluateResult part = evaluate_with(failing(Model::kRater, first), votes, request(), {}, &gold);
    EXPECT_TRUE(part.diverged());
    const ModelComparison& comparison = part.comparisons.front();
    ASSERT_EQ(comparison.models.size(), first < 3 ? 2u : 3u);
    for (std::size_t i = 0; i < comparison.models.size(); ++i) {
      EXPECT_EQ(comparison.models[i].name, whole.comparisons.front().models[i].name);
      EXPECT_EQ(comparison.models[i].score.log_loss.value, whole.comparisons.front().models[i].score.log_loss.value);
    }
    ASSERT_EQ(comparison.diverged.size(), first < 3 ? 1u : 0u);
    if (first < 3) {
      EXPECT_EQ(comparison.diverged[0].model, "rater");
      EXPECT_PRED2(test::contains, comparison.diverged[0].why, "diverged");
    }
    ASSERT_EQ(part.gold->models.size(), 2u);
    EXPECT_EQ(part.gold->models[1].name, "bt");
    EXPECT_EQ(part.gold->models[1].order.tau_b, whole.gold->models[1].order.tau_b);
    ASSERT_EQ(part.gold->diverged.size(), 1u);
  }
  // Without bt the others are compared with majority vote.
  const EvaluateResult other = evaluate_with(failing(Model::kBradleyTerry, 1), votes, request(), {}, &gold);
  EXPECT_EQ(other.comparisons.front().base().name, "majority");
  EXPECT_EQ(other.gold->models.front().name, "majority");
}

TEST(EvaluateJob, of_which_every_model_diverged_is_none) {
  std::string text;
  const auto make = [](Model, const Groups&) -> std::unique_ptr<Engine> {
    throw Error(Exit::kNotConverged, "the fit diverged");
  };
  EXPECT_EQ(exit_of([&] { evaluate_with(make, simulated(), request(), {}); }, &text), Exit::kNotConverged);
  EXPECT_PRED2(test::contains, text, "bt: the fit diverged; rater: the fit diverged");
}

/// Whenever it is asked to, it stops.
TEST(EvaluateJob, stops_wherever_it_is) {
  const Votes votes = simulated();
  const Gold gold = gold_of(votes);
  EvaluateRequest wanted = request();
  wanted.calibrate = true;
  std::atomic<int> asked{0};
  evaluate(votes, wanted, {.stop = [&] { return ++asked, false; }, .threads = 1}, &gold);
  const int calls = asked;
  ASSERT_GT(calls, 1000);  // bootstraps ask 400 times each
  for (int at = 0; at < calls; at += calls / 20) {
    asked = 0;
    EXPECT_EQ(exit_of([&] { evaluate(votes, wanted, {.stop = [&] { return asked++ >= at; }, .threads = 1}, &gold); }),
              Exit::kInterrupted)
        << at;
    EXPECT_LT(asked, at + 100) << at;
  }
}

TEST(EvaluateJob, has_no_standard_errors_of_one_pair) {
  std::vector<test::Row> rows;
  for (std::uint32_t v = 0; v < 40; ++v) rows.push_back({0, 1, v % 4, v % 3 == 0 ? -1 : 1});
  const EvaluateResult result = evaluate(test::make_votes(2, 4, rows), request(), {});
  const Score& s = result.comparisons.front().models.front().score;
  EXPECT_TRUE(std::isfinite(s.log_loss.value));
  EXPECT_TRUE(std::isfinite(s.ece));
  for (const double none : {s.log_loss.std_error, s.brier.std_error, s.accuracy.std_error, s.ece_low, s.ece_high,
                            s.ece_by_chance, s.ece_by_chance_high})
    EXPECT_TRUE(std::isnan(none));
}

TEST(EvaluateJob, warns_where_no_gold_pair_is_compared) {
  const Votes votes = simulated();
  Gold gold;
  gold.left = {0};
  gold.right = {static_cast<std::uint32_t>(votes.item_ids.size() - 1)};  // of another prompt
  gold.preference = {1};
  const EvaluateResult result = evaluate(votes, request(), {}, &gold);
  EXPECT_EQ(result.gold->apart, 1u);
  EXPECT_EQ(result.gold->models.front().pairs_compared, 0u);
  ASSERT_FALSE(result.warnings.empty());
  EXPECT_PRED2(test::contains, result.warnings.back(), "None of the 1 gold pairs is compared");
}

}  // namespace
}  // namespace voxpop
