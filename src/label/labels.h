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

/// Relative error of a discrimination that more votes do not reduce: the error of expectation propagation itself. On
/// simulated data with 2 to 5 votes per pair, it makes strong annotators 2 to 9 % too weak. Most of this cancels,
/// because the reference annotator (the unit) is also too weak.
inline constexpr double kMethodError = 0.03;

/// The errors of tie habits assume that annotators' discriminations are known. On simulated votes they are too small by
/// this factor.
inline constexpr double kHabitError = 1.3;

/// Votes as a training loss: weight x cross-entropy(target, sigma(r_left - r_right)), r in logits of the reference
/// annotator. At the posterior mean of the difference, the loss has the gradient of the votes' negative log-likelihood,
/// and also its curvature if a target from 0 to 1 can give both. If none can (a vote with little information has a
/// large gradient for its curvature), the target is 0 or 1 and the curvature is larger.
///
/// Far from 0 the cross-entropy is flat. To match a vote of low discrimination there, the weight would have to be so
/// large that it is wrong everywhere else. So no weight exceeds `most`. No votes: target 1/2, weight 0.
struct EvidenceLabel {
  float target, weight;
};
/// `gradient` and `curvature` (below 0 counts as 0) at `difference`, all in logits of the reference annotator.
EvidenceLabel evidence_label(double gradient, double curvature, double difference, double most = 1e30);

/// Predictions of the reference annotator's answer on each pair. The engine is not needed afterwards.
PairLabels find_pair_labels(Engine& engine, const Fit& fit);

/// All labels in `fit/1` except drift. `rows`: number of votes in the input, including votes that do not count.
/// `copies`: [annotators] or empty, see AnnotatorLabels. `evidence`: is consumed; null: labels have no targets and
/// weights.
Labels make_labels(const Groups& groups, const Fit& fit, const PairLabels& pairs, std::size_t items, std::size_t rows,
                   Column<std::int32_t> copies = {}, VoteEvidence* evidence = nullptr);

/// The sources' scores, with errors from the items' posterior.
SourceLabels label_sources(const Groups& groups, const Fit& fit);

/// Rows of the `most` sources with the highest scores.
std::vector<std::size_t> best_sources(const SourceLabels& sources, std::size_t most);
/// For votes that do not show how reliable annotators are: removes labels that would come from the prior alone. Flags
/// become kUnknown, except kCopies; expected accuracies and votes' probabilities become NaN.
void forget_reliability(Labels& labels);

/// The flag of one annotator and its probability, from the posterior of discrimination and side bias. The flag is the
/// most probable of these regions, each without the regions before it:
/// - adversarial: discrimination < -0.1
/// - side_clicker: |side bias| > 1, discrimination < 0.6
/// - random: discrimination < 0.15
/// - noisy: discrimination < 0.6
/// - ok: all others.
///
/// side_clicker also includes a side bias so strong that 95 % of the votes would go to one side for any items, because
/// such votes give hardly any information about discrimination. For this, score differences are N(0, 2 `unit`^2), with
/// `unit` logits per prior unit.
///
/// too_few_votes: no region has probability 0.75, and the standard error of the discrimination is above 0.15; or the
/// annotator has only one distinct pair, which is one judgement even if it is repeated. The probability is that of the
/// most probable region. `side_bias_se` NaN: the side bias is not known.
std::pair<Flag, float> flag_annotator(double discrimination, double discrimination_se, double side_bias,
                                      double side_bias_se, std::uint32_t distinct_pairs = 2, double unit = 1);

/// Expected share of decided votes that picked the worse item: label_smoothing of cDPO for raw votes.
double flip_rate(const Labels& labels);

}  // namespace voxpop
