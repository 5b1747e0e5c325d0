#pragma once
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <cstddef>

namespace voxpop {

/// Number of cores that this process may use: those in its affinity mask, which a batch scheduler may restrict.
int available_cores();

/// Number of threads that parallel code may use here; inside with_threads(), its `threads`.
int used_cores();

/// The number of threads to use if the user asked for `asked`; 0 means one per available core.
inline int used_threads(int asked) { return asked > 0 ? asked : available_cores(); }

/// Parallel std::memcpy. One core alone cannot use the full bandwidth of the memory, or of a transfer from a device.
void copy_on_all_cores(void* to, const void* from, std::size_t bytes);

/// Calls act() with at most `threads` threads for parallel code inside it. Returns the result of act().
template <class Act>
auto with_threads(int threads, const Act& act) {
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, threads);
  oneapi::tbb::task_arena arena(threads);
  return arena.execute(act);
}

}  // namespace voxpop
