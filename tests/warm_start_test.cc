// Yesterday's fit as the priors of today's annotators: today's votes alone, against yesterday's and today's together.

#include "label/warm_start.h"

#include <map>

#include "engine_comparison.h"
#include "host_backend.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

/// Votes on some of the prompts: every tenth is today's.
Votes votes_of_day(const Votes& all, bool today) {
  Votes some;
  for (std::size_t v = 0; v < all.size(); ++v) {
    if ((all.prompt[all.left[v]] % 10 == 0) != today) continue;
    some.left.push_back(all.left[v]);
    some.right.push_back(all.right[v]);
    some.annotator.push_back(all.annotator[v]);
    some.preference.push_back(all.preference[v]);
  }
  some.item_ids = all.item_ids;
  some.annotator_ids = all.annotator_ids;
  some.prompt_ids = all.prompt_ids;
  some.prompt = all.prompt;
  some.features = all.features;
  some.feature_names = all.feature_names;
  some.inputs = {{"votes.h5", 0, ""}};
  return some;
}

struct Fitted {
  Groups groups;
  Fit fit;
  Labels labels;
  Strings annotator_ids;
};

Fitted fit_votes(Votes votes, Model model, const EarlierFit* earlier = nullptr) {
  const std::size_t items = votes.item_ids.size(), rows = votes.size();
  Fitted out;
  out.annotator_ids = votes.annotator_ids;
  out.groups = group_votes(votes, Ties::kModel);
  out.groups.covariates = find_covariates(votes, out.groups, {});
  FitOptions options{.model = model,
                     .answers = out.groups.answers,
                     .covariates = out.groups.covariates.count(),
                     .tastes = out.groups.covariates.features};
  if (earlier) options.warm_start = make_warm_start(*earlier, out.annotator_ids, out.groups, model);
  const auto engine = make_cpu_engine(out.groups, *choose_kernels());
  out.fit = fit_model(*engine, count_votes(out.groups), options, [](int, double) {});
  out.labels = make_labels(out.groups, out.fit, find_pair_labels(*engine, out.fit), items, rows);
  return out;
}

/// What a file would say of it.
EarlierFit published(const Fitted& fitted) {
  const Fit& fit = fitted.fit;
  EarlierFit earlier;
  earlier.annotator_ids = fitted.annotator_ids;
  earlier.annotators = fitted.labels.annotators;
  earlier.covariates = fitted.labels.covariates;
  earlier.population = fit.population;
  if (!has_discriminations(fit.model))
    earlier.population.variance = earlier.population.side_bias_variance = earlier.population.habit_variance = 0.1;
  earlier.reference_discrimination = fit.reference_discrimination;
  earlier.score_unit = fit.score_unit;
  earlier.reference_share = fit.reference_share;
  earlier.strengths = fit.answers.strengths;
  if (fit.answers.levels() > 1) earlier.thresholds = {fit.scale.edge + 1, fit.scale.edge + 1 + fit.answers.levels()};
  return earlier;
}

/// In units of `b`'s errors, over annotators with votes today.
struct Distance {
  double mean_square = 0, largest = 0;
  double rms() const { return std::sqrt(mean_square); }
};
template <class Estimate>
Distance compare(const Fitted& a, const Fitted& b, const Estimate& estimate) {
  Distance out;
  double count = 0;
  for (std::size_t i = 0; i < a.labels.annotators.votes.size(); ++i) {
    if (a.labels.annotators.votes[i] == 0) continue;
    const auto [mean, error] = estimate(b.fit.annotators[i]);
    const double off = std::abs(estimate(a.fit.annotators[i]).first - mean) / error;
    out.mean_square += off * off;
    out.largest = std::max(out.largest, off);
    count += 1;
  }
  out.mean_square /= count;
  return out;
}
std::pair<double, double> discrimination(const AnnotatorPosterior& a) {
  return {a.discrimination, std::sqrt(a.discrimination_variance)};
}
std::pair<double, double> side_bias(const AnnotatorPosterior& a) {
  return {a.side_bias, std::sqrt(a.side_bias_variance)};
}
std::pair<double, double> share(const AnnotatorPosterior& a) { return {a.share_logit, std::sqrt(a.share_variance)}; }

/// Root mean square difference of pairs/probability, over the pairs of `a`.
double probability_rms(const Fitted& a, const Fitted& b) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> other;
  const PairColumns &x = a.labels.pairs, &y = b.labels.pairs;
  for (std::size_t p = 0; p < y.left.size(); ++p) other[{y.left[p], y.right[p]}] = y.probability[p];
  double squares = 0;
  for (std::size_t p = 0; p < x.left.size(); ++p) {
    const double off = x.probability[p] - other.at({x.left[p], x.right[p]});
    squares += off * off;
  }
  return std::sqrt(squares / static_cast<double>(x.left.size()));
}

