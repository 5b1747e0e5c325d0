#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "votes/votes.h"

namespace voxpop {

/// rlhf: prompts with a few responses each, one component a prompt. arena: pairs drawn from one set of items, one dense
/// component. chain: each item against the next, one long sparse component. graph: prompts * responses items in one
/// sparse component: item i against one of the items before it (a random recursive tree), then pairs at random, not
/// always distinct, until there are prompts * pairs_per_prompt. mix: a tournament laid over prompts, one component:
/// each prompt's items as a graph of pairs_per_prompt pairs; its first item against the first of a prompt before it;
/// and every 100th prompt's first item, a hub, against 100 items at random. Only rlhf says which prompt an item
/// answers: elsewhere items of different prompts are compared.
enum class Shape { kRlhf, kArena, kChain, kGraph, kMix };

/// Shares of annotators by kind; the rest of 1 is good too.
struct Mix {
  double good = 0.70;       ///< discrimination about 1 (sd 0.2), side bias sd 0.2
  double noisy = 0.15;      ///< discrimination about 0.35
  double clicker = 0.10;    ///< clicks one side: discrimination about 0, side bias +-3
  double adversary = 0.05;  ///< prefers the worse: discrimination about -0.8
};

struct SimulateOptions {
  Shape shape = Shape::kRlhf;
  std::uint64_t prompts = 50000;
  std::uint64_t responses = 4;         ///< a prompt; for arena: items in all
  std::uint64_t pairs_per_prompt = 5;  ///< distinct pairs of a prompt's responses (rlhf), pairs drawn (other shapes)
  std::uint64_t votes_per_pair = 4;    ///< by different annotators
  std::uint64_t annotators = 500;      ///< their volumes follow a Pareto law
  Mix mix;
  /// Share of votes that are ties. Annotators have habits of their own: the chance of a tie where they see no
  /// difference, logit-normal, sd 0.7.
  double ties = 0;
  std::uint64_t grades = 0;  ///< 1 to 9: strengths of a vote, thresholds a logit apart; 0: signs only
  /// Up to 0.9: the median annotator's share of clicks, which go to the side that the side bias alone would choose,
  /// with any strength, never as ties. The annotators' own: logit-normal, sd 0.7.
  double lapse_rate = 0;
  std::uint64_t features = 0;   ///< up to 64; N(0, 1) each
  double feature_effect = 0.5;  ///< E: scores hold E, -E/2, E/4, .. logits a unit; the rest keeps the items' variance
  double taste_sd = 0;          ///< up to 10, logits a unit: an annotator's own weight of a feature, added to its votes
  /// 0 to below 1: correlation of an existing reward model's score, on another scale, with the true one.
  std::optional<double> prior_score = std::nullopt;
  /// Days over which timestamps run, from 2026-01-05 00:00 UTC, in sessions of some 50 votes 20 to 90 s apart; 0: no
  /// timestamps. An annotator's order in time is not that of the rows.
  std::uint64_t days = 0;
  double drift = 0;   ///< share of annotators, good ones, with a quarter of the discrimination in their later half
  double bursts = 0;  ///< share of annotators with a session of votes 1 s apart
  std::uint64_t seed = 1;
};

/// An option's draws leave those of all others as they are: with another lapse rate or more days come the same pairs.
/// Throws Error(kUsage) for numbers that do not fit together.
Votes simulate_votes(const SimulateOptions& options);

/// "good=.7,noisy=.15,clicker=.1,adversary=.05"; kinds not named have share 0. Throws Error(kUsage).
Mix parse_mix(const std::string& text);

}  // namespace voxpop
