#include "core/text_output.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace voxpop {

TextOutput::TextOutput(const std::string& path, const Context& context)
    : context_(context), stream_(stdout, [](std::FILE*) { return 0; }) {
  if (path.empty()) return;
  file_ = std::make_unique<OutputFile>(path);
  stream_ = {std::fopen(file_->temporary().c_str(), "wb"), std::fclose};
  if (!stream_) fail();
}

TextOutput::TextOutput(std::function<void(std::string_view)> use)
    : use_(std::move(use)), stream_(nullptr, [](std::FILE*) { return 0; }) {}

void TextOutput::fail() const {
  const int problem = errno;
  context_.check_stop();  // a stop request interrupts a write that waits for a pipe's reader: report the stop
  throw file_error("{}: cannot write: {}", file_ ? file_->path() : "standard output", std::strerror(problem));
}

void TextOutput::write(std::string_view text) {
  bytes_ += text.size();
  if (use_) return use_(text);
  if (std::fwrite(text.data(), 1, text.size(), stream_.get()) != text.size()) fail();
}

void TextOutput::commit() {
  if (use_) return;
  if (std::fflush(stream_.get()) != 0) fail();
  if (file_) file_->commit();
}

}  // namespace voxpop
