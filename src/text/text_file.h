#pragma once
#include <zlib.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/progress.h"
#include "core/strings.h"

namespace voxpop {

/// A text file, plain or gzip, read block by block from its start; a UTF-8 byte order mark is skipped.
class TextFile {
 public:
  /// `progress` counts bytes on disk over all inputs, `bytes_before` those of the inputs before this one.
  TextFile(std::string path, Progress& progress, std::uint64_t bytes_before);

  const std::string& path() const { return path_; }
  /// About a megabyte of text, empty at the end; valid until the next call. Throws Error(kFileSystem) where the file
  /// cannot be read or its gzip data end early, Error(kBadInput) where they are damaged.
  std::string_view next_block();

 private:
  std::string path_;
  Progress& progress_;
  std::uint64_t bytes_before_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::string buffer_;
  bool at_start_ = true;
};

/// Without spaces, tabs and carriage returns at either end.
std::string_view trimmed(std::string_view text);

/// With A to Z as a to z.
std::string lower(std::string_view text);

}  // namespace voxpop
