#pragma once
#include <memory>
#include <string>

#include "fit/engine.h"

namespace voxpop {

/// Where to fit, as the command line says it.
struct Device {
  enum class Kind { kAuto, kCpu, kCuda } kind = Kind::kAuto;
  int index = 0;  ///< of the CUDA device
};

/// "auto", "cpu", "cuda" or "cuda:N". Throws a usage error for anything else.
Device parse_device(const std::string& text);

/// `auto` takes a device from this many votes on: to start one takes about as long as a CPU fits a million votes.
inline constexpr std::size_t kVotesForDevice = 1000000;

struct EngineChoice {
  std::unique_ptr<Engine> engine;
  std::string why;  ///< why this one, where the choice was `auto`; else empty
};

/// Throws Error(kDevice) where a device that was asked for by name cannot be used. `memory_limit`: bytes on a CUDA
/// device, 0: what is free.
EngineChoice choose_engine(const Groups& groups, const Device& device, std::size_t memory_limit);

}  // namespace voxpop
