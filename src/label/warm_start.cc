#include "label/warm_start.h"

#include <algorithm>
#include <cmath>

#include "core/id_table.h"
#include "formulas/elementary.h"

namespace voxpop {
namespace {

constexpr float kNarrowestKept = 0.01f;  ///< least distance between thresholds: half of the least distance in a fit

double squared(double x) { return x * x; }

/// Whether a fit can produce this value, in prior units or logits: the steps of a fit are short and its sums of squares
/// limited. Larger values come from a damaged file and would lead to NaN in the fit.
bool is_likely(double mean, double variance) { return std::abs(mean) <= 100 && variance >= 1e-12 && variance <= 1e4; }

bool is_proper(const Population& prior) {
  return is_likely(prior.mean, prior.variance) && is_likely(prior.side_bias_mean, prior.side_bias_variance) &&
         is_likely(prior.habit_mean, prior.habit_variance) && is_likely(prior.share_mean, prior.share_variance) &&
         std::isfinite(prior.share_votes);
}

/// Variance of a published error without a part that was added to it. At least a hundredth of the error remains,
/// because of rounding.
double variance_without(double added, double error) {
  return std::max(squared(error) - squared(added), 1e-4 * squared(error));
}

void set_share(Population& prior, const AnnotatorLabels& known, std::uint32_t row) {
  if (known.eta.empty()) return;
  const double eta = known.eta[row];
  prior.share_mean = logit(eta);
  prior.share_variance = squared(known.eta_se[row] / (eta * (1 - eta)));
  prior.share_votes = 1 / (prior.share_variance * eta * (1 - eta));
}

Population prior_of(const EarlierFit& earlier, std::uint32_t row, Model model) {
  const AnnotatorLabels& known = earlier.annotators;
  Population prior = earlier.population;
  if (has_discriminations(model)) {
    const double unit = earlier.reference_discrimination;
    prior.mean = unit * known.discrimination[row];
    prior.variance =
        squared(unit) * variance_without(kMethodError * known.discrimination[row], known.discrimination_se[row]);
    prior.side_bias_mean = known.side_bias[row];
    prior.side_bias_variance = squared(known.side_bias_se[row]);
    if (!known.tie_habit.empty()) {
      const double habit = known.tie_habit[row];
      prior.habit_mean = logit(habit);
      prior.habit_variance = squared(known.tie_habit_se[row] / (kHabitError * habit * (1 - habit)));
    }
  }
  set_share(prior, known, row);
  return is_proper(prior) ? prior : earlier.population;
}

/// [annotators] Row in the earlier fit, if the annotator voted there.
using EarlierRows = std::vector<std::optional<std::uint32_t>>;

EarlierRows find_annotators(const EarlierFit& earlier, const Strings& annotator_ids) {
  IdTable table;
  for (std::size_t a = 0; a < earlier.annotator_ids.size(); ++a) table.number(earlier.annotator_ids[a]);
  EarlierRows rows;
  for (std::size_t a = 0; a < annotator_ids.size(); ++a) {
    rows.push_back(table.find(annotator_ids[a]));
    if (rows.back() && earlier.annotators.votes[*rows.back()] == 0) rows.back().reset();
  }
  return rows;
}

bool same_answers(const EarlierFit& earlier, const Answers& answers) {
  return earlier.strengths == answers.strengths && earlier.annotators.tie_habit.empty() == !answers.own_ties();
}

VoteScale scale_of(const std::vector<float>& thresholds) {
  VoteScale scale{};
  std::copy(thresholds.begin(), thresholds.end(), scale.edge + 1);
  return scale;
}

bool same_covariates(const EarlierFit& earlier, const Covariates& covariates) {
  Strings names;
  for (const std::string& name : covariates.names) names.push_back(name);
  return names == earlier.covariates.names;
}

/// Sets coefficients and tastes, in units of these votes' covariates.
void set_covariates(WarmStart& start, const EarlierFit& earlier, const EarlierRows& rows, const Groups& groups) {
  const CovariateLabels& known = earlier.covariates;
  const std::vector<double>& sd = groups.covariates.sd;
  const std::size_t tastes = known.taste_sd.size();
  double squares = 0;  // see share_tastes()
  for (std::size_t a = 0; a < earlier.annotator_ids.size(); ++a)
    if (earlier.annotators.votes[a] > 0) squares += squared(earlier.annotators.discrimination[a]);
  const auto unit_of = [&](std::size_t k) { return sd[k] / earlier.score_unit; };
  for (std::size_t k = 0; k < sd.size(); ++k)
    if (!is_likely(known.coefficient[k] * unit_of(k), squared(known.coefficient_se[k] * unit_of(k)))) return;
  for (std::size_t k = 0; k < sd.size(); ++k) {
    const double unit = unit_of(k);
    const double shared = k < tastes && squares > 1e-6 ? known.taste_sd[k] / std::sqrt(squares) : 0;
    start.coefficient.push_back(known.coefficient[k] * unit);
    start.coefficient_se.push_back(std::sqrt(variance_without(shared, known.coefficient_se[k])) * unit);
    start.shared_se.push_back(shared * unit);
  }
  if (tastes != static_cast<std::size_t>(groups.covariates.features)) return;
  for (std::size_t k = 0; k < tastes; ++k)
    if (!is_likely(0, squared(known.taste_sd[k] * sd[k]))) return;
  for (std::size_t k = 0; k < tastes; ++k) start.taste_sd.push_back(known.taste_sd[k] * sd[k]);
  for (const auto& row : rows)
    for (std::size_t k = 0; k < tastes; ++k) {
      Taste prior{0, static_cast<float>(squared(start.taste_sd[k]))};
      if (row && earlier.annotators.taste_se[*row * tastes + k] > 0) {
        const AnnotatorLabels& annotators = earlier.annotators;
        const double taste = annotators.taste[*row * tastes + k], error = annotators.taste_se[*row * tastes + k];
        const double added =
            std::hypot(known.coefficient_se[k] * annotators.discrimination[*row], kMethodError * taste);
        const double mean = taste * sd[k], variance = squared(sd[k]) * variance_without(added, error);
        if (is_likely(mean, variance)) prior = {static_cast<float>(mean), static_cast<float>(variance)};
      }
      start.tastes.push_back(prior);
    }
}

/// Sources' scores as priors. New sources get the variance of the earlier ones.
std::vector<Source> sources_from(const EarlierFit& earlier, const Groups& groups, const Strings& source_ids) {
  const SourceLabels& known = earlier.sources;
  const std::size_t count = known.score.size();
  if (groups.sources == 0 || count == 0) return {};
  IdTable table;
  for (std::size_t row = 0; row < count; ++row) {
    table.number(earlier.source_ids[row]);
    if (!is_likely(known.score[row] / earlier.score_unit, squared(known.std_error[row] / earlier.score_unit)))
      return {};
  }
  double squares = 0;
  for (std::size_t row = 0; row < count; ++row) squares += squared(known.score[row]) + squared(known.std_error[row]);
  const double unit = 1 / earlier.score_unit;
  const double variance = (squared(unit) * squares + 0.2) / (static_cast<double>(count) + 2);  // see spread_sources()
  std::vector<Source> out(groups.sources, Source{.variance = variance, .prior_variance = variance});
  for (std::size_t g = 0; g < groups.source_row.size(); ++g)
    if (const auto row = table.find(source_ids[groups.source_row[g]])) {
      out[g].score = out[g].prior = unit * known.score[*row];
      out[g].variance = out[g].prior_variance = squared(unit * known.std_error[*row]);
    }
  return out;
}

}  // namespace

std::string improper_part(const EarlierFit& earlier) {
  // If all annotators are alike, the mean is their common discrimination, which is above 0.
  if (!is_proper(earlier.population) || earlier.population.mean < 1e-3) return "a population";
  if (!(earlier.reference_discrimination >= 1e-3 && earlier.reference_discrimination <= 100))
    return "a reference_discrimination";
  if (!(earlier.score_unit >= 1e-3 && earlier.score_unit <= 100)) return "a score_unit";
  if (earlier.model == "crowd-bt" && !(earlier.reference_share > 0.5 && earlier.reference_share <= 1))
    return "a reference_eta";
  if (earlier.thresholds.empty() && earlier.strengths.size() > 1) return "thresholds";
  float before = -kNarrowestKept;
  for (const float threshold : earlier.thresholds) {
    if (!(threshold >= before + kNarrowestKept && threshold <= 100)) return "thresholds";
    before = threshold;
  }
  return "";
}

WarmStart make_warm_start(const EarlierFit& earlier, const Strings& annotator_ids, const Groups& groups, Model model,
                          const Strings& source_ids, const std::vector<std::size_t>& changed) {
  const EarlierRows rows = find_annotators(earlier, annotator_ids);
  const std::vector<std::uint32_t> votes_of = count_votes(groups);
  WarmStart start;
  start.population = earlier.population;
  start.knows_habits = !earlier.annotators.tie_habit.empty();
  start.reference_discrimination = earlier.reference_discrimination;
  start.reference_share = earlier.reference_share;
  for (std::size_t a = 0; a < rows.size(); ++a) {
    start.annotators.push_back(rows[a] ? prior_of(earlier, *rows[a], model) : earlier.population);
    if (votes_of[a] > 0) ++(rows[a] ? start.known : start.unknown);
  }
  for (const std::size_t a : changed) {
    Population& prior = start.annotators[a] = earlier.population;
    prior.variance = std::max(prior.variance, squared(prior.mean));
    prior.side_bias_variance = std::max(prior.side_bias_variance, 1.0);
  }
  if (same_answers(earlier, groups.answers)) start.scale = scale_of(earlier.thresholds);
  if (same_covariates(earlier, groups.covariates)) set_covariates(start, earlier, rows, groups);
  start.sources = sources_from(earlier, groups, source_ids);
  return start;
}

}  // namespace voxpop
