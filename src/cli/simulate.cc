#include "simulate/simulate.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"

namespace voxpop {
namespace {

const std::map<std::string, Shape> kShapes = {
    {"rlhf", Shape::kRlhf}, {"arena", Shape::kArena}, {"chain", Shape::kChain}};

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
  write_votes(output, votes, !arguments.no_compress);
  if (arguments.common.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"output", arguments.output},
                                              {"votes", votes.size()},
                                              {"items", votes.item_ids.size()},
                                              {"annotators", votes.annotator_ids.size()},
                                              {"seed", arguments.options.seed}}
                           .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{}: {} votes on {} items by {} annotators, with the truth beside them (group 'truth'), seed {}\n",
               arguments.output, votes.size(), votes.item_ids.size(), votes.annotator_ids.size(),
               arguments.options.seed);
  }
  return 0;
}

}  // namespace

void add_simulate(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb =
      *app.add_subcommand("simulate", "Write votes whose truth is known, to try voxpop on or to test a pipeline");
  SimulateOptions& options = arguments->options;
  verb.add_option("OUT.h5", arguments->output, "File to write (comparisons/1, with the truth in group 'truth')")
      ->required();
  verb.add_option("--shape", arguments->shape,
                  "rlhf: prompts of a few responses; arena: one set of items; chain: each item against the next")
      ->check(CLI::IsMember(kShapes))
      ->capture_default_str();
  const auto positive = CLI::Range(std::uint64_t{1}, std::uint64_t{4000000000});
  auto* prompts =
      verb.add_option("--prompts", options.prompts, "Prompts (50000; arena: 1000000; chain: 500)")->check(positive);
  auto* responses =
      verb.add_option("--responses", options.responses, "Responses a prompt (4); for arena, items in all (100)")
          ->check(positive);
  auto* pairs =
      verb.add_option("--pairs-per-prompt", options.pairs_per_prompt, "Distinct pairs compared a prompt (5; arena: 1)")
          ->check(positive);
  auto* per_pair =
      verb.add_option("--votes-per-pair", options.votes_per_pair, "Votes a pair, by different annotators (4; arena: 1)")
          ->check(positive);
  verb.add_option("--annotators", options.annotators, "Annotators; their volumes follow a Pareto law")
      ->check(positive)
      ->capture_default_str();
  verb.add_option("--mix", arguments->mix, "Shares of annotators by kind")->capture_default_str();
  verb.add_option("--ties", options.ties, "Share of votes that are ties")
      ->check(CLI::Range(0.0, 0.95))
      ->capture_default_str();
  verb.add_option("--seed", options.seed, "Seed; the same seed gives the same file")
      ->check(kSeedRange)
      ->capture_default_str();
  verb.add_flag("--no-compress", arguments->no_compress, "Write uncompressed datasets");
  add_common_options(verb, arguments->common);
  verb.footer(
      "Example, 180,000 votes on 20,000 prompts:\n  voxpop simulate votes.h5 --prompts 20000 --responses 4 "
      "--pairs-per-prompt 3 --votes-per-pair 3 --annotators 300");
  verb.callback([=, &run] {
    SimulateOptions& o = arguments->options;
    o.shape = kShapes.at(arguments->shape);
    // Defaults that make about a million votes of each shape (chain: 2,000 items).
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