SimulateOptions ten_days() {
  return {.prompts = 6000,
          .responses = 4,
          .pairs_per_prompt = 3,
          .votes_per_pair = 3,
          .annotators = 300,
          .mix = {},
          .seed = 5};
}

/// Ten days of votes, a tenth of them ties.
Votes simulated() {
  SimulateOptions options = ten_days();
  options.ties = 0.1;
  return simulate_votes(options);
}

/// What no fit finds, but a damaged file may hold.
TEST(WarmStart, is_a_number_whatever_the_earlier_fit_says) {
  SimulateOptions few = ten_days();
  few.prompts = 40;
  few.annotators = 5;
  few.features = 2;
  const Votes votes = simulate_votes(few);
  for (const Model model : {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater}) {
    const EarlierFit sound = published(fit_votes(votes, model));
    EXPECT_EQ(improper_part(sound), "");
    EarlierFit graded = sound;
    graded.strengths = {1, 2};
    graded.thresholds.clear();
    EXPECT_EQ(improper_part(graded), "thresholds");
    for (const float extreme : {3e38f, -3e38f, 1e20f, 1e-30f, std::numeric_limits<float>::quiet_NaN()}) {
      EarlierFit earlier = sound;
      AnnotatorLabels& annotators = earlier.annotators;
      CovariateLabels& covariates = earlier.covariates;
      for (Column<float>* column : {&annotators.discrimination, &annotators.discrimination_se, &annotators.side_bias,
                                    &annotators.side_bias_se, &annotators.taste, &annotators.taste_se,
                                    &covariates.coefficient, &covariates.coefficient_se, &covariates.taste_sd})
        for (std::size_t i = 0; i < column->size(); i += 2) (*column)[i] = extreme;
      const Fitted warm = fit_votes(votes, model, &earlier);
      for (const float score : warm.labels.items.score) ASSERT_TRUE(std::isfinite(score)) << extreme;
      for (const float p : warm.labels.pairs.probability) ASSERT_TRUE(p >= 0 && p <= 1) << extreme;
    }
  }
}

class WarmStartOf : public testing::TestWithParam<Model> {};

TEST_P(WarmStartOf, is_near_the_fit_of_all_votes) {
  const Model model = GetParam();
  const Votes all = simulated(), today = votes_of_day(all, true);
  const EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), model));
  const Fitted warm = fit_votes(today, model, &yesterday), alone = fit_votes(today, model);
  const Fitted full = fit_votes(all, model);
  EXPECT_TRUE(warm.fit.converged);
  EXPECT_LE(warm.fit.iterations, 8);
  EXPECT_EQ(warm.fit.reference_discrimination, yesterday.reference_discrimination);
  EXPECT_EQ(warm.fit.population.mean, yesterday.population.mean);
  const auto expect_near_full = [&](const auto& estimate, const char* what) {
    SCOPED_TRACE(what);
    const Distance off = compare(warm, full, estimate);
    EXPECT_LT(off.rms(), 0.15);
    EXPECT_LT(off.largest, 0.75);
    EXPECT_GT(compare(alone, full, estimate).rms(), 1.5);  // today's votes alone are no match
  };
  if (has_discriminations(model)) {
    expect_near_full(discrimination, "discrimination");
    expect_near_full(side_bias, "side bias");
  }
  if (blend_of(model) != Blend::kNone) expect_near_full(share, "share");
  EXPECT_LT(probability_rms(warm, full), 0.01);
  EXPECT_GT(probability_rms(alone, full), model == Model::kBradleyTerry ? 0.005 : 0.04);
}

