#include "fit/component_kernel.h"

#include "fit/pack.h"
#include "fit/view_packs.h"
#include "formulas/label.h"

namespace voxpop::VOXPOP_TARGET {
namespace {

constexpr std::uint32_t kColumns = 256;          // 1 KiB per quantity, so that all fit in the L1 cache
constexpr std::uint32_t kStage = kColumns - 16;  // votes per stage

/// The votes of one stage as columns, so that packs load contiguous floats. Simple votes cost less; they come first, in
/// packs of their own. Unused columns contain harmless values.
struct alignas(64) Stage {
  float sign[kColumns], lower[kColumns], upper[kColumns], share[kColumns];
  float habit[kColumns], habit_variance[kColumns], prompt_variance[kColumns];  // of ties: see Habit
  float winner[kColumns], side[kColumns], mean[kColumns], variance[kColumns];  // mean, variance: of the Impression
  float pair_mean[kColumns], pair_variance[kColumns];
  float weight[kColumns], part[kColumns];  // part: part_of() the weight
  float site_precision[kColumns], site_shift[kColumns];
  float gamma[kColumns], beta[kColumns], gamma_variance[kColumns], covariance[kColumns], beta_variance[kColumns];
  float spread[kColumns], slope[kColumns];
  float difference[kMaxCovariates][kColumns];             // of each feature, for tastes
  float terms[15][kColumns], grid[kGridNodes][kColumns];  // results, one row per quantity
  std::uint16_t column[kStage];                           // [vote] its column
  std::uint32_t component[kStage];                        // [vote] its component; only with own ties
  std::uint32_t columns, simple;  // columns in use (whole packs); number of leading columns with simple votes
};

/// Rows of Stage::terms.
enum {
  kGradient0,
  kGradient1,
  kInformation0,
  kInformationCross,
  kInformation1,
  kShare,
  kHabitGradient,
  kHabitInformation,
  kPromptGradient,
  kPromptInformation,
  kLower,
  kUpper,
  kLower2,
  kUpper2
};

VOXPOP_HD void add(std::int64_t& sum, std::int64_t value, bool shared) {
  if (shared)
    __atomic_fetch_add(&sum, value, __ATOMIC_RELAXED);
  else
    sum += value;
}

constexpr std::uint32_t whole_packs(std::uint32_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

void set_harmless(Stage& s, std::uint32_t begin, std::uint32_t end) {
  for (std::uint32_t c = begin; c < end; ++c) {
    s.sign[c] = s.winner[c] = s.side[c] = s.variance[c] = s.pair_variance[c] = s.gamma[c] = 1.0f;
    s.pair_mean[c] = s.mean[c] = s.site_precision[c] = s.site_shift[c] = s.beta[c] = s.lower[c] = 0.0f;
    s.gamma_variance[c] = s.covariance[c] = s.beta_variance[c] = s.spread[c] = s.slope[c] = 0.0f;
    s.upper[c] = kFar;
    s.share[c] = 0.5f;
    s.habit[c] = s.habit_variance[c] = s.prompt_variance[c] = 0.0f;
    s.weight[c] = s.part[c] = 1.0f;
  }
}

/// For votes without grades and ties as separate answers: all votes are simple.
void place_decided_and_ties(const VoteCode* votes, std::uint32_t count, Stage& s) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const int level = votes[i].level();
    s.column[i] = static_cast<std::uint16_t>(i);
    s.sign[i] = static_cast<float>((level > 0) - (level < 0));
    s.winner[i] = level == kUnseen ? 0.0f : s.sign[i];
    s.lower[i] = level == kUnseen ? -kFar : 0.0f;
    s.upper[i] = kFar;
  }
  s.simple = s.columns = whole_packs(count);
  set_harmless(s, count, s.columns);
}

/// Assigns a column to each vote and stores the vote's statement there.
template <Likelihood kKind>
void place_votes(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s) {
  if constexpr (kKind == Likelihood::kBinary) {
    for (std::uint32_t i = 0; i < count; ++i) {
      s.column[i] = static_cast<std::uint16_t>(i);
      s.winner[i] = s.sign[i] = votes[i].level() > 0 ? 1.0f : -1.0f;
    }
    s.columns = whole_packs(count);
    set_harmless(s, count, s.columns);
  } else if (kKind == Likelihood::kOrdinal && view.scale->own_ties && !(view.scale->edge[2] < kFar)) {
    place_decided_and_ties(votes, count, s);
  } else {
    Statement<float> said[kStage];
    std::uint32_t simple = 0, next_simple = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      said[i] = statement_of(view, votes[i]);
      simple += said[i].simple;
    }
    std::uint32_t next_other = s.simple = whole_packs(simple);
    s.columns = whole_packs(next_other + count - simple);
    set_harmless(s, simple, next_other);
    set_harmless(s, next_other + count - simple, s.columns);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t c = said[i].simple ? next_simple++ : next_other++;
      s.column[i] = static_cast<std::uint16_t>(c);
      s.sign[c] = said[i].sign;
      s.lower[c] = said[i].lower;
      s.upper[c] = said[i].upper;
      s.share[c] = said[i].share;
      s.winner[c] = static_cast<float>(votes[i].winner());
    }
  }
}

