#include <Eigen/Cholesky>
#include <random>

#include "core/error.h"
#include "core/threads.h"
#include "engine_comparison.h"
#include "fit/embedded_engine.h"
#include "fit/group_view.h"
#include "fit/regression.h"
#include "helpers.h"
#include "label/labels.h"

namespace voxpop {
namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;
using test::random_groups;
using test::Said;

std::shared_ptr<const Embeddings> random_embeddings(std::size_t items, std::size_t dimensions, unsigned seed = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  auto out = std::make_shared<Embeddings>();
  out->source = "embeddings";
  out->items = items;
  out->dimensions = dimensions;
  out->full.resize(items * dimensions);
  for (float& x : out->full) x = 5 + 3 * normal(random);
  return out;
}

double log_determinant(const Matrix& m) { return 2 * m.llt().matrixLLT().diagonal().array().log().sum(); }
Matrix inverse(const Matrix& m) { return m.llt().solve(Matrix::Identity(m.rows(), m.cols())); }

/// Scores and coefficients as one normal distribution, by dense matrices over all items.
struct BruteForce {
  Matrix x, b;  ///< embeddings, centred and in their unit; what votes say
  Vector h;
  double unit = 0;

  BruteForce(const Groups& groups, const Sites& sites) {
    const auto slots = static_cast<Eigen::Index>(groups.slot_item.size());
    const Embeddings& all = *groups.embeddings;
    x.resize(slots, static_cast<Eigen::Index>(all.dimensions));
    for (Eigen::Index s = 0; s < slots; ++s)
      for (Eigen::Index k = 0; k < x.cols(); ++k) x(s, k) = all.full[groups.slot_item[s] * all.dimensions + k];
    for (std::size_t c = 0; c < groups.components(); ++c) {
      auto rows = x.middleRows(groups.component_slots[c], groups.items_of(c));
      rows.rowwise() -= rows.colwise().mean().eval();
    }
    unit = std::sqrt(x.squaredNorm() / static_cast<double>(slots - static_cast<Eigen::Index>(groups.components())));
    x /= unit;
    b = Matrix::Zero(slots, slots);
    h = Vector::Zero(slots);
    for (std::uint32_t p = 0; p < groups.pairs(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        const std::uint32_t i = groups.pair_first[p], j = groups.pair_second[p];
        const double precision = sites.precision[v];
        b(i, i) += precision;
        b(j, j) += precision;
        b(i, j) -= precision;
        b(j, i) -= precision;
        h(i) += sites.shift[v];
        h(j) -= sites.shift[v];
      }
  }
  Matrix prior(double variance) const { return Matrix::Identity(x.rows(), x.rows()) + variance * x * x.transpose(); }
  double log_evidence(double variance) const {
    const Matrix k = prior(variance), posterior = inverse(k) + b;
    return 0.5 * (h.dot(posterior.llt().solve(h)) - log_determinant(posterior) - log_determinant(k));
  }
  struct Weights {
    Vector mean;
    Matrix covariance;
  };
  /// w by way of the scores: E[w | s] = variance X' K^-1 s.
  Weights weights(double variance) const {
    const Matrix k = inverse(prior(variance)), scores = inverse(k + b);
    const Matrix to = variance * x.transpose() * k;
    return {to * scores * h,
            variance * Matrix::Identity(x.cols(), x.cols()) - variance * to * x + to * scores * to.transpose()};
  }
};

struct Example {
  Groups groups;
  Sites sites;
  FitView view;