/// What labels say of an annotator comes back as what the fit knew of it.
TEST_P(WarmStartOf, labels_come_back_as_priors) {
  const Model model = GetParam();
  const Fitted fitted = fit_votes(votes_of_day(simulated(), true), model);
  const EarlierFit earlier = published(fitted);
  const WarmStart start = make_warm_start(earlier, fitted.annotator_ids, fitted.groups, model);
  const std::vector<std::uint32_t> votes_of = count_votes(fitted.groups);
  for (std::size_t i = 0; i < start.annotators.size(); ++i) {
    SCOPED_TRACE(i);
    const Population& prior = start.annotators[i];
    const AnnotatorPosterior& a = fitted.fit.annotators[i];
    if (votes_of[i] == 0) {
      EXPECT_EQ(prior.mean, earlier.population.mean);
      EXPECT_EQ(prior.share_votes, 0);
      continue;
    }
    EXPECT_NEAR(prior.mean, a.discrimination, 1e-6 * (1 + std::abs(a.discrimination)));
    if (has_discriminations(model)) {
      EXPECT_NEAR(prior.variance, a.discrimination_variance, 1e-5 * a.discrimination_variance);
      EXPECT_NEAR(prior.side_bias_mean, a.side_bias, 1e-6 * (1 + std::abs(a.side_bias)));
      EXPECT_NEAR(prior.side_bias_variance, a.side_bias_variance, 1e-5 * a.side_bias_variance);
    }
    if (has_discriminations(model)) {
      EXPECT_NEAR(prior.habit_mean, a.habit_logit, 1e-3);
      EXPECT_NEAR(prior.habit_variance, a.habit_variance, 1e-3 * a.habit_variance);
    }
    if (blend_of(model) == Blend::kNone) continue;
    EXPECT_NEAR(prior.share_mean, a.share_logit, 1e-3);
    EXPECT_NEAR(prior.share_variance, a.share_variance, 1e-2 * a.share_variance);
    const SharePrior known = share_prior(prior, a.share_logit);
    EXPECT_NEAR(known.gradient * std::sqrt(a.share_variance), 0, 1e-3);
    EXPECT_NEAR(known.precision, 1 / a.share_variance, 1e-2 / a.share_variance);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, WarmStartOf, testing::Values(Model::kBradleyTerry, Model::kCrowdBt, Model::kRater));

/// The published error holds 3 % of the discrimination beside the posterior's: 0.05^2 = 0.04^2 + (0.03 * 1)^2.
TEST(WarmStart, priors_by_hand) {
  const Groups groups = test::random_groups(test::prompts(2), 3, test::Said::kBinary);
  EarlierFit earlier;
  for (const char* id : {"x", "a1", "a0"}) earlier.annotator_ids.push_back(id);
  earlier.annotators.votes = {9, 100, 0};
  earlier.annotators.discrimination = {0, 1, 0.5f};
  earlier.annotators.discrimination_se = {1, 0.05f, 0.1f};
  earlier.annotators.side_bias = {0, -0.25f, 0};
  earlier.annotators.side_bias_se = {1, 0.125f, 1};
  earlier.population = {.mean = 0.75, .variance = 0.5, .side_bias_variance = 0.25};
  earlier.reference_discrimination = earlier.score_unit = 2;
  earlier.strengths = {1};
  Strings ids;
  for (const char* id : {"a0", "a1", "a2"}) ids.push_back(id);
  const WarmStart start = make_warm_start(earlier, ids, groups, Model::kRater);
  EXPECT_NEAR(start.annotators[1].mean, 2, 1e-6);
  EXPECT_NEAR(start.annotators[1].variance, 4 * 0.04 * 0.04, 1e-7);
  EXPECT_NEAR(start.annotators[1].side_bias_mean, -0.25, 1e-6);
  EXPECT_NEAR(start.annotators[1].side_bias_variance, 0.015625, 1e-7);
  for (const std::size_t unknown : {0, 2}) {  // the one did not vote, the other is not there
    EXPECT_EQ(start.annotators[unknown].mean, 0.75);
    EXPECT_EQ(start.annotators[unknown].variance, 0.5);
    EXPECT_EQ(start.annotators[unknown].side_bias_mean, 0);
  }
  EXPECT_EQ(start.known, 1);
  EXPECT_EQ(start.unknown, 2);
  EXPECT_TRUE(start.scale.has_value());
}

TEST(WarmStart, estimates_that_are_no_numbers_are_not_used) {
  const Fitted fitted = fit_votes(votes_of_day(simulated(), true), Model::kRater);
  EarlierFit earlier = published(fitted);
  earlier.annotators.discrimination[0] = NAN;
  earlier.annotators.side_bias_se[1] = 0;
  const WarmStart start = make_warm_start(earlier, fitted.annotator_ids, fitted.groups, Model::kRater);
  for (const std::size_t a : {0, 1}) {
    EXPECT_EQ(start.annotators[a].mean, earlier.population.mean);
    EXPECT_EQ(start.annotators[a].side_bias_mean, 0);
  }
}

/// Annotators that the earlier fit does not know are found among those that it does, and where it knows none.
TEST(WarmStart, new_annotators) {
  const Votes all = simulated();
  EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), Model::kRater));
  const Fitted full = fit_votes(all, Model::kRater);
  for (const std::size_t every : {3, 1}) {
    SCOPED_TRACE(every);
    Votes today = votes_of_day(all, true);
    Strings ids;
    for (std::size_t a = 0; a < today.annotator_ids.size(); ++a)
      ids.push_back(a % every == 0 ? "new " + std::to_string(a) : std::string(today.annotator_ids[a]));
    today.annotator_ids = ids;
    const Fitted warm = fit_votes(today, Model::kRater, &yesterday);
    EXPECT_TRUE(warm.fit.converged);
    EXPECT_EQ(warm.fit.population.mean, yesterday.population.mean);
    double off = 0, count = 0;
    for (std::size_t a = 0; a < warm.fit.annotators.size(); a += every) {
      const AnnotatorPosterior &mine = warm.fit.annotators[a], &best = full.fit.annotators[a];
      if (warm.labels.annotators.votes[a] < 20) continue;
      off += std::pow(mine.discrimination - best.discrimination, 2) / mine.discrimination_variance;
      ++count;
    }
    EXPECT_GT(count, 10);
    EXPECT_LT(std::sqrt(off / count), 1.5);  // in their own errors
  }
}