template <Likelihood kKind>
void stage_votes(const FitView& view, std::uint32_t begin, std::uint32_t count, std::uint32_t& component,
                 std::uint32_t& pair, Stage& s, const VotePass& pass) {
  // Indexed by the two low bits of a vote. A table is faster than a branch, because votes are unpredictable.
  constexpr float kSide[4] = {0.0f, 0.0f, -1.0f, 1.0f};
  const bool own_ties = kKind != Likelihood::kBinary && view.scale->own_ties;
  const bool has_views = view.view_variance > 0;
  place_votes<kKind>(view, view.votes + begin, count, s);
  for (std::uint32_t i = 0; i < count; ++pair) {
    const float mean = view.pair_mean[pair], variance = view.pair_variance[pair];
    const std::uint32_t pair_end = view.pair_votes[pair + 1] - begin, stop = pair_end < count ? pair_end : count;
    float difference[kMaxCovariates];
    for (int k = 0; k < view.taste_count; ++k) difference[k] = feature_difference(view, pair, k);
    while (own_ties && view.component_pairs[component + 1] <= pair) ++component;
    for (; i < stop; ++i) {
      const VoteCode code = view.votes[begin + i];
      const RaterRecord& rater = view.raters[code.annotator()];
      const float side = kSide[code.bits & 3u], weight = weight_of(view, begin + i);
      const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
      s.side[c] = side;
      s.weight[c] = weight;
      s.part[c] = part_of(weight);
      s.mean[c] = mean;
      s.variance[c] = variance;
      if (pass.report != nullptr) {
        s.pair_mean[c] = mean;
        s.pair_variance[c] = variance;
      }
      if (has_views) {
        s.mean[c] = view.views.mean[begin + i];
        s.variance[c] = view.views.variance[begin + i];
      }
      s.gamma[c] = rater.discrimination;
      s.beta[c] = rater.side_bias * side;
      if (pass.uncertain) {
        s.gamma_variance[c] = rater.discrimination_variance;
        s.covariance[c] = rater.covariance * side;
        s.beta_variance[c] = rater.side_bias_variance * side * side;
      }
      for (int k = 0; k < view.taste_count; ++k) {
        const Taste taste = view.tastes[std::size_t{code.annotator()} * view.taste_count + k];
        s.difference[k][c] = difference[k];
        s.beta[c] += taste.mean * difference[k];
        if (pass.uncertain) s.beta_variance[c] += taste.variance * difference[k] * difference[k];
      }
      if (own_ties) {
        const Habit<float> habit = habit_of(view, code.annotator(), component);
        s.component[i] = component;
        s.habit[c] = habit.mean;
        s.habit_variance[c] = habit.annotator_variance;
        s.prompt_variance[c] = habit.prompt_variance;
      }
      if (pass.grid != nullptr) {
        s.spread[c] = rater.grid_spread;
        s.slope[c] = rater.grid_slope * side;
      }
      s.site_precision[c] = view.site_precision[begin + i] * view.stretch * view.stretch;
      s.site_shift[c] = view.site_shift[begin + i] * view.stretch;
    }
    if (i < pair_end) break;  // the pair continues in the next stage
  }
}

