#include "simulate/simulate.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "formulas/likelihood.h"

namespace voxpop {
namespace {

const std::map<std::string, Shape> kShapes = {{"rlhf", Shape::kRlhf},
                                              {"arena", Shape::kArena},
                                              {"chain", Shape::kChain},
                                              {"graph", Shape::kGraph},
                                              {"mix", Shape::kMix}};

struct Arguments {
  std::string output;
  SimulateOptions options;
  std::string shape = "rlhf";
  std::string mix = "good=.7,noisy=.15,clicker=.1,adversary=.05";
  bool no_compress = false;
  CommonOptions common;
};

int simulate_command(Arguments arguments) {
  arguments.options.mix = parse_mix(arguments.mix);
  OutputFile output(arguments.output);
  const Votes votes = simulate_votes(arguments.options);
  write_votes(output, votes, !arguments.no_compress, terminal_context(arguments.common));
  if (arguments.common.json) {
    print_json({{"output", arguments.output},
                {"votes", votes.size()},
                {"items", votes.item_ids.size()},
                {"annotators", votes.annotator_ids.size()},
                {"seed", arguments.options.seed}});
  } else {
    print_text("{}: {} votes on {} items by {} annotators, with the truth (group 'truth'), seed {}\n",
               one_line(arguments.output), votes.size(), votes.item_ids.size(), votes.annotator_ids.size(),
               arguments.options.seed);
  }
  return 0;
}

}  // namespace

void add_simulate(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb =
      *app.add_subcommand("simulate", "Write simulated votes with known truth, to try voxpop or to test a pipeline");
  SimulateOptions& options = arguments->options;
  verb.add_option("OUT.h5", arguments->output,
                  "File of votes to write (comparisons/1, with the truth in the group 'truth')")
      ->required();
  verb.add_option(
          "--shape", arguments->shape,
          "rlhf: prompts with a few responses each; arena: one set of items; chain: each item against the next; graph: "
          "one sparse component, a random tree and further random pairs; mix: prompts whose first items are linked")
      ->check(CLI::IsMember(kShapes))
      ->capture_default_str();
  const auto positive = CLI::Range(std::uint64_t{1}, std::uint64_t{4000000000});
  auto* prompts =
      verb.add_option("--prompts", options.prompts, "Prompts (50000; arena: 1000000; chain: 500)")->check(positive);
  auto* responses =
      verb.add_option("--responses", options.responses, "Responses per prompt (4); arena: items in all (100)")
          ->check(positive);
  auto* pairs = verb.add_option("--pairs-per-prompt", options.pairs_per_prompt,
                                "Pairs per prompt (5; arena: 1); rlhf: all different")
                    ->check(positive);
  auto* per_pair = verb.add_option("--votes-per-pair", options.votes_per_pair,
                                   "Votes per pair, by different annotators (4; arena: 1)")
                       ->check(positive);
  verb.add_option("--annotators", options.annotators,
                  "Number of annotators; their numbers of votes follow a Pareto distribution")
      ->check(positive)
      ->capture_default_str();
  verb.add_option("--mix", arguments->mix, "Shares of the kinds of annotators")->capture_default_str();
  verb.add_option("--ties", options.ties, "Share of votes that are ties")
      ->check(within(0, 0.95))
      ->capture_default_str();
  verb.add_option("--grades", options.grades, "Votes have strengths from -K to K; 0: only which item is preferred")
      ->check(CLI::Range(0, kMaxLevels))
      ->capture_default_str();
  verb.add_option("--lapse-rate", options.lapse_rate, "Share of votes that are random clicks, for the median annotator")
      ->check(within(0, 0.9))
      ->capture_default_str();
  auto* features = verb.add_option("--features", options.features,
                                   "Number of features of the items, each N(0, 1); the first is called 'length'")
                       ->check(CLI::Range(0, 64))
                       ->capture_default_str();
  verb.add_option("--feature-effect", options.feature_effect,
                  "Effect of the features on the score: E, -E/2, E/4, ... logits per unit; the spread of the scores "
                  "stays the same")
      ->needs(features)
      ->capture_default_str();
  verb.add_option("--taste-sd", options.taste_sd,
                  "Standard deviation of annotators' own weights of each feature, in logits per unit")
      ->needs(features)
      ->check(within(0, 10.0))
      ->capture_default_str();
  verb.add_option("--prior-score", options.prior_score,
                  "Add the scores of a reward model; their correlation with the true scores, 0 to below 1 (no scores)")
      ->check(within(0, 1.0));
  auto* days =
      verb.add_option(
              "--days", options.days,
              "Timestamps over this number of days from 2026-01-05, in sessions of about 50 votes; 0: no timestamps")
          ->check(CLI::Range(0, 36500))
          ->capture_default_str();
  verb.add_option("--drift", options.drift,
                  "Share of annotators, all of them good, whose discrimination falls to a quarter in their second half")
      ->needs(days)
      ->check(within(0, 1.0))
      ->capture_default_str();
  verb.add_option("--bursts", options.bursts, "Share of annotators who have a session with votes 1 s apart")
      ->needs(days)
      ->check(within(0, 1.0))
      ->capture_default_str();
  verb.add_option("--seed", options.seed, "Seed; the same seed gives the same file")
      ->check(kSeedRange)
      ->capture_default_str();
  verb.add_flag("--no-compress", arguments->no_compress, "Write uncompressed datasets");
  add_common_options(verb, arguments->common);
  verb.footer(
      "Shapes with one component: graph compares each of PROMPTS x RESPONSES items with an earlier one, then random "
      "pairs,\nPROMPTS x PAIRS in all. mix does so within each prompt; it also compares each prompt's first item with "
      "that of an\nearlier prompt, and every 100th prompt's first item, a hub, with 100 random items.\nThe group "
      "'truth' has what was drawn; discrimination is the mean over an annotator's votes. Changing one option does\nnot "
      "change what the other options draw.\n\n"
      "Example, 180,000 votes on 20,000 prompts:\n  voxpop simulate votes.h5 --prompts 20000 --responses 4 "
      "--pairs-per-prompt 3 --votes-per-pair 3 --annotators 300");
  verb.callback([=, &run] {
    SimulateOptions& o = arguments->options;
    o.shape = kShapes.at(arguments->shape);
    // Defaults that give about a million votes for each shape (chain: 2,000 items).
    if (o.shape == Shape::kArena) {
      if (prompts->empty()) o.prompts = 1000000;
      if (responses->empty()) o.responses = 100;
      if (pairs->empty()) o.pairs_per_prompt = 1;
      if (per_pair->empty()) o.votes_per_pair = 1;
    } else if (o.shape == Shape::kChain && prompts->empty()) {
      o.prompts = 500;
    }
    run = [arguments] { return simulate_command(*arguments); };
  });
}

}  // namespace voxpop