  Example(const test::Sizes& components, std::size_t dimensions) : groups(random_groups(components, 5, Said::kBinary)) {
    groups.embeddings = random_embeddings(groups.slot_item.size(), dimensions);
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    const BruteForce centred(groups, {Column<float>(groups.votes.size()), Column<float>(groups.votes.size())});
    const Vector scores = 2 / std::sqrt(static_cast<double>(dimensions)) * centred.x.rowwise().sum();
    for (std::uint32_t p = 0; p < groups.pairs(); ++p) {
      const double difference = scores(groups.pair_first[p]) - scores(groups.pair_second[p]) + normal(random);
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        sites.precision.push_back(0.1f + 0.3f * std::abs(normal(random)));
        sites.shift.push_back(sites.precision[v] * (static_cast<float>(difference) + normal(random)));
      }
    }
    view = view_of(groups);
    view.site_precision = sites.precision.data();
    view.site_shift = sites.shift.data();
  }
};

class Regression : public testing::TestWithParam<std::pair<test::Sizes, std::size_t>> {};

TEST_P(Regression, agrees_with_dense_matrices) {
  Example example(GetParam().first, GetParam().second);
  const Groups& groups = example.groups;
  const ScorePrior found = EmbeddingRegression(groups, {}).solve(example.view, 1);
  const EmbeddingFit& fit = found.embedding;
  const BruteForce exact(groups, example.sites);
  const double variance = fit.coefficient_variance;

  // The evidence is largest there.
  EXPECT_GT(exact.log_evidence(variance), exact.log_evidence(variance * 1.2) - 0.01);
  EXPECT_GT(exact.log_evidence(variance), exact.log_evidence(variance / 1.2) - 0.01);

  const BruteForce::Weights w = exact.weights(variance);
  for (Eigen::Index k = 0; k < w.mean.size(); ++k) {
    const double se = std::sqrt(w.covariance(k, k));
    EXPECT_NEAR(fit.coefficient[k] * exact.unit, w.mean(k), 1e-3 * se) << k;
    EXPECT_NEAR(fit.variance[k] * exact.unit * exact.unit / (se * se), 1, 1e-3) << k;
  }
  const double rows = static_cast<double>(groups.slot_item.size() - groups.components());
  const Matrix s = exact.x.transpose() * exact.x, sv = s * w.covariance;
  EXPECT_NEAR(fit.explained, (w.mean.dot(s * w.mean) + sv.trace()) / rows, 1e-3 * fit.explained);
  const double spread = (4 * w.mean.dot(sv * s * w.mean) + 2 * (sv * sv).trace()) / (rows * rows);
  EXPECT_GT(fit.explained_variance, 0.75 * spread);  // by 32 random directions; and the error of the prior's variance
  EXPECT_LT(fit.explained_variance, 1.25 * spread + 4 * fit.explained * fit.explained);

  // Each component's prior is what the others' votes say, and all are so likely as the joint distribution has it.
  double evidence = found.log_evidence;
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const std::uint32_t slot = groups.component_slots[c], items = groups.items_of(c);
    BruteForce others = exact;
    others.b.block(slot, slot, items, items).setZero();
    others.h.segment(slot, items).setZero();
    const BruteForce::Weights without = others.weights(variance);
    const Matrix x = exact.x.middleRows(slot, items);
    const Vector f = x * without.mean;
    const Matrix p = inverse(Matrix::Identity(items, items) + x * without.covariance * x.transpose());
    for (std::uint32_t i = 0; i < items; ++i) {
      EXPECT_NEAR(found.mean[slot + i], f(i), 2e-3);
      for (std::uint32_t j = 0; j <= i; ++j)
        EXPECT_NEAR(found.precision[found.component[c] + triangle(i, j)], p(i, j), 1e-3);
    }
    const Matrix b = exact.b.block(slot, slot, items, items);
    const Vector h = exact.h.segment(slot, items), rest = h - b * f;
    evidence += 0.5 * (rest.dot((p + b).llt().solve(rest)) + 2 * f.dot(h) - f.dot(b * f) - log_determinant(p + b));
  }
  EXPECT_NEAR(evidence, exact.log_evidence(variance), 1e-3 * std::abs(evidence) + 0.02);
}
const test::Sizes kPrompts(60, {3, 8});
INSTANTIATE_TEST_SUITE_P(Sizes, Regression,
                         testing::Values(std::pair(kPrompts, std::size_t{4}),    // more votes than dimensions
                                         std::pair(kPrompts, std::size_t{300}),  // fewer, and tiles of them
                                         std::pair(test::Sizes{{40, 200}, {2, 5}, {5, 9}, {3, 20}}, std::size_t{6}),
                                         std::pair(test::Sizes{{4, 12}}, std::size_t{3})));  // no others