template <Likelihood kKind>
VOXPOP_HD Statement<Pack> load_statement(const FitView& view, const Stage& s, std::uint32_t c) {
  Statement<Pack> said{Pack::load(s.sign + c), Pack(0), Pack(kFar)};
  if constexpr (kKind != Likelihood::kBinary) {
    said.lower = Pack::load(s.lower + c);
    said.upper = Pack::load(s.upper + c);
    said.simple = c < s.simple;
    said.own_ties = view.scale->own_ties;
    if (said.own_ties) said.habit = logistic(Pack::load(s.habit + c));
  }
  if constexpr (kKind == Likelihood::kMixture) {
    said.share = Pack::load(s.share + c);
    said.mirrored = view.blend == Blend::kMirror;
  }
  return said;
}

VOXPOP_HD Habit<Pack> load_habit(const Stage& s, std::uint32_t i) {
  return {Pack::load(s.habit + i), Pack::load(s.habit_variance + i), Pack::load(s.prompt_variance + i)};
}

VOXPOP_HD Rater<Pack> load_known_rater(const Stage& s, std::uint32_t i) {
  return {Pack::load(s.gamma + i), Pack::load(s.beta + i), Pack(0), Pack(0), Pack(0)};
}

VOXPOP_HD Rater<Pack> load_uncertain_rater(const Stage& s, std::uint32_t i) {
  return {Pack::load(s.gamma + i), Pack::load(s.beta + i), Pack::load(s.gamma_variance + i),
          Pack::load(s.covariance + i), Pack::load(s.beta_variance + i)};
}

VOXPOP_HD Cavity<Pack> load_cavity(const FitView& view, const Stage& s, std::uint32_t i) {
  return cavity_without(Pack::load(s.mean + i), Pack::load(s.variance + i),
                        Site<Pack>{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)},
                        Pack::load(s.part + i), Pack(least_precision(view)));
}

/// A taste acts like a side bias, multiplied by the difference between the pair's items.
template <Likelihood kKind>
void add_taste_terms(const FitView& view, const VoteCode* votes, std::uint32_t count, const Stage& s,
                     const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    TasteSums* sums = pass.tastes + std::size_t{votes[i].annotator()} * view.taste_count;
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    const float gradient = s.weight[c] * s.terms[kGradient1][c], information = s.weight[c] * s.terms[kInformation1][c];
    for (int k = 0; k < view.taste_count; ++k) {
      const float difference = s.difference[k][c];
      add(sums[k].gradient, to_fixed(gradient * difference), pass.shared);
      add(sums[k].information, to_fixed(information * difference * difference), pass.shared);
    }
  }
}

/// Adds what the stage's votes say about the tie habits of annotators and prompts.
void add_habit_terms(const VoteCode* votes, std::uint32_t count, const Stage& s, const VotePass& pass) {
  HabitSums of_prompt{};
  for (std::uint32_t i = 0; i < count; ++i) {
    AnnotatorSums& sums = pass.sums[votes[i].annotator()];
    const std::uint32_t c = s.column[i];
    const float weight = s.weight[c];
    add(sums.gradient_habit, to_fixed(weight * s.terms[kHabitGradient][c]), pass.shared);
    add(sums.information_habit, to_fixed(weight * s.terms[kHabitInformation][c]), pass.shared);
    if (pass.prompts == nullptr) continue;
    add_fixed(of_prompt.gradient, to_fixed(weight * s.terms[kPromptGradient][c]));
    add_fixed(of_prompt.information, to_fixed(weight * s.terms[kPromptInformation][c]));
    if (i + 1 < count && s.component[i + 1] == s.component[i]) continue;
    add(pass.prompts[s.component[i]].gradient, of_prompt.gradient, true);
    add(pass.prompts[s.component[i]].information, of_prompt.information, true);
    of_prompt = {};
  }
}