TEST(WarmStart, without_votes_priors_stay) {
  const Votes all = simulated();
  EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), Model::kRater));
  Votes today = votes_of_day(all, true);
  for (std::uint32_t& annotator : today.annotator) annotator = std::max(annotator, 2u);
  today.annotator_ids = yesterday.annotator_ids;
  const Fitted warm = fit_votes(today, Model::kRater, &yesterday);
  for (const std::size_t a : {0, 1}) {
    EXPECT_NEAR(warm.labels.annotators.discrimination[a], yesterday.annotators.discrimination[a], 1e-5);
    EXPECT_NEAR(warm.labels.annotators.discrimination_se[a], yesterday.annotators.discrimination_se[a], 3e-3);
    EXPECT_NEAR(warm.labels.annotators.side_bias[a], yesterday.annotators.side_bias[a], 1e-5);
    EXPECT_NEAR(warm.labels.annotators.tie_habit[a], yesterday.annotators.tie_habit[a], 1e-4);
    EXPECT_NEAR(warm.labels.annotators.tie_habit_se[a], yesterday.annotators.tie_habit_se[a], 1e-3);
  }
}

TEST(WarmStart, covariates_thresholds_and_tastes_are_known) {
  SimulateOptions options = ten_days();
  options.ties = 0.1;
  options.grades = 2;
  options.features = 2;
  options.taste_sd = 0.5;
  const Votes all = simulate_votes(options), today = votes_of_day(all, true);
  const EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), Model::kRater));
  const Fitted warm = fit_votes(today, Model::kRater, &yesterday), alone = fit_votes(today, Model::kRater);
  const Fitted full = fit_votes(all, Model::kRater);
  EXPECT_EQ(warm.fit.scale.edge[2], yesterday.thresholds[1]);
  const auto off = [&](const Fitted& some) {
    double squares = 0, count = 0;
    for (std::size_t i = 0; i < some.labels.annotators.taste.size(); ++i) {
      if (some.labels.annotators.votes[i / 2] == 0) continue;
      squares += std::pow(
          (some.labels.annotators.taste[i] - full.labels.annotators.taste[i]) / full.labels.annotators.taste_se[i], 2);
      ++count;
    }
    return std::sqrt(squares / count);
  };
  EXPECT_LT(off(warm), 0.2);
  EXPECT_GT(off(alone), 1);
  for (int k = 0; k < 2; ++k) {
    const CovariateLabels &a = warm.labels.covariates, &b = full.labels.covariates;
    EXPECT_NEAR(a.coefficient[k], b.coefficient[k], 0.5 * b.coefficient_se[k]) << k;
    EXPECT_NEAR(a.coefficient_se[k], b.coefficient_se[k], 0.1 * b.coefficient_se[k]) << k;
    EXPECT_EQ(a.taste_sd[k], yesterday.covariates.taste_sd[k]);
  }
  // Others are not.
  EarlierFit other = yesterday;
  other.covariates.names = Strings();
  other.annotators.tie_habit.clear();
  const WarmStart start = make_warm_start(other, warm.annotator_ids, warm.groups, Model::kRater);
  EXPECT_TRUE(start.coefficient.empty());
  EXPECT_TRUE(start.tastes.empty());
  EXPECT_FALSE(start.scale.has_value());
}

/// The device's logic, on the host.
TEST(WarmStart, engines_agree) {
  const auto host = [](const Groups& groups) { return test::make_host_engine(groups); };
  for (const Model model : {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater}) {
    SCOPED_TRACE(static_cast<int>(model));
    SimulateOptions options = ten_days();
    options.prompts = 2000;
    options.ties = 0.1;
    options.features = 1;
    options.taste_sd = 0.3;
    const Votes all = simulate_votes(options);
    const EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), model));
    const Fitted warm = fit_votes(votes_of_day(all, true), model, &yesterday);
    FitOptions fit_options{.model = model};
    fit_options.warm_start = make_warm_start(yesterday, warm.annotator_ids, warm.groups, model);
    test::expect_same_fit(warm.groups, fit_options, host);
  }
}

}  // namespace
}  // namespace voxpop
