#include "core/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <utility>

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

/// A name beside it that nobody has; empty where there can be none. It is not taken, so that nothing is left of it
/// whatever happens: whoever links a file there learns whether it still is free.
std::string free_name(const std::string& path) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  std::random_device random;
  for (;;) {
    std::string name = path + ".";
    for (int i = 0; i < 6; ++i) name += kLetters[random() % kLetters.size()];
    struct stat status {};
    if (lstat(name.c_str(), &status) != 0) return errno == ENOENT ? name : "";
  }
}

}  // namespace

void end_at_once(Exit exit, const char* message) {
  for (const Name& name : unfinished)
    if (name[0] != '\0') unlink(name);
  if (message != nullptr)
    for (const char* part : {"voxpop: ", message, "\n"})
      if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  _exit(static_cast<int>(exit));
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored))
    throw file_error("{}: is a directory; name a file to write", path_);
  // /dev/stdout is a link, too: whatever it leads to, the finished file would take its place.
  const bool names_descriptor = std::filesystem::read_symlink(path_, ignored).string().starts_with("/proc/");
  if (names_descriptor ||
      (std::filesystem::exists(path_, ignored) && !std::filesystem::is_regular_file(path_, ignored)))
    throw file_error("{}: is a device, pipe or socket, which a finished file would replace; name a file to write",
                     path_);
  if (open_nameless()) return;
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
  if (nameless_ >= 0) {
    close(nameless_);
    return;
  }
  if (!committed_) unlink(temporary_.c_str());
  forget_unfinished(temporary_);
}

bool OutputFile::open_nameless() {
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  nameless_ = open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (nameless_ < 0) return false;
  temporary_ = "/proc/self/fd/" + std::to_string(nameless_);
  if (access(temporary_.c_str(), W_OK) == 0 && !free_name(path_).empty()) return true;
  close(std::exchange(nameless_, -1));
  return false;
}

void OutputFile::commit() {
  const int descriptor = open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synchronised = descriptor >= 0 && fsync(descriptor) == 0;
  const int problem = errno;
  if (descriptor >= 0) close(descriptor);
  if (!synchronised) throw file_error("{}: cannot write: {}", path_, std::strerror(problem));
  if (nameless_ >= 0) {  // a new link replaces nothing, but a rename does
    const std::string name = free_name(path_);
    remember_unfinished(name);
    if (name.empty() || linkat(AT_FDCWD, temporary_.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      throw file_error("{}: cannot name the finished file: {}", path_, std::strerror(errno));
    close(std::exchange(nameless_, -1));
    temporary_ = name;
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    throw file_error("{}: cannot rename the finished file: {}", path_, std::strerror(errno));
  committed_ = true;
}

}  // namespace voxpop
