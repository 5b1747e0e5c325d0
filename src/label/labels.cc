#include "label/labels.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "core/scratch_memory.h"
#include "formulas/elementary.h"
#include "formulas/fixed_point.h"
#include "group/weights.h"

namespace voxpop {
namespace {

constexpr std::size_t kRows = 1 << 16, kPairs = 256;  ///< at once, for one thread

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double normal_below(double x, double mean, double sd) { return normal_cdf(x, mean, std::max(sd, 1e-9)); }

/// Calls act(begin, end) for parts of [0, size) of about `part`, in parallel.
template <class Act>
void in_parts(std::size_t size, std::size_t part, const Act& act) {
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(0, size, part), [&](const auto& range) {
    act(range.begin(), range.end());
    ScratchMemory::keep_within_limit();
  });
}

/// A column of one value, filled on all cores.
Column<float> filled(std::size_t size, float value) {
  Column<float> out(size);
  in_parts(size, kRows,
           [&](std::size_t begin, std::size_t end) { std::fill(out.data() + begin, out.data() + end, value); });
  return out;
}

float ratio(std::int64_t fixed_sum, double count) {
  return count > 0 ? static_cast<float>(from_fixed(fixed_sum) / count) : kNan;
}

/// Sum of the given weights of a pair's votes.
double weight_of_pair(const Groups& groups, std::size_t pair) {
  double weight = 0;
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    weight += groups.given_weight_of(v);
  return weight;
}

ItemLabels label_items(const Groups& groups, const Fit& fit, std::size_t items) {
  ItemLabels out;
  const auto unit = static_cast<float>(fit.score_unit);
  out.score = filled(items, 0);
  out.std_error = filled(items, unit);  // without votes: the prior, whose sd is 1 in prior units
  out.votes.assign(items, 0);
  out.component.assign(items, -1);
  Column<std::uint32_t> component_of(items, 0);
  oneapi::tbb::parallel_for(std::size_t{0}, groups.components(), [&](std::size_t c) {
    const auto begin = fit.posterior.slot_mean.begin() + groups.component_slots[c];
    // Scores are already centred, except for the part from sources.
    const float centre = groups.sources == 0 ? 0
                                             : std::accumulate(begin, begin + groups.items_of(c), 0.0f) /
                                                   static_cast<float>(groups.items_of(c));
    for (std::uint32_t slot = groups.component_slots[c]; slot < groups.component_slots[c + 1]; ++slot) {
      const std::uint32_t item = groups.slot_item[slot];
      out.score[item] = unit * (fit.posterior.slot_mean[slot] - centre);
      out.std_error[item] = unit * std::sqrt(fit.posterior.slot_variance[slot]);
      out.component[item] = 0;
      component_of[item] = static_cast<std::uint32_t>(c);
    }
  });
  if (groups.given_weight.empty()) {
    in_parts(groups.pairs(), kPairs, [&](std::size_t begin, std::size_t end) {
      for (std::size_t p = begin; p < end; ++p)
        for (const std::uint32_t slot : {groups.pair_first[p], groups.pair_second[p]})
          std::atomic_ref(out.votes[groups.slot_item[slot]])
              .fetch_add(groups.pair_votes[p + 1] - groups.pair_votes[p], std::memory_order_relaxed);
    });
  } else {
    Column<double> of_pair(groups.pairs());
    in_parts(groups.pairs(), kPairs, [&](std::size_t begin, std::size_t end) {
      for (std::size_t p = begin; p < end; ++p) of_pair[p] = weight_of_pair(groups, p);
    });
    std::vector<double> weight(items, 0.0);
    for (std::size_t p = 0; p < groups.pairs(); ++p)
      for (const std::uint32_t slot : {groups.pair_first[p], groups.pair_second[p]})
        weight[groups.slot_item[slot]] += of_pair[p];
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
    const double unit = fit.score_unit / groups.covariates.sd[k];
    out.coefficient.push_back(static_cast<float>(fit.coefficient[k] * unit));
    out.coefficient_se.push_back(static_cast<float>(fit.coefficient_se[k] * unit));
  }
  for (std::size_t k = 0; k < fit.taste_sd.size(); ++k)
    out.taste_sd.push_back(static_cast<float>(fit.taste_sd[k] / groups.covariates.sd[k]));
  return out;
}

/// The share is S / (S + U). S: variance that embeddings explain. U: variance that they do not explain; it is 1, with
/// an error.
std::optional<EmbeddingLabels> label_embedding(const Fit& fit) {
  if (fit.prior == nullptr) return std::nullopt;
  const EmbeddingFit& found = fit.prior->embedding;
  const double unit = fit.score_unit * fit.prior_scale, square = fit.prior_scale * fit.prior_scale;
  EmbeddingLabels out;
  for (std::size_t k = 0; k < found.coefficient.size(); ++k) {
    out.coefficient.push_back(static_cast<float>(unit * found.coefficient[k]));
    out.coefficient_se.push_back(static_cast<float>(std::abs(unit) * std::sqrt(found.variance[k])));
  }
  const double explained = square * found.explained, whole = explained + 1;
  out.explained = explained / whole;
  out.explained_se =
      std::sqrt(square * square * found.explained_variance + explained * explained * found.unexplained_variance) /
      (whole * whole);
  out.rounds = found.rounds;
  return out;
}

Column<float> control_scores(const Groups& groups, const Fit& fit, Column<float> score) {
  const Covariates& known = groups.covariates;
  if (known.features == 0) return {};
  for (std::size_t slot = 0; slot < groups.slot_item.size(); ++slot)
    for (int k = 0; k < known.features; ++k)
      score[groups.slot_item[slot]] -=
          static_cast<float>(fit.score_unit * fit.coefficient[k]) * known.value[slot * known.count() + k];
  return score;
}

struct Rating {
  double discrimination, discrimination_se, side_bias_se;  ///< relative to the reference annotator
};

/// Crowd-BT's annotators differ in eta: to first order, a pair's logit is multiplied by 2 eta - 1.
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

/// Whether an annotator's discrimination is known only from the population. Its votes reduce the prior's sd by less
/// than a twentieth, and alone they would not distinguish the reference annotator from random votes by one standard
/// error.
bool is_prior_alone(const AnnotatorPosterior& a, const Fit& fit) {
  if (!has_discriminations(fit.model)) return false;
  const double own = 1 / a.discrimination_variance - 1 / fit.population.variance;
  return a.discrimination_variance > 0.95 * 0.95 * fit.population.variance &&
         own * fit.reference_discrimination * fit.reference_discrimination < 1;
}

/// Appends a share and its error, computed from the moments of its logit.
void add_share(double logit, double variance, Column<float>& share, Column<float>& error) {
  const double at = share_of(logit);
  share.push_back(static_cast<float>(at));
  error.push_back(static_cast<float>(at * (1 - at) * std::sqrt(variance)));
}

ComponentLabels label_components(const Groups& groups, const Fit& fit, const ItemLabels& items) {
  ComponentLabels out;
  if (fit.prompt_variance == 0) return out;
  out.tie_habit.resize(groups.components());
  out.tie_habit_se.resize(groups.components());
  for (std::size_t c = 0; c < groups.components(); ++c) {
    const TieHabit prompt = fit.posterior.prompts[c];
    const std::int32_t row = items.component[groups.slot_item[groups.component_slots[c]]];
    const double habit = share_of(fit.population.habit_mean + prompt.mean);
    out.tie_habit[row] = static_cast<float>(habit);
    out.tie_habit_se[row] = static_cast<float>(kHabitError * habit * (1 - habit) * std::sqrt(prompt.variance));
  }
  return out;
}

/// Sums over an annotator's votes.
struct Given {
  double weight = 0;   ///< given weights
  bool sided = false;  ///< whether the sides of any vote are known
};

/// [annotators] Blocks of votes are added in their order. The blocks do not depend on the number of threads.
std::vector<Given> sum_given(const Groups& groups) {
  const std::size_t votes = groups.votes.size(), annotators = groups.annotators;
  const std::size_t blocks = std::min({std::size_t{64}, votes / 65'536 + 1, votes / (4 * annotators + 4) + 1});
  std::vector<std::vector<Given>> parts(blocks);
  oneapi::tbb::parallel_for(std::size_t{0}, blocks, [&](std::size_t block) {
    std::vector<Given>& part = parts[block];
    part.resize(annotators);
    const std::size_t end = votes * (block + 1) / blocks;
    for (auto v = static_cast<std::uint32_t>(votes * block / blocks); v < end; ++v) {
      Given& own = part[groups.votes[v].annotator()];
      own.weight += groups.given_weight_of(v);
      own.sided |= groups.votes[v].side_known();
    }
  });
  std::vector<Given> out(annotators);
  for (const std::vector<Given>& part : parts)
    for (std::size_t a = 0; a < annotators; ++a) {
      out[a].weight += part[a].weight;
      out[a].sided |= part[a].sided;
    }
  return out;
}

AnnotatorLabels label_annotators(const Groups& groups, const Fit& fit) {
  AnnotatorLabels out;
  const std::vector<Given> sums_given = sum_given(groups);
  std::vector<double> given;
  for (const Given& own : sums_given) given.push_back(own.weight);
  std::vector<std::uint32_t> votes(given.size());
  std::ranges::transform(given, votes.begin(), rounded_votes);
  const std::vector<double> weight = groups.weight.empty() ? given : weigh_annotators(groups);
  out.votes.assign(votes.begin(), votes.begin() + static_cast<std::ptrdiff_t>(groups.voters()));
  out.distinct_pairs = count_distinct_pairs(groups);
  out.distinct_pairs.resize(groups.voters());
  for (std::size_t a = 0; a < groups.voters(); ++a) {
    const AnnotatorPosterior& posterior = fit.annotators[a];
    const ReportSums& sums = fit.posterior.annotators[a];
    Rating rating = rate_annotator(posterior, fit);
    const double side_bias = sums_given[a].sided || votes[a] == 0 ? posterior.side_bias : 0;
    if (!sums_given[a].sided && votes[a] > 0) rating.side_bias_se = kNan;
    out.discrimination.push_back(static_cast<float>(rating.discrimination));
    out.discrimination_se.push_back(static_cast<float>(rating.discrimination_se));
    out.side_bias.push_back(static_cast<float>(side_bias));
    out.side_bias_se.push_back(static_cast<float>(rating.side_bias_se));
    if (fit.scale.own_ties)
      add_share(posterior.habit_logit, kHabitError * kHabitError * posterior.habit_variance, out.tie_habit,
                out.tie_habit_se);
    if (fit.model == Model::kCrowdBt) add_share(posterior.share_logit, posterior.share_variance, out.eta, out.eta_se);
    const double decided = from_fixed(sums.decided);
    out.agreement.push_back(ratio(sums.agreement, decided));
    out.expected_accuracy.push_back(ratio(sums.better, decided));
    out.bits_per_vote.push_back(ratio(sums.bits, weight[a]));
    auto [flag, probability] =
        fit.model == Model::kBradleyTerry
            ? std::pair(Flag::kOk, kNan)
            : flag_annotator(rating.discrimination, rating.discrimination_se, side_bias, rating.side_bias_se,
                             out.distinct_pairs[a], fit.reference_discrimination);
    if (flag == Flag::kOk && is_prior_alone(posterior, fit)) {
      flag = Flag::kUnknown;
      probability = kNan;
    }
    out.flag.push_back(static_cast<std::int8_t>(flag));
    out.flag_probability.push_back(probability);
    for (std::size_t k = 0; k < fit.taste_sd.size(); ++k) {
      const Taste taste = fit.tastes[a * fit.taste_sd.size() + k];
      const double unit = groups.covariates.sd[k];
      out.taste.push_back(static_cast<float>(taste.mean / unit));
      // taste.variance assumes a known coefficient. Add the coefficient's uncertainty and the method's own error.
      const double error = std::hypot(std::sqrt(taste.variance), fit.coefficient_se[k] * posterior.discrimination,
                                      kMethodError * taste.mean);
      out.taste_se.push_back(static_cast<float>(error / unit));
    }
  }
  return out;
}

PairColumns pair_columns(const Groups& groups, const Fit& fit, const PairLabels& labels,
                         const Column<std::int8_t>& flags, const Column<EvidenceLabel>& evidence) {
  struct Key {
    std::uint64_t items;
    std::uint32_t pair;
    bool operator<(const Key& other) const { return items < other.items; }
  };
  Column<Key> order(groups.pairs());
  for (std::uint32_t p = 0; p < order.size(); ++p)
    order[p] = {std::uint64_t{groups.slot_item[groups.pair_first[p]]} << 32 | groups.slot_item[groups.pair_second[p]],
                p};
  std::erase_if(order, [&](const Key& key) { return groups.is_gold(groups.votes[groups.pair_votes[key.pair]]); });
  oneapi::tbb::parallel_sort(order);
  PairColumns out;
  for (auto* column : {&out.left, &out.right, &out.votes, &out.ties, &out.flagged_votes}) column->resize(order.size());
  for (auto* column :
       {&out.wins_left, &out.probability, &out.probability_better, &out.margin, &out.margin_se, &out.information_gain})
    column->resize(order.size());
  if (!evidence.empty())
    for (auto* column : {&out.target, &out.weight}) column->resize(order.size());
  const auto unit = static_cast<float>(fit.score_unit);
  oneapi::tbb::parallel_for(std::size_t{0}, order.size(), [&](std::size_t row) {
    const std::uint32_t p = order[row].pair;
    out.left[row] = static_cast<std::uint32_t>(order[row].items >> 32);
    out.right[row] = static_cast<std::uint32_t>(order[row].items);
    double lead = 0;  // wins of the left item minus wins of the right item; double, because a float counts only to 2^24
    double votes = 0, ties = 0, flagged = 0;
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const double weight = groups.given_weight_of(v);
      votes += weight;
      lead += weight * groups.votes[v].winner();
      if (!groups.votes[v].decided()) ties += weight;
      if (weight > 0 && is_suspicious(static_cast<Flag>(flags[groups.votes[v].annotator()]))) flagged += weight;
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
    if (evidence.empty()) return;
    out.target[row] = evidence[p].target;
    out.weight[row] = evidence[p].weight;
  });
  return out;
}

/// Upper limit of the weight of a vote's evidence: kMostWorth times its weight at difference 0. A decided vote has
/// gamma^2 there (or gamma, if the target is 1), in units of the reference annotator; ties and grades have twice as
/// much.
class MostWeight {
 public:
  MostWeight(const Groups& groups, const Fit& fit) : groups_(groups) {
    for (const AnnotatorPosterior& a : fit.annotators) {
      const double gamma =
          std::hypot(a.discrimination, std::sqrt(std::max<double>(a.discrimination_variance, 0))) / fit.score_unit;
      of_annotator_.push_back(std::max(gamma, gamma * gamma));
    }
  }
  double of(std::uint32_t vote) const {
    constexpr double kMostWorth = 4;
    const VoteCode code = groups_.votes[vote];
    return kMostWorth * groups_.weight_of(vote) * of_annotator_[code.annotator()] *
           (std::abs(code.level()) == 1 ? 1 : 2);
  }

 private:
  const Groups& groups_;
  std::vector<double> of_annotator_;
};

/// [P] The evidence of each pair.
Column<EvidenceLabel> sum_evidence(const Groups& groups, const Fit& fit, const MostWeight& most_weight,
                                   const VoteEvidence& evidence) {
  Column<EvidenceLabel> out(groups.pairs());
  const double unit = fit.score_unit;
  oneapi::tbb::parallel_for(std::size_t{0}, groups.pairs(), [&](std::size_t p) {
    double gradient = 0, curvature = 0, most = 0;
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      gradient += double{groups.weight_of(v)} * evidence.gradient[v];
      curvature += double{groups.weight_of(v)} * evidence.curvature[v];
      most += most_weight.of(v);
    }
    out[p] = evidence_label(gradient / unit, curvature / (unit * unit), unit * fit.posterior.pair_mean[p], most);
  });
  return out;
}

/// Writes the evidence of each vote; consumes `evidence`. One column at a time: rows are not in the order of votes, and
/// if memory is short, each further column would be read from a file and written back.
void label_votes(const Groups& groups, const Fit& fit, const MostWeight& most_weight, VoteEvidence& evidence,
                 std::size_t rows, Labels& labels) {
  const double unit = fit.score_unit;
  oneapi::tbb::parallel_for(std::size_t{0}, groups.pairs(), [&](std::size_t p) {
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const double weight = groups.weight_of(v), turn = groups.votes[v].first_on_left() ? 1 : -1;
      const EvidenceLabel label =
          evidence_label(turn * weight * evidence.gradient[v] / unit, weight * evidence.curvature[v] / (unit * unit),
                         turn * unit * fit.posterior.pair_mean[p], most_weight.of(v));
      evidence.gradient[v] = label.target;
      evidence.curvature[v] = label.weight;
    }
  });
  const auto in_rows = [&](float none, const auto& value_of) {
    Column<float> out = filled(rows, none);
    in_parts(groups.votes.size(), kRows, [&](std::size_t begin, std::size_t end) {
      for (auto v = static_cast<std::uint32_t>(begin); v < end; ++v)
        if (!groups.is_gold(groups.votes[v])) out[groups.vote_row[v]] = value_of(v);
    });
    return out;
  };
  labels.vote_target = in_rows(0.5f, [&](std::uint32_t v) { return evidence.gradient[v]; });
  evidence.gradient = {};
  labels.vote_weight = in_rows(0, [&](std::uint32_t v) { return evidence.curvature[v]; });
  evidence.curvature = {};
  if (groups.weight.empty() && groups.votes.size() >= rows) return;  // all votes count 1
  labels.vote_count = in_rows(0, [&](std::uint32_t v) { return groups.weight_of(v); });
  if (std::ranges::all_of(labels.vote_count, [](float count) { return count == 1; })) labels.vote_count.clear();
}

}  // namespace

