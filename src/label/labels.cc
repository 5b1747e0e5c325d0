#include "label/labels.h"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "group/weights.h"
#include "voxpop/fixed_point.h"

namespace voxpop {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double normal_below(double x, double mean, double sd) {
  return 0.5 * std::erfc((mean - x) / (std::max(sd, 1e-9) * std::sqrt(2.0)));
}

float ratio(std::int64_t fixed_sum, double count) {
  return count > 0 ? static_cast<float>(from_fixed(fixed_sum) / count) : kNan;
}

/// How many votes a pair's votes are as.
double weight_of_pair(const Groups& groups, std::size_t pair) {
  double weight = 0;
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    weight += groups.given_weight_of(v);
  return weight;
}

ItemLabels label_items(const Groups& groups, const Fit& fit, std::size_t items) {
  ItemLabels out;
  const auto unit = static_cast<float>(fit.reference_discrimination);
  out.score.assign(items, 0.0f);
  out.std_error.assign(items, unit);  // nothing known: the prior, sd 1 in prior units
  out.votes.assign(items, 0);
  out.component.assign(items, -1);
  Column<std::uint32_t> component_of(items, 0);
  for (std::size_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t slot = groups.component_slots[c]; slot < groups.component_slots[c + 1]; ++slot) {
      const std::uint32_t item = groups.slot_item[slot];
      out.score[item] = unit * fit.posterior.slot_mean[slot];
      out.std_error[item] = unit * std::sqrt(fit.posterior.slot_variance[slot]);
      out.component[item] = 0;
      component_of[item] = static_cast<std::uint32_t>(c);
    }
  if (groups.given_weight.empty()) {
    for (std::size_t p = 0; p < groups.pairs(); ++p) {
      const std::uint32_t votes = groups.pair_votes[p + 1] - groups.pair_votes[p];
      out.votes[groups.slot_item[groups.pair_first[p]]] += votes;
      out.votes[groups.slot_item[groups.pair_second[p]]] += votes;
    }
  } else {
    std::vector<double> weight(items, 0.0);
    for (std::size_t p = 0; p < groups.pairs(); ++p) {
      const double votes = weight_of_pair(groups, p);
      weight[groups.slot_item[groups.pair_first[p]]] += votes;
      weight[groups.slot_item[groups.pair_second[p]]] += votes;
    }
    std::ranges::transform(weight, out.votes.begin(), rounded_votes);
  }
  Column<std::int32_t> number(groups.components(), -1);
  std::int32_t next = 0;
  for (std::size_t item = 0; item < items; ++item) {
    if (out.component[item] < 0) continue;
    std::int32_t& mine = number[component_of[item]];
    if (mine < 0) mine = next++;
    out.component[item] = mine;
  }
  return out;
}

CovariateLabels label_covariates(const Groups& groups, const Fit& fit) {
  CovariateLabels out;
  for (int k = 0; k < groups.covariates.count(); ++k) {
    out.names.push_back(groups.covariates.names[k]);
    const double unit = fit.reference_discrimination / groups.covariates.sd[k];
    out.coefficient.push_back(static_cast<float>(fit.coefficient[k] * unit));
    out.coefficient_se.push_back(static_cast<float>(fit.coefficient_se[k] * unit));
  }
  for (std::size_t k = 0; k < fit.taste_sd.size(); ++k)
    out.taste_sd.push_back(static_cast<float>(fit.taste_sd[k] / groups.covariates.sd[k]));
  return out;
}

Column<float> control_scores(const Groups& groups, const Fit& fit, Column<float> score) {
  const Covariates& known = groups.covariates;
  if (known.features == 0) return {};
  for (std::size_t slot = 0; slot < groups.slot_item.size(); ++slot)
    for (int k = 0; k < known.features; ++k)
      score[groups.slot_item[slot]] -=
          static_cast<float>(fit.reference_discrimination * fit.coefficient[k]) * known.value[slot * known.count() + k];
  return score;
}

struct Rating {
  double discrimination, discrimination_se, side_bias_se;  ///< in units of the reference annotator
};

/// Crowd-BT's annotators differ in eta: to first order a pair's logit is multiplied by 2 eta - 1.
Rating rate_annotator(const AnnotatorPosterior& a, const Fit& fit) {
  const double unit = fit.reference_discrimination;
  if (has_discriminations(fit.model)) {
    const double discrimination = a.discrimination / unit;
    return {discrimination, std::hypot(std::sqrt(a.discrimination_variance) / unit, kMethodError * discrimination),
            std::sqrt(a.side_bias_variance)};
  }
  if (fit.model == Model::kBradleyTerry) return {a.discrimination / unit, kNan, kNan};
  const double eta = share_of(a.share_logit), reference = 2 * fit.reference_share - 1;
  return {(2 * eta - 1) / reference, 2 * eta * (1 - eta) * std::sqrt(a.share_variance) / reference, kNan};
}

void add_share(const AnnotatorPosterior& a, Model model, AnnotatorLabels& out) {
  const double sd = std::sqrt(a.share_variance);
  const auto share = [&](double sds) { return static_cast<float>(share_of(a.share_logit + sds * sd)); };
  if (model == Model::kLapse) {
    out.lapse_rate.push_back(1 - share(0));
    out.lapse_rate_low.push_back(1 - share(1.96));
    out.lapse_rate_high.push_back(1 - share(-1.96));
  } else if (model == Model::kCrowdBt) {
    out.eta.push_back(share(0));
    out.eta_se.push_back(share(0) * (1 - share(0)) * static_cast<float>(sd));
  }
}

AnnotatorLabels label_annotators(const Groups& groups, const Fit& fit) {
  AnnotatorLabels out;
  std::vector<double> given(groups.annotators, 0.0);
  for (std::uint32_t v = 0; v < groups.votes.size(); ++v)
    given[groups.votes[v].annotator()] += groups.given_weight_of(v);
  std::vector<std::uint32_t> votes(given.size());
  std::ranges::transform(given, votes.begin(), rounded_votes);
  const std::vector<double> weight = groups.weight.empty() ? given : weigh_annotators(groups);
  out.votes.assign(votes.begin(), votes.end());
  out.distinct_pairs = count_distinct_pairs(groups);
  std::vector<bool> sided(groups.annotators, false);
  for (const VoteCode vote : groups.votes)
    if (vote.side_known()) sided[vote.annotator()] = true;
  for (std::size_t a = 0; a < groups.annotators; ++a) {
    const AnnotatorPosterior& posterior = fit.annotators[a];
    const ReportSums& sums = fit.posterior.annotators[a];
    Rating rating = rate_annotator(posterior, fit);
    const double side_bias = sided[a] || votes[a] == 0 ? posterior.side_bias : 0;
    if (!sided[a] && votes[a] > 0) rating.side_bias_se = kNan;
    out.discrimination.push_back(static_cast<float>(rating.discrimination));
    out.discrimination_se.push_back(static_cast<float>(rating.discrimination_se));
    out.side_bias.push_back(static_cast<float>(side_bias));
    out.side_bias_se.push_back(static_cast<float>(rating.side_bias_se));
    add_share(posterior, fit.model, out);
    const double decided = from_fixed(sums.decided);
    out.agreement.push_back(ratio(sums.agreement, decided));
    out.expected_accuracy.push_back(ratio(sums.better, decided));
    out.bits_per_vote.push_back(ratio(sums.bits, weight[a]));
    const auto [flag, probability] = fit.model == Model::kBradleyTerry
                                         ? std::pair(Flag::kOk, kNan)
                                         : flag_annotator(rating.discrimination, rating.discrimination_se, side_bias,
                                                          rating.side_bias_se, out.distinct_pairs[a]);
    out.flag.push_back(static_cast<std::int8_t>(flag));
    out.flag_probability.push_back(probability);
    for (std::size_t k = 0; k < fit.taste_sd.size(); ++k) {
      const Taste taste = fit.tastes[a * fit.taste_sd.size() + k];
      const double unit = groups.covariates.sd[k];
      out.taste.push_back(static_cast<float>(taste.mean / unit));
      // Given the coefficient; its own uncertainty, and the method's, come to that.
      const double error = std::hypot(std::sqrt(taste.variance), fit.coefficient_se[k] * posterior.discrimination,
                                      kMethodError * taste.mean);
      out.taste_se.push_back(static_cast<float>(error / unit));
    }
  }
  return out;
}

PairColumns pair_columns(const Groups& groups, const Fit& fit, const PairLabels& labels,
                         const Column<std::int8_t>& flags) {
  struct Key {
    std::uint64_t items;
    std::uint32_t pair;
    bool operator<(const Key& other) const { return items < other.items; }
  };
  Column<Key> order(groups.pairs());
  for (std::uint32_t p = 0; p < order.size(); ++p)
    order[p] = {std::uint64_t{groups.slot_item[groups.pair_first[p]]} << 32 | groups.slot_item[groups.pair_second[p]],
                p};
  oneapi::tbb::parallel_sort(order);
  PairColumns out;
  for (auto* column : {&out.left, &out.right, &out.votes, &out.ties, &out.flagged_votes}) column->resize(order.size());
  for (auto* column :
       {&out.wins_left, &out.probability, &out.probability_better, &out.margin, &out.margin_se, &out.information_gain})
    column->resize(order.size());
  const auto unit = static_cast<float>(fit.reference_discrimination);
  oneapi::tbb::parallel_for(std::size_t{0}, order.size(), [&](std::size_t row) {
    const std::uint32_t p = order[row].pair;
    out.left[row] = static_cast<std::uint32_t>(order[row].items >> 32);
    out.right[row] = static_cast<std::uint32_t>(order[row].items);
    double lead = 0;  // wins of the left item less those of the right one; a float would count to 2^24
    double votes = 0, ties = 0, flagged = 0;
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const double weight = groups.given_weight_of(v);
      votes += weight;
      lead += weight * groups.votes[v].winner();
      if (!groups.votes[v].decided()) ties += weight;
      if (is_suspicious(static_cast<Flag>(flags[groups.votes[v].annotator()]))) flagged += weight;
    }
    out.votes[row] = rounded_votes(votes);
    out.wins_left[row] = static_cast<float>(0.5 * (votes + lead));
    out.ties[row] = rounded_votes(ties);
    out.flagged_votes[row] = rounded_votes(flagged);
    out.probability[row] = labels.probability[p];
    out.probability_better[row] = labels.better[p];
    out.margin[row] = unit * fit.posterior.pair_mean[p];
    out.margin_se[row] = unit * std::sqrt(fit.posterior.pair_variance[p]);
    out.information_gain[row] = labels.information[p];
  });
  return out;
}

}  // namespace

