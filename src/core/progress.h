#pragma once
#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// Reports the progress of one long phase to Context::progress. Long loops call update(), which also checks for a stop
/// request.
class Progress {
 public:
  /// `total`: number of steps of the phase. The context must outlive this object.
  Progress(std::string phase, std::uint64_t total, const Context& context);
  Progress(std::string phase, std::uint64_t total, const Context&& context) = delete;
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  const Context& context() const { return context_; }
  /// Reports `done` of `total` steps. `detail` is shown after the numbers, for example "change 3e-4". Throws
  /// Error(kInterrupted) if the run must stop.
  void update(std::uint64_t done, const std::string& detail = {});

 private:
  std::string phase_;
  std::uint64_t total_;
  const Context& context_;
};

}  // namespace voxpop
