#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "voxpop/error.h"
#include "voxpop/export.h"

namespace voxpop {

/// How far a phase of a run is.
struct ProgressReport {
  const std::string& phase;   ///< "reading", "fitting", ...
  std::uint64_t done, total;  ///< total is at least 1
  const std::string& detail;  ///< such as "iteration 7, change 3e-4"; may be empty
  bool ended = false;         ///< the phase is over, done or not; the last report of it
};

/// Who watches over the HDF5 library while it reads a file that anybody may have written: its parser is not hardened,
/// so a damaged file can crash it, or keep it busy for ever. The library itself cannot do anything about either; the
/// program `voxpop` ends with a message. Calls may come from several threads at once, and nest.
class FileWatch {
 public:
  virtual ~FileWatch() = default;
  /// From now on this thread is within HDF5 functions that read from `path`. It may need the more time the more `bytes`
  /// it asks for.
  virtual void begin(const std::string& path, std::uint64_t bytes) = 0;
  /// This thread is out of what the last begin() began.
  virtual void end() = 0;
};

/// Where and how a run runs, and whom it tells about it. None of it changes a result. Functions may be empty. All but
/// `stop` are called by one thread at a time.
struct Context {
  std::function<void(const std::string& text)> note = {};           ///< a remark that a user should read
  std::function<void(const ProgressReport& report)> progress = {};  ///< called often
  /// Whether to stop: the run then throws Error(kInterrupted). Called often, of any thread.
  std::function<bool()> stop = {};
  int threads = 0;               ///< CPU threads; 0: every core this process may use
  std::string device = "auto";   ///< "auto", "cpu", "cuda" or "cuda:N"
  std::size_t memory_limit = 0;  ///< bytes: on a CUDA device, or of this process; 0: what is free
  /// Scratch files, which memory_limit needs, go to TMPDIR where that is a disk, else beside this file; empty: here.
  std::string scratch_beside = {};
  FileWatch* watch = nullptr;  ///< not owned; null: nobody

  /// Calls `note`, if there is one, with the text on one line.
  VOXPOP_EXPORT void tell(const std::string& text) const;
  bool stopped() const { return stop && stop(); }
  /// Throws Error(kInterrupted) where the run has to stop. Long loops call it.
  VOXPOP_EXPORT void check_stop() const;
};

}  // namespace voxpop