/// One vote on two items of which others say something: d ~ N(offset, 2 / p), by integration.
TEST(ScorePrior, moves_the_posterior) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, -1}});
  const Groups groups = group_votes(votes, Ties::kModel);
  RaterRecord rater;
  rater.discrimination = 1.5f;
  rater.side_bias = 0.3f;
  Raters raters{std::vector<RaterRecord>{rater}};
  const float p = 0.4f, scale = 0.5f;
  auto prior = std::make_shared<ScorePrior>();
  prior->mean = {1.2f, -1.2f};
  prior->precision = {(1 + p) / 2, (1 - p) / 2, (1 + p) / 2};
  prior->component = {0};
  prior->least = p;
  raters.prior = prior;
  PassOptions options{.sweeps = 80, .annotators = true, .exact = true, .prior_scale = scale};
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const PassResult pass = engine->update_components(raters, options);
  const Posterior got = engine->posterior(raters, options);
  const test::Density exact = test::tilted(-1, 1.5, 0.3, 1.2, 2 / p);
  EXPECT_NEAR(got.pair_mean[0], exact.mean(), 1e-3);
  EXPECT_NEAR(got.pair_variance[0], exact.variance(), 2e-3);
  EXPECT_NEAR(got.slot_mean[0], exact.mean() / 2, 1e-3);
  EXPECT_NEAR(got.log_evidence + 0.5 * std::log(p), exact.log_integral(), 1e-4);
  const double off = exact.mean() - 1.2;
  EXPECT_NEAR(from_fixed(pass.solved.squares), p * (off * off + exact.variance()) / 2, 1e-3);
}

/// A prior for each component, of a size that embeddings may give.
std::shared_ptr<const ScorePrior> random_prior(const Groups& groups) {
  std::mt19937 random(4);
  std::normal_distribution<double> normal;
  auto out = std::make_shared<ScorePrior>();
  out->least = 0.05f;
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const Eigen::Index items = groups.items_of(c);
    Matrix x(items, 3);
    for (double& value : x.reshaped()) value = 0.5 * normal(random);
    x.rowwise() -= x.colwise().mean().eval();
    const Matrix p = inverse(Matrix::Identity(items, items) + x * x.transpose());
    out->component.push_back(out->precision.size());
    for (Eigen::Index i = 0; i < items; ++i) {
      out->mean.push_back(static_cast<float>(x(i, 0)));
      for (Eigen::Index j = 0; j <= i; ++j) out->precision.push_back(static_cast<float>(p(i, j)));
    }
  }
  return out;
}

/// At EP's fixed point the evidence's derivatives are the explicit ones, also beside a prior of the scores' own.
class GradientBesidePrior : public testing::TestWithParam<std::uint32_t> {};

