#pragma once
#include <csignal>
#include <string>

namespace voxpop {

/// Handles SIGBUS while this object exists. Texts are read from mapped files; if another program truncates such a file,
/// reading past its new end raises SIGBUS. The process then ends with an error message and leaves no temporary file.
/// Only one object at a time.
class EndWhenCutShort {
 public:
  /// `what`: the file, or a description of the files, for the message.
  explicit EndWhenCutShort(const std::string& what);
  ~EndWhenCutShort();
  EndWhenCutShort(const EndWhenCutShort&) = delete;
  EndWhenCutShort& operator=(const EndWhenCutShort&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace voxpop
