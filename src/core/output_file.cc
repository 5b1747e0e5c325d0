#include "core/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace voxpop {
namespace {

// The temporary files that a signal handler would have to remove; an empty name is a free place.
using Name = char[4200];
Name unfinished[OutputFile::kMost];

void remember_unfinished(const std::string& path) {
  for (Name& name : unfinished) {
    if (name[0] != '\0' || path.size() >= sizeof name) continue;
    std::memcpy(name, path.c_str(), path.size() + 1);
    return;
  }
}

void forget_unfinished(const std::string& path) {
  for (Name& name : unfinished)
    if (name == path) name[0] = '\0';
}

}  // namespace

void remove_unfinished_output() {
  for (const Name& name : unfinished)
    if (name[0] != '\0') unlink(name);
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored))
    throw file_error("{}: is a directory; name a file to write", path_);
  if (std::filesystem::exists(path_, ignored) && !std::filesystem::is_regular_file(path_, ignored))
    throw file_error("{}: is a device, pipe or socket, which a finished file would replace; name a file to write",
                     path_);
  temporary_ = path_ + ".XXXXXX";
  const int descriptor = mkstemp(temporary_.data());
  if (descriptor < 0) throw file_error("{}: cannot write here: {}", path_, std::strerror(errno));
  remember_unfinished(temporary_);
  const mode_t mask = umask(0);  // mkstemp makes files private; give this one the mode any new file would have
  umask(mask);
  fchmod(descriptor, 0666 & ~mask);
  close(descriptor);
}

OutputFile::~OutputFile() {
  if (!committed_) unlink(temporary_.c_str());
  forget_unfinished(temporary_);
}

void OutputFile::commit() {
  const int descriptor = open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synchronised = descriptor >= 0 && fsync(descriptor) == 0;
  const int problem = errno;
  if (descriptor >= 0) close(descriptor);
  if (!synchronised) throw file_error("{}: cannot write: {}", path_, std::strerror(problem));
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    throw file_error("{}: cannot rename the finished file: {}", path_, std::strerror(errno));
  committed_ = true;
}

}  // namespace voxpop
