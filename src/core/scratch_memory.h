#pragma once
#include <cstddef>
#include <string>

namespace voxpop {

/// Long columns in nameless files instead of memory, for a process whose resident memory is to stay within a limit. The
/// kernel keeps of them what it has room for; whenever more is resident than allowed, the process lets go of them all,
/// and takes up again what it comes to next. Passes over votes go through them in order, component by component. Bits
/// cannot differ: these are the same columns in another place.
class ScratchMemory {
 public:
  /// From now on; where it has begun already, the limit stays as it is. `folder`: on a disk with room for all columns.
  /// Throws Error(kFileSystem) where it cannot be written.
  static void begin(std::size_t limit, const std::string& folder);
  /// The folder to use: TMPDIR's where that is a disk, else the output's.
  static std::string folder_for(const std::string& output);

  /// Most that was resident at any time since the program started (not its parent's, as getrusage() has it), bytes; 0
  /// where the system does not tell.
  static std::size_t peak();

  /// Lets go of what is resident beyond the limit, if anything is: for long loops, between one task and the next. The
  /// watcher does so, too, but waits for a core.
  static void keep_within_limit();

  /// Whether the limit was, because what is resident without columns is too much.
  static bool is_exceeded();
};

}  // namespace voxpop
