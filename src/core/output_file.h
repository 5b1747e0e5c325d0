#pragma once
#include <cstddef>
#include <string>

#include "voxpop/error.h"

namespace voxpop {

/// A file that appears under its name only when complete: written without a name in the same folder, synchronised,
/// then named. Destroyed without commit(), it leaves nothing, however the process ends, and an older file of that name
/// untouched. File systems that know no nameless files (NFS) have a temporary name beside it, which SIGKILL leaves.
/// It takes over the permissions of the file that it replaces, and its owner where this process may set it; a new file
/// has those that umask leaves.
class OutputFile {
 public:
  /// Throws Error(kFileSystem) at once when the folder is missing or not writable, before any long work is done.
  explicit OutputFile(std::string path);
  static constexpr std::size_t kMost = 16;  ///< that an interrupt cleans up after, at a time
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  /// Where to write it.
  const std::string& temporary() const { return temporary_; }
  void commit();

 private:
  bool open_nameless();
  std::string path_, temporary_;
  int nameless_ = -1;  ///< descriptor of the file while it has no name
  bool committed_ = false;
};

/// Removes the temporary files of all OutputFile of this process, for a signal handler that ends it.
void remove_unfinished_files();

}  // namespace voxpop