const std::vector<std::string>& flag_names() {
  static const std::vector<std::string> names = {"ok",          "noisy",         "random",  "side_clicker",
                                                 "adversarial", "too_few_votes", "unknown", "copies"};
  return names;
}

namespace {

/// Rounds to 13 binary digits, 6 in 100,000: finer digits are noise and take space in the file.
float rounded(double x) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  return std::bit_cast<float>((bits + 0x200u) & ~0x3ffu);
}

}  // namespace

EvidenceLabel evidence_label(double gradient, double curvature, double difference, double most) {
  constexpr double kNothing = 1e-12;
  const double left = sigmoid(difference), right = sigmoid(-difference);
  if (!(std::abs(gradient) > kNothing) && !(curvature > kNothing)) return {0.5f, 0};
  const double weight = std::min(std::max(curvature, 0.0) / std::max(left * right, 1e-30), most);
  // From gradient = weight (target - left).
  if (gradient > weight * right) return {1, rounded(std::min(gradient / std::max(right, 1e-30), most))};
  if (-gradient > weight * left) return {0, rounded(std::min(-gradient / std::max(left, 1e-30), most))};
  return {rounded(std::clamp(left + gradient / weight, 0.0, 1.0)), rounded(weight)};
}

std::pair<Flag, float> flag_annotator(double discrimination, double discrimination_se, double side_bias,
                                      double side_bias_se, std::uint32_t distinct_pairs, double unit) {
  const auto below = [&](double x) { return normal_below(x, discrimination, discrimination_se); };
  const auto beyond = [&](double limit) {
    return std::isnan(side_bias_se)
               ? 0
               : normal_below(-limit, side_bias, side_bias_se) + 1 - normal_below(limit, side_bias, side_bias_se);
  };
  const double one_sided = beyond(1);
  // The mean of a logistic function of N(b, v) is about the logistic function of b / sqrt(1 + pi v / 8). The logistic
  // function of 2.94 is 0.95.
  const double spread = unit * discrimination * std::numbers::sqrt2;
  const double blind = beyond(2.94 * std::sqrt(1 + std::numbers::pi / 8 * spread * spread));
  std::array<double, 5> probability{};
  probability[static_cast<int>(Flag::kAdversarial)] = below(-0.1);
  probability[static_cast<int>(Flag::kSideClicker)] = one_sided * (below(0.6) - below(-0.1));
  probability[static_cast<int>(Flag::kRandom)] = (1 - one_sided) * (below(0.15) - below(-0.1));
  probability[static_cast<int>(Flag::kNoisy)] = (1 - one_sided) * (below(0.6) - below(0.15));
  probability[static_cast<int>(Flag::kOk)] = 1 - below(0.6);
  for (const Flag flag : {Flag::kOk, Flag::kNoisy, Flag::kRandom}) {
    double& sighted = probability[static_cast<int>(flag)];
    probability[static_cast<int>(Flag::kSideClicker)] += blind * sighted;
    sighted *= 1 - blind;
  }
  const auto best = std::max_element(probability.begin(), probability.end());
  const bool told = distinct_pairs > 1 && (*best >= 0.75 || discrimination_se <= 0.15);
  return {told ? static_cast<Flag>(best - probability.begin()) : Flag::kTooFewVotes, static_cast<float>(*best)};
}

