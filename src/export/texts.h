#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/strings.h"
#include "voxpop/context.h"

namespace voxpop {

/// A file's bytes, mapped; gzip is unpacked into a temporary file without a name. What is read of it lies in the
/// system's cache, not in the process.
class MappedText {
 public:
  MappedText(const std::string& path, const Context& context);
  MappedText(MappedText&& other) noexcept;
  ~MappedText();
  MappedText& operator=(MappedText&&) = delete;

  const std::string& path() const { return path_; }
  /// Readable bytes follow it, as simdjson wants.
  std::string_view text() const { return {begin_, size_}; }

 private:
  std::string path_;
  const char* begin_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
};

/// Texts by id from JSONL: {"id": "item 7", "text": "...", "prompt": "..."}, an object a line. Memory holds 32 bytes an
/// id; the texts stay in their files. A text is a string or a list of messages, "prompt" may be left out. Where another
/// program cuts such a file short before this object goes, reading gets the process SIGBUS: the program's handler for
/// it is in src/cli/cut_short.h, and a library sets none.
class Texts {
 public:
  /// Of those in `ids`; others are passed over. Throws Error(kBadInput) naming file and line where a line is not such
  /// an object, and where an id has two texts.
  Texts(const std::vector<std::string>& paths, const Strings& ids, const Context& context);

  /// As it stands in its file: valid JSON, a string with its quotes or a list; "" where there is none.
  std::string_view text(std::uint32_t id) const { return text_[id].json(); }
  std::string_view prompt(std::uint32_t id) const { return prompt_[id].json(); }
  std::uint64_t passed_over() const { return passed_over_; }
  std::uint64_t with_text() const { return with_text_; }

 private:
  struct Place {
    const char* begin = nullptr;
    std::uint32_t bytes = 0;
    std::string_view json() const { return {begin, bytes}; }
  };
  struct Line {
    std::uint32_t id;
    Place text, prompt;
  };
  class LineReader;

  std::vector<MappedText> files_;
  std::vector<Place> text_, prompt_;  ///< [ids]
  std::uint64_t passed_over_ = 0, with_text_ = 0;
};

}  // namespace voxpop
