#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "guards/guards.h"

namespace voxpop {
namespace {

constexpr const char* kTellIt =
    "Fit again with known answers: judge some pairs yourself, 50 are a good start (--gold gold.csv). Or list "
    "annotators whom you trust (--trust annotators.csv)";
/// If this share of the annotators, weighted by voices, contradicts the scores, they are a camp.
constexpr double kCamp = 0.2;
/// A smaller lead could be reversed by a few more annotators.
constexpr double kNarrowLead = 0.3;

void guard_rival(const Fit& fit, std::vector<Finding>& findings) {
  const Rival& rival = *fit.rival;
  const double gain = rival.log_evidence - fit.posterior.log_evidence;
  const bool told = fit.standing.known_tells();
  findings.push_back(
      {"rival_solution", told ? Level::kCare : Level::kDoNotTrain,
       fmt::format(
           "The votes allow two solutions, which order {:.0f} % of the pairs in the same way: the scores of one camp "
           "of annotators differ from those of the rest. {}. In the other solution, the share of annotators who follow "
           "the scores minus the share who contradict them is {:.2f}, and the log evidence is {:.1f} {}. Possible "
           "reasons: a ring of accounts, copied votes, or one judge under several names.",
           100 * rival.ordered_alike,
           told ? "The known answers decided for the published solution"
                : "More annotators follow the published solution",
           rival.following, std::abs(gain), gain > 0 ? "higher" : "lower"),
       kTellIt});
}

}  // namespace

void guard_sign(const AnnotatorLabels& annotators, const Fit& fit, std::vector<Finding>& findings) {
  const std::vector<std::uint64_t> voices = find_voices({annotators.votes.begin(), annotators.votes.end()});
  std::uint64_t against = 0, judged = 0, against_voices = 0, judged_voices = 0;
  for (std::size_t a = 0; a < annotators.flag.size(); ++a) {
    const auto flag = static_cast<Flag>(annotators.flag[a]);
    if (annotators.votes[a] == 0 || flag == Flag::kTooFewVotes) continue;
    ++judged;
    judged_voices += voices[a];
    if (flag != Flag::kAdversarial) continue;
    ++against;
    against_voices += voices[a];
  }
  const Standing& standing = fit.standing;
  const double camp = 0.5 * (1 - standing.unrelated - standing.agreement);
  if (!fit.sign_is_told)
    findings.push_back({"sign_unknown", Level::kDoNotTrain, why_not_told(fit), kTellIt});
  else if (against >= 2 && 2 * against_voices >= judged_voices && !standing.known_tells())
    findings.push_back({"mostly_adversarial", Level::kDoNotTrain,
                        fmt::format("{} of {} annotators seem to vote against quality. Two camps contradict each "
                                    "other, and the votes alone cannot show which of them is right. Perhaps left and "
                                    "right are swapped in the data of one camp; then all labels may be reversed.",
                                    against, judged),
                        fmt::format("{}. If left and right are swapped in one file, swap them back (voxpop import FILE "
                                    "--map \"left=right,right=left,tie=tie\")",
                                    kTellIt)});
  else if (against >= 2 && (camp >= kCamp || fit.mirrored))
    findings.push_back(
        {"two_camps",
         standing.known_tells()             ? Level::kNote
         : standing.agreement < kNarrowLead ? Level::kDoNotTrain
                                            : Level::kCare,
         fmt::format("{} of the {} annotators with enough votes contradict the others{}. {}. If left and right are "
                     "swapped in their data, swap them back.",
                     against, judged, fit.mirrored && !standing.known_tells() ? ", and gave most of the votes" : "",
                     standing.known_tells()
                         ? "The known answers show that these annotators are wrong"
                         : "The scores have the sign that more annotators follow, which may be the wrong one"),
         standing.known_tells() ? "" : kTellIt});
  if (fit.rival) guard_rival(fit, findings);
}

void guard_gold(const GoldLabels& gold, std::vector<Finding>& findings) {
  const auto against = std::ranges::count(gold.contradicted, 1);
  double by_chance = 0;  // expected number of contradicted answers if all answers are right
  for (const float p : gold.without) {
    const double least = std::min(p, 1 - p);
    if (least < kContradicted) by_chance += least;
  }
  if (static_cast<double>(against) <= by_chance + 2 * std::sqrt(by_chance)) return;
  const auto used = std::ranges::count_if(gold.without, [](float p) { return !std::isnan(p); });
  findings.push_back({"gold_contradicted", Level::kCare,
                      fmt::format("{} of {} known answers (gold) contradict all other votes: without them, the fit "
                                  "gives them a probability below 5 %.",
                                  against, used),
                      "Check them (gold/contradicted in the fit): a wrong known answer weighs more than many votes."});
}

}  // namespace voxpop
