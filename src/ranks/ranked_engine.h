#pragma once
#include <memory>
#include <string>

#include "fit/device.h"
#include "fit/engine.h"
#include "hdf5/hdf5.h"
#include "ranks/ranks.h"

namespace voxpop {

/// The engine of several ranks, for the leader: components are dealt over them, each has an engine for its share, and
/// what those add up, all integers, is summed. So the bits are those of one rank; but CUDA engines cut the sample of
/// the first iterations by what is neighbours on the device. Ranks take the CUDA devices of their node in turn.
std::unique_ptr<Engine> make_ranked_engine(Ranks& ranks, const Device& device, const Groups& groups,
                                           std::size_t memory_limit);

/// For the leader: the others read a part of each long column of files that they see.
std::unique_ptr<ColumnReaders> make_column_readers(Ranks& ranks);

/// For all ranks but the leader: works for its engines and readers, until it says what to exit with.
int serve_leader(Ranks& ranks, const Context& context);

/// For the leader, at the end.
void end_ranks(Ranks& ranks, int exit_code);

}  // namespace voxpop
