#include "guards/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/strings.h"
#include "guards/guards.h"

namespace voxpop {
namespace {

constexpr std::array<const char*, 3> kLevels = {"note", "care", "do_not_train"};

void sort_by_level(std::vector<Finding>& findings) {
  std::ranges::stable_sort(findings, std::greater(), &Finding::level);
}

/// Expected share of votes that pick the better item. Votes of adversarial annotators count as the opposite answer, as
/// in the fit. NaN if no annotator has an expected accuracy.
double right_or_turned(const AnnotatorLabels& annotators) {
  double right = 0, votes = 0;
  for (std::size_t a = 0; a < annotators.expected_accuracy.size(); ++a) {
    const double accuracy = annotators.expected_accuracy[a], own = annotators.votes[a];
    if (std::isnan(accuracy) || own == 0) continue;
    right += own * (static_cast<Flag>(annotators.flag[a]) == Flag::kAdversarial ? 1 - accuracy : accuracy);
    votes += own;
  }
  return right / votes;
}

}  // namespace

double percent(std::uint64_t part, std::uint64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<Finding> find_findings(const Votes& votes, const Limits& limits, std::int64_t now) {
  std::vector<Finding> findings;
  guard_codes(votes, limits, findings);
  guard_shape(votes, limits, findings);
  guard_ids(votes, findings);
  guard_times(votes, now, findings);
  sort_by_level(findings);
  return findings;
}

namespace {

/// Findings about covariates and embeddings that do not help, or have the wrong direction.
void guard_item_knowledge(const Labels& labels, std::vector<Finding>& findings) {
  const CovariateLabels& covariates = labels.covariates;
  for (std::size_t k = 0; k < covariates.names.size(); ++k) {
    if (covariates.names[k] != "prior_score") continue;
    const double coefficient = covariates.coefficient[k], error = covariates.coefficient_se[k];
    const std::string found = fmt::format("their coefficient is {:+.3g} +- {:.2g}", coefficient, error);
    if (coefficient < -2 * error)
      findings.push_back({"prior_score_opposed", Level::kCare,
                          fmt::format("The prior scores have the wrong direction: responses with higher scores lose "
                                      "({}). The fit uses them with the opposite sign.",
                                      found),
                          "Check that high scores mean good responses, and that ids and scores belong together."});
    else if (coefficient < 2 * error)
      findings.push_back({"prior_score_silent", Level::kNote,
                          fmt::format("The prior scores explain nothing in these votes: {}.", found),
                          "Check that ids and scores belong together."});
  }
  constexpr double kHardlyAny = 0.02;
  if (labels.embedding && labels.embedding->explained < std::max(2 * labels.embedding->explained_se, kHardlyAny))
    findings.push_back(
        {"embedding_silent", Level::kCare,
         fmt::format(
             "The embeddings explain (almost) nothing in these votes: {:.2g} +- {:.2g} % of the variance of scores.",
             100 * labels.embedding->explained, 100 * labels.embedding->explained_se),
         "Check that the rows are in the order of items/id, and that they belong to responses, not to prompts."});
}

}  // namespace

void add_fit_findings(const Agreement& agreement, Labels& labels, const Fit& fit, std::vector<Finding>& findings) {
  if (!has_kind(findings, kReliabilityUnknown) && agreement.is_chance()) {
    findings.push_back(
        {kReliabilityUnknown, Level::kDoNotTrain,
         fmt::format("The votes do not agree with each other significantly more than random votes (z = {1:.1f} for {0} "
                     "votes, each predicted from the others; 3 would be significant). So these votes do not show how "
                     "often votes are right, who is reliable, or which items are better. p_chosen, margins and "
                     "label_smoothing come from the prior, not from the data.",
                     agreement.votes, std::min(agreement.z, agreement.z_of_voters)),
         kWhatWouldTell});
    sort_by_level(findings);
  }
  if (has_kind(findings, kReliabilityUnknown)) forget_reliability(labels);
  guard_sign(labels.annotators, fit, findings);
  if (const double right = right_or_turned(labels.annotators); right < kHardlyRight)
    findings.push_back({"hardly_right", Level::kDoNotTrain,
                        fmt::format("Only {:.1f} % of votes are expected to pick the better item, hardly more than by "
                                    "chance (the votes of adversarial annotators are counted in reverse).",
                                    100 * right),
                        kWhatWouldTell});
  if (labels.gold) guard_gold(*labels.gold, findings);
  guard_item_knowledge(labels, findings);
  sort_by_level(findings);
}

bool has_kind(const std::vector<Finding>& findings, std::string_view kind) {
  return std::ranges::any_of(findings, [&](const Finding& finding) { return finding.kind == kind; });
}

std::string told(const Finding& finding) {
  constexpr std::array<const char*, 3> kNames = {"NOTE", "WARNING", "DO NOT TRAIN"};
  std::string text = fmt::format("{}: {}", kNames[static_cast<std::size_t>(finding.level)], finding.text);
  if (!finding.remedy.empty()) text += "\n  " + finding.remedy;
  return text;
}

std::vector<std::string> warnings_of(const std::vector<Finding>& findings, const std::vector<std::string>& others) {
  std::vector<std::string> texts;
  for (const Finding& finding : findings)
    if (finding.level != Level::kNote) texts.push_back(finding.text);
  texts.insert(texts.end(), others.begin(), others.end());
  return texts;
}

nlohmann::ordered_json to_json(const std::vector<Finding>& findings) {
  auto json = nlohmann::ordered_json::array();
  for (const Finding& finding : findings)
    json.push_back({{"kind", finding.kind},
                    {"level", kLevels[static_cast<std::size_t>(finding.level)]},
                    {"text", finding.text},
                    {"remedy", finding.remedy}});
  return json;
}

std::vector<Finding> findings_from(const nlohmann::ordered_json& json) {
  constexpr std::size_t kLongest = 1000;  // bytes; the longest text of voxpop has about 600
  std::vector<Finding> findings;
  if (!json.is_array()) return findings;
  for (const auto& one : json) {
    if (!one.is_object()) continue;
    const auto field = [&](const char* name) {
      const auto value = one.find(name);
      return value == one.end() || !value->is_string()
                 ? std::string()
                 : one_line(shortened(value->get_ref<const std::string&>(), kLongest));
    };
    const auto level = std::ranges::find(kLevels, field("level"));
    Finding finding{field("kind"), level == kLevels.end() ? Level::kCare : Level(level - kLevels.begin()),
                    field("text"), field("remedy")};
    if (!finding.text.empty()) findings.push_back(std::move(finding));
  }
  sort_by_level(findings);
  return findings;
}

}  // namespace voxpop
