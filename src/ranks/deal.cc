#include "ranks/deal.h"

#include <algorithm>

#include "fit/engine.h"

namespace voxpop {
namespace {

void add_component(const Groups& groups, std::uint32_t c, Share& share) {
  if (share.empty() || share.back().component_end != c)
    share.push_back(groups.range(c, c + 1));
  else
    share.back() = groups.range(share.back().component, c + 1);
}

}  // namespace

std::vector<Share> deal_components(const Groups& groups, int ranks, std::uint32_t stride) {
  struct Task {
    std::vector<std::uint32_t> components;
    double work = 0;
  };
  std::vector<Task> tasks;
  std::size_t block = 0;  // index of the task that gets the next small component
  std::uint32_t small = 0;
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    if (!is_small(groups, c)) {
      tasks.push_back({{c}, work_on(groups, c)});
      continue;
    }
    if (small++ % (kSampleUnit * stride) == 0) {
      block = tasks.size();
      tasks.emplace_back();
    }
    tasks[block].components.push_back(c);
    tasks[block].work += groups.votes_of(c);
  }
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) { return a.work > b.work; });
  std::vector<double> work(ranks, 0);
  std::vector<int> owner(groups.components());
  for (const Task& task : tasks) {
    const auto idlest = std::min_element(work.begin(), work.end());
    *idlest += task.work;
    for (const std::uint32_t c : task.components) owner[c] = static_cast<int>(idlest - work.begin());
  }
  std::vector<Share> shares(ranks);
  for (std::uint32_t c = 0; c < groups.components(); ++c) add_component(groups, c, shares[owner[c]]);
  return shares;
}

}  // namespace voxpop
