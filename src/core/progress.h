#pragma once
#include <cstdint>
#include <string>

#include "voxpop/context.h"

namespace voxpop {

/// Progress of one long phase, for Context::progress. Also where long loops notice that they should stop.
class Progress {
 public:
  /// The context must outlive it.
  Progress(std::string phase, std::uint64_t total, const Context& context);
  Progress(std::string phase, std::uint64_t total, const Context&& context) = delete;
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  const Context& context() const { return context_; }
  /// `done` of the total; `detail` is shown behind it, such as "change 3e-4". Throws Error(kInterrupted) where the run
  /// has to stop.
  void update(std::uint64_t done, const std::string& detail = {});

 private:
  std::string phase_;
  std::uint64_t total_;
  const Context& context_;
};

}  // namespace voxpop
