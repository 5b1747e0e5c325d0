#include "fit/fit.h"

#include <functional>
#include <limits>
#include <random>

#include "fit/require_numbers.h"
#include "formulas/fixed_point.h"
#include "helpers.h"
#include "label/truth_comparison.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

struct Fitted {
  Fit fit;
  Labels labels;
};

Fitted fit_votes(Votes& votes, const FitOptions& options) {
  const std::size_t items = votes.item_ids.size(), rows = votes.size();
  const Groups groups = group_votes(votes, Ties::kHalf);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  Fitted out;
  out.fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  out.labels = make_labels(groups, out.fit, find_pair_labels(*engine, out.fit), items, rows);
  return out;
}

/// Item 0 wins 30 of 40 votes against item 1, shown either way round by turns.
Fitted fit_30_of_40() {
  std::vector<test::Row> rows;
  for (int v = 0; v < 40; ++v) {
    const bool first_wins = v % 4 != 0;
    const bool swapped = v % 8 >= 4;
    rows.push_back({swapped ? 1u : 0u, swapped ? 0u : 1u, 0, first_wins != swapped ? 1 : -1});
  }
  Votes votes = test::make_votes(2, 1, rows);
  return fit_votes(votes, {.model = Model::kBradleyTerry});
}

/// The exact posterior of d for such votes, given gamma; its integral is the evidence.
test::Density exact_30_of_40(double gamma) {
  return test::Density(
      [gamma](double d) {
        return test::log_normal(d, 0, 2) + 30 * test::log_logistic(gamma * d) + 10 * test::log_logistic(-gamma * d);
      },
      -8, 8);
}

TEST(BradleyTerry, two_items_match_quadrature) {
  const Fit fit = fit_30_of_40().fit;
  EXPECT_TRUE(fit.converged);
  const test::Density exact = exact_30_of_40(fit.population.mean);
  const double sd = std::sqrt(exact.variance());
  EXPECT_NEAR(fit.posterior.pair_mean[0], exact.mean(), 1e-2 * sd);
  EXPECT_NEAR(std::sqrt(fit.posterior.pair_variance[0]), sd, 1e-2 * sd);
  EXPECT_NEAR(fit.posterior.log_evidence, exact.log_integral(), 1e-2);
}

/// An engine that comes to something else.
class DivergingEngine : public Engine {
 public:
  DivergingEngine(std::unique_ptr<Engine> engine, std::function<void(Posterior&)> spoil)
      : engine_(std::move(engine)), spoil_(std::move(spoil)) {}
  std::string device() const override { return engine_->device(); }
  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    return engine_->update_components(raters, options);
  }
  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    Posterior out = engine_->posterior(raters, options);
    spoil_(out);
    return out;
  }
  const Sites& sites() override { return engine_->sites(); }
  EngineState save(FitRun& run) override { return engine_->save(run); }
  void load(const EngineState& state) override { engine_->load(state); }
  PairLabels label_pairs(float discrimination, float view_variance) override {
    return engine_->label_pairs(discrimination, view_variance);
  }

 private:
  std::unique_ptr<Engine> engine_;
  std::function<void(Posterior&)> spoil_;
};

TEST(Fit, that_diverged_is_none) {
  Votes votes = test::make_votes(3, 1, {{0, 1, 0, 1}, {1, 2, 0, 1}, {2, 0, 0, -1}});
  const Groups groups = group_votes(votes, Ties::kHalf);
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN(), kInfinite = std::numeric_limits<float>::infinity();
  const std::vector<std::function<void(Posterior&)>> spoilers = {[&](Posterior& out) { out.slot_mean.back() = kNone; },
                                                                 [&](Posterior& out) { out.slot_variance.front() = kNone; },
                                                                 [&](Posterior& out) { out.pair_mean.back() = kInfinite; },
                                                                 [&](Posterior& out) { out.pair_variance.back() = kNone; },
                                                                 [&](Posterior& out) { out.pair_variance.front() = 0; },
                                                                 [&](Posterior& out) { out.log_evidence = -kInfinite; }};
  for (const auto& spoil : spoilers) {
    DivergingEngine engine(make_cpu_engine(groups, *choose_kernels()), spoil);
    try {
      fit_model(engine, count_votes(groups), {.max_iterations = 5}, [](int, double) {});
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::kNotConverged);
      EXPECT_NE(std::string(error.what()).find("diverged"), std::string::npos);
    }
  }
}

