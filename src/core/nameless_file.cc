#include "core/nameless_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace voxpop {

int open_nameless_file(const std::string& folder) {
  const int file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  // Some file systems do not support O_TMPFILE. There the file has a name for a moment, until unlink().
  std::string name = folder + "/voxpop.XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace voxpop