/// Adds what the stage's votes say about their annotators.
template <Likelihood kKind>
void add_annotator_terms(const FitView& view, const VoteCode* votes, std::uint32_t count, const Stage& s,
                         const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    AnnotatorSums& sums = pass.sums[votes[i].annotator()];
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    const float side = s.side[c], weight = s.weight[c];  // converts from "first" to "left"
    const auto add_weighted = [&](std::int64_t& sum, float term) { add(sum, to_fixed(weight * term), pass.shared); };
    add_weighted(sums.gradient_gamma, s.terms[kGradient0][c]);
    add_weighted(sums.gradient_beta, s.terms[kGradient1][c] * side);
    add_weighted(sums.information_gamma, s.terms[kInformation0][c]);
    add_weighted(sums.information_cross, s.terms[kInformationCross][c] * side);
    add_weighted(sums.information_beta, s.terms[kInformation1][c] * side * side);
    if constexpr (kKind == Likelihood::kMixture) {
      const ShareTerms share = share_terms(s.share[c], s.terms[kShare][c]);
      add_weighted(sums.gradient_share, share.gradient);
      add_weighted(sums.information_share, share.information);
    }
  }
  if (kKind != Likelihood::kBinary && view.scale->own_ties) add_habit_terms(votes, count, s, pass);
  if (pass.tastes != nullptr) add_taste_terms<kKind>(view, votes, count, s, pass);
  if (pass.grid == nullptr) return;
  for (std::uint32_t i = 0; i < count; ++i) {
    GridSums& sums = pass.grid[votes[i].annotator()];
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    for (int g = 0; g < kGridNodes; ++g)
      if (g != kGridNodes / 2) add(sums.log_z[g], to_fixed(s.weight[c] * s.grid[g][c]), pass.shared);
  }
}

void add_threshold_terms(const VoteCode* votes, std::uint32_t count, const Stage& s, const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t c = s.column[i];
    const EdgeTerms<float> edges{s.terms[kLower][c], s.terms[kUpper][c], s.terms[kLower2][c], s.terms[kUpper2][c]};
    const ThresholdTerms terms = threshold_terms(votes[i].level(), {s.sign[c], s.lower[c], s.upper[c]}, edges);
    const float weight = s.weight[c];
    add_fixed(pass.thresholds[terms.lower].gradient, to_fixed(weight * terms.lower_gradient));
    add_fixed(pass.thresholds[terms.lower].information, to_fixed(weight * terms.lower_information));
    if (terms.upper == 0) continue;
    add_fixed(pass.thresholds[terms.upper].gradient, to_fixed(weight * terms.upper_gradient));
    add_fixed(pass.thresholds[terms.upper].information, to_fixed(weight * terms.upper_information));
  }
}