/// Each number that a fit publishes, one at a time.
TEST(Fit, with_any_number_that_is_none_is_refused) {
  Fit sound;
  sound.annotators.resize(3);
  sound.tastes.resize(6);
  sound.taste_sd = {0.1, 0.2};
  sound.coefficient = sound.coefficient_se = {0.1, 0.2, 0.3};
  sound.sources.resize(2);
  sound.posterior.slot_mean = sound.posterior.slot_variance = {1, 2};
  sound.posterior.pair_mean = sound.posterior.pair_variance = {1};
  EXPECT_NO_THROW(require_numbers(sound));
  EXPECT_NO_THROW(require_numbers({}));  // without annotators, features, sources
  using Value = double;
  const std::vector<std::pair<const char*, std::function<void(Fit&, Value)>>> numbers = {
      {"log_evidence", [](Fit& f, Value x) { f.posterior.log_evidence = x; }},
      {"slot_mean", [](Fit& f, Value x) { f.posterior.slot_mean[1] = static_cast<float>(x); }},
      {"slot_variance", [](Fit& f, Value x) { f.posterior.slot_variance[0] = static_cast<float>(x); }},
      {"pair_mean", [](Fit& f, Value x) { f.posterior.pair_mean[0] = static_cast<float>(x); }},
      {"pair_variance", [](Fit& f, Value x) { f.posterior.pair_variance[0] = static_cast<float>(x); }},
      {"discrimination", [](Fit& f, Value x) { f.annotators[0].discrimination = x; }},
      {"side_bias", [](Fit& f, Value x) { f.annotators[1].side_bias = x; }},
      {"share_logit", [](Fit& f, Value x) { f.annotators[2].share_logit = x; }},
      {"habit_logit", [](Fit& f, Value x) { f.annotators[2].habit_logit = x; }},
      {"discrimination_variance", [](Fit& f, Value x) { f.annotators[0].discrimination_variance = x; }},
      {"covariance", [](Fit& f, Value x) { f.annotators[0].covariance = x; }},
      {"side_bias_variance", [](Fit& f, Value x) { f.annotators[2].side_bias_variance = x; }},
      {"share_variance", [](Fit& f, Value x) { f.annotators[1].share_variance = x; }},
      {"habit_variance", [](Fit& f, Value x) { f.annotators[2].habit_variance = x; }},
      {"taste", [](Fit& f, Value x) { f.tastes[5].mean = static_cast<float>(x); }},
      {"taste's variance", [](Fit& f, Value x) { f.tastes[0].variance = static_cast<float>(x); }},
      {"taste_sd", [](Fit& f, Value x) { f.taste_sd[1] = x; }},
      {"coefficient", [](Fit& f, Value x) { f.coefficient[2] = x; }},
      {"coefficient_se", [](Fit& f, Value x) { f.coefficient_se[0] = x; }},
      {"source's score", [](Fit& f, Value x) { f.sources[1].score = x; }},
      {"source's variance", [](Fit& f, Value x) { f.sources[0].variance = x; }},
      {"source_sd", [](Fit& f, Value x) { f.source_sd = x; }},
      {"threshold", [](Fit& f, Value x) { f.scale.edge[1] = static_cast<float>(x); }},
      {"view_variance", [](Fit& f, Value x) { f.view_variance = x; }},
      {"prompt_variance", [](Fit& f, Value x) { f.prompt_variance = x; }},
      {"population's mean", [](Fit& f, Value x) { f.population.mean = x; }},
      {"population's variance", [](Fit& f, Value x) { f.population.variance = x; }},
      {"population's side bias", [](Fit& f, Value x) { f.population.side_bias_variance = x; }},
      {"population's habits", [](Fit& f, Value x) { f.population.habit_mean = x; }},
      {"their variance", [](Fit& f, Value x) { f.population.habit_variance = x; }},
      {"population's shares", [](Fit& f, Value x) { f.population.share_mean = x; }},
      {"variance of shares", [](Fit& f, Value x) { f.population.share_variance = x; }}};
  for (const auto& [name, set] : numbers) {
    for (const double value : {std::nan(""), double{INFINITY}, -double{INFINITY}}) {
      Fit fit = sound;
      set(fit, value);
      try {
        require_numbers(fit);
        ADD_FAILURE() << name << " " << value;
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::kNotConverged) << name;
      }
    }
    Fit fit = sound;
    set(fit, 0.5);
    EXPECT_NO_THROW(require_numbers(fit)) << name;
  }
}

TEST(BradleyTerry, common_discrimination_is_where_evidence_and_prior_peak) {
  const Fit fit = fit_30_of_40().fit;
  double best = 0, peak = -INFINITY;
  for (double g = 0.05; g < 4; g += 0.005) {
    const double value = exact_30_of_40(g).log_integral() + test::log_normal(g, 1, 100);
    if (value > peak) peak = value, best = g;
  }
  EXPECT_NEAR(fit.population.mean, best, 0.02);
}

/// For any prior N(0, 2), the posterior's average gradient is 0: gamma (wins - E[expected wins]) = E[d] / 2.
TEST(BradleyTerry, expected_wins_equal_observed_wins_less_the_prior) {
  const auto [fit, labels] = fit_30_of_40();
  const double gamma = fit.population.mean;
  EXPECT_NEAR(40 * labels.pairs.probability[0], 30 - fit.posterior.pair_mean[0] / (2 * gamma), 0.02);
  EXPECT_EQ(labels.pairs.wins_left[0], 30);
  EXPECT_NEAR(labels.pairs.margin[0], gamma * fit.posterior.pair_mean[0], 1e-5);
  EXPECT_NEAR(labels.pairs.probability_better[0], exact_30_of_40(gamma).average([](double d) { return d > 0 ? 1 : 0; }),
              2e-3);
}

/// 20,000 votes of 100 annotators, as a crowd is.
class Rater : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Votes votes = simulate_votes({.prompts = 1000,
                                  .responses = 4,
                                  .pairs_per_prompt = 5,
                                  .votes_per_pair = 4,
                                  .annotators = 100,
                                  .mix = {},
                                  .seed = 3});
    truth_ = *votes.truth;
    fitted_ = fit_votes(votes, {});
  }
  static Truth truth_;
  static Fitted fitted_;
};
Truth Rater::truth_;
Fitted Rater::fitted_;

TEST_F(Rater, converges) {
  EXPECT_TRUE(fitted_.fit.converged);
  EXPECT_GT(fitted_.fit.iterations, 5);
  EXPECT_LT(fitted_.fit.iterations, 100);
}

TEST_F(Rater, finds_adversaries_and_clickers) {
  const AnnotatorLabels& a = fitted_.labels.annotators;
  int adversaries = 0, clickers = 0;
  for (std::size_t i = 0; i < a.votes.size(); ++i) {
    if (a.votes[i] < 100) continue;
    SCOPED_TRACE(truth_.kind[i]);
    if (truth_.kind[i] == "adversary") {
      ++adversaries;
      EXPECT_LT(a.discrimination[i], 0);
      EXPECT_EQ(static_cast<Flag>(a.flag[i]), Flag::kAdversarial);
    }
    if (truth_.kind[i] == "clicker") {
      ++clickers;
      EXPECT_GT(truth_.side_bias[i] * a.side_bias[i], 3);  // the truth is +-3, > 0 to the left
      EXPECT_EQ(static_cast<Flag>(a.flag[i]), Flag::kSideClicker);
    }
    if (truth_.kind[i] == "good") {
      EXPECT_GT(a.discrimination[i], 0.4);
      EXPECT_LT(std::abs(a.side_bias[i]), 1);
    }
  }
  EXPECT_GE(adversaries, 2);
  EXPECT_GE(clickers, 4);
}

