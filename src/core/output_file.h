#pragma once
#include <cstddef>
#include <string>

namespace voxpop {

/// A file that appears under its name only when complete: written beside it under a temporary name, synchronised,
/// renamed. Destroyed without commit(), it leaves nothing and an older file of that name untouched.
class OutputFile {
 public:
  /// Throws Error(kFileSystem) at once when the folder is missing or not writable, before any long work is done.
  explicit OutputFile(std::string path);
  static constexpr std::size_t kMost = 16;  ///< that an interrupt cleans up after, at a time
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  const std::string& temporary() const { return temporary_; }
  void commit();

 private:
  std::string path_, temporary_;
  bool committed_ = false;
};

/// Removes the temporary files of outputs being written, if any. May be called in a signal handler.
void remove_unfinished_output();

}  // namespace voxpop
