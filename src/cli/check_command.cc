#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/strings.h"
#include "group/bursts.h"
#include "guards/findings.h"

namespace voxpop {
namespace {

struct Arguments {
  std::vector<std::string> inputs;
  CommonOptions common;
};

void print_bursts(const Votes& votes, const std::vector<Burst>& bursts) {
  if (votes.timestamp.empty()) return;
  print_text("{} bursts (20 votes or more of one annotator, each within 2 seconds of the one before)\n", bursts.size());
  constexpr std::size_t kMost = 10;
  for (std::size_t i = 0; i < std::min(bursts.size(), kMost); ++i)
    print_text("  {}: {} votes in {} s from {:%Y-%m-%d %H:%M:%S} UTC\n",
               shown(votes.annotator_ids[bursts[i].annotator]), bursts[i].votes, bursts[i].end - bursts[i].start,
               fmt::gmtime(std::time_t{bursts[i].start}));
  if (bursts.size() > kMost) print_text("  ... (--json has all)\n");
}

int check_command(const Arguments& arguments) {
  Votes votes = read_votes(arguments.inputs, terminal_context(arguments.common));
  const std::vector<Burst> bursts = find_bursts(votes);  // before group_votes(), which consumes the columns
  const Groups groups = group_votes(votes, Ties::kModel);
  const Limits limits = find_limits(groups, votes);
  const std::vector<Finding> findings = find_findings(votes, limits, std::time(nullptr));
  std::vector<std::string> others;
  try {
    find_covariates(votes, groups, {});
  } catch (const Error& error) {  // `fit` fails with this error too, except with some --ignore options
    others.emplace_back(error.what());
  }
  std::map<std::uint32_t, std::uint32_t> sizes;
  for (std::size_t c = 0; c < groups.components(); ++c) ++sizes[groups.items_of(c)];
  if (arguments.common.json) {
    nlohmann::ordered_json json = {{"votes", limits.votes},
                                   {"ties", limits.ties},
                                   {"items", limits.items},
                                   {"items_without_votes", limits.items_without_votes},
                                   {"annotators", limits.annotators},
                                   {"pairs", limits.pairs},
                                   {"pairs_with_one_vote", limits.pairs_with_one_vote},
                                   {"pairs_repeated", limits.repeated_pairs},
                                   {"pairs_swapped", limits.swapped_pairs},
                                   {"components", limits.components},
                                   {"largest_component_items", limits.largest_component_items},
                                   {"side_keeping", limits.side_keeping},
                                   {"annotators_alone", limits.annotators_alone},
                                   {"duplicate_votes", limits.duplicate_votes},
                                   {"checking_share", limits.checking_share()},
                                   {"annotators_identified", limits.annotators_identified()},
                                   {"side_bias_identified", limits.side_bias_identified()},
                                   {"sides_known", limits.sides_known},
                                   {"warnings", warnings_of(findings, others)},
                                   {"findings", to_json(findings)}};
    if (!votes.timestamp.empty()) {
      json["bursts"] = nlohmann::ordered_json::array();
      for (const Burst& burst : bursts)
        json["bursts"].push_back({{"annotator", votes.annotator_ids[burst.annotator]},
                                  {"votes", burst.votes},
                                  {"start", burst.start},
                                  {"end", burst.end}});
    }
    print_json(json);
    return 0;
  }
  const bool anonymous = count_rows(votes.anonymous) == votes.size();
  print_text("{} votes ({} ties) on {} items{}: valid\n", limits.votes, limits.ties, limits.items,
             anonymous ? ", without annotators" : fmt::format(" by {} annotators", limits.annotators));
  print_text("{} components, of", limits.components);
  int shown = 0;
  for (auto at = sizes.rbegin(); at != sizes.rend() && shown < 5; ++at, ++shown)
    print_text("{} {} items ({}x)", shown ? "," : "", at->first, at->second);
  print_text("{}\n", sizes.size() > 5 ? ", ..." : "");
  print_text("{} pairs: {} with a single vote\n", limits.pairs, limits.pairs_with_one_vote);
  if (!limits.sides_known)
    print_text("the votes say who won, but not who was shown on the left\n");
  else if (limits.repeated_pairs > 0)
    print_text("of {} pairs with two votes or more, {} ({:.1f} %) were shown in both orders; ", limits.repeated_pairs,
               limits.swapped_pairs, 100 * limits.swapped_share());
  if (limits.sides_known)
    print_text("items on the same side each time: {:.0f} % (0: chance, 100: always)\n", 100 * limits.side_keeping);
  print_text("{:.1f} % of votes can contradict another vote\n", 100 * limits.checking_share());
  if (!anonymous)
    print_text("{} annotators share no pair with anyone; {} votes repeat an earlier vote of the same annotator\n",
               limits.annotators_alone, limits.duplicate_votes);
  print_bursts(votes, bursts);
  for (const Finding& finding : findings) print_text("\n{}\n", told(finding));
  for (const std::string& warning : others) print_text("\nWARNING: {}\n", warning);
  if (findings.empty() && others.empty()) print_text("\nNo findings.\n");
  return 0;
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("check", "Check votes: find what is suspicious, and what the votes cannot show");
  verb.add_option("IN.h5", arguments->inputs, "Votes (comparisons/1); several files are one data set")->required();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop check votes.h5");
  verb.callback([=, &run] { run = [arguments] { return check_command(*arguments); }; });
}

}  // namespace voxpop
