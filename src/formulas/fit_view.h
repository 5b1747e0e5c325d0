#pragma once
// What passes over votes look at: the groups and the state of EP, as pointers.

#include "formulas/fit_state.h"
#include "formulas/vote.h"

namespace voxpop {

/// Blocks of votes (src/group/views.h) and the moments of their impressions, as pointers.
struct ViewArrays {
  const std::uint32_t *component_blocks, *block_slots, *slot, *block_votes, *vote, *first, *second;
  float *mean, *variance;  ///< [V] posterior of the impressions' difference, first less second
};

/// What embeddings say of scores before votes are seen (src/fit/score_prior.h), as pointers.
struct PriorArrays {
  const float* mean = nullptr;               ///< [S]; null: nothing is said, and scores have precision I
  const float* precision = nullptr;          ///< of a component's scores about it: lower triangles, ...
  const std::uint64_t* component = nullptr;  ///< ... [C] where that of each component begins
  float scale = 0;                           ///< of the mean, in prior units
  float least = 1;                           ///< no eigenvalue of a P is below it
};

/// Groups (src/group) and the EP state, as pointers. Sites are what EP remembers; pair moments follow from them.
struct FitView {
  const std::uint32_t *component_slots, *component_pairs, *pair_first, *pair_second, *pair_votes;
  const VoteCode* votes;
  const float* weight = nullptr;       ///< [V] the vote is as so many equal ones; null: each is one
  float *site_precision, *site_shift;  ///< [V] of one vote each, whatever its weight
  float *pair_mean, *pair_variance;    ///< [P] posterior of d = score(first) - score(second), prior units
  const RaterRecord* raters;
  Likelihood kind;
  Blend blend;
  const VoteScale* scale;
  const TieHabit* habits;    ///< [annotators] of ties; with own ties
  TieHabit* prompts;         ///< [C] what prompts add to them; with own ties
  const float* covariates;   ///< [S][covariate_count], centred within components; null: none
  const float* coefficient;  ///< [covariate_count]
  const Taste* tastes;       ///< [annotators][taste_count]; null: none
  int covariate_count, taste_count;
  float stretch = 1;  ///< sites are to be read as if discriminations had been stretched so: see PassOptions
  const std::uint32_t* slot_source = nullptr;  ///< [S]; null: items have none
  const float* source_score = nullptr;         ///< [sources]
  float prompt_shift = 0;                      ///< prompts' habits are to be read less this: see step_prompt()
  /// Of annotators' own views, w; 0: there are none, and `views` is not looked at.
  float view_variance = 0;
  float site_step = 1;  ///< see damped()
  ViewArrays views{};
  PriorArrays prior{};
};

/// What vote `code` says, and what else it may be.
VOXPOP_HD Statement<float> statement_of(const FitView& view, VoteCode code) {
  Statement<float> said = statement_of(*view.scale, code.level());
  if (view.blend == Blend::kNone) return said;
  said.share = view.raters[code.annotator()].share;
  said.mirrored = true;
  return said;
}

/// How this annotator ties on the component's prompt.
VOXPOP_HD Habit<float> habit_of(const FitView& view, std::uint32_t annotator, std::uint32_t component) {
  const TieHabit own = view.habits[annotator], prompt = view.prompts[component];
  return {own.mean + prompt.mean - view.prompt_shift, own.variance, prompt.variance};
}

/// What a vote's annotator saw of the pair's difference: its posterior.
struct Impression {
  float mean, variance;
};
VOXPOP_HD Impression impression_of(const FitView& view, std::uint32_t vote, std::uint32_t pair) {
  if (view.view_variance > 0) return {view.views.mean[vote], view.views.variance[vote]};
  return {view.pair_mean[pair], view.pair_variance[pair]};
}
/// A cavity's precision is not below that of the prior, 1 / (2 / p + 2 w), but for rounding; `prior`: p.
VOXPOP_HD float least_precision(float prior, float view_variance) {
  return 0.4999f * prior / (1 + prior * view_variance);
}
VOXPOP_HD float least_precision(const FitView& view) {
  return least_precision(view.prior.mean == nullptr ? 1.0f : view.prior.least, view.view_variance);
}

VOXPOP_HD float weight_of(const FitView& view, std::uint32_t vote) {
  return view.weight == nullptr ? 1.0f : view.weight[vote];
}

/// X c of a slot, its source's score and what its embedding says: the mean of its own before votes are seen.
VOXPOP_HD float prior_mean(const FitView& view, std::uint32_t slot) {
  float mean = 0;
  for (int k = 0; k < view.covariate_count; ++k)
    mean += view.covariates[std::size_t{slot} * view.covariate_count + k] * view.coefficient[k];
  if (view.slot_source != nullptr) mean += view.source_score[view.slot_source[slot]];
  if (view.prior.mean != nullptr) mean += view.prior.scale * view.prior.mean[slot];
  return mean;
}
VOXPOP_HD bool has_prior_means(const FitView& view) {
  return view.covariate_count > 0 || view.slot_source != nullptr || view.prior.mean != nullptr;
}
/// P of component c between its i-th and j-th item: the precision of its scores before votes are seen. P 1 = 1.
VOXPOP_HD float prior_precision(const FitView& view, std::uint32_t c, std::uint32_t i, std::uint32_t j) {
  if (view.prior.mean == nullptr) return i == j ? 1.0f : 0.0f;
  return view.prior.precision[view.prior.component[c] + triangle(i >= j ? i : j, i >= j ? j : i)];
}
VOXPOP_HD float prior_difference(const FitView& view, std::uint32_t pair) {
  if (!has_prior_means(view)) return 0;
  return prior_mean(view, view.pair_first[pair]) - prior_mean(view, view.pair_second[pair]);
}
/// Of feature k between a pair's items.
VOXPOP_HD float feature_difference(const FitView& view, std::uint32_t pair, int k) {
  return view.covariates[std::size_t{view.pair_first[pair]} * view.covariate_count + k] -
         view.covariates[std::size_t{view.pair_second[pair]} * view.covariate_count + k];
}

/// What an annotator's tastes add to its logit towards a pair's first item, and how uncertain that is.
struct TasteEffect {
  float mean = 0, variance = 0;
};
VOXPOP_HD TasteEffect taste_effect(const FitView& view, std::uint32_t annotator, std::uint32_t pair) {
  TasteEffect effect;
  for (int k = 0; k < view.taste_count; ++k) {
    const Taste taste = view.tastes[std::size_t{annotator} * view.taste_count + k];
    const float difference = feature_difference(view, pair, k);
    effect.mean += taste.mean * difference;
    effect.variance += taste.variance * difference * difference;
  }
  return effect;
}

}  // namespace voxpop
