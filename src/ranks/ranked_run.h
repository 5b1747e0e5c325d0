#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "fit/device.h"
#include "hdf5/hdf5.h"

namespace voxpop {

/// Opens engines: for one process, or for all ranks.
using MakeEngine = std::function<std::unique_ptr<Engine>(const Device&, const Groups&)>;

/// What the leading rank fits with.
struct Lead {
  int threads;  ///< of each rank
  MakeEngine make_engine;
  ColumnReaders* readers;  ///< the other ranks read a part of each column
};

/// Whether this build can share a fit over MPI ranks: else ranks_absent.cc stands in the place of this folder.
bool knows_ranks();

/// One of several ranks: the leader calls `lead` and gives back what that gives; the others work for it.
/// Threads 0: those of the node's cores that are this rank's. An error ends all ranks, after `report` has had it,
/// but where the leader can throw it. Throws a usage error where MPI knows of another number of processes than
/// launched_processes(), or is not in this build.
int run_in_ranks(const Context& context, const std::function<int(const Lead&)>& lead,
                 const std::function<void(int rank, const std::string& message)>& report);

}  // namespace voxpop