TEST_F(Rater, orders_more_pairs_than_the_majority) {
  const TruthComparison t = compare_with_truth(fitted_.labels, truth_);
  EXPECT_GT(t.pairs_ordered, t.pairs_ordered_majority + 0.01);
  EXPECT_LT(t.ece_probability, 0.03);
  EXPECT_LT(t.ece_probability_better, 0.03);
  EXPECT_GT(t.discrimination_correlation, 0.9);
  EXPECT_GT(t.auc_bad_annotators, 0.95);
  EXPECT_GT(t.coverage, 0.8);
}

TEST(Fit, a_sample_is_a_start_and_no_more) {
  const auto fit = [](std::size_t sample_votes) {
    Votes votes = simulate_votes({.prompts = 4000, .annotators = 50, .mix = {}, .seed = 2});
    return fit_votes(votes, {.sample_votes = sample_votes}).fit;
  };
  const Fit all = fit(1 << 30), sampled = fit(2000);  // a sample of 1 in 40
  EXPECT_TRUE(sampled.converged);
  for (std::size_t a = 0; a < all.annotators.size(); ++a) {
    const double sd = std::sqrt(all.annotators[a].discrimination_variance);
    EXPECT_NEAR(sampled.annotators[a].discrimination, all.annotators[a].discrimination, 0.3 * sd) << a;
    EXPECT_NEAR(std::sqrt(sampled.annotators[a].discrimination_variance), sd, 0.05 * sd) << a;
  }
}

/// With 2 votes a pair the mirror image, every annotator an adversary, explains the votes nearly as well.
TEST(Fit, two_votes_a_pair_do_not_mirror) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Votes votes = simulate_votes({.prompts = 3000,
                                  .responses = 4,
                                  .pairs_per_prompt = 3,
                                  .votes_per_pair = 2,
                                  .annotators = 100,
                                  .mix = {},
                                  .seed = seed});
    const Truth truth = *votes.truth;
    const Fitted fitted = fit_votes(votes, {});
    EXPECT_GT(compare_with_truth(fitted.labels, truth).pairs_ordered, 0.7) << "seed " << seed;
  }
}

// A deterministic judge's discrimination has no upper limit but the one the fit sets.
/// Scores and discriminations that votes all but fix answer each other, each to what the other was a pass before.
TEST(Fit, very_many_votes_on_few_items_settle) {
  const SimulateOptions arena{.shape = Shape::kArena,
                              .prompts = 1,
                              .responses = 4,
                              .pairs_per_prompt = 200000,
                              .votes_per_pair = 1,
                              .annotators = 10,
                              .mix = {1, 0, 0, 0}};
  Votes votes = simulate_votes(arena);
  const Groups groups = group_votes(votes, Ties::kHalf);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit = fit_model(*engine, count_votes(groups), {}, [](int, double) {});
  EXPECT_TRUE(fit.converged);
  EXPECT_LT(fit.iterations, 30);
  for (std::size_t a = 0; a < fit.annotators.size(); ++a)
    EXPECT_NEAR(fit.annotators[a].discrimination / fit.annotators[0].discrimination,
                votes.truth->discrimination[a] / votes.truth->discrimination[0], 0.1)
        << a;
}

TEST(Fit, votes_without_noise_settle) {
  for (const Model model : {Model::kBradleyTerry, Model::kRater}) {
    Votes votes = simulate_votes({.prompts = 300, .pairs_per_prompt = 6, .annotators = 20, .mix = {1, 0, 0, 0}});
    const Truth truth = *votes.truth;
    for (std::size_t v = 0; v < votes.size(); ++v)
      votes.preference[v] = truth.score[votes.left[v]] > truth.score[votes.right[v]] ? 1 : -1;
    const Fitted fitted = fit_votes(votes, {.model = model});
    EXPECT_TRUE(fitted.fit.converged);
    EXPECT_GT(fitted.fit.population.mean, 3);
    EXPECT_EQ(compare_with_truth(fitted.labels, truth).pairs_ordered, 1);
  }
}

/// Found by fuzzing: annotators who agree with themselves alone, and mostly with nobody else.
TEST(Fit, discriminations_have_an_end) {
  std::vector<test::Row> rows;
  const auto vote = [&](int times, test::Row row) { rows.insert(rows.end(), times, row); };
  vote(136, {0, 3, 0, 1});
  vote(181, {0, 3, 5, 1});
  vote(125, {1, 0, 1, 1});
  vote(115, {1, 0, 1, 0});
  vote(227, {3, 0, 1, 1});
  vote(1, {1, 2, 1, -1});
  vote(1, {1, 3, 0, 0});
  vote(1, {1, 0, 3, 1});
  Votes votes = test::make_votes(4, 6, rows);
  const Groups groups = group_votes(votes, Ties::kModel);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const FitOptions options{.answers = groups.answers};
  const Fit fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  EXPECT_LT(fit.posterior.log_evidence, 0);
  EXPECT_GT(fit.posterior.log_evidence, -787 * std::log(3));  // better than blind
  for (const float mean : fit.posterior.pair_mean) EXPECT_LT(std::abs(mean), 10);
}

