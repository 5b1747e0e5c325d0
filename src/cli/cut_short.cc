#include "cli/cut_short.h"

#include "cli/end_at_once.h"
#include "core/error.h"
#include "core/strings.h"

namespace voxpop {
namespace {

// Fixed buffer, because the signal handler must neither allocate nor lock.
char message[4400];

void end_cut_short(int) { end_at_once(Exit::kFileSystem, message); }

}  // namespace

EndWhenCutShort::EndWhenCutShort(const std::string& what) {
  const std::string text = one_line(what + ": became shorter while it was read; run this again");
  message[text.copy(message, sizeof message - 1)] = '\0';
  struct sigaction action {};
  action.sa_handler = end_cut_short;
  sigaction(SIGBUS, &action, &before_);
}

EndWhenCutShort::~EndWhenCutShort() { sigaction(SIGBUS, &before_, nullptr); }

}  // namespace voxpop
