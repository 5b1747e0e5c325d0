#include "group/by_annotator.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace voxpop {

VotesByAnnotator sort_by_annotator(const Groups& groups, const Column<std::uint8_t>& kept) {
  // Blocks of pairs. Their tables together are not longer than the votes, unless there are few votes per annotator.
  const std::size_t annotators = groups.voters(), pairs = groups.pairs(), votes = groups.votes.size();
  const std::size_t blocks = std::clamp<std::size_t>(votes / (annotators + 1), 4, 64);
  // [blocks][annotators] number of votes, then place of the next one
  Column<std::uint32_t> table(blocks * annotators);
  const auto in_blocks = [&](const auto& act) {
    oneapi::tbb::parallel_for(std::size_t{0}, blocks, [&](std::size_t block) {
      std::uint32_t* const mine = table.data() + block * annotators;
      for (std::size_t p = pairs * block / blocks; p < pairs * (block + 1) / blocks; ++p)
        for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
          if (groups.is_voted(v) && (kept.empty() || kept[v] != 0))
            act(mine[groups.votes[v].annotator()], v, static_cast<std::uint32_t>(p));
    });
  };
  const auto each_annotator = [&](const auto& act) { oneapi::tbb::parallel_for(std::size_t{0}, annotators, act); };
  VotesByAnnotator out;
  out.begin.assign(annotators + 1, 0);
  oneapi::tbb::parallel_for(std::size_t{0}, blocks, [&](std::size_t block) {
    std::fill_n(table.begin() + static_cast<std::ptrdiff_t>(block * annotators), annotators, 0u);
  });
  in_blocks([](std::uint32_t& count, std::uint32_t, std::uint32_t) { ++count; });
  each_annotator([&](std::size_t a) {
    for (std::size_t block = 0; block < blocks; ++block) out.begin[a + 1] += table[block * annotators + a];
  });
  std::partial_sum(out.begin.begin(), out.begin.end(), out.begin.begin());
  each_annotator([&](std::size_t a) {
    auto next = static_cast<std::uint32_t>(out.begin[a]);
    for (std::size_t block = 0; block < blocks; ++block) next += std::exchange(table[block * annotators + a], next);
  });
  out.votes.resize(out.begin.back());
  in_blocks([&](std::uint32_t& place, std::uint32_t v, std::uint32_t p) { out.votes[place++] = {v, p}; });
  return out;
}

}  // namespace voxpop
