#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/output_file.h"
#include "core/stopwatch.h"
#include "files/checkpoint.h"
#include "files/fit_record.h"
#include "ranks/ranked_run.h"
#include "voxpop/context.h"
#include "voxpop/fit_result.h"

namespace voxpop {

/// Paths of files with knowledge that the votes' own files do not have. An empty path: no such file.
struct KnownFiles {
  std::string gold;         ///< pairs with a known answer; added to those in the votes' files
  std::string trust;        ///< annotators known to be good
  std::string prior_score;  ///< prior scores of items; replace those in the votes' files
  std::string embeddings;   ///< embeddings of items; replace those in the votes' files
};

/// Runs a fit from votes to labels, for all clients. The job groups and weighs the votes, searches for copies, fits,
/// and makes labels. Everything that the labels depend on besides the request (answers, covariates, tastes, sources,
/// views) is taken from the groups.
class FitJob {
 public:
  /// Checks the request and the device. Reads the earlier fit that the request starts from, if any. `context` must
  /// outlive the job. `lead`: what the leader of several MPI ranks fits with, or null for one process.
  FitJob(FitRequest request, const Context& context, const Lead* lead = nullptr);

  /// Starts from an earlier fit in memory, in place of FitRequest::warm_start. Throws Error(kBadInput) if it is of
  /// another model.
  void start_from(EarlierFit earlier);

  /// Reads the votes in `paths` and the files in `known`.
  Votes read(const std::vector<std::string>& paths, const KnownFiles& known);

  /// Fits the votes. Throws Error(kNotConverged) if the fit diverges; if the votes cannot show which of two camps is
  /// right (unless FitRequest::force is set); or if the fit does not converge and FitRequest::strict is set.
  FitRecord run(Votes votes);

  /// Converts the record to the result for a calling program, and removes the checkpoint.
  FitResult finish(FitRecord record);

  /// Writes fit/1 and removes the checkpoint. Returns the provenance that was written.
  nlohmann::ordered_json write(OutputFile& output, FitRecord& record, bool compress);

 private:
  int threads() const;
  FitRecord fit_all(Votes votes);
  template <class Act>
  auto with_checkpoint(const Act& act);

  FitRequest request_;
  const Context& context_;
  const Lead* lead_;
  Stopwatch watch_;
  Seconds seconds_;
  std::optional<EarlierFit> earlier_;
  std::optional<Checkpoint> checkpoint_;
};

/// Reads the embeddings that a fit of this model uses: from the file `path`, or from the votes' files if `path` is
/// empty. Returns null if there are none or if the fit does not use them.
std::shared_ptr<const Embeddings> read_used_embeddings(const std::string& path, const ModelWishes& wishes, Model model,
                                                       const std::vector<std::string>& vote_files,
                                                       const Strings& item_ids, const Context& context);

/// Limits this process to Context::memory_limit if the CPU will certainly run the fit. Otherwise begin_memory_limit()
/// does so once the device is chosen.
void limit_memory(const Context& context);

/// Chooses where to fit, as choose_device() does. With embeddings this is always a CPU and one process; a request for a
/// CUDA device is then a usage error.
DeviceChoice choose_device_for(const Votes& votes, const Embeddings* embeddings, const Context& context);

/// The options that a fit of these groups needs.
FitOptions fit_options_for(const ModelWishes& wishes, Model model, const Groups& groups, ViewUse views);

}  // namespace voxpop
