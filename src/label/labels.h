#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "fit/evidence.h"
#include "fit/fit.h"
#include "group/group.h"
#include "label/drift.h"

namespace voxpop {

/// What is said of an annotator; the order is that of the HDF5 enum.
enum class Flag : std::int8_t { kOk, kNoisy, kRandom, kSideClicker, kAdversarial, kTooFewVotes, kUnknown, kCopies };
const std::vector<std::string>& flag_names();
/// Whether it says something against the annotator.
inline bool is_suspicious(Flag flag) {
  return flag != Flag::kOk && flag != Flag::kTooFewVotes && flag != Flag::kUnknown;
}

/// Relative error of a discrimination that more votes do not take away: expectation propagation's own. On simulated
/// votes, 2 to 5 a pair, it makes strong annotators 2 to 9 % too weak, most of which the unit (the reference annotator)
/// takes up.
inline constexpr double kMethodError = 0.03;

/// Errors of habits of ties are those of habits alone, annotators' discriminations taken as known: on simulated votes
/// they are by this factor too short.
inline constexpr double kHabitError = 1.3;

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

/// Votes as a loss for training: weight x cross-entropy(target, sigma(r_left - r_right)), r in logits of the reference
/// annotator, has the gradient of the votes' log-likelihood at the posterior mean of the difference, and its curvature
/// where a target from 0 to 1 can have both. Where none can (a vote that says little is steep for how little it bends),
/// the target is 0 or 1, and the curvature larger. Far from 0 the cross-entropy is flat, and to follow a vote of little
/// discrimination there would take weights that are wrong anywhere else: no weight is above `most`. No votes: target
/// 1/2, weight 0.
struct EvidenceLabel {
  float target, weight;
};
/// `gradient` and `curvature` (below 0 counts as 0) at `difference`, all in logits of the reference annotator.
EvidenceLabel evidence_label(double gradient, double curvature, double difference, double most = 1e30);

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

/// What the reference annotator would say of each pair; the engine is not needed after it.
PairLabels find_pair_labels(Engine& engine, const Fit& fit);

/// Everything that `fit/1` says beyond the fit itself, but for drift. `rows`: votes in the input, counted or not.
/// `copies`: [annotators] or empty, see AnnotatorLabels. `evidence`: is used up; null where it is not wanted.
Labels make_labels(const Groups& groups, const Fit& fit, const PairLabels& pairs, std::size_t items, std::size_t rows,
                   Column<std::int32_t> copies = {}, VoteEvidence* evidence = nullptr);

/// The sources' scores; errors as the items' posterior shows them.
SourceLabels label_sources(const Groups& groups, const Fit& fit);

/// Rows of the `most` sources with the highest scores.
std::vector<std::size_t> best_sources(const SourceLabels& sources, std::size_t most);
/// Where votes do not say how reliable anybody is: takes back what would be the prior's. Flags become unknown; expected
/// accuracies and votes' probabilities NaN.
void forget_reliability(Labels& labels);

/// The flag of one annotator and its probability, from the posterior of (discrimination, side bias): the likeliest
/// region of adversarial (discrimination < -0.1); side_clicker (|side bias| > 1, < 0.6); random (< 0.15); noisy (<
/// 0.6); ok. Side_clicker also where the side bias is so strong that 95 % of its votes would go to that side, whatever
/// it thinks of the items: scores differ by N(0, 2 `unit`^2), `unit` prior units' logits; such votes hardly say what
/// its discrimination is. too_few_votes where no region has probability 0.75 and the discrimination is known no better
/// than +-0.15; its probability is then that of the likeliest region; and of an annotator of a single distinct pair,
/// which is one judgement, however often it was given. `side_bias_se` NaN: no side bias is known.
std::pair<Flag, float> flag_annotator(double discrimination, double discrimination_se, double side_bias,
                                      double side_bias_se, std::uint32_t distinct_pairs = 2, double unit = 1);

/// Share of decided votes that are expected to have picked the worse item: cDPO's label_smoothing for raw votes.
double flip_rate(const Labels& labels);

}  // namespace voxpop
