#pragma once
#include <string>

#include "cli/commands.h"
#include "voxpop/context.h"

namespace voxpop {

/// Writes to stderr. A failed write is ignored, so that it does not stop the work.
void tell(const std::string& text);

/// The context of a command: notes and progress on stderr, unless quiet; stops after SIGINT, SIGTERM and SIGHUP.
/// Progress is a bar on a terminal and otherwise a line every five seconds. Short phases show no progress.
Context terminal_context(const CommonOptions& common);

}  // namespace voxpop
