#include "core/threads.h"

#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cstring>

namespace voxpop {

int available_cores() { return oneapi::tbb::info::default_concurrency(); }

int used_cores() { return oneapi::tbb::this_task_arena::max_concurrency(); }

void copy_on_all_cores(void* to, const void* from, std::size_t bytes) {
  constexpr std::size_t kPart = 256u << 10;
  oneapi::tbb::parallel_for(std::size_t{0}, (bytes + kPart - 1) / kPart, [&](std::size_t part) {
    const std::size_t at = part * kPart;
    std::memcpy(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, std::min(kPart, bytes - at));
  });
}

}  // namespace voxpop
