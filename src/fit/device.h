#pragma once
#include <memory>
#include <string>

#include "fit/engine.h"
#include "voxpop/context.h"

namespace voxpop {

/// Where to fit, as the command line says it.
struct Device {
  enum class Kind { kAuto, kCpu, kCuda } kind = Kind::kAuto;
  int index = 0;  ///< of the CUDA device
};

/// "auto", "cpu", "cuda" or "cuda:N". Throws a usage error for anything else.
Device parse_device(const std::string& text);

/// `auto` takes a CUDA device from this many votes a thread on: fewer are fitted (model rater, half a microsecond of a
/// core each) before a device has started, which took an H200 a third of a second.
inline constexpr std::size_t kVotesForDevice = 700000;

struct DeviceChoice {
  Device device;    ///< not auto
  std::string why;  ///< why this one, where it was asked for as auto; else empty
};

/// Whether choose_device() may take a CUDA device.
bool may_use_cuda(const Device& wanted);

/// Throws Error(kDevice) where a device that was asked for by name cannot be used.
DeviceChoice choose_device(const Device& wanted, std::size_t votes);

/// Keeps this process within `memory_limit` bytes from now on where `device` is a CPU: what has been allocated stays
/// where it is. A CUDA device's limit is its engine's. 0: no limit. `beside`: an output, with room beside it.
void begin_memory_limit(const Device& device, std::size_t memory_limit, const std::string& beside);

/// The device of the rank that has number `local_rank` on its node: the CUDA devices there in turn.
Device device_of_rank(const Device& device, int local_rank);

/// group_votes(), on the device where its memory suffices. `memory_limit`: bytes on a CUDA device, 0: what is free.
Groups group_votes_on(const Device& device, Votes& votes, Ties ties, std::size_t memory_limit);

/// Of the context: Context::memory_limit, and whether to stop. With embeddings: an engine on the CPU. Throws
/// Error(kDevice) where one component does not fit.
std::unique_ptr<Engine> make_engine(const Device& device, const Groups& groups, const Context& context);

}  // namespace voxpop
