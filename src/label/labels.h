#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "fit/fit.h"
#include "group/group.h"
#include "label/drift.h"

namespace voxpop {

/// What is said of an annotator; the order is that of the HDF5 enum.
enum class Flag : std::int8_t { kOk, kNoisy, kRandom, kSideClicker, kAdversarial, kTooFewVotes };
const std::vector<std::string>& flag_names();
/// Whether it says something against the annotator.
inline bool is_suspicious(Flag flag) { return flag != Flag::kOk && flag != Flag::kTooFewVotes; }

/// Relative error of a discrimination that more votes do not take away: expectation propagation's own. On simulated
/// votes, 2 to 5 a pair, it makes strong annotators 2 to 9 % too weak, most of which the unit (the reference annotator)
/// takes up.
inline constexpr double kMethodError = 0.03;

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
  Column<float> taste_sd;  ///< [features] of annotators' own tastes, logits a unit; rater and lapse
};

struct AnnotatorLabels {
  Column<std::uint32_t> votes;
  Column<std::uint32_t> distinct_pairs;  ///< that it has judged, however often; empty in files of earlier versions
  Column<float> discrimination,
      discrimination_se;                  ///< reference annotator = 1; the error includes 3 % for the method's own
  Column<float> side_bias, side_bias_se;  ///< logits, > 0 = to the left; 0 and NaN where no side is known
  Column<float> lapse_rate, lapse_rate_low, lapse_rate_high;  ///< lapse alone: median and 95 % interval
  Column<float> eta, eta_se;                                  ///< crowd-bt alone
  Column<float> taste, taste_se;  ///< [annotators][features] logits a unit of the feature, or empty
  Column<float> agreement, expected_accuracy, bits_per_vote;
  Column<std::int8_t> flag;
  Column<float> flag_probability;
};

/// Distinct pairs, left < right by item index, ascending.
struct PairColumns {
  Column<std::uint32_t> left, right, votes;
  Column<std::uint32_t> ties;           ///< votes for neither
  Column<std::uint32_t> flagged_votes;  ///< votes of annotators who are noisy, random, side_clicker or adversarial
  Column<float> wins_left, probability, probability_better, margin, margin_se, information_gain;
};

struct Labels {
  ItemLabels items;
  AnnotatorLabels annotators;
  CovariateLabels covariates;
  PairColumns pairs;
  std::optional<Drift> drift;              ///< of annotators over time, where votes have times
  Column<float> vote_probability_correct;  ///< [input rows]; NaN for ties
};

/// What the reference annotator would say of each pair; the engine is not needed after it.
PairLabels find_pair_labels(Engine& engine, const Fit& fit);

/// Everything that `fit/1` says beyond the fit itself, but for drift. `rows`: votes in the input, counted or not.
Labels make_labels(const Groups& groups, const Fit& fit, const PairLabels& pairs, std::size_t items, std::size_t rows);

/// The flag of one annotator and its probability, from the posterior of (discrimination, side bias): the likeliest
/// region of adversarial (discrimination < -0.1); side_clicker (|side bias| > 1, < 0.6); random (< 0.15); noisy (<
/// 0.6); ok. too_few_votes where no region has probability 0.75 and the discrimination is known no better than +-0.15;
/// its probability is then that of the likeliest region; and of an annotator of a single distinct pair, which is one
/// judgement, however often it was given. `side_bias_se` NaN: no side bias is known.
std::pair<Flag, float> flag_annotator(double discrimination, double discrimination_se, double side_bias,
                                      double side_bias_se, std::uint32_t distinct_pairs = 2);

/// Share of decided votes that are expected to have picked the worse item: cDPO's label_smoothing for raw votes.
double flip_rate(const Labels& labels);

}  // namespace voxpop