PairLabels find_pair_labels(Engine& engine, const Fit& fit) {
  PairLabels pairs =
      engine.label_pairs(static_cast<float>(fit.reference_discrimination), static_cast<float>(fit.view_variance));
  if (fit.model == Model::kCrowdBt)
    for (float& p : pairs.probability) p = static_cast<float>(0.5 + (p - 0.5) * (2 * fit.reference_share - 1));
  return pairs;
}

Labels make_labels(const Groups& groups, const Fit& fit, const PairLabels& pairs, std::size_t items, std::size_t rows,
                   Column<std::int32_t> copies, VoteEvidence* evidence) {
  constexpr float kSureOfCopies = 0.99f;  // corrected p < 0.01
  Labels labels;
  labels.items = label_items(groups, fit, items);
  labels.components = label_components(groups, fit, labels.items);
  labels.items.controlled_score = control_scores(groups, fit, labels.items.score);
  labels.annotators = label_annotators(groups, fit);
  for (std::size_t a = 0; a < copies.size(); ++a) {
    if (copies[a] < 0) continue;
    labels.annotators.flag[a] = static_cast<std::int8_t>(Flag::kCopies);
    labels.annotators.flag_probability[a] = kSureOfCopies;
  }
  labels.annotators.copies = std::move(copies);
  labels.covariates = label_covariates(groups, fit);
  labels.embedding = label_embedding(fit);
  labels.sources = label_sources(groups, fit);
  Column<EvidenceLabel> pair_evidence;
  if (evidence != nullptr) {
    const MostWeight most_weight(groups, fit);
    pair_evidence = sum_evidence(groups, fit, most_weight, *evidence);
    label_votes(groups, fit, most_weight, *evidence, rows, labels);
  }
  labels.pairs = pair_columns(groups, fit, pairs, labels.annotators.flag, pair_evidence);
  labels.vote_probability_correct = filled(rows, kNan);
  oneapi::tbb::parallel_for(std::size_t{0}, groups.pairs(), [&](std::size_t p) {
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      if (!groups.is_voted(v)) continue;
      labels.vote_probability_correct[groups.vote_row[v]] =
          groups.votes[v].winner() > 0 ? pairs.better[p] : 1 - pairs.better[p];
    }
  });
  return labels;
}

