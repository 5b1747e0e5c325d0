#include "cli/end_at_once.h"

#include <unistd.h>

#include <cstring>

#include "core/output_file.h"

namespace voxpop {

void end_at_once(Exit exit, const char* message) {
  remove_unfinished_files();
  if (message != nullptr)
    for (const char* part : {"voxpop: ", message, "\n"})
      if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  _exit(static_cast<int>(exit));
}

}  // namespace voxpop
