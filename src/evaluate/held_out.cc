#include "evaluate/held_out.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

#include "group/share.h"

namespace voxpop {
namespace {

/// SplitMix64's mixing function (Steele, Lea and Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

template <class Work>
void for_pairs(const Groups& groups, const Work& work) {
  oneapi::tbb::parallel_for(std::size_t{0}, groups.pairs(), work);
}

/// Level of a vote towards the left, as an index from 0.
std::size_t answer_of(VoteCode vote) {
  return static_cast<std::size_t>(kMaxLevels + (vote.first_on_left() ? vote.level() : -vote.level()));
}
using Answer = std::array<double, kHabitLevels>;

/// Probability of every answer of an annotator on a pair that is shown as `vote` was: towards the left.
class AnswerModel {
 public:
  AnswerModel(const Groups& groups, const Fit& fit)
      : groups_(groups), fit_(fit), blend_(blend_of(fit.model)), raters_(records_of(fit.annotators)) {
    if (blend_ == Blend::kClick) habits_ = find_click_habits(groups);
  }

  /// By a fit that has not seen the vote. `known`: of the pair's score difference.
  Answer of(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const {
    const FitView view = view_of();
    return of(view, vote, known, rater_of(view, vote, pair));
  }

  /// By a fit that has: what the vote says of its annotator is left out. `known`: without the vote.
  Answer of_left_out(VoteCode vote, std::uint32_t pair, const Cavity<double>& known) const {
    const FitView view = view_of();
    const Rater<double> rater = rater_of(view, vote, pair), certain{rater.discrimination, rater.side_bias, 0, 0, 0};
    const auto z = smoothed(view, vote, logit(certain, known));
    return of(view, vote, known, rater_without(rater, annotator_terms(certain, known, z)));
  }

 private:
  FitView view_of() const {
    FitView view{};
    view.pair_first = groups_.pair_first.data();
    view.pair_second = groups_.pair_second.data();
    view.covariates = groups_.covariates.value.data();
    view.covariate_count = groups_.covariates.count();
    view.tastes = fit_.tastes.data();
    view.taste_count = static_cast<int>(fit_.taste_sd.size());
    view.raters = raters_.data();
    view.blend = blend_;
    view.scale = &fit_.scale;
    view.click_habits = habits_.data();
    return view;
  }
  Rater<double> rater_of(const FitView& view, VoteCode vote, std::uint32_t pair) const {
    const AnnotatorPosterior& a = fit_.annotators[vote.annotator()];
    const double side = vote.first_on_left() ? 1 : -1;
    const TasteEffect taste = taste_effect(view, vote.annotator(), pair);
    return {a.discrimination, a.side_bias * side + taste.mean, a.discrimination_variance, a.covariance * side,
            a.side_bias_variance + taste.variance};
  }
  Smoothed<double> smoothed(const FitView& view, VoteCode vote, const Logit<double>& eta) const {
    const Statement<float> said = statement_of(view, vote);
    const Statement<double> exact{said.sign,  said.lower,     said.upper,   said.share,
                                  said.click, said.one_sided, said.mirrored};
    return blend_ == Blend::kNone ? smoothed_vote<kExact, Likelihood::kOrdinal>(exact, eta).z
                                  : smoothed_vote<kExact, Likelihood::kMixture>(exact, eta).z;
  }
  Answer of(const FitView& view, VoteCode vote, const Cavity<double>& known, const Rater<double>& rater) const {
    const Logit<double> eta = logit(rater, known);
    Answer answer{};
    const int levels = groups_.answers.levels();
    for (int level = -levels; level <= levels; ++level) {
      if (level == 0 && !groups_.answers.ties) continue;
      const VoteCode code = VoteCode::make(vote.annotator(), level, vote.first_on_left());
      answer[answer_of(code)] = std::exp(smoothed(view, code, eta).log_value);
    }
    return answer;
  }

  const Groups& groups_;
  const Fit& fit_;
  Blend blend_;
  std::vector<RaterRecord> raters_;
  std::vector<float> habits_;
};

float left_if_decided(const Answer& answer) {
  double left = 0, right = 0;
  for (int level = 1; level <= kMaxLevels; ++level) {
    left += answer[kMaxLevels + level];
    right += answer[kMaxLevels - level];
  }
  return static_cast<float>(left / (left + right));
}

/// Logistic regression of decided votes on one difference and a constant, by Newton's method: {constant, slope}.
template <class Use>
std::array<double, 2> regress(std::size_t votes, const std::vector<float>& x, const std::vector<std::int8_t>& left,
                              const Use& use) {
  std::array<double, 2> at{};
  for (int iteration = 0; iteration < 30; ++iteration) {
    double g0 = 0, g1 = 0, h00 = 1e-6, h01 = 0, h11 = 1e-6;
    for (std::size_t v = 0; v < votes; ++v) {
      if (!use(v)) continue;
      const double p = 1 / (1 + std::exp(-at[0] - at[1] * x[v])), off = (left[v] > 0) - p, weight = p * (1 - p);
      g0 += off;
      g1 += off * x[v];
      h00 += weight;
      h01 += weight * x[v];
      h11 += weight * x[v] * x[v];
    }
    const double determinant = h00 * h11 - h01 * h01;
    const double step0 = (h11 * g0 - h01 * g1) / determinant, step1 = (h00 * g1 - h01 * g0) / determinant;
    at[0] += step0;
    at[1] += step1;
    if (std::abs(step0) + std::abs(step1) < 1e-9) break;
  }
  return at;
}

}  // namespace

std::vector<std::uint8_t> draw_folds(const Groups& groups, int folds, std::uint64_t seed) {
  std::vector<std::uint8_t> fold(groups.votes.size());
  for_pairs(groups, [&](std::size_t p) {
    std::uint64_t next = mixed(mixed(seed) + p);
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
      fold[v] = static_cast<std::uint8_t>(next++ % static_cast<unsigned>(folds));
  });
  return fold;
}

Predictions predict_held_out(const Groups& groups, const std::vector<std::uint8_t>& folds, const FitOptions& options,
                             const std::function<std::unique_ptr<Engine>(const Groups&)>& make,
                             const std::function<void(int, int)>& report) {
  Predictions out;
  out.left.resize(groups.votes.size());
  const bool all_answers = !groups.answers.half_ties;
  if (all_answers) out.log_probability.resize(groups.votes.size());
  Groups seen = groups;
  seen.on_device.reset();  // the votes there are all seen
  seen.all_seen = false;
  const int count = 1 + *std::max_element(folds.begin(), folds.end());
  for (int fold = 0; fold < count; ++fold) {
    for (std::size_t v = 0; v < folds.size(); ++v) {
      const VoteCode vote = groups.votes[v];
      seen.votes[v] = folds[v] == fold ? VoteCode::make(vote.annotator(), kUnseen, vote.first_on_left()) : vote;
    }
    const auto engine = make(seen);
    const Fit fit =
        fit_model(*engine, count_votes(seen), options, [&](int iteration, double) { report(fold, iteration); });
    out.converged = out.converged && fit.converged;
    const AnswerModel model(seen, fit);
    for_pairs(groups, [&](std::size_t p) {
      const Cavity<double> known{fit.posterior.pair_mean[p], fit.posterior.pair_variance[p]};
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        if (folds[v] != fold) continue;
        const Answer answer = model.of(groups.votes[v], static_cast<std::uint32_t>(p), known);
        out.left[v] = left_if_decided(answer);
        if (all_answers) out.log_probability[v] = static_cast<float>(std::log(answer[answer_of(groups.votes[v])]));
      }
    });
  }
  return out;
}

Predictions predict_by_majority(const Groups& groups, const std::vector<std::uint8_t>& folds) {
  const int count = 1 + *std::max_element(folds.begin(), folds.end());
  std::vector<Answer> totals(count);  // of each fold
  Answer all{};
  for (std::size_t v = 0; v < folds.size(); ++v) {
    ++totals[folds[v]][answer_of(groups.votes[v])];
    ++all[answer_of(groups.votes[v])];
  }
  Predictions out;
  out.left.resize(folds.size());
  if (!groups.answers.half_ties) out.log_probability.resize(folds.size());
  for_pairs(groups, [&](std::size_t p) {
    const std::uint32_t begin = groups.pair_votes[p], end = groups.pair_votes[p + 1];
    for (std::uint32_t v = begin; v < end; ++v) {
      const VoteCode vote = groups.votes[v];
      const double side = vote.first_on_left() ? 1 : -1;
      double left = 1, decided = 2, same = 0, seen = 0;
      for (std::uint32_t w = begin; w < end; ++w) {
        if (folds[w] == folds[v]) continue;
        const VoteCode other = groups.votes[w];
        seen += 1;
        same += other.level() == vote.level();  // the pair's items, wherever they were shown
        left += other.winner() * side > 0;
        decided += other.decided();
      }
      out.left[v] = static_cast<float>(left / decided);
      if (out.log_probability.empty()) continue;
      const std::size_t answer = answer_of(vote), mirrored = 2 * kMaxLevels - answer;
      double given = 1, votes = 2 * groups.answers.levels() + (groups.answers.ties ? 1 : 0);  // none is impossible
      for (int k = 0; k < kHabitLevels; ++k) votes += all[k] - totals[folds[v]][k];
      for (const std::size_t k : {answer, mirrored}) given += 0.5 * (all[k] - totals[folds[v]][k]);
      const double share = given / votes;  // of this answer, whichever the side, in the other folds
      out.log_probability[v] = static_cast<float>(std::log((same + 2 * share) / (seen + 2)));
    }
  });
  return out;
}

Predictions predict_by_covariate(const Groups& groups, const std::vector<std::uint8_t>& folds, int column) {
  const std::size_t count = groups.votes.size(), columns = groups.covariates.count();
  std::vector<float> x(count);  // left minus right
  std::vector<std::int8_t> left(count);
  for_pairs(groups, [&](std::size_t p) {
    const float first = groups.covariates.value[groups.pair_first[p] * columns + column];
    const float second = groups.covariates.value[groups.pair_second[p] * columns + column];
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const int side = groups.votes[v].first_on_left() ? 1 : -1;
      x[v] = static_cast<float>(side) * (first - second);
      left[v] = static_cast<std::int8_t>(side * groups.votes[v].winner());
    }
  });
  Predictions out;
  out.left.resize(count);
  const int fold_count = 1 + *std::max_element(folds.begin(), folds.end());
  for (int fold = 0; fold < fold_count; ++fold) {
    const auto fitted = regress(count, x, left, [&](std::size_t v) { return folds[v] != fold && left[v] != 0; });
    for (std::size_t v = 0; v < count; ++v)
      if (folds[v] == fold) out.left[v] = static_cast<float>(1 / (1 + std::exp(-fitted[0] - fitted[1] * x[v])));
  }
  return out;
}

