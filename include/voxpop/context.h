#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "voxpop/error.h"
#include "voxpop/export.h"

namespace voxpop {

/// Progress of one phase of a run.
struct ProgressReport {
  const std::string& phase;   ///< "reading", "fitting", ...
  std::uint64_t done, total;  ///< total is at least 1
  const std::string& detail;  ///< such as "iteration 7, change 3e-4"; may be empty
  bool ended = false;         ///< the phase is over, complete or not; its last report
};

/// Is notified before and after reads with the HDF5 library. HDF5's parser is not hardened: a damaged or hostile file
/// can crash it or keep it in an endless loop. The library cannot prevent either; the program `voxpop` ends with a
/// message. Several threads may call these functions at once, and calls may nest.
class FileWatch {
 public:
  virtual ~FileWatch() = default;
  /// From now on, this thread is in HDF5 functions that read from `path`. `bytes`: size of the request; larger requests
  /// may take longer.
  virtual void begin(const std::string& path, std::uint64_t bytes) = 0;
  /// This thread has left the functions that its last begin() announced.
  virtual void end() = 0;
};

/// Where a run runs, and the functions that it calls. Nothing here changes a result. Functions may be empty. All
/// functions except `stop` are called by one thread at a time.
struct Context {
  std::function<void(const std::string& text)> note = {};           ///< a remark that a user should read
  std::function<void(const ProgressReport& report)> progress = {};  ///< called often
  /// Returns true to stop the run, which then throws Error(kInterrupted). Called often, from any thread.
  std::function<bool()> stop = {};
  int threads = 0;               ///< CPU threads; 0: every core this process may use
  std::string device = "auto";   ///< "auto", "cpu", "cuda" or "cuda:N"
  std::size_t memory_limit = 0;  ///< bytes, of the CUDA device or of this process; 0: all free memory
  /// Scratch files (only with memory_limit) go to TMPDIR if it is on a disk, else to the folder of this file. Empty:
  /// the current folder.
  std::string scratch_beside = {};
  FileWatch* watch = nullptr;  ///< not owned; null: no notifications

  /// Calls `note`, if it is set, with the text on one line.
  VOXPOP_EXPORT void tell(const std::string& text) const;
  bool stopped() const { return stop && stop(); }
  /// Throws Error(kInterrupted) if the run has to stop. Long loops call this function.
  VOXPOP_EXPORT void check_stop() const;
};

}  // namespace voxpop
