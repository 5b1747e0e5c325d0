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
  if (!has_discriminations(fit.model)) earlier.population.variance = earlier.population.side_bias_variance = 0.1;
  earlier.reference_discrimination = fit.reference_discrimination;
  earlier.reference_share = fit.reference_share;
  earlier.strengths = fit.answers.strengths;
  if (!fit.answers.binary()) earlier.thresholds = {fit.scale.edge + 1, fit.scale.edge + 1 + fit.answers.levels()};
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

class WarmStartOf : public testing::TestWithParam<Model> {};

TEST_P(WarmStartOf, is_near_the_fit_of_all_votes) {
  SimulateOptions options = ten_days();
  if (GetParam() == Model::kLapse) options.lapse_rate = 0.1;
  const Votes all = simulate_votes(options);
  const EarlierFit yesterday = published(fit_votes(votes_of_day(all, false), GetParam()));
  const Fitted warm = fit_votes(votes_of_day(all, true), GetParam(), &yesterday);
  const Fitted alone = fit_votes(votes_of_day(all, true), GetParam());
  const Fitted full = fit_votes(all, GetParam());
  EXPECT_TRUE(warm.fit.converged);
  EXPECT_LT(warm.fit.iterations, full.fit.iterations);
  EXPECT_EQ(warm.fit.reference_discrimination, yesterday.reference_discrimination);
  std::printf("iterations %d %d %d  p %.4f alone %.4f\n", warm.fit.iterations, alone.fit.iterations, full.fit.iterations, probability_rms(warm, full), probability_rms(alone, full));
  if (has_discriminations(GetParam())) {
    for (auto e : {discrimination, side_bias}) {
      const Distance d = compare(warm, full, e), f = compare(alone, full, e);
      std::printf("rms %.3f largest %.3f, alone %.3f %.3f\n", d.rms(), d.largest, f.rms(), f.largest);
    }
  }
  if (blend_of(GetParam()) != Blend::kNone) {
    const Distance d = compare(warm, full, share), f = compare(alone, full, share);
    std::printf("share rms %.3f largest %.3f, alone %.3f %.3f\n", d.rms(), d.largest, f.rms(), f.largest);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, WarmStartOf,
                         testing::Values(Model::kBradleyTerry, Model::kCrowdBt, Model::kRater, Model::kLapse));

}  // namespace
}  // namespace voxpop