Clusters find_clusters(const Groups& groups) {
  constexpr std::size_t kEnough = 100;
  const bool by_component = groups.components() >= kEnough;
  Clusters clusters{std::vector<std::uint32_t>(groups.votes.size()), by_component ? "components" : "pairs"};
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      std::fill(clusters.of.begin() + groups.pair_votes[p], clusters.of.begin() + groups.pair_votes[p + 1],
                by_component ? c : p);
  return clusters;
}

Trials decided_trials(const Groups& groups, const std::vector<float>& left, const Clusters& clusters) {
  Trials trials;
  for (std::size_t v = 0; v < groups.votes.size(); ++v) {
    const VoteCode vote = groups.votes[v];
    if (!vote.decided()) continue;
    trials.predicted.push_back(left[v]);
    trials.outcome.push_back((vote.winner() > 0) == vote.first_on_left() ? 1 : 0);
    trials.cluster.push_back(clusters.of[v]);
  }
  return trials;
}

namespace {

struct LeftOut {
  std::uint32_t vote, pair, component;
};

/// So many votes are copied at most, and of components of so many at most: in larger ones each says little.
constexpr std::size_t kCopiedVotes = 600'000;
constexpr std::uint32_t kCopiedAtOnce = 64;

bool can_refit(const Groups& groups, std::uint32_t component) {
  return is_small(groups, component) && groups.votes_of(component) <= kCopiedAtOnce;
}

/// Decided votes, chosen by a hash: some `most` of them, and fewer where refitting them would take long.
std::vector<LeftOut> choose_left_out(const Groups& groups, std::size_t most) {
  std::size_t copied = 0;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    if (can_refit(groups, c)) copied += std::size_t{groups.votes_of(c)} * groups.votes_of(c);
  const std::size_t step =
      std::max((groups.votes.size() + most - 1) / most, (copied + kCopiedVotes - 1) / kCopiedVotes);
  std::vector<LeftOut> chosen;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
        if (mixed(v) % step == 0 && groups.votes[v].decided()) chosen.push_back({v, p, c});
  return chosen;
}

/// What is known of each vote's pair without the vote, in components where can_refit(): by an EP of the component that
/// starts from the fit's sites; annotators stay as they are. In a small component the cavity is something else: votes
/// that say the same hold back each other's sites, and with one of them gone the others would say more. Cavities leave
/// them as they are, and so err to the side that the vote was against.
void refit_without(const Groups& groups, const Fit& fit, const Sites& sites, const std::vector<LeftOut>& chosen,
                   std::vector<Cavity<double>>& known) {
  constexpr int kMostSweeps = 10;
  std::vector<std::size_t> refitted;
  Share share;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!can_refit(groups, chosen[i].component)) continue;
    refitted.push_back(i);
    share.push_back(groups.range(chosen[i].component, chosen[i].component + 1));
  }
  Groups copies = take_share(groups, share);
  copies.all_seen = false;
  if (blend_of(fit.model) == Blend::kClick) copies.click_habits = find_click_habits(groups);
  EngineState state;
  std::vector<std::size_t> pair(refitted.size());
  for (std::size_t i = 0; i < refitted.size(); ++i) {
    const LeftOut& one = chosen[refitted[i]];
    const std::size_t vote = state.sites.shift.size() + one.vote - share[i].vote;
    pair[i] = state.pair_mean.size() + one.pair - share[i].pair;
    append(state.sites.precision, sites.precision, share[i].vote, share[i].vote_end);
    append(state.sites.shift, sites.shift, share[i].vote, share[i].vote_end);
    append(state.pair_mean, fit.posterior.pair_mean, share[i].pair, share[i].pair_end);
    append(state.pair_variance, fit.posterior.pair_variance, share[i].pair, share[i].pair_end);
    state.sites.precision[vote] = state.sites.shift[vote] = 0;
    copies.votes[vote] = VoteCode::make(copies.votes[vote].annotator(), kUnseen, copies.votes[vote].first_on_left());
  }
  const auto engine = make_cpu_engine(copies, *choose_kernels());
  engine->load(state);
  const Raters raters(records_of(fit.annotators), fit.tastes);
  PassOptions pass;
  pass.exact = true;
  pass.uncertain = has_discriminations(fit.model);
  pass.blend = blend_of(fit.model);
  pass.scale = fit.scale;
  std::ranges::copy(fit.coefficient, pass.coefficient);
  for (int sweep = 0; sweep < kMostSweeps; ++sweep)
    if (engine->update_components(raters, pass).solved.change <= kSettled) break;
  FitRun none;
  state = engine->save(none);
  for (std::size_t i = 0; i < refitted.size(); ++i)
    known[refitted[i]] = {state.pair_mean[pair[i]], state.pair_variance[pair[i]]};
}

}  // namespace

Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most) {
  const std::vector<LeftOut> chosen = choose_left_out(groups, most);
  std::vector<Cavity<double>> known;
  Trials trials;
  for (const auto& [v, p, c] : chosen) {
    known.push_back(cavity_without<double>(fit.posterior.pair_mean[p], fit.posterior.pair_variance[p],
                                           {sites.precision[v], sites.shift[v]}));
    trials.outcome.push_back((groups.votes[v].winner() > 0) == groups.votes[v].first_on_left() ? 1 : 0);
    trials.cluster.push_back(p);
  }
  refit_without(groups, fit, sites, chosen, known);
  const AnswerModel model(groups, fit);
  trials.predicted.resize(chosen.size());
  oneapi::tbb::parallel_for(std::size_t{0}, chosen.size(), [&](std::size_t i) {
    trials.predicted[i] = left_if_decided(model.of_left_out(groups.votes[chosen[i].vote], chosen[i].pair, known[i]));
  });
  return trials;
}

}  // namespace voxpop
