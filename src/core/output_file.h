#pragma once
#include <cstddef>
#include <string>

#include "voxpop/error.h"

namespace voxpop {

/// Said with kInternal by main, and by a signal handler.
inline constexpr const char* kOutOfMemory =
    "out of memory; give it more, lift a limit on it, or, in 'fit', set --memory-limit";

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

/// Ends the process from a signal handler: no temporary file is left, and "voxpop: " and the message, if any, are a
/// line on stderr.
[[noreturn]] void end_at_once(Exit exit, const char* message = nullptr);

}  // namespace voxpop
