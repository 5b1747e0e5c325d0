#pragma once
#include <cstdint>
#include <string>

#include "io/votes.h"

namespace voxpop {

/// rlhf: prompts with a few responses each, one component a prompt. arena: pairs drawn from one set of items, one dense
/// component. chain: each item against the next, one long sparse component.
enum class Shape { kRlhf, kArena, kChain };

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
  std::uint64_t pairs_per_prompt = 5;  ///< distinct pairs of a prompt's responses (rlhf), pairs drawn (arena)
  std::uint64_t votes_per_pair = 4;    ///< by different annotators
  std::uint64_t annotators = 500;      ///< their volumes follow a Pareto law
  Mix mix;
  double ties = 0;  ///< share of votes that are ties
  std::uint64_t seed = 1;
};

/// Throws Error(kUsage) for numbers that do not fit together.
Votes simulate_votes(const SimulateOptions& options);

/// "good=.7,noisy=.15,clicker=.1,adversary=.05"; kinds not named have share 0. Throws Error(kUsage).
Mix parse_mix(const std::string& text);

}  // namespace voxpop
