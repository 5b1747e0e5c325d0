#pragma once
// Expectation propagation of one component in double precision, with the shared formulas but none of the engine's
// loops.

#include <Eigen/Dense>
#include <vector>

#include "formulas/vote.h"
#include "helpers.h"

namespace voxpop::test {

class DoubleEp {
 public:
  DoubleEp(std::size_t items, std::vector<KnownVote> votes)
      : items_(static_cast<Eigen::Index>(items)), votes_(std::move(votes)), sites_(votes_.size(), {0, 0}) {
    double moved = 1;
    for (sweeps = 0; moved > 1e-9 && sweeps < 2000; ++sweeps) {
      moved = 0;
      solve();
      for (std::size_t v = 0; v < votes_.size(); ++v) moved = std::max(moved, update(v));
    }
    solve();
    log_evidence = 0.5 * (shift_.dot(mean) - log_determinant_);
    for (std::size_t v = 0; v < votes_.size(); ++v)
      log_evidence += site_log_scale(smoothed(v).log_value, cavity(v), sites_[v]);
  }

  double pair_mean(std::uint32_t i, std::uint32_t j) const { return mean(i) - mean(j); }
  double pair_variance(std::uint32_t i, std::uint32_t j) const {
    return covariance(i, i) + covariance(j, j) - 2 * covariance(i, j);
  }
  AnnotatorTerms<double> terms(std::size_t v) const { return annotator_terms(rater(v), cavity(v), smoothed(v)); }

  Eigen::VectorXd mean;
  Eigen::MatrixXd covariance;
  double log_evidence = 0;
  int sweeps = 0;

 private:
  Rater<double> rater(std::size_t v) const { return {votes_[v].discrimination, votes_[v].side_bias, 0, 0, 0}; }
  Cavity<double> cavity(std::size_t v) const {
    const auto [i, j] = std::pair(votes_[v].first, votes_[v].second);
    return cavity_without(pair_mean(i, j), pair_variance(i, j), sites_[v]);
  }
  Smoothed<double> smoothed(std::size_t v) const {
    const Statement<double> vote{votes_[v].winner, 0, kFar};
    return smoothed_vote<kExact, Likelihood::kOrdinal>(vote, logit(rater(v), cavity(v))).z;
  }

  void solve() {
    Eigen::MatrixXd h = Eigen::MatrixXd::Identity(items_, items_);
    shift_ = Eigen::VectorXd::Zero(items_);
    for (std::size_t v = 0; v < votes_.size(); ++v) {
      Eigen::VectorXd x = Eigen::VectorXd::Zero(items_);
      x(votes_[v].first) = 1;
      x(votes_[v].second) = -1;
      h += sites_[v].precision * x * x.transpose();
      shift_ += sites_[v].shift * x;
    }
    const Eigen::LLT<Eigen::MatrixXd> factor(h);
    covariance = factor.solve(Eigen::MatrixXd::Identity(items_, items_));
    mean = factor.solve(shift_);
    log_determinant_ = 2 * factor.matrixLLT().diagonal().array().log().sum();
  }

  /// A new site for vote v, and the posterior with it; returns how far the site moved.
  double update(std::size_t v) {
    const Site<double> old = sites_[v], site = matched_site(rater(v), cavity(v), smoothed(v));
    sites_[v] = site;
    const auto [i, j] = std::pair(votes_[v].first, votes_[v].second);
    const double more = site.precision - old.precision;
    shift_(i) += site.shift - old.shift;
    shift_(j) -= site.shift - old.shift;
    const Eigen::VectorXd direction = covariance.col(i) - covariance.col(j);
    covariance -= more / (1 + more * pair_variance(i, j)) * direction * direction.transpose();
    mean = covariance * shift_;
    return std::max(std::abs(more) / (1 + site.precision),
                    std::abs(site.shift - old.shift) / (1 + std::abs(site.shift)));
  }

  Eigen::Index items_;
  std::vector<KnownVote> votes_;
  std::vector<Site<double>> sites_;
  Eigen::VectorXd shift_;
  double log_determinant_ = 0;
};

}  // namespace voxpop::test