TEST_P(GradientBesidePrior, agrees_with_differences_of_the_evidence) {
  Groups groups = test::with_covariates(random_groups({{GetParam(), 12 * GetParam()}}, 5, Said::kTies));
  groups = test::with_sources(std::move(groups), 3);
  std::vector<RaterRecord> records = test::random_raters(groups.annotators);
  for (RaterRecord& r : records) r.discrimination_variance = r.covariance = r.side_bias_variance = 0;
  Raters raters(records, {}, {0.3f, -0.2f, 0.5f});
  raters.prior = random_prior(groups);
  struct Settled {
    PassResult pass;
    double log_evidence;
  };
  const auto settle = [&](const std::vector<float>& coefficient) {
    PassOptions options{.sweeps = 80, .annotators = true, .exact = true, .prior_scale = 0.7f};
    options.scale = starting_scale(groups.answers.levels(), groups.answers.ties);
    std::ranges::copy(coefficient, options.coefficient);
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    Settled out;
    out.pass = engine->update_components(raters, options);
    out.log_evidence = engine->posterior(raters, options).log_evidence;
    return out;
  };
  const std::vector<float> at = {0.3f, -0.2f, 0.5f};
  const Settled here = settle(at);
  const float h = 0.05f;
  for (int k = 0; k < 3; ++k) {
    std::vector<float> low = at, high = at;
    low[k] -= h;
    high[k] += h;
    const double slope = (settle(high).log_evidence - settle(low).log_evidence) / (2 * h);
    EXPECT_NEAR(from_fixed(here.pass.covariates.gradient[k]), slope, 0.01 * (1 + std::abs(slope))) << k;
  }
  for (int g = 0; g < 3; ++g) {
    const Raters before = raters;
    raters.source_score[g] = before.source_score[g] + h;
    const double high = settle(at).log_evidence;
    raters.source_score[g] = before.source_score[g] - h;
    const double low = settle(at).log_evidence;
    raters = before;
    EXPECT_NEAR(from_fixed(here.pass.sources[g].gradient), (high - low) / (2 * h), 0.03) << g;
  }
}
INSTANTIATE_TEST_SUITE_P(SmallAndDense, GradientBesidePrior, testing::Values(4u, 33u));

/// Prompts of 4 responses, 3 pairs of each with one vote, by annotators of whom a third say little. Scores: w'x and
/// something of their own, which explain `share` of the variance and the rest.
struct Simulated {
  Votes votes;
  std::shared_ptr<const Embeddings> embeddings;
  std::vector<double> score, coefficient;

  Simulated(std::uint32_t prompts, std::size_t dimensions, double share, unsigned seed) {
    constexpr std::uint32_t kItems = 4, kAnnotators = 60;
    embeddings = random_embeddings(prompts * kItems, dimensions, seed);
    std::mt19937 random(seed + 100);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform;
    // Embeddings have sd 3: the variance of w'x is `share` of 2, in all 2 logits^2.
    for (std::size_t k = 0; k < dimensions; ++k)
      coefficient.push_back(normal(random) * std::sqrt(2 * share / static_cast<double>(dimensions)) / 3);
    for (std::uint32_t i = 0; i < prompts * kItems; ++i) {
      double s = std::sqrt(2 * (1 - share)) * normal(random);
      for (std::size_t k = 0; k < dimensions; ++k) s += coefficient[k] * embeddings->full[i * dimensions + k];
      score.push_back(s);
    }
    std::vector<test::Row> rows;
    for (std::uint32_t p = 0; p < prompts; ++p)
      for (std::uint32_t pair = 0; pair < 3; ++pair) {
        const std::uint32_t left = p * kItems + pair, right = p * kItems + pair + 1;
        const auto annotator = static_cast<std::uint32_t>(random() % kAnnotators);
        const double gamma = annotator % 3 == 0 ? 0.1 : 1;
        const bool first = uniform(random) < 1 / (1 + std::exp(-gamma * (score[left] - score[right])));
        rows.push_back({left, right, annotator, first ? 1 : -1});
      }
    votes = test::make_votes(prompts * kItems, kAnnotators, rows);
  }

  struct Fitted {
    Fit fit;
    Labels labels;
  };
  Fitted fit(bool uses_embeddings = true) const {
    Votes copy = votes;
    Groups groups = group_votes(copy, Ties::kModel);
    if (uses_embeddings) groups.embeddings = embeddings;
    const auto engine = make_embedded_engine(groups, make_cpu_engine(groups, *choose_kernels()), {});
    Fitted out{fit_model(*engine, count_votes(groups), {.answers = groups.answers}, [](int, double) {}), {}};
    out.labels = make_labels(groups, out.fit, find_pair_labels(*engine, out.fit), score.size(), votes.size());
    return out;
  }
  double ordered(const Labels& labels) const {
    double right = 0;
    for (std::size_t p = 0; p < labels.pairs.left.size(); ++p)
      right += (labels.pairs.margin[p] > 0) == (score[labels.pairs.left[p]] > score[labels.pairs.right[p]]);
    return right / static_cast<double>(labels.pairs.left.size());
  }
};

