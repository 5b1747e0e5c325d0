#include "core/progress.h"

#include <algorithm>
#include <utility>

namespace voxpop {

Progress::Progress(std::string phase, std::uint64_t total, const Context& context)
    : phase_(std::move(phase)), total_(std::max<std::uint64_t>(total, 1)), context_(context) {}

Progress::~Progress() {
  if (!context_.progress) return;
  try {
    context_.progress({phase_, total_, total_, "", true});
  } catch (...) {  // a destructor must not throw: another exception may already be in flight
  }
}

void Progress::update(std::uint64_t done, const std::string& detail) {
  context_.check_stop();
  if (context_.progress) context_.progress({phase_, std::min(done, total_), total_, detail});
}

}  // namespace voxpop
