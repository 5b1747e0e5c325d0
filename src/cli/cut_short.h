#pragma once
#include <csignal>
#include <string>

namespace voxpop {

/// Texts are read from mapped files: where another program cuts one short meanwhile, nothing is left beyond its new
/// end, and the process gets SIGBUS. While this lives, the process then ends with an error that says so, and leaves no
/// temporary file. One at a time.
class EndWhenCutShort {
 public:
  /// `what`: the file, or what files they are.
  explicit EndWhenCutShort(const std::string& what);
  ~EndWhenCutShort();
  EndWhenCutShort(const EndWhenCutShort&) = delete;
  EndWhenCutShort& operator=(const EndWhenCutShort&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace voxpop
