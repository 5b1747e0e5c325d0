#pragma once
#include <string>

#include "cli/commands.h"
#include "voxpop/context.h"

namespace voxpop {

/// Writes to stderr, unless nobody takes it: work is not given up for that.
void tell(const std::string& text);

/// The context of a command: notes and progress on stderr, unless quiet; stops after SIGINT, SIGTERM and SIGHUP.
/// Progress is a bar on a terminal, a line every five seconds elsewhere; short phases show none.
Context terminal_context(const CommonOptions& common);

}  // namespace voxpop
