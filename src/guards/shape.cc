#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "core/strings.h"
#include "guards/guards.h"
#include "voxpop/rows.h"

namespace voxpop {
namespace {

/// An unused dataset whose name looks like annotators, or "".
std::string likely_annotators(const Votes& votes) {
  static const std::regex who(
      "(.*[_ "
      "-])?(judge|worker|user|rater|annotator|labell?er|evaluator|reviewer|participant|respondent|assessor|person|"
      "completed_by|voter)([_ -]?(id|ids|name|no|nr|num|number|key|hash|index))?s?",
      std::regex::icase | std::regex::optimize);
  constexpr std::size_t kLongestName = 100;  // std::regex recurses once per character
  for (const std::string& name : votes.unused) {
    const std::string leaf = name.substr(name.rfind('/') + 1);
    if (leaf.size() <= kLongestName && std::regex_match(leaf, who)) return name;
  }
  return "";
}

Finding nobody_named(const Votes& votes, std::uint64_t anonymous) {
  const std::string likely = likely_annotators(votes);
  std::string text =
      anonymous == votes.size()
          ? "The annotators are not known, so the fit cannot estimate how reliable each one is, or who always clicks "
            "one side."
          : fmt::format("{} of {} votes have no annotator. They count as votes of one anonymous annotator.", anonymous,
                        votes.size());
  if (likely.empty())
    return {"no_annotator_named", Level::kCare, text,
            "If the table says who voted, import it again with that column (voxpop import FILE --annotator COLUMN)"};
  return {"no_annotator_named", Level::kCare,
          fmt::format("{} The dataset '{}' looks like annotators, but is not used.", text, shown(likely)),
          fmt::format("Write it as comparisons/annotator (rows of annotators/id), or import the table again with that "
                      "column (voxpop import FILE --annotator {})",
                      shown(likely.substr(likely.rfind('/') + 1)))};
}

Finding reliability_unknown(const Limits& limits, bool all_anonymous) {
  return {kReliabilityUnknown, Level::kDoNotTrain,
          fmt::format(
              "These votes say nothing about reliability: only {} of {} {} share an item with another one ({:.0f} % of "
              "pairs have a single vote). p_chosen, margins and label_smoothing come from the prior, not from the "
              "data: experts and random clickers would give the same numbers.{}",
              limits.sharing_judgements(), limits.judgements, limits.judgements < limits.votes ? "judgements" : "votes",
              percent(limits.pairs_with_one_vote, limits.pairs),
              all_anonymous
                  ? ""
                  : " Annotators' discriminations cannot be estimated; the values shown are the population average."),
          kWhatWouldTell};
}

Finding repeated_votes(const Limits& limits) {
  const Repeater& worst = limits.worst_repeater;
  std::string text = fmt::format("{} votes ({:.2g} %) repeat an earlier vote of the same annotator on the same pair.",
                                 limits.dependent_repeats, percent(limits.dependent_repeats, limits.votes));
  if (limits.repeaters > 0) {
    const std::uint64_t pairs = worst.votes - worst.repeats;
    text += fmt::format(" Annotator '{}': {} of {} votes are repeats, on {}.", shown(worst.id), worst.repeats,
                        worst.votes, pairs == 1 ? "one pair" : fmt::format("{} pairs", pairs));
  }
  if (limits.repeaters > 1) text += fmt::format(" {} annotators do this.", limits.repeaters);
  return {"repeated_votes", Level::kCare, text,
          "By default, a fit counts an annotator's votes on one pair together as one vote. If they were independent "
          "judgements, set repeats to 'all' (--repeats all) to count each vote; to count only one of them, set it to "
          "'first' or 'last'"};
}

Finding sides_fixed(const Limits& limits) {
  const std::string what = limits.repeated_pairs > 0
                               ? fmt::format(
                                     "Pairs are (almost) always shown in the same order (only {:.1f} % of repeated "
                                     "pairs were swapped), so side bias cannot be separated from preference.",
                                     100 * limits.swapped_share())
                               : fmt::format(
                                     "No pair has a second vote, and most items are shown on the same side each time "
                                     "({:.0f} %, where 0 % is chance and 100 % is always), so side bias cannot be "
                                     "separated from preference. Each may look like the other.",
                                     100 * limits.side_keeping);
  return {"sides_fixed", Level::kCare, what,
          "Show each pair in both orders. Until then, set side_bias to false (--no-side-bias), so that no side bias is "
          "estimated"};
}

}  // namespace

void guard_shape(const Votes& votes, const Limits& limits, std::vector<Finding>& findings) {
  const auto add = [&](const char* kind, Level level, std::string text, std::string remedy = "") {
    findings.push_back({kind, level, std::move(text), std::move(remedy)});
  };
  if (limits.votes > 0 && limits.ties == limits.votes)
    add("all_ties", Level::kDoNotTrain, "Every vote is a tie, so nothing shows which item of a pair is better.");
  const std::uint64_t anonymous = count_rows(votes.anonymous);
  const bool all_anonymous = anonymous == votes.size();
  const bool reliability_known = limits.reliability_identified();
  if (!reliability_known) findings.push_back(reliability_unknown(limits, all_anonymous));
  if (anonymous > 0)
    findings.push_back(nobody_named(votes, anonymous));
  else if (limits.annotators <= 1)
    add("one_annotator", Level::kCare, "There is only one annotator, so nothing shows how reliable this annotator is.");
  if (limits.annotators > 1 && reliability_known && !limits.annotators_identified())
    add("annotators_hardly_told_apart", Level::kCare,
        fmt::format("These votes hardly show how annotators differ: only {:.0f} % of them could contradict another "
                    "vote ({:.0f} % of pairs have a single vote). Discriminations are mostly the population average.",
                    100 * limits.checking_share(), percent(limits.pairs_with_one_vote, limits.pairs)),
        "Collect second votes (voxpop next FIT.h5 --budget N -o ask.csv)");
  if (limits.annotators_alone > 0 && limits.annotators_alone < limits.annotators)
    add("annotators_alone", Level::kCare,
        fmt::format(
            "{} of {} annotators (such as '{}') share no pair with anyone, so no other votes check theirs directly.",
            limits.annotators_alone, limits.annotators, shown(limits.first_alone)));
  if (limits.sides_known && !limits.side_bias_identified()) findings.push_back(sides_fixed(limits));
  if (100 * limits.dependent_repeats >= limits.votes || limits.repeaters > 0)
    if (limits.dependent_repeats > 0) findings.push_back(repeated_votes(limits));
  if (limits.items_without_votes > 0)
    add("items_without_votes", Level::kCare,
        fmt::format("{} of {} items have no vote that counts. Their scores come from the prior alone.",
                    limits.items_without_votes, limits.items));
}

}  // namespace voxpop