/// Found by fuzzing: annotators who say the same hundreds of times, and contradict each other. Discriminations run to
/// their limits, where expectation propagation does not settle, and sites came out of rounding.
TEST(Fit, contradictions_of_very_sure_annotators_stay_numbers) {
  const std::pair<test::Row, int> said[] = {
      {{2, 6, 3, -8}, 1},   {{4, 3, 1, 3}, 1},    {{6, 1, 0, 6}, 1},    {{6, 4, 3, 1}, 1},    {{1, 4, 3, -8}, 1},
      {{2, 3, 2, 2}, 1},    {{6, 5, 3, 1}, 1},    {{5, 6, 1, -2}, 201}, {{3, 2, 1, -4}, 1},   {{3, 1, 1, -5}, 140},
      {{5, 1, 2, 7}, 1},    {{1, 4, 3, -6}, 1},   {{5, 3, 3, -8}, 1},   {{4, 2, 2, -6}, 1},   {{2, 6, 1, 1}, 1},
      {{1, 6, 2, -2}, 1},   {{2, 3, 1, -1}, 1},   {{5, 0, 1, 3}, 1},    {{3, 4, 3, -5}, 1},   {{5, 6, 0, 2}, 1},
      {{3, 0, 3, 9}, 1},    {{2, 0, 0, 9}, 1},    {{0, 6, 1, -2}, 1},   {{1, 3, 0, 1}, 1},    {{5, 3, 1, -7}, 113},
      {{5, 3, 3, -8}, 1},   {{4, 2, 2, -6}, 1},   {{2, 6, 1, 1}, 1},    {{1, 6, 2, -2}, 1},   {{2, 6, 3, -1}, 292},
      {{3, 0, 0, -5}, 159}, {{4, 6, 3, -2}, 199}, {{1, 4, 0, -9}, 1},   {{0, 2, 1, -1}, 1},   {{6, 4, 3, -9}, 1},
      {{0, 4, 2, 6}, 220},  {{0, 1, 3, -3}, 1},   {{6, 2, 1, 8}, 1},    {{0, 5, 1, -9}, 1},   {{1, 2, 3, -2}, 1},
      {{1, 3, 2, -5}, 1},   {{4, 2, 1, 5}, 1},    {{3, 1, 2, -6}, 1},   {{2, 3, 2, -2}, 223}, {{3, 1, 2, -4}, 1},
      {{4, 0, 0, -6}, 3},   {{4, 1, 2, -2}, 1},   {{6, 4, 0, -6}, 1},   {{0, 2, 1, -5}, 1},   {{6, 5, 3, -1}, 1},
      {{2, 3, 0, 4}, 1},    {{0, 3, 1, 1}, 1},    {{1, 4, 1, -4}, 1},   {{5, 4, 0, 0}, 1},    {{0, 5, 3, 0}, 1},
      {{6, 4, 3, 2}, 1},    {{0, 5, 3, -4}, 1},   {{0, 6, 0, 3}, 1},    {{1, 3, 1, -9}, 1},   {{4, 5, 0, -6}, 1},
      {{3, 1, 0, -3}, 1},   {{4, 5, 1, -7}, 1},   {{3, 0, 3, -1}, 513}, {{0, 5, 1, 0}, 1},    {{3, 2, 0, -9}, 1}};
  std::vector<test::Row> rows;
  for (const auto& [row, times] : said) rows.insert(rows.end(), times, row);
  Votes votes = test::make_votes(7, 4, rows);
  const Groups groups = group_votes(votes, Ties::kHalf);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit =
      fit_model(*engine, count_votes(groups), {.answers = groups.answers, .max_iterations = 30}, [](int, double) {});
  EXPECT_FALSE(fit.converged);  // nor are they any good
  EXPECT_GT(fit.posterior.log_evidence, -1e10);
  for (const float mean : fit.posterior.pair_mean) EXPECT_LT(std::abs(mean), 1e5);
  for (const float variance : fit.posterior.pair_variance) EXPECT_TRUE(variance > 0 && variance <= 2) << variance;
}

TEST(Fit, stops_after_as_many_iterations_as_told) {
  Votes votes = simulate_votes({.prompts = 50, .annotators = 10, .mix = {}, .seed = 1});
  const Fit fit = fit_votes(votes, {.max_iterations = 3}).fit;
  EXPECT_EQ(fit.iterations, 3);
  EXPECT_FALSE(fit.converged);
}

TEST(Fit, stopped_on_the_sample_still_labels_all_votes) {
  Votes votes = simulate_votes({.prompts = 2000, .annotators = 50, .mix = {}, .seed = 2});
  const Fit fit = fit_votes(votes, {.max_iterations = 3, .sample_votes = 2000}).fit;
  EXPECT_FALSE(fit.converged);
  for (const float variance : fit.posterior.pair_variance) ASSERT_LT(variance, 1.9f);  // the prior's is 2
}

/// Intervals of discrimination are honest however few votes a pair has.
TEST(Fit, intervals_cover_at_one_to_five_votes_a_pair) {
  for (const std::uint64_t votes_per_pair : {1, 2, 3, 5}) {
    Votes votes = simulate_votes({.prompts = 10000,
                                  .pairs_per_prompt = 3,
                                  .votes_per_pair = votes_per_pair,
                                  .annotators = 150,
                                  .mix = {},
                                  .seed = 6});
    const Truth truth = *votes.truth;
    const TruthComparison t = compare_with_truth(fit_votes(votes, {}).labels, truth);
    EXPECT_GE(t.coverage, 0.9) << votes_per_pair << " votes a pair";
    EXPECT_LT(t.ece_probability, 0.03) << votes_per_pair << " votes a pair";
  }
}

/// A vote that is weighed by an annotator whom it has itself made look better counts twice: with four votes each,
/// scores and discriminations drove each other up, to margins three times as long (calibration error 0.05 to 0.11).
TEST(Fit, annotators_of_few_votes_do_not_drive_scores_apart) {
  for (const std::uint32_t seed : {1u, 2u, 3u, 4u}) {
    Votes votes = simulate_votes(test::sparse_arena(2000, 500, seed));
    const auto [fit, labels] = fit_votes(votes, {});
    EXPECT_TRUE(fit.converged);
    const TruthComparison truth = compare_with_truth(labels, *votes.truth);
    EXPECT_LT(truth.ece_probability, 0.04) << seed;
    EXPECT_GT(truth.discrimination_correlation, 0.6) << seed;
    EXPECT_GT(truth.coverage, 0.94) << seed;
  }
}

