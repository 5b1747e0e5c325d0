#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/output_file.h"
#include "voxpop/context.h"

namespace voxpop {

/// Writes text to a file that appears when it is complete (OutputFile), to standard output, or to a function.
class TextOutput {
 public:
  /// `path` "": standard output.
  explicit TextOutput(const std::string& path, const Context& context = {});
  /// Each write() calls `use` with its text.
  explicit TextOutput(std::function<void(std::string_view)> use);

  void write(std::string_view text);
  /// Flushes, and gives a file its final name. Throws Error(kFileSystem).
  void commit();
  /// Bytes written so far.
  std::uint64_t bytes() const { return bytes_; }

 private:
  [[noreturn]] void fail() const;

  Context context_;
  std::function<void(std::string_view)> use_;
  std::unique_ptr<OutputFile> file_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream_;
  std::uint64_t bytes_ = 0;
};

}  // namespace voxpop
