#include "group/views.h"

#include <Eigen/Cholesky>
#include <Eigen/LU>

#include "engine_comparison.h"
#include "fit/group_view.h"
#include "group/share.h"

namespace voxpop {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// One component with two blocks and random sites, as a view of it.
struct Example {
  Groups groups = test::groups_with_views({{6, 40}}, 4, test::Said::kBinary);
  Column<float> precision, shift, mean, variance, pair_mean, pair_variance;
  std::vector<RaterRecord> raters = test::random_raters(4);
  FitView view{};
  explicit Example(double view_variance) {
    const std::size_t votes = groups.votes.size();
    for (auto* column : {&precision, &shift, &mean, &variance}) column->resize(votes);
    for (auto* column : {&pair_mean, &pair_variance}) column->resize(groups.pairs());
    for (std::size_t v = 0; v < votes; ++v) {
      precision[v] = 0.1f + 0.05f * static_cast<float>(v % 7);
      shift[v] = 0.3f * static_cast<float>(v % 5) - 0.5f;
    }
    view = view_of(groups);
    view.site_precision = precision.data();
    view.site_shift = shift.data();
    view.pair_mean = pair_mean.data();
    view.pair_variance = pair_variance.data();
    view.view_variance = static_cast<float>(view_variance);
    view.views.mean = mean.data();
    view.views.variance = variance.data();
  }
  std::uint32_t blocks() const { return static_cast<std::uint32_t>(groups.views.block_slots.size()) - 1; }
};

/// Scores and all blocks' impressions at once, as one normal distribution: variables are the 6 scores, then each
/// block's items. Prior: s ~ N(0, I), y - s ~ N(0, w I).
struct Joint {
  VectorXd mean;
  MatrixXd covariance;
  double log_evidence;
  Joint(const Example& e, double w) {
    const Views& views = e.groups.views;
    const Index n = 6 + static_cast<Index>(views.slot.size());
    MatrixXd prior = MatrixXd::Zero(n, n), h = MatrixXd::Zero(n, n);
    VectorXd b = VectorXd::Zero(n);
    for (Index i = 0; i < 6; ++i) prior(i, i) = 1;
    for (Index k = 0; k < n - 6; ++k) {
      const Index i = views.slot[k], y = 6 + k;
      prior(i, i) += 1 / w;
      prior(y, y) += 1 / w;
      prior(i, y) -= 1 / w;
      prior(y, i) -= 1 / w;
    }
    for (std::uint32_t block = 0; block < e.blocks(); ++block)
      for (std::uint32_t k = views.block_votes[block]; k < views.block_votes[block + 1]; ++k) {
        const Index i = 6 + views.block_slots[block] + views.first[k],
                    j = 6 + views.block_slots[block] + views.second[k];
        const double t = e.precision[views.vote[k]], s = e.shift[views.vote[k]];
        h(i, i) += t;
        h(j, j) += t;
        h(i, j) -= t;
        h(j, i) -= t;
        b(i) += s;
        b(j) -= s;
      }
    covariance = (prior + h).inverse();
    mean = covariance * b;
    const auto log_det = [](const MatrixXd& m) {
      return 2 * MatrixXd(m.llt().matrixL()).diagonal().array().log().sum();
    };
    log_evidence = 0.5 * (b.dot(mean) + log_det(prior) - log_det(prior + h));
  }
};

TEST(Views, are_exact) {
  for (const double w : {0.02, 0.5, 3.0}) {
    Example example(w);
    const Joint joint(example, w);
    std::vector<float> h(36), shift(6), mean(6), slot_mean(6), slot_variance(6);
    std::vector<double> scratch(kViewScratch);
    const float ridge = assemble_component(example.view, 0, 6, h.data(), shift.data(), 1, scratch.data());
    const float log_determinant = invert_positive_definite(h.data(), 6);
    multiply_component(h.data(), shift.data(), mean.data(), 6, 1);
    SolveSums sums;
    ViewTotals totals;
    finish_component(example.view, 0, 6, h.data(), shift.data(), mean.data(), ridge, log_determinant, 1,
                     slot_mean.data(), slot_variance.data(), &sums);
    finish_views(example.view, 0, 6, h.data(), mean.data(), 1, scratch.data(), &sums, &totals);
    for (std::size_t p = 0; p < example.groups.pairs(); ++p) {
      const Index i = example.groups.pair_first[p], j = example.groups.pair_second[p];
      EXPECT_NEAR(example.pair_mean[p], joint.mean(i) - joint.mean(j), 2e-5);
      EXPECT_NEAR(example.pair_variance[p],
                  joint.covariance(i, i) + joint.covariance(j, j) - 2 * joint.covariance(i, j), 2e-5);
    }
    const Views& views = example.groups.views;
    for (std::uint32_t block = 0; block < example.blocks(); ++block)
      for (std::uint32_t k = views.block_votes[block]; k < views.block_votes[block + 1]; ++k) {
        const Index i = 6 + views.block_slots[block] + views.first[k],
                    j = 6 + views.block_slots[block] + views.second[k];
        EXPECT_NEAR(example.mean[views.vote[k]], joint.mean(i) - joint.mean(j), 2e-5);
        EXPECT_NEAR(example.variance[views.vote[k]],
                    joint.covariance(i, i) + joint.covariance(j, j) - 2 * joint.covariance(i, j), 2e-5);
      }
    EXPECT_NEAR(from_fixed(sums.log_evidence), joint.log_evidence, 1e-4);
    const double step = 1e-4 * w;
    EXPECT_NEAR(from_fixed(totals.score),
                (Joint(example, w + step).log_evidence - Joint(example, w - step).log_evidence) / (2 * step), 1e-3);
    EXPECT_GT(totals.information, 0);
  }
}

TEST(Views, a_component_has_the_same_bits_whatever_stands_beside_it) {
  const Groups groups = test::groups_with_views(test::prompts(60), 6, test::Said::kBinary);
  const Share share = {groups.range(5, 20), groups.range(31, 33), groups.range(50, 60)};
  const Groups part = take_share(groups, share);
  const Raters raters(test::random_raters(6));
  PassOptions options;
  options.view_variance = 0.7f;
  const auto solved = [&](const Groups& some) {
    const auto engine = make_cpu_engine(some, *choose_kernels());
    engine->update_components(raters, options);
    return engine->posterior(raters, options);
  };
  const Posterior all = solved(groups), some = solved(part);
  std::size_t vote = 0, pair = 0;
  for (const ComponentRange& run : share) {
    for (std::uint32_t v = run.vote; v < run.vote_end; ++v, ++vote) ASSERT_EQ(all.vote_mean[v], some.vote_mean[vote]);
    for (std::uint32_t p = run.pair; p < run.pair_end; ++p, ++pair) ASSERT_EQ(all.pair_mean[p], some.pair_mean[pair]);
  }
}

TEST(Views, of_a_share_are_the_same) {
  const Groups groups = test::groups_with_views(test::prompts(60), 6, test::Said::kBinary);
  const Share share = {groups.range(5, 20), groups.range(31, 33), groups.range(50, 60)};
  const Groups part = take_share(groups, share);
  ASSERT_EQ(part.views.vote.size(), part.votes.size());
  std::uint32_t component = 0;
  for (const ComponentRange& run : share)
    for (std::uint32_t c = run.component; c < run.component_end; ++c, ++component) {
      const Views &from = groups.views, &to = part.views;
      const std::uint32_t blocks = from.component_blocks[c + 1] - from.component_blocks[c];
      ASSERT_EQ(to.component_blocks[component + 1] - to.component_blocks[component], blocks);
      for (std::uint32_t b = 0; b < blocks; ++b) {
        const std::uint32_t x = from.component_blocks[c] + b, y = to.component_blocks[component] + b;
        ASSERT_EQ(from.block_slots[x + 1] - from.block_slots[x], to.block_slots[y + 1] - to.block_slots[y]);
        for (std::uint32_t i = 0; i < from.block_slots[x + 1] - from.block_slots[x]; ++i)
          EXPECT_EQ(groups.slot_item[from.slot[from.block_slots[x] + i]],
                    part.slot_item[to.slot[to.block_slots[y] + i]]);
        ASSERT_EQ(from.block_votes[x + 1] - from.block_votes[x], to.block_votes[y + 1] - to.block_votes[y]);
        for (std::uint32_t i = 0; i < from.block_votes[x + 1] - from.block_votes[x]; ++i) {
          const std::uint32_t k = from.block_votes[x] + i, l = to.block_votes[y] + i;
          EXPECT_EQ(groups.votes[from.vote[k]].bits, part.votes[to.vote[l]].bits);
          EXPECT_EQ(from.first[k], to.first[l]);
          EXPECT_EQ(from.second[k], to.second[l]);
        }
      }
    }
}

}  // namespace
}  // namespace voxpop
