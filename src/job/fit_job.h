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

/// Files that say more of votes than the votes' own files do; an empty path: there is none.
struct KnownFiles {
  std::string gold;         ///< pairs whose answer is known, beside the votes' own
  std::string trust;        ///< annotators known to be good
  std::string prior_score;  ///< scores of items, in place of the votes' own
  std::string embeddings;   ///< of items, in place of the votes' own
};

/// A fit from votes to labels: the one way there. Votes are grouped, weighed, searched for copies, fitted, and
/// labelled; what the labels rest on (answers, covariates, tastes, sources, views) is taken from the groups.
class FitJob {
 public:
  /// Checks the request and the device, and reads the fit that it starts from, if any. The context must outlive the
  /// job. `lead`: the leader's of several ranks, or null.
  FitJob(FitRequest request, const Context& context, const Lead* lead = nullptr);

  /// In place of FitRequest::warm_start: an earlier fit that is in memory. Throws Error(kBadInput) where it is of
  /// another model.
  void start_from(EarlierFit earlier);

  /// Reads votes, and what else is known of them.
  Votes read(const std::vector<std::string>& paths, const KnownFiles& known);

  /// Fits the votes. Throws Error(kNotConverged) where the fit diverges, where nobody can tell which of two camps is
  /// right (FitRequest::force), or where it does not converge but must (FitRequest::strict).
  FitRecord run(Votes votes);

  /// What a program gets of it; removes the checkpoint.
  FitResult finish(FitRecord record);

  /// Writes fit/1 and removes the checkpoint. Gives back the provenance that is written.
  nlohmann::ordered_json write(OutputFile& output, FitRecord& record, bool compress);

 private:
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

/// Reads the embeddings that a fit of this model uses: of the file that is named, or of the votes' files; null where
/// there are none, or where it uses none.
std::shared_ptr<const Embeddings> read_used_embeddings(const std::string& path, const ModelWishes& wishes, Model model,
                                                       const std::vector<std::string>& vote_files,
                                                       const Strings& item_ids, const Context& context);

/// Where it is certain that the CPU will fit, keeps this process within Context::memory_limit; else
/// begin_memory_limit() does, once the device is chosen.
void limit_memory(const Context& context);

/// Where to fit: as choose_device(); embeddings are fitted on a CPU, by one process.
DeviceChoice choose_device_for(const Votes& votes, const Embeddings* embeddings, const Context& context);

/// The options that a fit of these groups needs.
FitOptions fit_options_for(const ModelWishes& wishes, Model model, const Groups& groups, ViewUse views);

}  // namespace voxpop
