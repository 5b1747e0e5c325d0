#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/stopwatch.h"
#include "fit/fit.h"
#include "voxpop/context.h"

namespace voxpop {

/// A fit on its way, in a file (checkpoint/1): written from time to time and when the process is interrupted, read by
/// the next one. The fit that goes on from it has the bits of one that was never interrupted. Read by the version that
/// wrote it alone, on any device and any number of ranks.
class Checkpoint : public FitKeeper {
 public:
  /// `of`: what is fitted, and how. `every`: seconds from one time to the next. Throws Error(kFileSystem) where the
  /// file cannot be written, Error(kBadInput) where it is of anything else.
  Checkpoint(std::string path, nlohmann::ordered_json of, double every, const Context& context);

  /// Throws Error(kBadInput) for a damaged one.
  void resume(FitRun& run, Engine& engine) override;
  /// Throws Error(kInterrupted) after a signal, the file being written. Else a file that cannot be written is no reason
  /// to end.
  void keep(FitRun& run, Engine& engine) override;
  /// The fit is done, and what it was kept for is written.
  void remove();
  /// What to say of an interruption.
  Error interruption() const;

 private:
  void write(FitRun& run, Engine& engine);

  std::string path_;
  nlohmann::ordered_json of_;
  double every_;
  Context context_;
  bool told_ = false;
  Stopwatch since_;
  std::string seen_;     ///< which file lay there when it was last read or written; "": none
  int iterations_ = -1;  ///< that the file keeps; -1: there is none
};

}  // namespace voxpop