/// Computes new sites and what the votes say about their annotators, from the same cavities.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void update_stage(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s,
                            const VotePass& pass) {
  for (std::uint32_t i = 0; i < s.columns; i += kLanes) {
    const Cavity<Pack> cavity = load_cavity(view, s, i);
    Statement<Pack> said = load_statement<kKind>(view, s, i);
    Rater<Pack> rater = load_known_rater(s, i);
    auto likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
    const auto terms = annotator_terms(rater, cavity, likelihood.z);
    if (pass.sums != nullptr) {
      terms.gradient_gamma.store(s.terms[kGradient0] + i);
      terms.gradient_beta.store(s.terms[kGradient1] + i);
      terms.information_gamma.store(s.terms[kInformation0] + i);
      terms.information_cross.store(s.terms[kInformationCross] + i);
      terms.information_beta.store(s.terms[kInformation1] + i);
      if constexpr (kKind != Likelihood::kBinary) {
        likelihood.edges.lower.store(s.terms[kLower] + i);
        likelihood.edges.upper.store(s.terms[kUpper] + i);
        likelihood.edges.lower2.store(s.terms[kLower2] + i);
        likelihood.edges.upper2.store(s.terms[kUpper2] + i);
        if (said.own_ties) {
          Habit<Pack> habit = load_habit(s, i);
          if (!pass.uncertain) habit.annotator_variance = habit.prompt_variance = Pack(0);
          const HabitsTold<Pack> told = habits_told(habit, said.habit, likelihood.habit, Pack::load(s.part + i));
          told.annotator.gradient.store(s.terms[kHabitGradient] + i);
          told.annotator.information.store(s.terms[kHabitInformation] + i);
          told.prompt.gradient.store(s.terms[kPromptGradient] + i);
          told.prompt.information.store(s.terms[kPromptInformation] + i);
        }
      }
      if constexpr (kKind == Likelihood::kMixture) likelihood.share.store(s.terms[kShare] + i);
    }
    if (pass.grid != nullptr) {
      const Pack spread = Pack::load(s.spread + i), slope = Pack::load(s.slope + i);
      Rater<Pack> moved = rater;
      for (int g = 0; g < kGridNodes; ++g) {
        if (g == kGridNodes / 2) continue;  // the log-likelihoods are relative to the middle node
        const Pack move = spread * grid_at(g);
        moved.discrimination = rater.discrimination + move;
        moved.side_bias = rater.side_bias + slope * move;
        const Pack log_value = smoothed_vote<kTerms, kKind>(said, logit(moved, cavity)).z.log_value;
        (log_value - likelihood.z.log_value).store(s.grid[g] + i);
      }
    }
    if (pass.update_sites) {
      Rater<Pack> whole = rater;
      if (pass.uncertain) {
        const Pack part = Pack::load(s.part + i);
        whole = load_uncertain_rater(s, i);
        rater = rater_without(whole, scaled(terms, part));
        if (kKind != Likelihood::kBinary && said.own_ties)
          said.habit = habit_without(load_habit(s, i), scaled(habit_terms(said.habit, likelihood.habit), part));
        likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
      }
      const Site<Pack> before{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
      const Site<Pack> site = damped(whole, rater, before, matched_site(rater, cavity, likelihood.z), view.site_step);
      site.precision.store(s.site_precision + i);
      site.shift.store(s.site_shift + i);
    }
  }
  if (pass.sums != nullptr) add_annotator_terms<kKind>(view, votes, count, s, pass);
  if (kKind != Likelihood::kBinary && pass.thresholds != nullptr) add_threshold_terms(votes, count, s, pass);
}

/// Not inlined, because it is large and its callers are not performance-critical.
template <Likelihood kKind>
__attribute__((noinline)) VoteLikelihood<Pack> exact_vote(const Statement<Pack>& said, const Logit<Pack>& eta) {
  return smoothed_vote<kExact, kKind>(said, eta);
}

/// Derivatives of log p(vote | d) at the posterior mean of d. The annotator is averaged over, as its other votes show
/// it. The logit is N(m, v) with m = gamma d + beta and v the annotator's part, so dm = gamma and dv = 2 (var d + cov).
/// The heat equation converts derivatives in v to derivatives in m.
template <Likelihood kKind>
VOXPOP_HD void tell_evidence(const FitView& view, Stage& s, const VotePass& pass) {
  for (std::uint32_t i = 0; i < s.columns; i += kLanes) {
    Statement<Pack> said = load_statement<kKind>(view, s, i);
    Rater<Pack> rater = load_known_rater(s, i);
    if (pass.uncertain) {
      const Cavity<Pack> cavity = load_cavity(view, s, i);
      const auto there = exact_vote<kKind>(said, logit(rater, cavity));
      const Pack part = Pack::load(s.part + i);
      const auto own = scaled(annotator_terms(rater, cavity, there.z), part);
      rater = rater_without(load_uncertain_rater(s, i), own);
      if (kKind != Likelihood::kBinary && said.own_ties)
        said.habit = habit_without(load_habit(s, i), scaled(habit_terms(said.habit, there.habit), part));
    }
    const Pack d = Pack::load(s.mean + i), gamma = rater.discrimination;
    const auto z = exact_vote<kKind>(said, logit(rater, Cavity<Pack>{d, Pack(0)})).z;
    const Pack spread = rater.discrimination_variance * d + rater.covariance;  // half of dv
    const Pack first = z.first * gamma + z.second * spread;
    const Pack second = z.second * (gamma * gamma + rater.discrimination_variance) +
                        (z.third * gamma * 2.0f + z.fourth * spread) * spread;
    first.store(s.terms[0] + i);
    (first * first - second).store(s.terms[1] + i);
  }
}

/// Adds the report on annotators and the sites' part of the log evidence.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void report_stage(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s,
                            const VotePass& pass) {
  for (std::uint32_t i = 0; i < s.columns; i += kLanes) {
    const Rater<Pack> rater = pass.uncertain ? load_uncertain_rater(s, i) : load_known_rater(s, i);
    const Site<Pack> site{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
    const Cavity<Pack> pair{Pack::load(s.pair_mean + i), Pack::load(s.pair_variance + i)};
    const auto report =
        report_vote<kTerms, kKind>(Pack::load(s.winner + i), load_statement<kKind>(view, s, i), rater, load_habit(s, i),
                                   pair, load_cavity(view, s, i), site, Pack::load(s.part + i));
    report.agreement.store(s.terms[0] + i);
    report.better.store(s.terms[1] + i);
    report.bits.store(s.terms[2] + i);
    report.log_scale.store(s.terms[3] + i);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!votes[i].seen()) continue;
    const std::uint32_t c = s.column[i];
    const float weight = s.weight[c];
    add_fixed(*pass.log_scale, to_fixed(weight * s.terms[3][c]));
    ReportSums& sums = pass.report[votes[i].annotator()];
    add(sums.bits, to_fixed(weight * s.terms[2][c]), pass.shared);
    if (!votes[i].decided()) continue;
    add(sums.agreement, to_fixed(weight * s.terms[0][c]), pass.shared);
    add(sums.better, to_fixed(weight * s.terms[1][c]), pass.shared);
    add(sums.decided, to_fixed(weight), pass.shared);
  }
}

