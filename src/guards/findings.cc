#include "guards/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/strings.h"
#include "guards/guards.h"

namespace voxpop {
namespace {

constexpr std::array<const char*, 3> kLevels = {"note", "care", "do_not_train"};

void sort_by_level(std::vector<Finding>& findings) {
  std::ranges::stable_sort(findings, std::greater(), &Finding::level);
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

void add_fit_findings(const AnnotatorLabels& annotators, std::vector<Finding>& findings) {
  std::uint64_t against = 0, judged = 0;
  for (std::size_t a = 0; a < annotators.flag.size(); ++a) {
    const auto flag = static_cast<Flag>(annotators.flag[a]);
    if (annotators.votes[a] == 0 || flag == Flag::kTooFewVotes) continue;
    ++judged;
    against += flag == Flag::kAdversarial;
  }
  if (against < 2 || 2 * against < judged) return;
  findings.push_back(
      {"mostly_adversarial", Level::kDoNotTrain,
       fmt::format("{} of {} annotators come out as voting against quality. Two camps contradict each other, and votes "
                   "alone cannot say which of them is right: left and right may be swapped in the data of one of them, "
                   "and all labels with them.",
                   against, judged),
       "Judge some pairs yourself and compare: voxpop evaluate VOTES.h5 --holdout gold.csv. Then turn the swapped "
       "source round: voxpop import FILE --map \"left=right,right=left,tie=tie\""});
  sort_by_level(findings);
}

bool has_kind(const std::vector<Finding>& findings, std::string_view kind) {
  return std::ranges::any_of(findings, [&](const Finding& finding) { return finding.kind == kind; });
}

std::string told(const Finding& finding) {
  std::string text = fmt::format("{}: {}", finding.level == Level::kNote ? "NOTE" : "WARNING", finding.text);
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
  constexpr std::size_t kLongest = 1000;  // bytes; the longest of ours has some 600
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
