#pragma once
#include <cstddef>
#include <string>

namespace voxpop {

/// Memory limit of the process. With a limit, long columns (Column<T>) are memory-mapped files without a name instead
/// of ordinary memory. A watcher thread releases the resident pages of all columns whenever the resident memory of the
/// process exceeds the limit; the kernel loads a page again when it is next used. This is efficient because passes over
/// votes read the columns in order, component by component. Results are bit-identical with and without a limit.
class ScratchMemory {
 public:
  /// Sets the limit in bytes. It applies to columns allocated from now on; later calls have no effect. `folder` must be
  /// on a disk with room for all columns. Throws Error(kFileSystem) if the folder is not writable.
  static void begin(std::size_t limit, const std::string& folder);
  /// The folder for scratch files: TMPDIR if it is writable and not in memory (tmpfs), else the folder of `output`.
  static std::string folder_for(const std::string& output);

  /// Maximum resident memory since the program started, bytes; 0 if unknown. Unlike getrusage(), this value does not
  /// include the memory of the parent process.
  static std::size_t peak();

  /// Releases the pages of all columns if the resident memory exceeds the limit. Long loops should call this between
  /// tasks: the watcher thread does the same, but may have to wait for a free core.
  static void keep_within_limit();

  /// True if peak() exceeded the limit, because memory outside the scratch columns alone was too large.
  static bool is_exceeded();
};

}  // namespace voxpop