void forget_reliability(Labels& labels) {
  AnnotatorLabels& annotators = labels.annotators;
  const bool others = std::ranges::any_of(annotators.flag, [](std::int8_t flag) {
    return is_suspicious(static_cast<Flag>(flag)) && static_cast<Flag>(flag) != Flag::kCopies;
  });
  for (std::size_t a = 0; a < annotators.flag.size(); ++a) {
    if (annotators.flag[a] == static_cast<std::int8_t>(Flag::kCopies))
      continue;  // equal answers do not depend on reliability
    annotators.flag[a] = static_cast<std::int8_t>(Flag::kUnknown);
    annotators.flag_probability[a] = kNan;
  }
  std::ranges::fill(annotators.expected_accuracy, kNan);
  if (others) std::ranges::fill(labels.pairs.flagged_votes, 0u);  // else all flagged votes are from copies
  std::ranges::fill(labels.vote_probability_correct, kNan);
}

double flip_rate(const Labels& labels) {
  using Range = oneapi::tbb::blocked_range<std::size_t>;
  struct Sums {
    double flipped = 0, decided = 0;
  };
  const Column<float>& correct = labels.vote_probability_correct;
  const Sums all = oneapi::tbb::parallel_deterministic_reduce(
      Range(0, correct.size(), 1 << 16), Sums(),
      [&](const Range& range, Sums sums) {
        for (std::size_t row = range.begin(); row < range.end(); ++row)
          if (!std::isnan(correct[row])) {
            sums.flipped += 1 - correct[row];
            sums.decided += 1;
          }
        return sums;
      },
      [](const Sums& a, const Sums& b) {
        return Sums{a.flipped + b.flipped, a.decided + b.decided};
      });
  return all.flipped / all.decided;
}

}  // namespace voxpop
