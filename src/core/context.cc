#include "voxpop/context.h"

#include "core/strings.h"

namespace voxpop {

void Context::tell(const std::string& text) const {
  if (note) note(shown(text, kLongestMessage));
}

void Context::check_stop() const {
  if (stopped()) throw Error(Exit::kInterrupted, "interrupted; nothing was written");
}

}  // namespace voxpop
