#include "text/text_file.h"

#include <simdjson.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "core/error.h"

namespace voxpop {
namespace {

constexpr std::size_t kBlock = 1 << 20;

}  // namespace

TextFile::TextFile(std::string path, Progress& progress, std::uint64_t bytes_before)
    : path_(std::move(path)),
      progress_(progress),
      bytes_before_(bytes_before),
      file_(gzopen(path_.c_str(), "rb"), gzclose_r),
      buffer_(kBlock, '\0') {
  if (!file_) {
    const int problem = errno;
    progress_.context().check_stop();  // a stop request interrupts the wait for a pipe's writer
    throw file_error("{}: cannot open: {}", path_, std::strerror(problem));
  }
  gzbuffer(file_.get(), kBlock / 4);
}

std::string_view TextFile::next_block() {
  progress_.update(bytes_before_ + static_cast<std::uint64_t>(std::max<z_off_t>(gzoffset(file_.get()), 0)));
  errno = 0;
  const int count = gzread(file_.get(), buffer_.data(), kBlock);
  const int problem = errno;
  int code = Z_OK;
  gzerror(file_.get(), &code);  // gzread() reports truncated data only as a short read
  if (code == Z_MEM_ERROR) throw std::bad_alloc();
  if (code == Z_BUF_ERROR)
    throw file_error("{}: ends in the middle of its gzip data; it was cut short, so copy or compress it again", path_);
  progress_.context().check_stop();
  if (code == Z_ERRNO) throw file_error("{}: cannot read: {}", path_, std::strerror(problem));
  if (count < 0 || (code != Z_OK && code != Z_STREAM_END))
    throw bad_input("{}: its gzip data are damaged; copy or compress it again", path_);

  std::string_view block(buffer_.data(), static_cast<std::size_t>(count));
  if (std::exchange(at_start_, false)) {
    if (block.starts_with("\xff\xfe") || block.starts_with("\xfe\xff"))
      throw bad_input("{}: is UTF-16; convert it with 'iconv -f UTF-16 -t UTF-8'", path_);
    if (block.starts_with("\xef\xbb\xbf")) block.remove_prefix(3);
  }
  return block;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t\r"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

}  // namespace voxpop