/// Most annotators of an arena vote once or twice. Sites and annotators then answered each other from pass to pass:
/// means of pairs moved to and fro by ten posterior sds.
TEST(Fit, annotators_of_few_votes_settle) {
  const auto settles = [](const SimulateOptions& options) {
    Votes votes = simulate_votes(options);
    const Groups groups = group_votes(votes, Ties::kModel);
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Fit fit = fit_model(*engine, count_votes(groups), {}, [](int, double) {});
    EXPECT_TRUE(fit.converged) << options.annotators << " annotators, seed " << options.seed;
    EXPECT_LT(fit.iterations, 180) << options.annotators << " annotators, seed " << options.seed;
  };
  for (const std::uint32_t annotators : {1000u, 3000u, 20000u}) settles(test::sparse_arena(6000, annotators, 1));
  for (const std::uint32_t annotators : {5000u, 6000u, 8000u})
    for (const std::uint32_t seed : {3u, 7u, 12u})
      settles({.prompts = 3000,
               .pairs_per_prompt = 5,
               .votes_per_pair = 4,
               .annotators = annotators,
               .mix = {},
               .seed = seed});
}

/// Coefficients and tastes answer each other: what one moves the other takes back, and so does the stretch.
TEST(Fit, tastes_of_annotators_with_few_votes_settle) {
  for (const std::uint32_t seed : {1u, 2u}) {
    Votes votes = simulate_votes({.prompts = 1500,
                                  .annotators = 2000,
                                  .mix = {},
                                  .features = 3,
                                  .feature_effect = 1,
                                  .taste_sd = 0.6,
                                  .seed = seed});
    Groups groups = group_votes(votes, Ties::kModel);
    groups.covariates = find_covariates(votes, groups, {});
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Fit fit = fit_model(*engine, count_votes(groups), {.covariates = groups.covariates.count(), .tastes = 3},
                              [](int, double) {});
    EXPECT_TRUE(fit.converged) << seed;
    EXPECT_LT(fit.iterations, 100) << seed;
  }
}

/// What votes say beyond their sign helps to order pairs; thresholds are found again.
TEST(Fit, grades_order_better_than_ties_and_ties_than_none) {
  Votes votes = simulate_votes({.prompts = 8000,
                                .pairs_per_prompt = 3,
                                .votes_per_pair = 3,
                                .annotators = 100,
                                .mix = {},
                                .ties = 0.2,
                                .grades = 3,
                                .seed = 1});
  const Truth truth = *votes.truth;
  const Column<std::uint32_t> left = votes.left, right = votes.right;
  const auto ordered = [&](Votes copy, Ties ties) {
    const std::size_t items = copy.item_ids.size(), rows = copy.size();
    const Groups groups = group_votes(copy, ties);
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    const Fit fit = fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {});
    EXPECT_TRUE(fit.converged);
    const Column<float> score = make_labels(groups, fit, find_pair_labels(*engine, fit), items, rows).items.score;
    double right_way = 0;
    for (std::size_t v = 0; v < left.size(); ++v) {
      const double fact = truth.score[left[v]] - truth.score[right[v]], guess = score[left[v]] - score[right[v]];
      right_way += guess * fact > 0 ? 1 : guess == 0 ? 0.5 : 0;
    }
    return right_way / static_cast<double>(left.size());
  };
  Votes signs = votes;
  for (std::int8_t& p : signs.preference) p = static_cast<std::int8_t>((p > 0) - (p < 0));
  const double grades = ordered(votes, Ties::kModel), ties = ordered(signs, Ties::kModel);
  const double drop = ordered(signs, Ties::kDrop);
  EXPECT_GT(grades, ties + 0.001);
  EXPECT_GT(ties, drop + 0.0005);
}

TEST(ReferenceMedian, is_of_those_with_enough_votes) {
  EXPECT_EQ(reference_median({1, 4, 2}, {60, 60, 60}), 2);
  EXPECT_EQ(reference_median({1, 10, 2, 3}, {60, 60, 60, 60}), 2.5);
  EXPECT_EQ(reference_median({1, 4, 2, 9, 9}, {50, 50, 50, 49, 0}), 2);  // 50 votes are enough
  EXPECT_EQ(reference_median({1, 2, 3, 7}, {1, 2, 3, 40}), 7);           // else the quarter with most votes
  EXPECT_EQ(reference_median({1, 1, 1, 1, 1, 1, 3, 5}, {1, 1, 1, 1, 1, 1, 9, 9}), 4);
}

TEST(Population, moments_by_hand) {
  const std::vector<AnnotatorPosterior> annotators = {
      {.discrimination = 1.25, .side_bias = 0.5, .discrimination_variance = 0.03125, .side_bias_variance = 0.0625},
      {.discrimination = 0.75, .side_bias = -0.25, .discrimination_variance = 0.03125, .side_bias_variance = 0.0625}};
  AnnotatorTotals totals;
  for (const AnnotatorPosterior& a : annotators) add_mean(a, totals);
  FitState state;
  state.voters = 2;
  state.iterations = kWarmUp;
  state.population = {.mean = 0.5, .variance = 0.1, .side_bias_variance = 0.2};
  const Population centre = with_means(state, totals);
  EXPECT_NEAR(centre.mean, (2.0 / 0.1 + 1) / (2 / 0.1 + 1), 1e-12);  // = 1
  for (const AnnotatorPosterior& a : annotators) add_spread(centre, a, totals);
  const Population next = with_spreads(state, centre, totals);
  EXPECT_NEAR(next.variance, (0.2 + 2 * 0.0625 + 2 * 0.03125) / 4, 1e-12);
  EXPECT_NEAR(next.side_bias_variance, (0.2 + 0.25 + 0.0625 + 2 * 0.0625) / 4, 1e-12);
  AnnotatorTotals adversaries;
  add_mean({.discrimination = -9}, adversaries);
  state.voters = 1;
  EXPECT_EQ(with_means(state, adversaries).mean, 0.05);
}