template <Likelihood kKind>
void process(const FitView& view, std::uint32_t begin, std::uint32_t end, std::uint32_t component, std::uint32_t pair,
             const VotePass& pass) {
  Stage stage;
  for (std::uint32_t at = begin; at < end; at += kStage) {
    const std::uint32_t count = end - at < kStage ? end - at : kStage;
    stage_votes<kKind>(view, at, count, component, pair, stage, pass);
    const VoteCode* votes = view.votes + at;
    if (pass.gradient != nullptr) {
      tell_evidence<kKind>(view, stage, pass);
      for (std::uint32_t i = 0; i < count; ++i) {
        pass.gradient[at + i] = stage.terms[0][stage.column[i]];
        pass.curvature[at + i] = stage.terms[1][stage.column[i]];
      }
      continue;
    }
    if (pass.report != nullptr)
      report_stage<kExact, kKind>(view, votes, count, stage, pass);
    else if (pass.exact)
      update_stage<kExact, kKind>(view, votes, count, stage, pass);
    else
      update_stage<kFast, kKind>(view, votes, count, stage, pass);
    if (!pass.update_sites) continue;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t c = kKind == Likelihood::kBinary ? i : stage.column[i];
      view.site_precision[at + i] = stage.site_precision[c];
      view.site_shift[at + i] = stage.site_shift[c];
    }
  }
}

void process_votes(const FitView& view, std::uint32_t begin, std::uint32_t end, std::uint32_t component,
                   std::uint32_t pair, const VotePass& pass) {
  switch (view.kind) {
    case Likelihood::kBinary:
      return process<Likelihood::kBinary>(view, begin, end, component, pair, pass);
    case Likelihood::kOrdinal:
      return process<Likelihood::kOrdinal>(view, begin, end, component, pair, pass);
    case Likelihood::kMixture:
      return process<Likelihood::kMixture>(view, begin, end, component, pair, pass);
  }
}

