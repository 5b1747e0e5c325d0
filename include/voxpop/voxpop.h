#pragma once
// libvoxpop: from pairwise votes to calibrated labels.
//
//   const voxpop::Votes votes = voxpop::read_votes({"votes.h5"});
//   const voxpop::FitResult fit = voxpop::fit(votes);
//   for (float p : fit.labels.pairs.probability) ...
//   voxpop::write_fit("fit.h5", fit);
//
// The library does not print, exit or handle signals. The functions of a Context receive notes and progress, and can
// stop a run. All functions throw Error. Several threads may call them at once. Exception: functions that read or write
// HDF5 files, unless HDF5 is built thread-safe (as in the wheel). Context::memory_limit applies to the whole process.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/error.h"
#include "voxpop/evaluation.h"
#include "voxpop/export.h"
#include "voxpop/fit_result.h"
#include "voxpop/request.h"
#include "voxpop/version.h"
#include "voxpop/votes.h"

namespace voxpop {

/// Checks votes that a program has filled in: indices, weights and numbers, and that ids are valid UTF-8 and unique.
/// Throws Error(kBadInput) with column, row and value. read_votes() does these checks itself.
VOXPOP_EXPORT void check_votes(const Votes& votes);

/// Reads comparisons/1 files as one data set (docs/hdf5.md). Embeddings are not included: read_embeddings().
VOXPOP_EXPORT Votes read_votes(const std::vector<std::string>& paths, const Context& context = {});

/// Reads the items' embeddings into `votes`. `path`: a file of embeddings (.npy, .safetensors, .h5). Empty: the files
/// that the votes came from.
VOXPOP_EXPORT void read_embeddings(Votes& votes, const std::string& path = "", const Context& context = {});

/// Writes comparisons/1. The file gets its name only when it is complete.
VOXPOP_EXPORT void write_votes(const std::string& path, const Votes& votes, const Context& context = {});

/// Fits votes. Throws Error(kUsage) if options contradict each other. Throws Error(kBadInput) if check_votes() refuses
/// the votes. Throws Error(kNotConverged) if the fit diverges, or if nothing shows which of two camps of annotators is
/// right (see FitRequest::force). Throws Error(kDevice) if the device cannot be used, and Error(kInterrupted) if the
/// context stops the fit.
VOXPOP_EXPORT FitResult fit(Votes votes, const FitRequest& request = {}, const Context& context = {});

/// Compares models on held-out votes, and with gold labels if `gold` is not null; its items are rows of votes.item_ids.
/// A model that diverges gets no scores; the others do. Throws the same errors as fit(), and Error(kNotConverged) if
/// all models diverge.
VOXPOP_EXPORT EvaluateResult evaluate(Votes votes, const EvaluateRequest& request = {}, const Context& context = {},
                                      const Gold* gold = nullptr);

/// Writes fit/1 (docs/hdf5.md).
VOXPOP_EXPORT void write_fit(const std::string& path, const FitResult& fit, const Context& context = {});

/// Reads fit/1, without the labels of votes and without tastes.
VOXPOP_EXPORT FitResult read_fit(const std::string& path, const Context& context = {});

/// A vote that is worth collecting.
struct PlannedVote {
  std::uint32_t pair = 0;  ///< row of labels.pairs
  /// Expected information in bits about the pair's score difference, if the votes before it in the list were given.
  float bits = 0;
};

/// The most informative next votes: at most `budget` pairs, one vote each, the best first. `discrimination`: of the
/// annotator who will vote, relative to the reference annotator (1).
VOXPOP_EXPORT std::vector<PlannedVote> plan(const FitResult& fit, std::size_t budget, double discrimination = 1);

/// Options of rows for trainers (docs/formats.md).
struct RowsRequest {
  std::string format = "trl";    ///< trl, openrlhf, nemo-aligner, nemo-rl, axolotl, csv, jsonl
  double min_probability = 0.5;  ///< least probability that the chosen item is the better one
  double max_flagged = 1;        ///< largest allowed share of a pair's votes from flagged annotators
  double margin_scale = 1;       ///< factor of margins
  bool keep_ties = false;        ///< whether to keep pairs with more than half ties
  std::vector<std::string> texts = {}, prompt_texts = {};  ///< JSONL files with texts; none: ids replace texts
};

/// Calls `use` repeatedly, each time with several whole lines, in the order of the fit's pairs. Returns the number of
/// rows.
VOXPOP_EXPORT std::uint64_t export_rows(const FitResult& fit, const RowsRequest& request,
                                        const std::function<void(std::string_view)>& use, const Context& context = {});

}  // namespace voxpop