TEST(Population, shares_by_hand) {
  FitState state;
  state.model = Model::kCrowdBt;
  state.voters = 2;
  state.iterations = kWarmUp;
  state.population.share_variance = 0.5;
  AnnotatorTotals totals;
  const std::vector<AnnotatorPosterior> annotators = {{.share_logit = 2, .share_variance = 0.25},
                                                      {.share_logit = 4, .share_variance = 0.25}};
  for (const AnnotatorPosterior& a : annotators) add_mean(a, totals);
  const Population centre = with_means(state, totals);
  EXPECT_NEAR(centre.share_mean, (6 / 0.5 + kPriorShareMean) / (2 / 0.5 + 1), 1e-9);
  for (const AnnotatorPosterior& a : annotators) add_spread(centre, a, totals);
  const double low = 2 - centre.share_mean, high = 4 - centre.share_mean;
  EXPECT_NEAR(with_spreads(state, centre, totals).share_variance, (low * low + high * high + 0.5 + 1) / 4, 1e-7);
}

AnnotatorSums sums_of(double gradient_gamma, double gradient_beta, double gamma, double cross, double beta) {
  const auto fixed = [](double x) { return static_cast<std::int64_t>(std::llround(x * kFixedScale)); };
  return {fixed(gradient_gamma), fixed(gradient_beta), fixed(gamma), fixed(cross), fixed(beta), 0, 0, 0, 0};
}

const Population kPopulation{.mean = 1, .variance = 0.25, .side_bias_variance = 0.1};

TEST(NewtonStep, stays_at_a_maximum) {
  AnnotatorPosterior a{.discrimination = 1.5, .side_bias = 0.4};
  newton_step(a, sums_of(2, 4, 6, 2, 10), kPopulation);  // the prior pulls by -2 and -4
  EXPECT_NEAR(a.discrimination, 1.5, 1e-12);
  EXPECT_NEAR(a.side_bias, 0.4, 1e-12);
  // Precision [[6 + 4, 2], [2, 10 + 10]], determinant 196.
  EXPECT_NEAR(a.discrimination_variance, 20.0 / 196, 1e-12);
  EXPECT_NEAR(a.covariance, -2.0 / 196, 1e-12);
  EXPECT_NEAR(a.side_bias_variance, 10.0 / 196, 1e-12);
}

TEST(NewtonStep, reaches_a_quadratic_maximum_at_once) {
  // Log-likelihood -(gamma - 1.2)^2 3 - (beta - 0.1)^2 5: its product with the prior peaks at 1.12 and 0.05.
  AnnotatorPosterior a{.discrimination = 1, .side_bias = 0};
  newton_step(a, sums_of(1.2, 1, 6, 0, 10), kPopulation);
  EXPECT_NEAR(a.discrimination, 1.12, 1e-6);
  EXPECT_NEAR(a.side_bias, 0.05, 1e-6);
}

TEST(NewtonStep, is_short_and_uphill_where_information_is_not_positive) {
  AnnotatorPosterior a{.discrimination = 1, .side_bias = 0};
  newton_step(a, sums_of(900, -900, -50, 0, -50), kPopulation);
  EXPECT_NEAR(a.discrimination, 1.3, 1e-12);
  EXPECT_NEAR(a.side_bias, -0.3, 1e-12);
  EXPECT_GT(a.discrimination_variance, 0);
  EXPECT_GT(a.side_bias_variance, 0);
}

/// Information that takes nearly all of the prior's away would leave a variance of any size.
TEST(NewtonStep, is_by_the_prior_where_information_leaves_nearly_nothing_of_it) {
  AnnotatorPosterior a{.discrimination = 1, .side_bias = 0};
  newton_step(a, sums_of(0.4, 0.5, -3.9999, 0, -9.5), kPopulation);
  EXPECT_NEAR(a.discrimination_variance, 0.25, 1e-9);
  EXPECT_NEAR(a.side_bias_variance, 0.1, 1e-9);
  EXPECT_NEAR(a.discrimination, 1 + 0.4 * 0.25, 1e-6);
  newton_step(a, sums_of(0, 0, -3, 0, -5), kPopulation);  // a vote of an even pair may do that
  EXPECT_NEAR(a.discrimination_variance, 1, 1e-9);
  EXPECT_NEAR(a.side_bias_variance, 0.2, 1e-9);
  newton_step(a, sums_of(0, 0, 0, 0, -9.5), kPopulation);
  EXPECT_NEAR(a.side_bias_variance, 0.1, 1e-9);
  newton_step(a, sums_of(0, 0, -3.9, 0, 0), kPopulation);
  EXPECT_NEAR(a.discrimination_variance, 0.25, 1e-9);
}

TEST(IntegrateDiscrimination, side_bias_is_by_the_prior_where_information_leaves_nearly_nothing_of_it) {
  AnnotatorPosterior a{.discrimination = 1, .discrimination_variance = 0.1, .side_bias_variance = 0.1};
  integrate_discrimination(a, sums_of(0, 0, 0, 0, -9.999), {}, kPopulation, 1);
  EXPECT_NEAR(a.side_bias_variance, 0.1, 1e-9);
}

TEST(SettlePopulation, swings_from_side_to_side_are_damped) {
  FitState state;
  state.voters = 10;
  const auto step = [&](double by) {
    Population next = state.population;
    next.mean += by;
    detail::settle_population(state, {}, {}, next, 0);
    return state.damping;
  };
  for (const double by : {0.2, 0.2, -0.09, 0.04, -0.01}) EXPECT_EQ(step(by), 1);  // they shrink by themselves
  for (const double by : {-0.2, 0.2, -0.2}) EXPECT_EQ(step(by), 1);
  EXPECT_EQ(step(0.2), 0.5);  // the third swing
}

/// Steps all in one direction, undone by a stretch that goes too far and back.
TEST(SettlePopulation, a_stretch_that_swings_is_damped) {
  FitState state;
  state.voters = 10;
  state.iterations = kWarmUp;
  const auto stretch = [&](double squares) {
    Population next = state.population;
    next.mean += 0.01;
    SolveSums solved;
    solved.squares = to_fixed(squares);
    solved.freedom = 1000;
    detail::settle_population(state, solved, {}, next, 0);
    return state.damping;
  };
  for (const double squares : {1500.0, 700.0, 1500.0}) EXPECT_EQ(stretch(squares), 1);
  EXPECT_EQ(stretch(700), 0.5);
}

