#pragma once
#include <zlib.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/progress.h"
#include "core/strings.h"

namespace voxpop {

/// Reads a plain or gzip text file block by block. Skips a UTF-8 byte order mark.
class TextFile {
 public:
  /// `progress` counts bytes on disk of all inputs; `bytes_before` is the size of the inputs before this one. Throws
  /// Error(kFileSystem) if the file cannot be opened.
  TextFile(std::string path, Progress& progress, std::uint64_t bytes_before);

  const std::string& path() const { return path_; }
  /// The next block of text, up to 1 MiB; empty at the end of the file. The view is valid until the next call. Throws
  /// Error(kFileSystem) if the file cannot be read or its gzip data end early, Error(kBadInput) if the gzip data are
  /// damaged or the text is UTF-16.
  std::string_view next_block();

 private:
  std::string path_;
  Progress& progress_;
  std::uint64_t bytes_before_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::string buffer_;
  bool at_start_ = true;
};

/// Removes spaces, tabs and carriage returns from both ends.
std::string_view trimmed(std::string_view text);

/// Converts A to Z to lower case. Other characters do not change.
std::string lower(std::string_view text);

}  // namespace voxpop
