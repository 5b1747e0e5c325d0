#pragma once
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <cstddef>

namespace voxpop {

/// Cores that this process may use (its affinity mask, as a batch scheduler sets it).
int available_cores();

/// Threads that work here may use: within with_threads(), those.
int used_cores();

/// As many threads as asked for; 0: one for each of those cores.
inline int used_threads(int asked) { return asked > 0 ? asked : available_cores(); }

/// As std::memcpy: one core alone cannot fill memory as fast as a device, or memory itself, gives.
void copy_on_all_cores(void* to, const void* from, std::size_t bytes);

/// Runs act() with so many threads, and gives back what it returns.
template <class Act>
auto with_threads(int threads, const Act& act) {
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, threads);
  oneapi::tbb::task_arena arena(threads);
  return arena.execute(act);
}

}  // namespace voxpop
