#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "fit/device.h"
#include "hdf5/hdf5.h"

namespace voxpop {

/// Makes an engine that runs in this process or on all ranks.
using MakeEngine = std::function<std::unique_ptr<Engine>(const Device&, const Groups&)>;

/// What the leader needs for a fit.
struct Lead {
  int threads;  ///< threads of each rank
  MakeEngine make_engine;
  ColumnReaders* readers;  ///< let the other ranks read slices of columns
};

/// Whether this build can share a fit among MPI ranks. In a build without MPI, ranks_absent.cc replaces this folder.
bool knows_ranks();

/// Runs this process as one of several ranks. The leader calls `lead` and returns its result; the other ranks work for
/// the leader. Context::threads 0: this rank's share of the node's cores. An error at the leader between two exchanges
/// ends the other ranks and is thrown. Any other error is passed to `report`, and then all ranks are aborted. Throws a
/// usage error if MPI's number of processes differs from launched_processes(), or if this build has no MPI.
int run_in_ranks(const Context& context, const std::function<int(const Lead&)>& lead,
                 const std::function<void(int rank, const std::string& message)>& report);

}  // namespace voxpop