/// What is not known of tastes is part of their spread; how that moves is part of what still moves.
TEST(UpdateTastes, spread_by_hand) {
  FitState state;
  state.voters = 8;
  state.tastes = 1;
  state.iterations = kWarmUp;
  state.taste_variance[0] = 0.5;
  const TasteSums sums{to_fixed(1.2), to_fixed(4.0)};
  AnnotatorTotals totals;
  for (int a = 0; a < 8; ++a) {
    Taste taste{};
    update_tastes(state, {.discrimination_variance = 1}, &taste, nullptr, &sums, 10, totals);
    EXPECT_NEAR(taste.mean, 0.7 * 1.2 / 6, 1e-6);  // 0.7 of the step; precision 4 + 1 / 0.5
    EXPECT_NEAR(taste.variance, 1.0 / 6, 1e-6);
  }
  EXPECT_NEAR(from_fixed(totals.taste2[0]), 8 * (0.14 * 0.14 + 1.0 / 6), 1e-5);
  FitState without = state;
  without.tastes = 0;
  const ThresholdSums thresholds[kMaxLevels + 1] = {};
  end_iteration(state, {}, totals, state.population, thresholds, {}, {}, {});
  end_iteration(without, {}, totals, without.population, thresholds, {}, {}, {});
  const double spread = (8 * (0.14 * 0.14 + 1.0 / 6) + 0.04) / 10;
  EXPECT_NEAR(state.taste_variance[0], spread, 1e-6);
  EXPECT_NEAR(state.change - without.change, 0.1 * (std::sqrt(0.5) - std::sqrt(spread)), 1e-6);
}

TEST(SettleThresholds, literal_step) {
  FitState state;
  state.levels = 2;
  state.scale = starting_scale(2, false);  // 0 and 1; the first stays where it is
  const ThresholdSums sums[3] = {{}, {to_fixed(9.0), to_fixed(9.0)}, {to_fixed(0.5), to_fixed(3.96)}};
  EXPECT_NEAR(settle_thresholds(state, sums), (0.5 - 0.04) / 4, 1e-6);  // prior N(0, 25)
  EXPECT_EQ(state.scale.edge[1], 0);
  EXPECT_NEAR(state.scale.edge[2], 1.115, 1e-6);
}

TEST(StepShare, literal_step) {
  AnnotatorPosterior a{.share_logit = 1.2};
  AnnotatorSums sums{};
  sums.gradient_share = to_fixed(1.365);
  sums.information_share = to_fixed(8.0);
  Population population = kPopulation;
  population.share_mean = 1;
  population.share_variance = 0.5;  // gradient -0.4, precision 2
  step_share(a, sums, population, -kLargestShareLogit);
  EXPECT_NEAR(a.share_variance, 1.0 / 10, 1e-7);
  EXPECT_NEAR(a.share_logit, 1.2 + (1.365 - 0.4) / 10, 1e-7);
}

TEST(StepHabit, literal_step) {
  AnnotatorPosterior a{.habit_logit = -1};
  AnnotatorSums sums{};
  sums.gradient_habit = to_fixed(1.5);
  sums.information_habit = to_fixed(6.0);
  Population population = kPopulation;
  population.habit_mean = -0.5;
  population.habit_variance = 0.25;  // gradient 2, precision 4
  step_habit(a, sums, population, 0.5);
  EXPECT_NEAR(a.habit_logit, -1 + 0.5 * 0.3, 1e-7);  // steps are at most 0.3, of which the half
  EXPECT_NEAR(a.habit_variance, 1.0 / 10, 1e-7);
}

/// Two prompts, one of which no vote is of; then the spread of all.
TEST(StepPrompt, literal_step) {
  const PassOptions pass{.prompt_variance = 0.5f, .prompt_shift = 0.1f, .prompt_damping = 1};
  TieHabit prompt{0.3f, 0.2f}, silent{0.4f, 0.4f};
  PromptTotals totals;
  step_prompt(prompt, {to_fixed(1.2), to_fixed(6.0)}, pass, totals);  // 0.2, gradient 1.2 - 0.4, precision 8
  step_prompt(silent, {0, 0}, pass, totals);
  EXPECT_NEAR(prompt.mean, 0.2 + 0.1, 1e-6);
  EXPECT_NEAR(prompt.variance, 1.0 / 8, 1e-6);
  EXPECT_NEAR(silent.mean - pass.prompt_shift, 0, 1e-6);
  EXPECT_EQ(totals.prompts, 1);
  const double square = 0.3 * 0.3 + 0.125, told = 1 - 0.125 / 0.5;
  EXPECT_NEAR(from_fixed(totals.square), square, 1e-6);
  EXPECT_NEAR(from_fixed(totals.told), told * told, 1e-6);
  FitState state;
  state.by_prompt = true;
  state.prompt_variance = 0.5;
  state.iterations = 3;
  settle_prompts(state, totals);
  EXPECT_NEAR(state.prompt_shift, 0.3, 1e-6);
  const double gradient = 0.5 * (square / 0.5 - 1) - 1 + 0.1 / 0.5, information = 0.5 * told * told + 1;
  EXPECT_NEAR(std::log(state.prompt_variance / 0.5), std::max(0.7 * gradient / information, -0.5), 1e-6);
}

/// A handful of votes on pairs that the other votes know as N(mean, variance), by one annotator.
struct Handful {
  double winner, mean, variance;
};
const std::vector<Handful> kHandful = {{1, 1.0, 0.4},  {1, 0.7, 0.8}, {-1, 0.4, 0.6},
                                       {1, -0.2, 0.5}, {1, 1.5, 0.3}, {0, 0.3, 0.5}};

double log_likelihood_of_handful(double gamma, double beta) {
  double sum = 0;
  for (const Handful& v : kHandful) sum += test::tilted(v.winner, gamma, beta, v.mean, v.variance).log_integral();
  return sum;
}

