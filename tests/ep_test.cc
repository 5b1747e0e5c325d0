// EP against tests/reference_ep.py (numpy, dense integration; shares no code) and, there, against brute force.

#include <fstream>
#include <nlohmann/json.hpp>

#include "double_ep.h"
#include "fit/engine.h"

namespace voxpop {
namespace {

using test::DoubleEp;
using test::KnownVote;

struct Case {
  std::string name;
  std::size_t items;
  std::vector<KnownVote> votes;
  std::vector<double> mean;
  std::vector<std::vector<double>> covariance;
  double log_evidence;
  /// By brute force, for 2 and 3 items: (i, j, mean, variance) of score(i) - score(j).
  std::vector<std::tuple<std::uint32_t, std::uint32_t, double, double>> exact_differences;
  double exact_log_evidence = 0;

  bool strong() const {
    return contains_vote([](const KnownVote& v) { return std::abs(v.discrimination) > 3; });
  }
  double pair_mean(std::uint32_t i, std::uint32_t j) const { return mean[i] - mean[j]; }
  double pair_sd(std::uint32_t i, std::uint32_t j) const {
    return std::sqrt(covariance[i][i] + covariance[j][j] - 2 * covariance[i][j]);
  }
  template <class Predicate>
  bool contains_vote(const Predicate& predicate) const {
    return std::any_of(votes.begin(), votes.end(), predicate);
  }
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::ifstream file(VOXPOP_TEST_DATA "/ep_reference.json");
    const nlohmann::json json = nlohmann::json::parse(file);
    std::vector<Case> out;
    for (const auto& in : json.at("cases")) {
      Case c{in.at("name"),
             in.at("items"),
             {},
             in.at("ep").at("mean"),
             in.at("ep").at("covariance"),
             in.at("ep").at("log_evidence"),
             {}};
      for (const auto& v : in.at("votes")) c.votes.push_back({v[0], v[1], v[2], v[3], v[4]});
      if (in.contains("exact")) {
        for (const auto& d : in.at("exact").at("differences")) c.exact_differences.emplace_back(d[0], d[1], d[2], d[3]);
        c.exact_log_evidence = in.at("exact").at("log_evidence");
      }
      out.push_back(c);
    }
    return out;
  }();
  return all;
}

TEST(Ep, the_reference_is_there) { EXPECT_GE(cases().size(), 24u); }

/// Largest difference in a score difference's mean, in its covariances, and in log evidence.
double largest_difference(const Case& c, const DoubleEp& ep) {
  double worst = std::abs(ep.log_evidence - c.log_evidence);
  for (std::uint32_t i = 0; i < c.items; ++i)
    for (std::uint32_t j = 0; j < c.items; ++j) {
      worst = std::max(worst, std::abs(ep.pair_mean(i, j) - c.pair_mean(i, j)));
      worst = std::max(worst, std::abs(ep.covariance(i, j) - c.covariance[i][j]));
    }
  return worst;
}

TEST(Ep, double_precision_matches_the_reference) {
  for (const Case& c : cases()) {
    const DoubleEp ep(c.items, c.votes);
    EXPECT_LT(ep.sweeps, 2000) << c.name;
    // Mixtures are exact to 5e-8 within +-10 logits. Where the likelihood is much narrower than the cavity (here
    // discriminations of 8 and 30), their tails beyond count too, a tie's most, which falls off as exp(-|eta| / 2)
    // only; and the posterior variance, a small difference, magnifies that.
    EXPECT_LT(largest_difference(c, ep), c.strong() ? 2e-4 : 1e-6) << c.name;
  }
}

TEST(Ep, is_close_to_brute_force) {
  std::size_t compared = 0;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    for (const auto& [i, j, mean, variance] : c.exact_differences) {
      const DoubleEp ep(c.items, c.votes);
      EXPECT_NEAR(ep.pair_mean(i, j), mean, 1e-2 * std::sqrt(variance)) << i << " " << j;
      ++compared;
    }
  }
  EXPECT_GT(compared, 20u);
}

TEST(Ep, cpu_engine_matches_the_reference) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const test::EngineInput input(c.items, c.votes);
    const auto engine = make_cpu_engine(input.groups, *choose_kernels());
    const PassResult pass = engine->update_components(input.raters, {.sweeps = 100, .exact = true});
    EXPECT_LT(pass.solved.change, 1e-3);
    const Posterior posterior = engine->posterior(input.raters, {});
    for (std::size_t p = 0; p < input.groups.pairs(); ++p) {
      const std::uint32_t i = input.groups.slot_item[input.groups.pair_first[p]];
      const std::uint32_t j = input.groups.slot_item[input.groups.pair_second[p]];
      EXPECT_NEAR(posterior.pair_mean[p], c.pair_mean(i, j), 1e-3 * c.pair_sd(i, j)) << i << " " << j;
      // A tie at discrimination 30: its posterior variance is a difference of derivatives 180 times its size, and each
      // of these is one of two terms that nearly cancel. Single precision keeps 3 %.
      const double tolerance = c.name == "1 vote, very strong tie" ? 4e-2 : 1e-3;
      EXPECT_NEAR(std::sqrt(posterior.pair_variance[p]), c.pair_sd(i, j), tolerance * c.pair_sd(i, j)) << i << " " << j;
    }
    for (std::size_t s = 0; s < input.groups.slot_item.size(); ++s) {
      // The engine's scores are centred: their variance lacks that of the mean score, which votes do not touch.
      const std::uint32_t i = input.groups.slot_item[s];
      EXPECT_NEAR(posterior.slot_mean[s], c.mean[i], 1e-3);
      EXPECT_NEAR(posterior.slot_variance[s], c.covariance[i][i] - 1 / static_cast<double>(c.items), 1e-3);
    }
    EXPECT_NEAR(posterior.log_evidence, c.log_evidence, 1e-3 * std::max(1.0, std::abs(c.log_evidence)));
  }
}

/// EP's evidence is stationary in the sites, so its gradient in an annotator is the sum of the votes' own at fixed
/// cavities.
TEST(Ep, evidence_gradient_is_the_sum_of_annotator_terms) {
  const auto found =
      std::find_if(cases().begin(), cases().end(), [](const Case& c) { return c.name == "6 items, 30 votes"; });
  ASSERT_NE(found, cases().end());
  // Every third vote is by one annotator.
  std::vector<KnownVote> votes = found->votes;
  for (std::size_t v = 0; v < votes.size(); v += 3) {
    votes[v].discrimination = 1.2;
    votes[v].side_bias = 0.3;
  }
  const auto log_evidence = [&](double more_gamma, double more_beta) {
    std::vector<KnownVote> moved = votes;
    for (std::size_t v = 0; v < votes.size(); v += 3) {
      moved[v].discrimination += more_gamma;
      moved[v].side_bias += more_beta;
    }
    return DoubleEp(found->items, moved).log_evidence;
  };
  double gamma = 0, beta = 0;
  const DoubleEp ep(found->items, votes);
  for (std::size_t v = 0; v < votes.size(); v += 3) {
    gamma += ep.terms(v).gradient_gamma;
    beta += ep.terms(v).gradient_beta;
  }
  const double h = 1e-4;
  const double by_gamma = (log_evidence(h, 0) - log_evidence(-h, 0)) / (2 * h);
  const double by_beta = (log_evidence(0, h) - log_evidence(0, -h)) / (2 * h);
  EXPECT_NEAR(gamma, by_gamma, 1e-5 * std::abs(by_gamma));
  EXPECT_NEAR(beta, by_beta, 1e-5 * std::abs(by_beta));
}

}  // namespace
}  // namespace voxpop