const std::vector<std::string>& flag_names() {
  static const std::vector<std::string> names = {"ok",           "noisy",       "random",
                                                 "side_clicker", "adversarial", "too_few_votes"};
  return names;
}

std::pair<Flag, float> flag_annotator(double discrimination, double discrimination_se, double side_bias,
                                      double side_bias_se, std::uint32_t distinct_pairs) {
  const auto below = [&](double x) { return normal_below(x, discrimination, discrimination_se); };
  const double one_sided = std::isnan(side_bias_se) ? 0
                                                    : normal_below(-1, side_bias, side_bias_se) + 1 -
                                                          normal_below(1, side_bias, side_bias_se);
  std::array<double, 5> probability{};
  probability[static_cast<int>(Flag::kAdversarial)] = below(-0.1);
  probability[static_cast<int>(Flag::kSideClicker)] = one_sided * (below(0.6) - below(-0.1));
  probability[static_cast<int>(Flag::kRandom)] = (1 - one_sided) * (below(0.15) - below(-0.1));
  probability[static_cast<int>(Flag::kNoisy)] = (1 - one_sided) * (below(0.6) - below(0.15));
  probability[static_cast<int>(Flag::kOk)] = 1 - below(0.6);
  const auto best = std::max_element(probability.begin(), probability.end());
  const bool told = distinct_pairs > 1 && (*best >= 0.75 || discrimination_se <= 0.15);
  return {told ? static_cast<Flag>(best - probability.begin()) : Flag::kTooFewVotes, static_cast<float>(*best)};
}

