#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/strings.h"
#include "voxpop/context.h"

namespace voxpop {

/// A memory-mapped file. A gzip file is unpacked into an unnamed temporary file first. The pages that are read count as
/// the system's cache, not as memory of the process.
class MappedText {
 public:
  MappedText(const std::string& path, const Context& context);
  MappedText(MappedText&& other) noexcept;
  ~MappedText();
  MappedText& operator=(MappedText&&) = delete;

  const std::string& path() const { return path_; }
  /// Readable bytes follow the end of the text, as simdjson requires.
  std::string_view text() const { return {begin_, size_}; }

 private:
  std::string path_;
  const char* begin_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
};

/// Texts by id, from JSONL files with one object per line: {"id": "item 7", "text": "...", "prompt": "..."}. A text is
/// a string or a list of messages; "prompt" is optional. Needs 32 bytes of memory per id, as the texts stay in their
/// mapped files. If another program truncates such a file during this object's lifetime, reading raises SIGBUS. The
/// program has a handler for that in src/cli/cut_short.h; a library installs none.
class Texts {
 public:
  /// Keeps the texts of the ids in `ids` and skips others. Throws Error(kBadInput), naming file and line, if a line is
  /// not such an object or if an id has two texts.
  Texts(const std::vector<std::string>& paths, const Strings& ids, const Context& context);

  /// Unchanged from its file: valid JSON, a string with its quotes or a list; "" if there is none.
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
