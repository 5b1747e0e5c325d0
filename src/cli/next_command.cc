#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/id_table.h"
#include "core/seeded_hash.h"
#include "core/strings.h"
#include "core/text_output.h"
#include "core/threads.h"
#include "plan/plan.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string input, output;
  std::size_t budget = 0;
  std::size_t annotators = 0, most_each = 0;
  bool assign = false;
  std::vector<std::string> votes;
  std::uint64_t seed = 1;
  CommonOptions common;
};

/// For each vote in `chosen`: rows of the fit's annotators who have already judged its pair. Empty lists without
/// `paths`.
std::vector<std::vector<std::uint32_t>> judges_of(const FitFile& fit, const std::vector<WantedVote>& chosen,
                                                  const std::vector<std::string>& paths, const Context& context) {
  std::vector<std::vector<std::uint32_t>> judges(chosen.size());
  if (paths.empty()) return judges;
  const Votes votes = read_votes(paths, context);
  const std::string fitted = fit.json.value("inputs", Json::array()).dump();
  for (const InputFile& input : votes.inputs)
    if (fitted.find(input.xxh3) == std::string::npos)
      context.tell(fmt::format("{} is not one of the files that {} was fitted to", shown(input.path), shown(fit.path)));
  const auto rows_in = [](const Strings& theirs, const Strings& ours) {
    IdTable table;
    for (std::size_t i = 0; i < ours.size(); ++i) table.number(ours[i]);
    std::vector<std::optional<std::uint32_t>> rows;
    for (std::size_t i = 0; i < theirs.size(); ++i) rows.push_back(table.find(theirs[i]));
    return rows;
  };
  const auto items = rows_in(votes.item_ids, fit.item_ids);
  const auto annotators = rows_in(votes.annotator_ids, fit.annotator_ids);
  const auto key = [](std::uint64_t a, std::uint64_t b) { return std::min(a, b) << 32 | std::max(a, b); };
  std::unordered_map<std::uint64_t, std::size_t, SeededHash> place;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    place[key(fit.labels.pairs.left[chosen[i].pair], fit.labels.pairs.right[chosen[i].pair])] = i;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    const auto left = items[votes.left[v]], right = items[votes.right[v]], annotator = annotators[votes.annotator[v]];
    if (!left || !right || !annotator) continue;
    if (const auto at = place.find(key(*left, *right)); at != place.end()) judges[at->second].push_back(*annotator);
  }
  return judges;
}

/// One row of the table. A hash decides which item is left, so that sides stay balanced.
Json describe(const FitFile& fit, const WantedVote& vote, bool assigned, std::uint64_t seed) {
  const PairColumns& pairs = fit.labels.pairs;
  const std::uint32_t p = vote.pair, items[2] = {pairs.left[p], pairs.right[p]};
  const bool swapped = (XXH3_64bits_withSeed(items, sizeof items, seed) & 1) != 0;
  Json row = {{"left", fit.item_ids[items[swapped ? 1 : 0]]}, {"right", fit.item_ids[items[swapped ? 0 : 1]]}};
  if (!fit.prompt.empty()) row["prompt"] = fit.prompt_ids[fit.prompt[items[0]]];
  row["votes"] = pairs.votes[p];
  row["probability"] = swapped ? 1 - pairs.probability[p] : pairs.probability[p];
  row["margin"] = swapped ? -pairs.margin[p] : pairs.margin[p];
  row["margin_se"] = pairs.margin_se[p];
  row["expected_bits"] = vote.bits;
  if (assigned) row["annotator"] = fit.annotator_ids[vote.annotator];
  return row;
}

std::string csv_line(const Json& row, bool names) {
  std::string line;
  bool first = true;
  for (const auto& [key, value] : row.items()) {
    if (!std::exchange(first, false)) line += ',';
    if (names)
      line += key;
    else if (value.is_string())
      append_csv_field(value.get_ref<const std::string&>(), line);
    else if (value.is_number_float())
      line += fmt::format("{:.6g}", value.get<double>());
    else
      line += value.dump();
  }
  return line + '\n';
}

