#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace voxpop {

/// The process's exit codes: a contract (README, "Exit codes").
enum class Exit : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,
  kBadInput = 3,
  kFileSystem = 4,
  kNotConverged = 5,
  kDevice = 6,
  kInterrupted = 130,
};

/// What went wrong, in the order thing, problem, remedy. Only main turns it into an exit.
class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
  Exit exit() const { return exit_; }

 private:
  Exit exit_;
};

/// Bad input: names the file, the dataset or line, the row and the value.
template <class... Args>
[[nodiscard]] Error bad_input(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kBadInput, fmt::format(format, std::forward<Args>(args)...));
}
/// A file that is missing, truncated, not readable or not writable.
template <class... Args>
[[nodiscard]] Error file_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kFileSystem, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[nodiscard]] Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(Exit::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace voxpop
