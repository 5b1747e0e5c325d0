#pragma once
// The data that passes over votes use: the groups and the EP state, as pointers.

#include "formulas/fit_state.h"
#include "formulas/vote.h"

namespace voxpop {

/// Blocks of votes (src/group/views.h) and the moments of their views, as pointers.
struct ViewArrays {
  const std::uint32_t *component_blocks, *block_slots, *slot, *block_votes, *vote, *first, *second;
  float *mean, *variance;  ///< [V] posterior of the difference that the annotator saw, first minus second
};

/// Prior of scores by embeddings (src/fit/score_prior.h), as pointers.
struct PriorArrays {
  const float* mean = nullptr;               ///< [S] prior means; null: no embeddings, and the prior precision is I
  const float* precision = nullptr;          ///< prior precisions P of the components: lower triangles
  const std::uint64_t* component = nullptr;  ///< [C] offset of each component's triangle in `precision`
  float scale = 0;                           ///< factor of `mean`, in prior units
  float least = 1;                           ///< lower bound on the eigenvalues of all P
};

/// The groups (src/group) and the EP state, as pointers. Sites are the state of EP; pair moments follow from them.
struct FitView {
  const std::uint32_t *component_slots, *component_pairs, *pair_first, *pair_second, *pair_votes;
  const VoteCode* votes;
  const float* weight = nullptr;       ///< [V] a vote counts as this many equal votes; null: all are 1
  float *site_precision, *site_shift;  ///< [V] for one vote, whatever its weight
  float *pair_mean, *pair_variance;    ///< [P] posterior of d = score(first) - score(second), prior units
  const RaterRecord* raters;
  Likelihood kind;
  Blend blend;
  const VoteScale* scale;
  const TieHabit* habits;    ///< [annotators] tie habits; only with own ties
  TieHabit* prompts;         ///< [C] what prompts add to tie habits; only with own ties
  const float* covariates;   ///< [S][covariate_count], centred within components; null: none
  const float* coefficient;  ///< [covariate_count]
  const Taste* tastes;       ///< [annotators][taste_count]; null: none
  int covariate_count, taste_count;
  float stretch = 1;  ///< sites are read as if discriminations had been multiplied by this: see PassOptions
  const std::uint32_t* slot_source = nullptr;  ///< [S] source of each slot; null: no sources
  const float* source_score = nullptr;         ///< [sources]
  float prompt_shift = 0;                      ///< subtracted from prompts' habits: see step_prompt()
  /// Variance w of annotators' own views; 0: no views, and `views` is not used.
  float view_variance = 0;
  float site_step = 1;  ///< see damped()
  ViewArrays views{};
  PriorArrays prior{};
};

/// The statement of vote `code`.
VOXPOP_HD Statement<float> statement_of(const FitView& view, VoteCode code) {
  Statement<float> said = statement_of(*view.scale, code.level());
  if (view.blend == Blend::kNone) return said;
  said.share = view.raters[code.annotator()].share;
  said.mirrored = true;
  return said;
}

/// Tie habit of this annotator on the component's prompt.
VOXPOP_HD Habit<float> habit_of(const FitView& view, std::uint32_t annotator, std::uint32_t component) {
  const TieHabit own = view.habits[annotator], prompt = view.prompts[component];
  return {own.mean + prompt.mean - view.prompt_shift, own.variance, prompt.variance};
}

/// Posterior of the pair's difference as the vote's annotator saw it.
struct Impression {
  float mean, variance;
};
VOXPOP_HD Impression impression_of(const FitView& view, std::uint32_t vote, std::uint32_t pair) {
  if (view.view_variance > 0) return {view.views.mean[vote], view.views.variance[vote]};
  return {view.pair_mean[pair], view.pair_variance[pair]};
}
/// Lower bound on a cavity's precision, which could fall below it only by rounding: the prior's precision 1 / (2 / p +
/// 2 w). `prior`: p.
VOXPOP_HD float least_precision(float prior, float view_variance) {
  return 0.4999f * prior / (1 + prior * view_variance);
}
VOXPOP_HD float least_precision(const FitView& view) {
  return least_precision(view.prior.mean == nullptr ? 1.0f : view.prior.least, view.view_variance);
}

VOXPOP_HD float weight_of(const FitView& view, std::uint32_t vote) {
  return view.weight == nullptr ? 1.0f : view.weight[vote];
}

/// Prior mean of a slot's score: X c, plus its source's score, plus the prior mean by embeddings.
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
/// P of component c between its i-th and j-th item: the prior precision of its scores. P 1 = 1.
VOXPOP_HD float prior_precision(const FitView& view, std::uint32_t c, std::uint32_t i, std::uint32_t j) {
  if (view.prior.mean == nullptr) return i == j ? 1.0f : 0.0f;
  return view.prior.precision[view.prior.component[c] + triangle(i >= j ? i : j, i >= j ? j : i)];
}
VOXPOP_HD float prior_difference(const FitView& view, std::uint32_t pair) {
  if (!has_prior_means(view)) return 0;
  return prior_mean(view, view.pair_first[pair]) - prior_mean(view, view.pair_second[pair]);
}
/// Difference of feature k between a pair's items.
VOXPOP_HD float feature_difference(const FitView& view, std::uint32_t pair, int k) {
  return view.covariates[std::size_t{view.pair_first[pair]} * view.covariate_count + k] -
         view.covariates[std::size_t{view.pair_second[pair]} * view.covariate_count + k];
}

/// Logits that an annotator's tastes add towards a pair's first item: mean and variance.
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
