#include "group/bursts.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace voxpop {

std::vector<Burst> find_bursts(const Votes& votes) {
  constexpr std::uint32_t kFewest = 20;
  constexpr std::int64_t kLongestGap = 2;
  std::vector<std::uint32_t> order(votes.timestamp.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tuple(votes.annotator[a], votes.timestamp[a], a) <
           std::tuple(votes.annotator[b], votes.timestamp[b], b);
  });
  std::vector<Burst> bursts;
  for (std::size_t i = 0; i < order.size();) {
    const std::uint32_t annotator = votes.annotator[order[i]];
    std::size_t end = i + 1;
    while (end < order.size() && votes.annotator[order[end]] == annotator &&
           votes.timestamp[order[end]] - votes.timestamp[order[end - 1]] <= kLongestGap)
      ++end;
    if (end - i >= kFewest)
      bursts.push_back(
          {annotator, static_cast<std::uint32_t>(end - i), votes.timestamp[order[i]], votes.timestamp[order[end - 1]]});
    i = end;
  }
  return bursts;
}

std::vector<std::string> odd_timestamps(const Votes& votes, std::int64_t now) {
  constexpr std::int64_t kDay = 86400, kYear2000 = 946684800;
  std::vector<std::string> out;
  if (votes.timestamp.empty()) return out;
  const auto [first, last] = std::minmax_element(votes.timestamp.begin(), votes.timestamp.end());
  const auto when = [](std::int64_t t) { return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time_t{t})); };
  if (*first == *last && votes.size() > 1)
    out.push_back(fmt::format("All timestamps are the same, {}: they say nothing.", when(*first)));
  else if (*first < kYear2000)
    out.push_back(fmt::format("Timestamps begin at {}; are they seconds since 1970?", when(*first)));
  if (*last > now + kDay) out.push_back(fmt::format("Timestamps end at {}, which is to come.", when(*last)));
  return out;
}

}  // namespace voxpop