/// integrate_discrimination until it settles, on sums that come from integration and differences.
AnnotatorPosterior settle(const Population& population) {
  AnnotatorPosterior a{.discrimination = population.mean,
                       .discrimination_variance = population.variance,
                       .side_bias_variance = population.side_bias_variance};
  const auto f = log_likelihood_of_handful;
  for (int round = 0; round < 15; ++round) {
    const RaterRecord record = record_of(a);
    const double g = a.discrimination, b = a.side_bias, h = 1e-3;
    const double middle = f(g, b);
    GridSums grid{};
    for (int k = 0; k < kGridNodes; ++k) {
      const double move = record.grid_spread * grid_at(k);
      grid.log_z[k] = to_fixed(static_cast<float>(f(g + move, b + record.grid_slope * move) - middle));
    }
    const AnnotatorSums sums =
        sums_of((f(g + h, b) - f(g - h, b)) / (2 * h), (f(g, b + h) - f(g, b - h)) / (2 * h),
                -(f(g + h, b) - 2 * middle + f(g - h, b)) / (h * h),
                -(f(g + h, b + h) - f(g + h, b - h) - f(g - h, b + h) + f(g - h, b - h)) / (4 * h * h),
                -(f(g, b + h) - 2 * middle + f(g, b - h)) / (h * h));
    integrate_discrimination(a, sums, grid, population, 1);
  }
  return a;
}

TEST(IntegrateDiscrimination, matches_a_fine_grid_when_side_bias_is_known) {
  const Population population{.mean = 1, .variance = 0.5, .side_bias_variance = 1e-6};
  const test::Density exact([&](double g) { return log_likelihood_of_handful(g, 0) + test::log_normal(g, 1, 0.5); }, -4,
                            6, 201);
  const AnnotatorPosterior a = settle(population);
  const double sd = std::sqrt(exact.variance());
  EXPECT_NEAR(a.discrimination, exact.mean(), 0.02 * sd);
  EXPECT_NEAR(std::sqrt(a.discrimination_variance), sd, 0.02 * sd);
  EXPECT_NEAR(a.side_bias, 0, 1e-3);
}

/// Without votes the prior is left, along the line on which beta is b + r (gamma - gamma0): normal, precision 1 / v +
/// r^2 / s.
TEST(IntegrateDiscrimination, without_votes_finds_the_prior_on_the_ridge) {
  const double b = 0.05, r = 0.5, precision = 1 / 0.25 + r * r / 0.1;
  AnnotatorPosterior a{.discrimination = 1, .side_bias = b, .discrimination_variance = 1 / precision / 1.44};
  a.covariance = r * a.discrimination_variance;
  integrate_discrimination(a, {}, {}, kPopulation, 1);
  EXPECT_NEAR(a.discrimination, (1 / 0.25 + (r - b) * r / 0.1) / precision, 1e-5);
  EXPECT_NEAR(a.discrimination_variance, 1 / precision, 1e-5);
}

TEST(IntegrateDiscrimination, is_close_to_a_fine_grid_over_both) {
  const Population population{.mean = 1, .variance = 0.5, .side_bias_variance = 0.3};
  double total = 0, gamma = 0, gamma2 = 0, beta = 0, beta2 = 0;
  for (double g = -2; g <= 4; g += 0.15)
    for (double b = -2.5; b <= 2.5; b += 0.15) {
      const double weight =
          std::exp(log_likelihood_of_handful(g, b) + test::log_normal(g, 1, 0.5) + test::log_normal(b, 0, 0.3));
      total += weight;
      gamma += weight * g;
      gamma2 += weight * g * g;
      beta += weight * b;
      beta2 += weight * b * b;
    }
  gamma /= total;
  beta /= total;
  const double sd = std::sqrt(gamma2 / total - gamma * gamma), beta_sd = std::sqrt(beta2 / total - beta * beta);
  const AnnotatorPosterior a = settle(population);
  EXPECT_NEAR(a.discrimination, gamma, 0.1 * sd);
  EXPECT_NEAR(std::sqrt(a.discrimination_variance), sd, 0.1 * sd);
  EXPECT_NEAR(a.side_bias, beta, 0.1 * beta_sd);
  EXPECT_NEAR(std::sqrt(a.side_bias_variance), beta_sd, 0.1 * beta_sd);
}

/// Two annotators with most of the votes vote the other way round than the nine others.
TEST(Fit, the_sign_is_that_of_most_annotators_not_of_most_votes) {
  std::vector<test::Row> rows;
  std::uint32_t random = 1;
  const auto draw = [&](std::uint32_t below) {
    random = random * 1664525u + 1013904223u;
    return (random >> 16) % below;
  };
  for (std::uint32_t v = 0; v < 4000; ++v) {
    const std::uint32_t prompt = draw(100), left = draw(4), right = (left + 1 + draw(3)) % 4;
    const std::uint32_t annotator = draw(10) < 6 ? draw(2) : 2 + draw(9);
    const bool better = (left < right) != (draw(10) == 0);  // the first items are the better ones
    rows.push_back({4 * prompt + left, 4 * prompt + right, annotator, better == (annotator >= 2) ? 1 : -1});
  }
  Votes votes = test::make_votes(400, 11, rows);
  const Groups groups = group_votes(votes, Ties::kModel);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit =
      fit_model(*engine, count_votes(groups), {.model = Model::kRater, .answers = groups.answers}, [](int, double) {});
  EXPECT_TRUE(fit.mirrored);
  for (std::size_t a = 0; a < 11; ++a) {
    EXPECT_EQ(fit.annotators[a].discrimination > 0, a >= 2) << a;
    EXPECT_NEAR(std::log(std::abs(fit.annotators[a].discrimination / fit.reference_discrimination)), 0, 1) << a;
  }
  std::size_t right = 0;
  const PairLabels labels = find_pair_labels(*engine, fit);  // of the engine, which has been turned round, too
  for (std::size_t p = 0; p < groups.pairs(); ++p) {
    EXPECT_EQ(labels.better[p] > 0.5f, fit.posterior.pair_mean[p] > 0);
    right += fit.posterior.pair_mean[p] > 0;  // the first slot of a pair is the better item
  }
  EXPECT_GT(right, 19 * groups.pairs() / 20);
}

}  // namespace
}  // namespace voxpop
