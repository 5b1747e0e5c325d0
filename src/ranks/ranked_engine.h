#pragma once
#include <memory>
#include <string>

#include "fit/device.h"
#include "fit/engine.h"
#include "hdf5/hdf5.h"
#include "ranks/ranks.h"

namespace voxpop {

/// For the leader: an engine that runs on all ranks. The components are dealt to the ranks, and each rank has an engine
/// for its share. The sums of the ranks are integers, so the results are bit-identical to those of one rank. Exception:
/// the sample of the first iterations of CUDA engines depends on which components are neighbours on a device. The ranks
/// of a node take its CUDA devices in turn.
std::unique_ptr<Engine> make_ranked_engine(Ranks& ranks, const Device& device, const Groups& groups,
                                           std::size_t memory_limit);

/// For the leader: readers that let the other ranks read slices of long columns, if they can see the file.
std::unique_ptr<ColumnReaders> make_column_readers(Ranks& ranks);

/// For all ranks except the leader: carries out the leader's orders for engines and readers until the leader ends.
/// Returns the exit code that the leader sent.
int serve_leader(Ranks& ranks, const Context& context);

/// For the leader, at the end: makes serve_leader() on the other ranks return `exit_code`.
void end_ranks(Ranks& ranks, int exit_code);

}  // namespace voxpop
