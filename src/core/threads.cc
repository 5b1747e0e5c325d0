#include "core/threads.h"

#include <oneapi/tbb/info.h>

namespace voxpop {

int available_cores() { return oneapi::tbb::info::default_concurrency(); }

}  // namespace voxpop
