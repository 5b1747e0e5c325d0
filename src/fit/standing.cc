#include "fit/standing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "formulas/elementary.h"
#include "formulas/fixed_point.h"

namespace voxpop {
namespace {

double below(double x, const AnnotatorPosterior& a) {
  return normal_cdf_of_variance(x, a.discrimination, std::max(a.discrimination_variance, 1e-12));
}

bool is_gold(const std::vector<Population>& known, std::size_t annotator) {
  return !known.empty() && known[annotator].variance == 0;
}

}  // namespace

std::vector<std::uint64_t> find_voices(const std::vector<std::uint32_t>& votes_of) {
  std::vector<std::uint32_t> counts = votes_of;
  std::ranges::sort(counts, std::greater());
  const std::uint64_t votes = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  std::uint64_t before = 0, most = 0;
  for (const std::uint32_t count : counts) {
    if (2 * before >= votes) break;
    before += count;
    most = count;
  }
  std::vector<std::uint64_t> voices(votes_of.size());
  std::ranges::transform(votes_of, voices.begin(), [&](std::uint64_t count) { return std::min(4 * count, most); });
  return voices;
}

double reference_median(const std::vector<double>& value, const std::vector<std::uint32_t>& votes_of) {
  // Annotators with enough votes have 50, or, if too few have 50, are in the quarter with most votes. Estimates of
  // other annotators shrink to the population's mean, which differs from the median if some annotators vote at random.
  std::vector<std::uint32_t> counts;
  for (const std::uint32_t n : votes_of)
    if (n > 0) counts.push_back(n);
  if (counts.empty()) return 1;  // all votes are held out
  std::sort(counts.begin(), counts.end());
  const std::uint32_t enough = std::min<std::uint32_t>(50, counts[counts.size() - 1 - (counts.size() - 1) / 4]);
  const std::vector<std::uint64_t> voices = find_voices(votes_of);
  std::vector<std::pair<double, std::uint64_t>> values;
  std::uint64_t all = 0, before = 0;
  for (std::size_t a = 0; a < value.size(); ++a)
    if (votes_of[a] >= enough) {
      values.emplace_back(value[a], voices[a]);
      all += voices[a];
    }
  std::ranges::sort(values);
  for (std::size_t i = 0;; ++i) {
    before += values[i].second;
    if (2 * before > all) return values[i].first;
    if (2 * before == all) return 0.5 * (values[i].first + values[i + 1].first);
  }
}

double strength_of(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of) {
  const std::vector<std::uint64_t> voices = find_voices(votes_of);
  double squares = 0, all = 0;
  for (std::size_t a = 0; a < annotators.size(); ++a) {
    const double gamma = annotators[a].discrimination, voice = static_cast<double>(voices[a]);
    squares += voice * gamma * gamma;
    all += voice;
  }
  return all > 0 ? std::sqrt(squares / all) : 1;
}

double find_followers(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of) {
  const std::vector<std::uint64_t> voices = find_voices(votes_of);
  const double little = kUnrelated * strength_of(annotators, votes_of);
  double follow = 0, all = 0;
  for (std::size_t a = 0; a < annotators.size(); ++a) {
    const double voice = static_cast<double>(voices[a]);
    follow += voice * (1 - below(little, annotators[a]) - below(-little, annotators[a]));
    all += voice;
  }
  return all > 0 ? follow / all : 0;
}

double find_following(const std::vector<ReportSums>& reports, const std::vector<std::uint32_t>& votes_of,
                      const std::vector<bool>& of) {
  const std::vector<std::uint64_t> voices = find_voices(votes_of);
  double follow = 0, all = 0;
  for (std::size_t a = 0; a < reports.size(); ++a) {
    const double votes = from_fixed(reports[a].decided), voice = static_cast<double>(voices[a]);
    if (!of[a] || voice == 0) continue;
    all += voice;
    if (votes > 0) follow += voice * std::erf((2 * from_fixed(reports[a].agreement) - votes) / std::sqrt(2 * votes));
  }
  return all > 0 ? follow / all : 0;
}

Standing find_standing(const std::vector<AnnotatorPosterior>& annotators, const std::vector<std::uint32_t>& votes_of,
                       const std::vector<Population>& known, const std::vector<ReportSums>* reports) {
  const std::vector<std::uint64_t> voices = find_voices(votes_of);
  const double little = kUnrelated * strength_of(annotators, votes_of);
  double agreement = 0, unrelated = 0, against = 0, all = 0, agree = 0, by_chance = 0, most = 0;
  double trusted_agree = 0;
  Standing out;
  for (std::size_t a = 0; a < annotators.size(); ++a) {
    if (is_gold(known, a)) {
      if (reports == nullptr) continue;
      const double weight = std::min(known[a].mean, 1.0), answers = from_fixed((*reports)[a].decided);
      agree += weight * (2 * from_fixed((*reports)[a].agreement) - answers);
      by_chance += weight * weight * answers;
      most += weight * answers;
      continue;
    }
    const double voice = static_cast<double>(voices[a]), follows = 1 - 2 * below(0, annotators[a]);
    agreement += voice * follows;
    unrelated += voice * (below(little, annotators[a]) - below(-little, annotators[a]));
    against += follows < -0.9 ? voice : 0;
    all += voice;
    if (known.empty() || known[a].variance < 0 || votes_of[a] == 0) continue;
    trusted_agree += follows;
    ++out.trusted;
    out.trusted_follow += follows > 0;
  }
  if (all > 0) {
    out.agreement = agreement / all;
    out.unrelated = unrelated / all;
    out.against = against / all;
  }
  // Two kinds of evidence, each in sds of chance. The squares are added, with their signs.
  double squares = 0;
  if (by_chance > 0) squares += agree * std::abs(agree) / by_chance;
  if (out.trusted > 0) {
    const auto count = static_cast<double>(out.trusted);
    const bool alike = std::abs(trusted_agree) > 0.5 * count;
    const double sds = (alike ? kTrusted : 1) * trusted_agree / std::sqrt(count);
    squares += sds * std::abs(sds);
  }
  out.known = std::copysign(std::sqrt(std::abs(squares)), squares);
  if (most > 0 || out.trusted > 0)
    out.known_share = (agree + kTrusted * trusted_agree) / (most + kTrusted * static_cast<double>(out.trusted));
  return out;
}

}  // namespace voxpop
