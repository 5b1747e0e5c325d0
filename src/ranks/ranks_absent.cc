// Replaces this folder in a build without MPI.

#include "core/error.h"
#include "ranks/ranked_run.h"

namespace voxpop {

bool knows_ranks() { return false; }

int run_in_ranks(const Context&, const std::function<int(const Lead&)>&,
                 const std::function<void(int, const std::string&)>&) {
  throw usage_error("voxpop was started as several MPI ranks, but was built without MPI; start one process only");
}

}  // namespace voxpop