TEST(EmbeddedFit, finds_the_coefficients_again) {
  double squares = 0, inside = 0, shares = 0, count = 0;
  constexpr int kSeeds = 6;
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    const Simulated truth(1500, 24, 0.6, seed);
    const auto [fit, labels] = truth.fit();
    EXPECT_TRUE(fit.converged);
    ASSERT_TRUE(labels.embedding);
    // In logits of the reference annotator, whose discrimination one vote a pair tells badly; so of their shape.
    double along = 0, length = 0;
    for (std::size_t k = 0; k < truth.coefficient.size(); ++k) {
      along += labels.embedding->coefficient[k] * truth.coefficient[k];
      length += truth.coefficient[k] * truth.coefficient[k];
    }
    EXPECT_NEAR(along / length, 1, 0.4);
    for (std::size_t k = 0; k < truth.coefficient.size(); ++k) {
      const double off = (labels.embedding->coefficient[k] - along / length * truth.coefficient[k]) /
                         labels.embedding->coefficient_se[k];
      squares += off * off;
      inside += std::abs(off) < 1.96;
      ++count;
    }
    shares += std::abs(labels.embedding->explained - 0.6) < 2 * labels.embedding->explained_se;
  }
  EXPECT_NEAR(squares / count, 1, 0.25);
  EXPECT_GT(inside / count, 0.9);
  EXPECT_GE(shares, kSeeds - 1);
}

TEST(EmbeddedFit, orders_pairs_better_and_claims_no_more) {
  const Simulated truth(1500, 24, 0.8, 9);
  const auto [fit, labels] = truth.fit();
  EXPECT_GT(truth.ordered(labels), truth.ordered(truth.fit(false).labels) + 0.05);
  double claimed = 0;
  for (const float better : labels.pairs.probability_better) claimed += std::max(better, 1 - better);
  EXPECT_NEAR(claimed / static_cast<double>(labels.pairs.left.size()), truth.ordered(labels), 0.02);
}

/// Embeddings that say nothing are found out, also where there are nearly as many dimensions as votes.
TEST(EmbeddedFit, believes_no_noise) {
  Simulated truth(400, 500, 0.6, 5);
  truth.embeddings = random_embeddings(truth.score.size(), 500, 77);
  const auto [fit, labels] = truth.fit();
  EXPECT_LT(labels.embedding->explained, 2.5 * labels.embedding->explained_se);
  double claimed = 0;
  for (const float better : labels.pairs.probability_better) claimed += std::max(better, 1 - better);
  EXPECT_NEAR(claimed / static_cast<double>(labels.pairs.left.size()), truth.ordered(labels), 0.04);
}

TEST(EmbeddedFit, is_the_same_for_any_number_of_threads) {
  const Simulated truth(700, 300, 0.6, 2);
  const auto one = with_threads(1, [&] { return truth.fit(); });
  const auto four = with_threads(4, [&] { return truth.fit(); });
  EXPECT_EQ(one.labels.pairs.probability, four.labels.pairs.probability);
  EXPECT_EQ(one.labels.embedding->coefficient, four.labels.embedding->coefficient);
  EXPECT_EQ(one.labels.embedding->coefficient_se, four.labels.embedding->coefficient_se);
  EXPECT_EQ(one.labels.embedding->explained_se, four.labels.embedding->explained_se);
}

TEST(EmbeddedFit, refuses_what_tells_nothing_apart) {
  Simulated truth(20, 3, 0.6, 2);
  auto same = std::make_shared<Embeddings>(*truth.embeddings);
  for (std::size_t i = 0; i < same->full.size(); ++i)
    same->full[i] = same->full[i / 12 * 12 + i % 3];  // of each prompt
  truth.embeddings = same;
  EXPECT_THROW(truth.fit(), Error);
}

}  // namespace
}  // namespace voxpop
