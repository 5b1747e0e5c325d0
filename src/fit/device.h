#pragma once
#include <memory>
#include <string>

#include "fit/engine.h"
#include "voxpop/context.h"

namespace voxpop {

/// Where to fit, as given on the command line.
struct Device {
  enum class Kind { kAuto, kCpu, kCuda } kind = Kind::kAuto;
  int index = 0;  ///< index of the CUDA device
};

/// Parses "auto", "cpu", "cuda" or "cuda:N". Throws a usage error for anything else.
Device parse_device(const std::string& text);

/// `auto` uses a CUDA device from this many votes per CPU thread. With fewer votes, the CPU finishes before a device
/// has started: model rater takes half a microsecond per vote on one core, and starting an H200 took a third of a
/// second.
inline constexpr std::size_t kVotesForDevice = 700000;

struct DeviceChoice {
  Device device;    ///< never kAuto
  std::string why;  ///< reason of the choice if kAuto was requested; else empty
};

/// Whether choose_device() may choose a CUDA device.
bool may_use_cuda(const Device& wanted);

/// Throws Error(kDevice) if the user named a device that cannot be used.
DeviceChoice choose_device(const Device& wanted, std::size_t votes);

/// If `device` is the CPU: limits this process to `memory_limit` bytes from now on. Memory already allocated stays as
/// it is. 0: no limit. A CUDA device's limit is enforced by its engine. `beside`: path of an output. Scratch files go
/// to TMPDIR if that is on a disk, else to the output's folder.
void begin_memory_limit(const Device& device, std::size_t memory_limit, const std::string& beside);

/// Device for the rank with index `local_rank` on its node: ranks use the node's CUDA devices in turn.
Device device_of_rank(const Device& device, int local_rank);

/// As group_votes(), on the device if its memory is sufficient. `memory_limit`: bytes on a CUDA device; 0: all free
/// memory.
Groups group_votes_on(const Device& device, Votes& votes, Ties ties, std::size_t memory_limit);

/// Makes the engine for a device. Uses Context::memory_limit and the context's stop request. With embeddings, only a
/// CPU engine is possible. Throws Error(kDevice) if a single component does not fit into memory.
std::unique_ptr<Engine> make_engine(const Device& device, const Groups& groups, const Context& context);

}  // namespace voxpop
