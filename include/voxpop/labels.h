#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "voxpop/column.h"
#include "voxpop/export.h"
#include "voxpop/strings.h"

namespace voxpop {

/// What is said of an annotator; the order is that of the HDF5 enum.
enum class Flag : std::int8_t { kOk, kNoisy, kRandom, kSideClicker, kAdversarial, kTooFewVotes, kUnknown, kCopies };
/// By Flag: "ok", "noisy", ...
VOXPOP_EXPORT const std::vector<std::string>& flag_names();
/// Whether it says something against the annotator.
inline bool is_suspicious(Flag flag) {
  return flag != Flag::kOk && flag != Flag::kTooFewVotes && flag != Flag::kUnknown;
}

/// Annotators over time. Rows by annotator, then by time: windows of equal numbers of votes of its own, about 50 each,
/// 12 at most, of annotators with 100 votes or more.
struct WindowColumns {
  Column<std::uint32_t> annotator, votes;
  Column<std::int64_t> start, end;  ///< of its first and last vote, seconds since 1970
  /// Share of decided votes that picked the better item, expected from all votes.
  Column<float> expected_accuracy, expected_accuracy_se;
  Column<float> discrimination, discrimination_se;  ///< as of annotators, from the window's votes alone, the
  Column<float> side_bias, side_bias_se;            ///< population as prior; bt and crowd-bt: NaN
  Column<float> votes_per_hour;                     ///< gaps of more than half an hour left out
};

struct Drift {
  WindowColumns windows;
  /// [annotators] Score test that discrimination and side bias stay the same against a change between two windows
  /// (Andrews 1993): the largest chi-squared statistic, its p-value for so many bounds (Bonferroni, so somewhat too
  /// large), and that corrected for the number of annotators tested (Holm 1979). NaN: not tested.
  Column<float> statistic, p_value, corrected_p_value;
};

struct ItemLabels {
  Column<float> score, std_error;  ///< [items], logits of the reference annotator, centred in the component
  Column<std::uint32_t> votes;     ///< [items]
  Column<std::int32_t> component;  ///< [items], numbered by first item; -1: no votes
  Column<float> controlled_score;  ///< [items] score less what features explain; empty without features
};

/// What items' covariates say of their scores: logits of the reference annotator a unit of the covariate.
struct CovariateLabels {
  Strings names;
  Column<float> coefficient, coefficient_se;
  Column<float> taste_sd;  ///< [features] of annotators' own tastes, logits a unit; rater
};

/// What items' embeddings say of their scores: see EmbeddingFit.
struct EmbeddingLabels {
  Column<float> coefficient, coefficient_se;  ///< [dimensions] logits of the reference annotator a unit
  double explained = 0, explained_se = 0;     ///< share of the variance of scores within components
  int rounds = 0;
};

/// What items' sources say of their scores: logits of the reference annotator, centred.
struct SourceLabels {
  std::vector<std::uint32_t> row;  ///< of Votes::source_ids: sources of items with votes
  Column<float> score, std_error;
};

struct AnnotatorLabels {
  Column<std::uint32_t> votes;
  Column<std::uint32_t> distinct_pairs;  ///< that it has judged, however often; empty in files of earlier versions
  Column<float> discrimination,
      discrimination_se;                  ///< reference annotator = 1; the error includes 3 % for the method's own
  Column<float> side_bias, side_bias_se;  ///< logits, > 0 = to the left; 0 and NaN where no side is known
  Column<float> tie_habit, tie_habit_se;  ///< chance of a tie where no difference is seen; empty without own ties
  Column<float> eta, eta_se;              ///< crowd-bt alone
  Column<float> taste, taste_se;          ///< [annotators][features] logits a unit of the feature, or empty
  Column<float> agreement, expected_accuracy, bits_per_vote;
  Column<std::uint32_t> gold_votes;  ///< decided votes on pairs whose answer is known; empty where there are none
  Column<float> gold_right, gold_right_low, gold_right_high;  ///< share of them that are right, 95 % interval (Wilson)
  Column<std::int8_t> flag;
  Column<float> flag_probability;
  Column<std::int32_t> copies;  ///< number of the cluster of copies that it is in, from 0; -1: none
};

/// Distinct pairs, left < right by item index, ascending.
struct PairColumns {
  Column<std::uint32_t> left, right, votes;
  Column<std::uint32_t> ties;           ///< votes for neither
  Column<std::uint32_t> flagged_votes;  ///< votes of annotators whose flag is_suspicious()
  Column<float> wins_left, probability, probability_better, margin, margin_se, information_gain;
  Column<float> target, weight;  ///< of the left item, see evidence_label(); empty in files of earlier versions
};

/// Of the average annotator on the prompt of each component (ItemLabels::component): its chance of a tie where it sees
/// no difference. Empty without own ties, and where prompts are too few.
struct ComponentLabels {
  Column<float> tie_habit, tie_habit_se;  ///< [components]
};

/// A known answer is contradicted where all else gives it less.
inline constexpr float kContradicted = 0.05f;

/// Known answers, and what all else says of them.
struct GoldLabels {
  Column<std::uint32_t> left, right;  ///< item indices
  Column<float> probability;          ///< that left is better, as it was given
  Column<float> without;  ///< the same as the fit has it without this answer; NaN where no votes connect the two
  Column<std::int8_t> contradicted;  ///< 1: the answer is known (90 % or more), and the fit gives it less than 5 %
};

/// All that a fit says of items, annotators, pairs and votes.
struct Labels {
  ItemLabels items;
  ComponentLabels components;
  AnnotatorLabels annotators;
  CovariateLabels covariates;
  std::optional<EmbeddingLabels> embedding;
  SourceLabels sources;
  PairColumns pairs;
  std::optional<GoldLabels> gold;
  std::optional<Drift> drift;              ///< of annotators over time, where votes have times
  Column<float> vote_probability_correct;  ///< [input rows]; NaN for ties
  Column<float> vote_target, vote_weight;  ///< [input rows] evidence_label() of each vote, towards its left item
  Column<float> vote_count;                ///< [input rows] as how many votes each counts in the fit; empty: all as one
};

struct ReliabilityBin {
  double trials = 0, predicted = 0, observed = 0;  ///< means over the bin's trials
};

/// What predictions said and what came of them, in 15 equal bins from 0 to 1; a bin without trials has means NaN.
struct Reliability {
  std::string method;  ///< how the predictions came about
  std::vector<ReliabilityBin> bins;

  VOXPOP_EXPORT double trials() const;
  VOXPOP_EXPORT double ece() const;  ///< as in Score
  /// What it would be on average, were the predictions true and trials independent (normal approximation).
  VOXPOP_EXPORT double ece_by_chance() const;
};
}  // namespace voxpop
