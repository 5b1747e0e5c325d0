#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "fit/evidence.h"
#include "fit/fit.h"
#include "group/group.h"
#include "label/drift.h"
#include "voxpop/labels.h"

namespace voxpop {

/// Relative error of a discrimination that more votes do not take away: expectation propagation's own. On simulated
/// votes, 2 to 5 a pair, it makes strong annotators 2 to 9 % too weak, most of which the unit (the reference annotator)
/// takes up.
inline constexpr double kMethodError = 0.03;

/// Errors of habits of ties are those of habits alone, annotators' discriminations taken as known: on simulated votes
/// they are by this factor too short.
inline constexpr double kHabitError = 1.3;

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
