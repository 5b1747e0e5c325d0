#include "label/drift.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <unsupported/Eigen/SpecialFunctions>

#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/component.h"
#include "formulas/label.h"

namespace voxpop {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kFewest = 100, kWindowVotes = 50, kMostWindows = 12;
constexpr std::int64_t kBreak = 1800;  // seconds; longer pauses do not count as work

/// A vote, and what all other votes say of its pair.
struct Seen {
  Statement<double> said;
  Cavity<double> cavity;
  double side, taste;  ///< VoteCode::side(), and the annotator's taste in logits
  double weight;
  double right;  ///< probability that the vote picked the better item; NaN for ties
  std::int64_t time;
};

/// Reads votes and what the fit knows of them.
class Reader {
 public:
  Reader(const Groups& groups, const Fit& fit, const Sites& sites, const Column<std::int64_t>& timestamp)
      : groups_(groups),
        fit_(fit),
        sites_(sites),
        timestamp_(timestamp),
        answers_(groups, fit),
        pair_of_(groups.votes.size()),
        first_of_(groups.annotators + 1, 0),
        by_annotator_(groups.votes.size()) {
    for (const VoteCode vote : groups.votes) ++first_of_[vote.annotator() + 1];
    std::partial_sum(first_of_.begin(), first_of_.end(), first_of_.begin());
    std::vector<std::uint32_t> next(first_of_.begin(), first_of_.end() - 1);
    for (std::uint32_t p = 0; p < groups.pairs(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        pair_of_[v] = p;
        by_annotator_[next[groups.votes[v].annotator()]++] = v;
      }
  }

  /// An annotator's votes in order of time; equal times in order of the file.
  std::vector<Seen> votes_of(std::size_t annotator) const {
    std::vector<std::uint32_t> order(by_annotator_.begin() + first_of_[annotator],
                                     by_annotator_.begin() + first_of_[annotator + 1]);
    std::sort(order.begin(), order.end(), [&](std::uint32_t v, std::uint32_t w) {
      const std::uint32_t a = groups_.vote_row[v], b = groups_.vote_row[w];
      return std::pair(timestamp_[a], a) < std::pair(timestamp_[b], b);
    });
    std::vector<Seen> out;
    for (const std::uint32_t v : order) out.push_back(read(v));
    return out;
  }
  std::size_t count(std::size_t annotator) const { return first_of_[annotator + 1] - first_of_[annotator]; }

 private:
  Seen read(std::uint32_t v) const {
    const VoteCode vote = groups_.votes[v];
    const std::uint32_t pair = pair_of_[v];
    const double winner = vote.winner();
    return {answers_.statement(vote, pair),
            cavity_of_vote(groups_, fit_, sites_, v, pair),
            vote.side(),
            answers_.taste(vote, pair),
            groups_.weight_of(v),
            winner == 0 ? double{kNan}
                        : normal_cdf(winner * fit_.posterior.pair_mean[pair] /
                                     std::sqrt(double{fit_.posterior.pair_variance[pair]})),
            timestamp_[groups_.vote_row[v]]};
  }

  const Groups& groups_;
  const Fit& fit_;
  const Sites& sites_;
  const Column<std::int64_t>& timestamp_;
  const AnswerModel answers_;
  Column<std::uint32_t> pair_of_;
  std::vector<std::uint32_t> first_of_;  ///< [annotators + 1] first index of each annotator's votes in by_annotator_
  Column<std::uint32_t> by_annotator_;   ///< [V] votes, sorted by annotator
};

AnnotatorTerms<double> terms_of(const Seen& vote, const AnnotatorPosterior& at) {
  const Rater<double> rater{at.discrimination, at.side_bias * vote.side + vote.taste, 0, 0, 0};
  const auto z = smoothed_vote<kExact, Likelihood::kMixture>(vote.said, logit(rater, vote.cavity)).z;
  AnnotatorTerms<double> terms = scaled(annotator_terms(rater, vote.cavity, z), vote.weight);
  terms.gradient_beta *= vote.side;
  terms.information_cross *= vote.side;
  terms.information_beta *= vote.side * vote.side;
  return terms;
}

/// Estimates an annotator from some of its votes, with the population as prior.
AnnotatorPosterior estimate(const Seen* begin, const Seen* end, AnnotatorPosterior a, const Population& population) {
  for (int step = 0; step < 20; ++step) {
    AnnotatorSums sums{};
    for (const Seen* vote = begin; vote != end; ++vote) {
      const AnnotatorTerms<double> terms = terms_of(*vote, a);
      add_fixed(sums.gradient_gamma, to_fixed(terms.gradient_gamma));
      add_fixed(sums.gradient_beta, to_fixed(terms.gradient_beta));
      add_fixed(sums.information_gamma, to_fixed(terms.information_gamma));
      add_fixed(sums.information_cross, to_fixed(terms.information_cross));
      add_fixed(sums.information_beta, to_fixed(terms.information_beta));
    }
    if (newton_step(a, sums, population) < 0.02) break;
  }
  return a;
}

std::vector<std::size_t> window_bounds(std::size_t votes) {
  const std::size_t windows = std::clamp(votes / kWindowVotes, std::size_t{2}, kMostWindows);
  std::vector<std::size_t> bounds;
  for (std::size_t w = 0; w <= windows; ++w) bounds.push_back(w * votes / windows);
  return bounds;
}

/// The largest score statistic for a change at one of the bounds between windows (Andrews 1993): D' J^-1 D / (share (1
/// - share)). J: sums of squares and products of all votes' scores (gradients), about their mean. D: sum of the scores
/// before the bound, minus these votes' share of the total. J is the observed spread of scores and not the expected
/// information, so that the statistic does not depend on how certain EP considers the items.
double change_statistic(const std::vector<Seen>& votes, const std::vector<std::size_t>& bounds,
                        const AnnotatorPosterior& a) {
  const auto n = static_cast<double>(votes.size());
  std::vector<std::array<double, 2>> sums(bounds.size() - 1);
  double s0 = 0, s1 = 0, j00 = 0, j01 = 0, j11 = 0;
  for (std::size_t w = 0; w + 1 < bounds.size(); ++w)
    for (std::size_t v = bounds[w]; v < bounds[w + 1]; ++v) {
      const AnnotatorTerms<double> terms = terms_of(votes[v], a);
      const double x = terms.gradient_gamma, y = terms.gradient_beta;
      sums[w][0] += x;
      sums[w][1] += y;
      s0 += x;
      s1 += y;
      j00 += x * x;
      j01 += x * y;
      j11 += y * y;
    }
  j00 -= s0 * s0 / n;
  j01 -= s0 * s1 / n;
  j11 -= s1 * s1 / n;
  const double determinant = j00 * j11 - j01 * j01;
  if (!(determinant > 1e-12 * j00 * j11)) return kNan;
  double statistic = 0, before0 = 0, before1 = 0;
  for (std::size_t w = 0; w + 2 < bounds.size(); ++w) {
    before0 += sums[w][0];
    before1 += sums[w][1];
    const double share = static_cast<double>(bounds[w + 1]) / n;
    const double d0 = before0 - share * s0, d1 = before1 - share * s1;
    const double here = (j11 * d0 * d0 - 2 * j01 * d0 * d1 + j00 * d1 * d1) / determinant / (share * (1 - share));
    statistic = std::max(statistic, here);
  }
  return statistic;
}

}  // namespace

double chi_squared_tail(double statistic, double degrees_of_freedom) {
  return Eigen::numext::igammac(degrees_of_freedom / 2, statistic / 2);
}

Column<float> holm(const Column<float>& p_value) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_value.size(); ++i)
    if (!std::isnan(p_value[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_value[a] < p_value[b]; });
  Column<float> out(p_value.size(), kNan);
  float least = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    least = std::max(least, std::min(1.0f, p_value[order[k]] * static_cast<float>(order.size() - k)));
    out[order[k]] = least;
  }
  return out;
}

