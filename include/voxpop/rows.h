#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace voxpop {

/// Rows of a dataset: from `begin` to before `end`.
struct Rows {
  std::uint64_t begin, end;
  std::uint64_t count() const { return end - begin; }
};

/// Whether `row` is in one of `some`, which ascend and do not overlap.
inline bool contains(const std::vector<Rows>& some, std::uint64_t row) {
  const auto after =
      std::upper_bound(some.begin(), some.end(), row, [](std::uint64_t r, const Rows& rows) { return r < rows.end; });
  return after != some.end() && row >= after->begin;
}

/// Adds rows after all of `some`; adjacent ranges are merged.
inline void append_rows(std::vector<Rows>& some, Rows more) {
  if (!some.empty() && some.back().end == more.begin)
    some.back().end = more.end;
  else if (more.count() > 0)
    some.push_back(more);
}

inline std::uint64_t count_rows(const std::vector<Rows>& some) {
  std::uint64_t count = 0;
  for (const Rows& rows : some) count += rows.count();
  return count;
}

}  // namespace voxpop
