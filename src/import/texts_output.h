#pragma once
#include <string>
#include <string_view>

#include "core/text_output.h"

namespace voxpop {

/// Lines {"id", "text", "prompt"} for `voxpop export --texts`.
class TextsOutput {
 public:
  explicit TextsOutput(const std::string& path) : output_(path) {}

  /// A text, and a prompt unless it is empty, is a string, or a list of messages as JSON.
  void write(std::string_view id, std::string_view text, std::string_view prompt);
  void commit() { output_.commit(); }
  std::uint64_t count() const { return count_; }

 private:
  TextOutput output_;
  std::string line_;
  std::uint64_t count_ = 0;
};

}  // namespace voxpop
