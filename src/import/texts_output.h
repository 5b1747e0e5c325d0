#pragma once
#include <string>
#include <string_view>

#include "core/text_output.h"

namespace voxpop {

/// Writes the texts of items for `voxpop export --texts`: JSON lines with keys "id", "text" and "prompt".
class TextsOutput {
 public:
  explicit TextsOutput(const std::string& path) : output_(path) {}

  /// `text` and `prompt`: plain text, or a list of messages as JSON. An empty prompt is not written.
  void write(std::string_view id, std::string_view text, std::string_view prompt);
  void commit() { output_.commit(); }
  std::uint64_t count() const { return count_; }

 private:
  TextOutput output_;
  std::string line_;
  std::uint64_t count_ = 0;
};

}  // namespace voxpop
