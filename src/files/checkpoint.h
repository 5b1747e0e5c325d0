#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/stopwatch.h"
#include "fit/fit.h"
#include "voxpop/context.h"

namespace voxpop {

/// A running fit that is saved in a file (schema checkpoint/1). The file is written at intervals and when the process
/// is interrupted; the next process reads it. A resumed fit is bit-identical to one that was never interrupted. Only
/// the version that wrote a checkpoint can read it, but on any device and with any number of ranks.
class Checkpoint : public FitKeeper {
 public:
  /// `of`: description of inputs and options. `every`: seconds between two writes. Throws Error(kFileSystem) if the
  /// file cannot be written, and Error(kBadInput) if the file exists but is not a checkpoint of the same fit.
  Checkpoint(std::string path, nlohmann::ordered_json of, double every, const Context& context);

  /// Loads the saved state into `run` and `engine`; does nothing if there is no file. Throws Error(kBadInput) if the
  /// file is damaged.
  void resume(FitRun& run, Engine& engine) override;
  /// Writes the file if that is due. After a signal, writes it and then throws Error(kInterrupted), or the error of the
  /// write if that fails. Without a signal, a failed write is only reported once, and the fit goes on.
  void keep(FitRun& run, Engine& engine) override;
  /// Deletes the file. To be called after the results are written.
  void remove();
  /// The error for an interruption. Its message says what the checkpoint holds.
  Error interruption() const;

 private:
  void write(FitRun& run, Engine& engine);

  std::string path_;
  nlohmann::ordered_json of_;
  double every_;
  Context context_;
  bool told_ = false;
  Stopwatch since_;
  std::string seen_;     ///< identity of the file when it was last read or written; "": no file
  int iterations_ = -1;  ///< iterations of the fit in the file; -1: no file was read or written
};

}  // namespace voxpop
