#include "core/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace voxpop {
namespace {

// Names of the temporary files that a signal handler must remove. An empty name marks a free entry.
using Name = char[4200];
Name unfinished[OutputFile::kMost];
std::mutex changing_unfinished;  // the signal handler does not lock it: an entry is always a complete name or empty

void remember_unfinished(const std::string& path) {
  const std::lock_guard lock(changing_unfinished);
  for (Name& name : unfinished) {
    if (name[0] != '\0' || path.empty() || path.size() >= sizeof name) continue;
    // Write the first character last, so that the entry counts as empty until the name is complete. Otherwise a signal
    // handler could see the beginning of the name and remove another file with that shorter name.
    std::memcpy(name + 1, path.c_str() + 1, path.size());
    std::atomic_signal_fence(std::memory_order_seq_cst);
    name[0] = path[0];
    return;
  }
}

void forget_unfinished(const std::string& path) {
  const std::lock_guard lock(changing_unfinished);
  for (Name& name : unfinished)
    if (name == path) name[0] = '\0';
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

constexpr const char* kAccessList = "system.posix_acl_access";

/// Gives a finished file the owner, group and permissions of the file that it will replace. If this process may not
/// set the old group, the new group gets only the permissions of "others", so that no user gains access.
void take_permissions(int descriptor, const std::string& replaced) {
  struct stat old {};
  struct stat own {};
  if (stat(replaced.c_str(), &old) != 0 || !S_ISREG(old.st_mode) || fstat(descriptor, &own) != 0) return;
  bool same_group = own.st_gid == old.st_gid;
  if (own.st_uid != old.st_uid || !same_group)
    same_group = fchown(descriptor, old.st_uid, old.st_gid) == 0 ||
                 fchown(descriptor, static_cast<uid_t>(-1), old.st_gid) == 0 || same_group;
  // If the file has an access control list, the group bits of its mode are the mask of that list: the maximum that any
  // listed user or group may do, not the permissions of the owning group.
  char list[4096];
  const ssize_t bytes = getxattr(replaced.c_str(), kAccessList, list, sizeof list);
  const bool has_list = bytes >= 0 || errno == ERANGE;
  const bool same_list =
      bytes >= 0 && fsetxattr(descriptor, kAccessList, list, static_cast<std::size_t>(bytes), 0) == 0;
  mode_t mode = old.st_mode & 0777;
  if (!same_group || (has_list && !same_list)) mode = (mode & ~mode_t{070}) | (mode & 07) << 3;
  if (fstat(descriptor, &own) == 0 && (own.st_mode & 0777) == mode) return;
  const bool is_too_open = (own.st_mode & 0777 & ~mode) != 0;  // false: ignore errors, some file systems have no modes
  if (fchmod(descriptor, mode) != 0 && is_too_open)
    throw file_error("{}: cannot set its mode: {}", replaced, std::strerror(errno));
}

/// A currently unused file name in the folder of `path`, or "" if the folder cannot be searched. The name is not
/// reserved, so no file remains if the process is killed. linkat() fails if another process takes the name first.
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

void remove_unfinished_files() {
  for (const Name& name : unfinished)
    if (name[0] != '\0') unlink(name);
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored))
    throw file_error("{}: is a directory; name a file to write", path_);
  // /dev/stdout is a symbolic link into /proc. rename() would replace the link itself, whatever its target is.
  const bool names_descriptor = std::filesystem::read_symlink(path_, ignored).string().starts_with("/proc/");
  if (names_descriptor ||
      (std::filesystem::exists(path_, ignored) && !std::filesystem::is_regular_file(path_, ignored)))
    throw file_error("{}: is a device, pipe or socket, and the output would replace it; name a file to write", path_);
  if (open_nameless()) return;
  temporary_ = path_ + ".XXXXXX";
  const int descriptor = mkstemp(temporary_.data());
  if (descriptor < 0)
    throw file_error("{}: cannot write here: {}", path_,
                     errno == ENOENT ? "the folder does not exist; create it first" : std::strerror(errno));
  remember_unfinished(temporary_);
  std::error_code problem;
  if (!std::filesystem::exists(path_, problem) && !problem) {
    const mode_t mask = umask(0);  // mkstemp() sets mode 0600; set the mode of an ordinary new file instead
    umask(mask);
    fchmod(descriptor, 0666 & ~mask);
  }
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
  {
    const Descriptor finished{open(temporary_.c_str(), O_RDONLY | O_CLOEXEC)};
    if (finished.number >= 0) take_permissions(finished.number, path_);
    if (finished.number < 0 || fsync(finished.number) != 0)
      throw file_error("{}: cannot write: {}", path_, std::strerror(errno));
  }
  if (nameless_ >= 0) {  // linkat() cannot replace an existing file, rename() can: use both
    const std::string name = free_name(path_);
    remember_unfinished(name);
    if (name.empty() || linkat(AT_FDCWD, temporary_.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      const int problem = errno;
      forget_unfinished(name);
      throw file_error("{}: cannot name the finished file: {}", path_, std::strerror(problem));
    }
    close(std::exchange(nameless_, -1));
    temporary_ = name;
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    throw file_error("{}: cannot rename the finished file: {}", path_, std::strerror(errno));
  committed_ = true;
}

}  // namespace voxpop