int next_command(const Arguments& arguments) {
  return with_threads(used_threads(0), [&] {
    const Context context = terminal_context(arguments.common);
    std::vector<std::string> inputs = arguments.votes;
    inputs.push_back(arguments.input);
    if (!arguments.output.empty()) require_other_output(inputs, arguments.output);
    TextOutput output(arguments.output, context);
    const FitFile fit = read_fit_file(arguments.input, context);
    if (fit.labels.pairs.left.empty())
      throw bad_input(
          "{}: 'pairs/left' has no rows, so there is no pair to ask about; copy the file again, or fit again",
          arguments.input);
    const std::vector<std::uint32_t> annotators = reliable_annotators(
        fit.labels.annotators, arguments.annotators > 0 ? arguments.annotators : fit.annotator_ids.size());
    if (annotators.empty() && (arguments.assign || arguments.annotators > 0))
      throw bad_input("{}: no annotator has the flag ok, so nobody can be asked for a reliable vote", arguments.input);
    double discrimination = 1;
    if (arguments.assign || arguments.annotators > 0) {
      discrimination = 0;
      for (const std::uint32_t a : annotators)
        discrimination += fit.labels.annotators.discrimination[a] / static_cast<double>(annotators.size());
    }
    std::vector<WantedVote> wanted =
        choose_pairs(fit.labels.pairs, fit.item_ids.size(), arguments.budget, discrimination);
    if (wanted.size() < arguments.budget)
      context.tell(fmt::format("the fit has only {} pairs; each is listed once", wanted.size()));
    const std::size_t pairs = wanted.size(), people = std::max<std::size_t>(annotators.size(), 1);
    const std::size_t equal_share = (pairs + people - 1) / people;
    const std::size_t most_each = arguments.most_each > 0 ? arguments.most_each : equal_share + (equal_share + 9) / 10;
    if (arguments.assign) {
      const auto judges = judges_of(fit, wanted, arguments.votes, context);
      if (arguments.votes.empty())
        context.tell("without --votes, annotators may be asked about pairs that they have already judged");
      wanted = assign_votes(fit, wanted, annotators, most_each, [&](std::uint32_t annotator, std::size_t i) {
        return std::ranges::find(judges[i], annotator) == judges[i].end();
      });
      if (wanted.size() < pairs)
        context.tell(
            fmt::format("{} of {} votes could not be assigned: each of the {} annotators has judged the pair already, "
                        "or already has {} votes (--max-each)",
                        pairs - wanted.size(), pairs, annotators.size(), most_each));
    }
    const double bits = std::accumulate(wanted.begin(), wanted.end(), 0.0,
                                        [](double sum, const WantedVote& vote) { return sum + vote.bits; });
    Json rows = Json::array();
    const bool as_table = !arguments.common.json || !arguments.output.empty();
    if (as_table) output.write(csv_line(describe(fit, {}, arguments.assign, arguments.seed), true));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      Json row = describe(fit, wanted[i], arguments.assign, arguments.seed);
      if (!as_table) {
        rows.push_back(std::move(row));
        continue;
      }
      output.write(csv_line(row, false));
    }
    Json summary = {{"votes", wanted.size()}, {"expected_bits", bits}, {"discrimination", discrimination}};
    if (arguments.assign) summary.update({{"annotators", annotators.size()}, {"most_each", most_each}});
    if (arguments.output.empty()) {
      if (arguments.common.json) {
        summary["rows"] = std::move(rows);
        print_json(summary);
      }
      output.commit();
      return 0;
    }
    output.commit();
    if (arguments.common.json) {
      summary["output"] = arguments.output;
      print_json(summary);
      return 0;
    }
    print_text(
        "{} votes, expected to give {:.1f} bits ({:.2f} each; a vote on a random pair: {:.2f})\n", wanted.size(), bits,
        bits / std::max(static_cast<double>(wanted.size()), 1.0),
        std::accumulate(fit.labels.pairs.information_gain.begin(), fit.labels.pairs.information_gain.end(), 0.0) /
            std::max(static_cast<double>(fit.labels.pairs.left.size()), 1.0));
    if (arguments.assign) print_text("for {} annotators, at most {} each\n", annotators.size(), most_each);
    print_text("wrote {}\n", one_line(arguments.output));
    return 0;
  });
}

}  // namespace

void add_next(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand("next", "List the pairs whose next vote is worth most, and whom to ask");
  verb.add_option("FIT.h5", arguments->input, "A fit (fit/1)")->required();
  verb.add_option("--budget", arguments->budget, "Number of votes to ask for; one per pair")
      ->required()
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 32));
  verb.add_option("-o,--output", arguments->output, "CSV file to write; default: standard output");
  CLI::Option& annotators = *verb.add_option("--annotators", arguments->annotators,
                                             "Ask the N most reliable annotators. Default with --assign: all that are "
                                             "flagged ok; otherwise the reference annotator")
                                 ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 32));
  annotators.type_name("N");
  CLI::Option& assign = *verb.add_flag("--assign", arguments->assign, "Also say who should judge which pair");
  verb.add_option("--max-each", arguments->most_each,
                  "Largest number of votes per annotator; default: 10 % above an equal share")
      ->needs(&assign)
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 32));
  verb.add_option("--votes", arguments->votes,
                  "The votes that were fitted (comparisons/1), so that nobody is asked about the same pair again")
      ->needs(&assign);
  verb.add_option("--seed", arguments->seed, "Seed for which item is shown on the left")
      ->check(kSeedRange)
      ->capture_default_str();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop next fit.h5 --budget 1000 --assign --votes votes.h5 -o ask.csv");
  verb.callback([=, &run] { run = [arguments] { return next_command(*arguments); }; });
}

}  // namespace voxpop
