#include "ranks/ranked_run.h"

#include "core/error.h"
#include "core/launch.h"
#include "core/threads.h"
#include "ranks/ranked_engine.h"

namespace voxpop {

bool knows_ranks() { return true; }

int run_in_ranks(const Context& context, const std::function<int(const Lead&)>& lead,
                 const std::function<void(int rank, const std::string& message)>& report) {
  Ranks ranks;
  if (ranks.size() != launched_processes())
    throw usage_error(
        "{} processes were started, but MPI sees {}; use the mpirun of the MPI that voxpop was built with",
        launched_processes(), ranks.size());
  const int used = context.threads > 0 ? context.threads : ranks.cores();
  try {
    if (!ranks.leads()) {
      return with_threads(used, [&] { return serve_leader(ranks, context); });
    }
    const auto readers = make_column_readers(ranks);
    const MakeEngine make = [&](const Device& device, const Groups& groups) {
      return make_ranked_engine(ranks, device, groups, context.memory_limit);
    };
    const int status = lead({used, make, readers.get()});
    end_ranks(ranks, status);
    return status;
  } catch (const std::exception& error) {
    const auto* known = dynamic_cast<const Error*>(&error);
    const int status = static_cast<int>(known != nullptr ? known->exit() : Exit::kInternal);
    if (ranks.leads() && !ranks.busy()) {
      end_ranks(ranks, status);
      throw;
    }
    report(ranks.rank(), error.what());
    ranks.abort(status);
  }
}

}  // namespace voxpop
