#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "votes/votes.h"

namespace voxpop {

/// Which pairs of items get votes:
/// - rlhf: prompts with a few responses each; each prompt is a component.
/// - arena: random pairs from one set of items; one dense component.
/// - chain: each item against the next; one long sparse component.
/// - graph: prompts * responses items in one sparse component. First item i against a random earlier item (a random
///   recursive tree), then random pairs, not necessarily distinct, up to prompts * pairs_per_prompt pairs.
/// - mix: one component that connects all prompts. The items of each prompt are a graph of pairs_per_prompt pairs; the
///   first item of each prompt is compared with the first item of a random earlier prompt; the first item of every
///   100th prompt is a hub, compared with 100 random items.
///
/// Only rlhf writes the prompt of each item: in the other shapes items of different prompts are compared.
enum class Shape { kRlhf, kArena, kChain, kGraph, kMix };

/// Shares of annotators by kind. If the sum is below 1, the rest is good, too.
struct Mix {
  double good = 0.70;       ///< discrimination about 1 (sd 0.2), side bias sd 0.2
  double noisy = 0.15;      ///< discrimination about 0.35
  double clicker = 0.10;    ///< nearly always picks one side: discrimination about 0, side bias +-3
  double adversary = 0.05;  ///< prefers the worse item: discrimination about -0.8
};

struct SimulateOptions {
  Shape shape = Shape::kRlhf;
  std::uint64_t prompts = 50000;
  std::uint64_t responses = 4;         ///< per prompt; for arena: total number of items
  std::uint64_t pairs_per_prompt = 5;  ///< rlhf: distinct pairs of responses; other shapes: pairs drawn, may repeat
  std::uint64_t votes_per_pair = 4;    ///< by different annotators
  std::uint64_t annotators = 500;      ///< their numbers of votes follow a Pareto distribution
  Mix mix;
  /// Share of votes that are ties, 0 to 0.95. Each annotator has a tie habit: the probability of a tie if it sees no
  /// difference. Habits are logit-normal with standard deviation 0.7.
  double ties = 0;
  std::uint64_t grades = 0;  ///< 1 to 9: number of strengths, with thresholds 1 logit apart; 0: signs only
  /// 0 to 0.9: the median annotator's share of clicks, that is, of votes that ignore the items. The side of a click
  /// depends only on the side bias, its strength is random, and it is never a tie. The annotators' rates are
  /// logit-normal with standard deviation 0.7.
  double lapse_rate = 0;
  std::uint64_t features = 0;   ///< up to 64; values are N(0, 1)
  double feature_effect = 0.5;  ///< E: coefficients E, -E/2, E/4, ..., logits per unit; total score variance unchanged
  double taste_sd = 0;          ///< 0 to 10, logits per unit: standard deviation of annotators' tastes for each feature
  /// 0 to below 1: correlation of prior scores with the true scores. Simulates an existing reward model; its scores are
  /// on another scale. nullopt: no prior scores.
  std::optional<double> prior_score = std::nullopt;
  /// Number of days with timestamps, from 2026-01-05 00:00 UTC; 0: no timestamps. Annotators vote in sessions of about
  /// 50 votes, 20 to 90 s apart. The time order of an annotator's votes is random, not the row order.
  std::uint64_t days = 0;
  double drift = 0;   ///< share of annotators (good ones) with a quarter of the discrimination in their second half
  double bursts = 0;  ///< share of annotators with one session of votes 1 s apart
  std::uint64_t seed = 1;
};

/// Simulates votes. Lapses, features, tastes, prior scores, times and ties each have their own random stream, so that
/// changing one of them does not change the other draws: another lapse rate or more days give the same pairs. Throws
/// Error(kUsage) if options are out of range or do not fit together.
Votes simulate_votes(const SimulateOptions& options);

/// Parses "good=.7,noisy=.15,clicker=.1,adversary=.05". Kinds that are not named get share 0. The shares must sum to 1.
/// Throws Error(kUsage).
Mix parse_mix(const std::string& text);

}  // namespace voxpop
