#pragma once
#include <cstddef>
#include <string>

#include "voxpop/error.h"

namespace voxpop {

/// An output file that appears under its name only when it is complete. The data is written to a file without a name in
/// the same folder; commit() calls fsync() and then gives the file its name.
///
/// Without commit(), no file remains, however the process ends, and an older file of the same name stays unchanged. On
/// file systems without O_TMPFILE (NFS), however, the data is in a file with a temporary name in the same folder. This
/// temporary file remains after SIGKILL.
///
/// The new file gets the permissions of the file that it replaces, and also its owner if this process may set it. If no
/// file is replaced, the permissions follow from umask.
class OutputFile {
 public:
  /// Throws Error(kFileSystem) if the folder is missing or not writable, or if `path` is a directory, device, pipe or
  /// socket. Create the OutputFile before any long work, so that the user sees such an error early.
  explicit OutputFile(std::string path);
  static constexpr std::size_t kMost = 16;  ///< maximum number of open files that remove_unfinished_files() can remove
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  /// Path to write the data to until commit().
  const std::string& temporary() const { return temporary_; }
  /// Moves the complete file to path(). Throws Error(kFileSystem).
  void commit();

 private:
  bool open_nameless();
  std::string path_, temporary_;
  int nameless_ = -1;  ///< descriptor of the file while it has no name
  bool committed_ = false;
};

/// Removes the temporary files of all OutputFile objects of this process. For a signal handler that ends the process.
void remove_unfinished_files();

}  // namespace voxpop