PairLabels find_pair_labels(Engine& engine, const Fit& fit) {
  PairLabels pairs = engine.label_pairs(static_cast<float>(fit.reference_discrimination));
  if (fit.model == Model::kCrowdBt)
    for (float& p : pairs.probability) p = static_cast<float>(0.5 + (p - 0.5) * (2 * fit.reference_share - 1));
  return pairs;
}

Labels make_labels(const Groups& groups, const Fit& fit, const PairLabels& pairs, std::size_t items, std::size_t rows) {
  Labels labels;
  labels.items = label_items(groups, fit, items);
  labels.items.controlled_score = control_scores(groups, fit, labels.items.score);
  labels.annotators = label_annotators(groups, fit);
  labels.covariates = label_covariates(groups, fit);
  labels.pairs = pair_columns(groups, fit, pairs, labels.annotators.flag);
  labels.vote_probability_correct.assign(rows, kNan);
  oneapi::tbb::parallel_for(std::size_t{0}, groups.pairs(), [&](std::size_t p) {
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      if (!groups.votes[v].decided()) continue;
      labels.vote_probability_correct[groups.vote_row[v]] =
          groups.votes[v].winner() > 0 ? pairs.better[p] : 1 - pairs.better[p];
    }
  });
  return labels;
}

double flip_rate(const Labels& labels) {
  double flipped = 0, decided = 0;
  for (const float p : labels.vote_probability_correct)
    if (!std::isnan(p)) {
      flipped += 1 - p;
      decided += 1;
    }
  return flipped / decided;
}

}  // namespace voxpop