void solve_components(const FitView& view, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                      float* slot_variance, SolveSums& sums, CovariateSums* covariates, SourceSums* sources,
                      ViewTotals* views) {
  std::uint32_t size = 0;  // largest size in the batch; smaller components are padded with unconnected items
  for (std::uint32_t lane = 0; lane < n; ++lane) {
    const std::uint32_t items = view.component_slots[begin + lane + 1] - view.component_slots[begin + lane];
    if (items > size) size = items;
  }
  float* h = scratch;                       // [size][size][lanes], lower triangle
  float* shift = h + size * size * kLanes;  // [size][lanes]
  float* mean = shift + size * kLanes;      // [size][lanes]
  float* views_scratch = mean + size * kLanes;
  float ridge[kLanes];
  if (n < static_cast<std::uint32_t>(kLanes)) {  // unused lanes: identity matrix
    for (std::uint32_t i = 0; i < size * size; ++i) Pack(i % (size + 1) == 0 ? 1 : 0).store(h + i * kLanes);
    for (std::uint32_t i = 0; i < size; ++i) Pack(0).store(shift + i * kLanes);
  }
  const bool has_views = view.view_variance > 0;
  const ComponentBatch batch{view, begin, n, size, h, shift, mean};
  if (has_views) {
    float trace[kLanes] = {};
    for (std::uint32_t lane = 0; lane < n; ++lane)
      clear_component(view, begin + lane, size, h + lane, shift + lane, kLanes);
    add_messages_of_views(batch, views_scratch, trace);
    for (std::uint32_t lane = 0; lane < n; ++lane)
      ridge[lane] = add_ridge(view, begin + lane, size, h + lane, kLanes, trace[lane]);
  } else {
    for (std::uint32_t lane = 0; lane < n; ++lane)
      ridge[lane] = assemble_component(view, begin + lane, size, h + lane, shift + lane, kLanes);
  }
  Pack* matrix = reinterpret_cast<Pack*>(h);
  const Pack log_determinant = invert_positive_definite(matrix, static_cast<int>(size));
  multiply_component(matrix, reinterpret_cast<Pack*>(shift), reinterpret_cast<Pack*>(mean), size, 1);
  for (std::uint32_t lane = 0; lane < n; ++lane)
    finish_component(view, begin + lane, size, h + lane, shift + lane, mean + lane, ridge[lane],
                     log_determinant.v[lane], kLanes, slot_mean, slot_variance, &sums);
  if (has_views) set_moments_of_views(batch, views_scratch, slot_mean == nullptr ? nullptr : &sums.log_evidence, views);
  if (covariates != nullptr) {
    auto* fields = reinterpret_cast<std::int64_t*>(covariates);
    for (std::uint32_t lane = 0; lane < n; ++lane)
      covariate_terms(view, begin + lane, size, h + lane, mean + lane, kLanes,
                      [&](int field, float value) { add_fixed(fields[field], to_fixed(value)); });
  }
  if (sources == nullptr) return;
  auto* fields = reinterpret_cast<std::int64_t*>(sources);
  for (std::uint32_t lane = 0; lane < n; ++lane)
    source_terms(view, begin + lane, size, h + lane, mean + lane, ridge[lane], kLanes,
                 [&](std::uint32_t source, int field, float value) {
                   add_fixed(fields[2 * std::size_t{source} + field], to_fixed(value));
                 });
}

void label_pairs(const FitView& view, std::uint32_t begin, std::uint32_t end, float discrimination, float view_variance,
                 float* probability, float* better, float* information) {
  alignas(64) float mean[kLanes], variance[kLanes], out[3][kLanes];
  for (std::uint32_t at = begin; at < end; at += kLanes) {
    const std::uint32_t count =
        end - at < static_cast<std::uint32_t>(kLanes) ? end - at : static_cast<std::uint32_t>(kLanes);
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(kLanes); ++i) {
      mean[i] = i < count ? view.pair_mean[at + i] : 0;
      variance[i] = i < count ? view.pair_variance[at + i] : 1;
    }
    const Pack m = Pack::load(mean), v = Pack::load(variance);
    const PairLabel<Pack> label = label_pair(m, v, discrimination, view_variance);
    label.probability.store(out[0]);
    label.better.store(out[1]);
    label.information.store(out[2]);
    __builtin_memcpy(probability + at, out[0], count * sizeof(float));
    __builtin_memcpy(better + at, out[1], count * sizeof(float));
    __builtin_memcpy(information + at, out[2], count * sizeof(float));
  }
}

template <bool kDerivatives>
float evaluate_votes(std::uint64_t votes) {
  alignas(64) float starts[kLanes];
  for (int i = 0; i < kLanes; ++i) starts[i] = static_cast<float>(i) * 0.1f - 0.8f;
  Pack mean = Pack::load(starts), sum(0);
  for (std::uint64_t v = 0; v < votes; v += kLanes) {
    const Statement<Pack> said{Pack(1), Pack(0), Pack(kFar)};
    const auto z = smoothed_vote<kFast, Likelihood::kBinary>(said, Logit<Pack>{mean, Pack(0.8f)}).z;
    sum = sum + (kDerivatives ? z.first + z.second + z.third + z.fourth : z.log_value);
    mean = mean + Pack(1e-7f);  // each vote has another mean
  }
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += sum.v[i];
  return total;
}

#define VOXPOP_TEXT_OF(x) #x
#define VOXPOP_TEXT(x) VOXPOP_TEXT_OF(x)

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {VOXPOP_TEXT(VOXPOP_TARGET), kLanes,      process_votes,
                         solve_components,           label_pairs, evaluate_votes<true>,
                         evaluate_votes<false>};

}  // namespace voxpop::VOXPOP_TARGET
