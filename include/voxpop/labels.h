#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "voxpop/column.h"
#include "voxpop/export.h"
#include "voxpop/strings.h"

namespace voxpop {

/// Kind of an annotator; same order as the HDF5 enum.
enum class Flag : std::int8_t { kOk, kNoisy, kRandom, kSideClicker, kAdversarial, kTooFewVotes, kUnknown, kCopies };
/// Names by Flag: "ok", "noisy", ...
VOXPOP_EXPORT const std::vector<std::string>& flag_names();
/// Whether the flag is a reason to distrust the annotator.
inline bool is_suspicious(Flag flag) {
  return flag != Flag::kOk && flag != Flag::kTooFewVotes && flag != Flag::kUnknown;
}

/// Annotators over time. Each annotator with 100 votes or more has 2 to 12 windows with equal numbers of its votes:
/// about 50, or more if it has over 600 votes. Rows are sorted by annotator, then by time.
struct WindowColumns {
  Column<std::uint32_t> annotator, votes;
  Column<std::int64_t> start, end;  ///< times of the window's first and last vote, seconds since 1970
  /// Expected share of the window's decided votes that picked the better item; the fit of all votes decides which item
  /// is better.
  Column<float> expected_accuracy, expected_accuracy_se;
  /// Same units as AnnotatorLabels, estimated from the window's votes alone, with the population as prior. NaN for bt
  /// and crowd-bt.
  Column<float> discrimination, discrimination_se;
  Column<float> side_bias, side_bias_se;
  Column<float> votes_per_hour;  ///< without pauses of more than half an hour
};

struct Drift {
  WindowColumns windows;
  /// [annotators] Score test of constant discrimination and side bias against one change between two windows (Andrews
  /// 1993). `statistic`: the largest chi-squared statistic. `p_value`: corrected for the number of possible changes
  /// (Bonferroni, so slightly too large). `corrected_p_value`: also corrected for the number of annotators tested (Holm
  /// 1979). NaN: not tested.
  Column<float> statistic, p_value, corrected_p_value;
};

struct ItemLabels {
  Column<float> score, std_error;  ///< [items], logits of the reference annotator; mean 0 within each component
  Column<std::uint32_t> votes;     ///< [items]
  Column<std::int32_t> component;  ///< [items], numbered in order of their first items; -1: no votes
  Column<float> controlled_score;  ///< [items] score without the part that features explain; empty without features
};

/// Coefficients of the items' covariates: logits of the reference annotator per unit of the covariate.
struct CovariateLabels {
  Strings names;
  Column<float> coefficient, coefficient_se;
  Column<float> taste_sd;  ///< [features] standard deviation of annotators' own tastes, logits per unit; only `rater`
};

/// How items' embeddings explain their scores: see EmbeddingFit.
struct EmbeddingLabels {
  Column<float> coefficient, coefficient_se;  ///< [dimensions] logits of the reference annotator per unit
  /// Share of the variance of scores within components that the embedding explains.
  double explained = 0, explained_se = 0;
  int rounds = 0;
};

/// Mean scores of items' sources: logits of the reference annotator, centred.
struct SourceLabels {
  std::vector<std::uint32_t> row;  ///< rows of Votes::source_ids: sources of items that have votes
  Column<float> score, std_error;
};

struct AnnotatorLabels {
  Column<std::uint32_t> votes;
  /// Different pairs that the annotator judged; empty in files of earlier versions.
  Column<std::uint32_t> distinct_pairs;
  Column<float> discrimination,
      discrimination_se;                  ///< reference annotator = 1; the error includes 3 % for the method itself
  Column<float> side_bias, side_bias_se;  ///< logits, > 0: to the left; 0, with error NaN, if no side is known
  /// Probability of a tie if the annotator sees no difference; empty if ties are not an answer of their own.
  Column<float> tie_habit, tie_habit_se;
  Column<float> eta, eta_se;      ///< only `crowd-bt`
  Column<float> taste, taste_se;  ///< [annotators][features] logits per unit of the feature, or empty
  Column<float> agreement, expected_accuracy, bits_per_vote;
  /// Decided votes on pairs with a known answer; empty if there are no known answers.
  Column<std::uint32_t> gold_votes;
  /// Share of gold_votes that are right, with its 95 % interval (Wilson).
  Column<float> gold_right, gold_right_low, gold_right_high;
  Column<std::int8_t> flag;
  Column<float> flag_probability;
  Column<std::int32_t> copies;  ///< cluster of copies that the annotator is in, from 0; -1: none
};

/// Different pairs, sorted by left, then right; left < right as item indices.
struct PairColumns {
  Column<std::uint32_t> left, right, votes;
  Column<std::uint32_t> ties;           ///< votes for neither
  Column<std::uint32_t> flagged_votes;  ///< votes of annotators with is_suspicious() flags
  Column<float> wins_left, probability, probability_better, margin, margin_se, information_gain;
  Column<float> target, weight;  ///< for the left item, see evidence_label(); empty in files of earlier versions
};

/// Tie habit of the prompt of each component (numbered as ItemLabels::component): probability of a tie if the average
/// annotator sees no difference. Empty if ties are not an answer of their own, or if there are too few prompts.
struct ComponentLabels {
  Column<float> tie_habit, tie_habit_se;  ///< [components]
};

/// A known answer is contradicted if the fit without this answer gives it a lower probability.
inline constexpr float kContradicted = 0.05f;

/// Known answers, and the fit's probabilities without them.
struct GoldLabels {
  Column<std::uint32_t> left, right;  ///< item indices
  Column<float> probability;          ///< probability that left is better, as given
  /// Probability that left is better by the fit without this answer; NaN if no votes connect the items.
  Column<float> without;
  /// 1: the answer is known for sure (90 % or more), and `without` gives it less than 5 %.
  Column<std::int8_t> contradicted;
};

/// All labels of a fit, for items, annotators, pairs and votes.
struct Labels {
  ItemLabels items;
  ComponentLabels components;
  AnnotatorLabels annotators;
  CovariateLabels covariates;
  std::optional<EmbeddingLabels> embedding;
  SourceLabels sources;
  PairColumns pairs;
  std::optional<GoldLabels> gold;
  std::optional<Drift> drift;  ///< annotators over time, if votes have times
  /// [input rows] probability that the vote picked the better item; NaN for ties.
  Column<float> vote_probability_correct;
  Column<float> vote_target, vote_weight;  ///< [input rows] evidence_label() of each vote, for its left item
  /// [input rows] number of votes that each row counts as in the fit; empty: 1 for all.
  Column<float> vote_count;
};

struct ReliabilityBin {
  double trials = 0, predicted = 0, observed = 0;  ///< trials: sum of weights; the others: means over the bin's trials
};

/// Mean predictions and mean outcomes in 15 equal bins from 0 to 1. The means of a bin without trials are NaN.
struct Reliability {
  std::string method;  ///< where the predictions come from
  std::vector<ReliabilityBin> bins;

  VOXPOP_EXPORT double trials() const;
  VOXPOP_EXPORT double ece() const;  ///< expected calibration error, see Score
  /// Mean ECE to expect if predictions were true and trials independent (normal approximation).
  VOXPOP_EXPORT double ece_by_chance() const;
};
}  // namespace voxpop