Drift find_drift(const Groups& groups, const Fit& fit, const Sites& sites, const Column<std::int64_t>& timestamp) {
  const Reader reader(groups, fit, sites, timestamp);
  const bool rates = has_discriminations(fit.model);
  Drift out;
  for (auto* column : {&out.statistic, &out.p_value, &out.corrected_p_value}) column->assign(groups.voters(), kNan);
  std::vector<WindowColumns> parts(groups.voters());
  oneapi::tbb::parallel_for(std::size_t{0}, groups.voters(), [&](std::size_t a) {
    if (reader.count(a) < kFewest) return;
    const std::vector<Seen> votes = reader.votes_of(a);
    const std::vector<std::size_t> bounds = window_bounds(votes.size());
    if (rates) {
      const double statistic = change_statistic(votes, bounds, fit.annotators[a]);
      out.statistic[a] = static_cast<float>(statistic);
      const auto changes = static_cast<double>(bounds.size()) - 2;  // number of bounds between windows
      if (!std::isnan(statistic))
        out.p_value[a] = static_cast<float>(std::min(1.0, changes * chi_squared_tail(statistic, 2)));
    }
    WindowColumns& columns = parts[a];
    for (std::size_t w = 0; w + 1 < bounds.size(); ++w) {
      const Seen *begin = votes.data() + bounds[w], *end = votes.data() + bounds[w + 1];
      double right = 0, decided = 0, worked = 0, gaps = 0;
      for (const Seen* vote = begin; vote != end; ++vote) {
        if (!std::isnan(vote->right)) {
          right += vote->right;
          decided += 1;
        }
        const std::int64_t gap = vote == begin ? 0 : vote->time - vote[-1].time;
        if (vote == begin || gap > kBreak) continue;
        worked += static_cast<double>(gap);
        gaps += 1;
      }
      columns.annotator.push_back(static_cast<std::uint32_t>(a));
      columns.votes.push_back(static_cast<std::uint32_t>(end - begin));
      columns.start.push_back(begin->time);
      columns.end.push_back(end[-1].time);
      const double accuracy = right / decided;
      columns.expected_accuracy.push_back(static_cast<float>(accuracy));
      columns.expected_accuracy_se.push_back(static_cast<float>(std::sqrt(accuracy * (1 - accuracy) / decided)));
      columns.votes_per_hour.push_back(worked > 0 ? static_cast<float>(3600 * gaps / worked) : kNan);
      AnnotatorPosterior now;
      if (rates) now = estimate(begin, end, fit.annotators[a], fit.population);
      const double unit = fit.reference_discrimination;
      const auto if_rated = [&](double x) { return rates ? static_cast<float>(x) : kNan; };
      columns.discrimination.push_back(if_rated(now.discrimination / unit));
      columns.discrimination_se.push_back(if_rated(std::sqrt(now.discrimination_variance) / unit));
      columns.side_bias.push_back(if_rated(now.side_bias));
      columns.side_bias_se.push_back(if_rated(std::sqrt(now.side_bias_variance)));
    }
  });
  out.corrected_p_value = holm(out.p_value);
  const auto join = [&](auto WindowColumns::*column) {
    for (const WindowColumns& part : parts)
      (out.windows.*column).insert((out.windows.*column).end(), (part.*column).begin(), (part.*column).end());
  };
  for (const auto column : {&WindowColumns::annotator, &WindowColumns::votes}) join(column);
  for (const auto column : {&WindowColumns::start, &WindowColumns::end}) join(column);
  for (const auto column : {&WindowColumns::expected_accuracy, &WindowColumns::expected_accuracy_se,
                            &WindowColumns::discrimination, &WindowColumns::discrimination_se,
                            &WindowColumns::side_bias, &WindowColumns::side_bias_se, &WindowColumns::votes_per_hour})
    join(column);
  return out;
}

}  // namespace voxpop
