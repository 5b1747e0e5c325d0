#pragma once
// What several test files share. Nothing here uses the formulas under test.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <string>
#include <vector>

#include "fit/component_kernel.h"
#include "group/group.h"
#include "simulate/simulate.h"
#include "votes/votes.h"

namespace voxpop::test {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

/// Votes on 100 items, each on a pair that is drawn for it: most annotators have few.
inline SimulateOptions sparse_arena(std::uint64_t votes, std::uint64_t annotators, std::uint64_t seed) {
  return {.shape = Shape::kArena,
          .prompts = votes,
          .responses = 100,
          .pairs_per_prompt = 1,
          .votes_per_pair = 1,
          .annotators = annotators,
          .mix = {},
          .seed = seed};
}

inline double log_logistic(double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

/// Log-likelihood of a vote at logit eta; `winner` is +1, -1 or 0, a tie.
inline double log_likelihood(double winner, double eta) {
  return winner == 0 ? (log_logistic(eta) + log_logistic(-eta)) / 2 : log_logistic(winner * eta);
}

inline double log_normal(double x, double mean, double variance) {
  return -((x - mean) * (x - mean) / variance + std::log(2 * std::numbers::pi * variance)) / 2;
}

/// A density given by its logarithm, on equal steps over [low, high]: a trapezoid sum, which converges exponentially
/// for the densities here, where both ends are far out.
class Density {
 public:
  template <class LogDensity>
  Density(const LogDensity& log_density, double low, double high, int nodes = 3001)
      : low_(low), step_((high - low) / (nodes - 1)), weight_(nodes) {
    for (int i = 0; i < nodes; ++i) weight_[i] = log_density(low + step_ * i);
    const double peak = *std::max_element(weight_.begin(), weight_.end());
    double total = 0;
    for (double& w : weight_) total += w = std::exp(w - peak);
    for (double& w : weight_) w /= total;
    log_integral_ = peak + std::log(total * step_);
  }
  double log_integral() const { return log_integral_; }
  template <class Function>
  double average(const Function& function) const {
    double sum = 0;
    for (std::size_t i = 0; i < weight_.size(); ++i)
      sum += weight_[i] * function(low_ + step_ * static_cast<double>(i));
    return sum;
  }
  double mean() const {
    return average([](double x) { return x; });
  }
  double variance() const {
    return average([centre = mean()](double x) { return (x - centre) * (x - centre); });
  }

 private:
  double low_, step_, log_integral_;
  std::vector<double> weight_;
};

/// N(mean, variance) times the likelihood of a vote with logit gamma d + beta, as a density of d.
inline Density tilted(double winner, double gamma, double beta, double mean, double variance) {
  const double sd = std::sqrt(variance);
  const double pull = std::abs(gamma) * variance;  // the mode lies no further than this from the mean
  const double low = winner * gamma > 0 ? mean : mean - pull, high = winner * gamma < 0 ? mean : mean + pull;
  return Density([=](double d) { return log_likelihood(winner, gamma * d + beta) + log_normal(d, mean, variance); },
                 low - 13 * sd, high + 13 * sd);
}

/// One row of a comparisons file.
struct Row {
  std::uint32_t left, right, annotator;
  int preference;
};

inline Votes make_votes(std::size_t items, std::size_t annotators, const std::vector<Row>& rows) {
  Votes votes;
  for (std::size_t i = 0; i < items; ++i) votes.item_ids.push_back("i" + std::to_string(i));
  for (std::size_t a = 0; a < annotators; ++a) votes.annotator_ids.push_back("a" + std::to_string(a));
  for (const Row& row : rows) {
    votes.left.push_back(row.left);
    votes.right.push_back(row.right);
    votes.annotator.push_back(row.annotator);
    votes.preference.push_back(static_cast<std::int8_t>(row.preference));
  }
  votes.inputs.push_back({"votes.h5", 0, ""});
  return votes;
}

inline void expect_same_groups(const Groups& groups, const Groups& expected) {
  EXPECT_EQ(groups.component_slots, expected.component_slots);
  EXPECT_EQ(groups.component_pairs, expected.component_pairs);
  EXPECT_EQ(groups.slot_item, expected.slot_item);
  EXPECT_EQ(groups.pair_first, expected.pair_first);
  EXPECT_EQ(groups.pair_second, expected.pair_second);
  EXPECT_EQ(groups.pair_votes, expected.pair_votes);
  EXPECT_EQ(groups.vote_row, expected.vote_row);
  EXPECT_EQ(groups.answers, expected.answers);
  EXPECT_EQ(groups.annotators, expected.annotators);
  ASSERT_EQ(groups.votes.size(), expected.votes.size());
  for (std::size_t v = 0; v < groups.votes.size(); ++v) ASSERT_EQ(groups.votes[v].bits, expected.votes[v].bits) << v;
}

/// A vote by an annotator who is known; first < second, `side_bias` is towards the first.
struct KnownVote {
  std::uint32_t first, second;
  double winner, discrimination, side_bias;
};

/// The same votes as an engine takes them: an annotator each, every other one shown the other way round.
struct EngineInput {
  Groups groups;
  std::vector<RaterRecord> raters;

  EngineInput(std::size_t items, const std::vector<KnownVote>& known) {
    std::vector<Row> rows;
    for (std::uint32_t v = 0; v < known.size(); ++v) {
      const KnownVote& vote = known[v];
      const int winner = static_cast<int>(vote.winner);
      rows.push_back(v % 2 == 0 ? Row{vote.first, vote.second, v, winner} : Row{vote.second, vote.first, v, -winner});
      RaterRecord& rater = raters.emplace_back();
      rater.discrimination = static_cast<float>(vote.discrimination);
      rater.side_bias = static_cast<float>(v % 2 == 0 ? vote.side_bias : -vote.side_bias);
    }
    Votes votes = make_votes(items, known.size(), rows);
    groups = group_votes(votes, Ties::kHalf);
  }
};

/// A folder of its own for a test, removed after it.
class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(testing::TempDir() + "voxpop_test." + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~FileTest() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

 private:
  std::string folder_;
};

}  // namespace voxpop::test
