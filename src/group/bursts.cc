#include "group/bursts.h"

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

}  // namespace voxpop
