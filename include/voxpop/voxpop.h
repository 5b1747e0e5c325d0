#pragma once
// libvoxpop: from pairwise votes to calibrated labels.
//
//   const voxpop::Votes votes = voxpop::read_votes({"votes.h5"});
//   const voxpop::FitResult fit = voxpop::fit(votes);
//   for (float p : fit.labels.pairs.probability) ...
//   voxpop::write_fit("fit.h5", fit);
//
// Nothing here prints, exits, or handles signals: a Context has functions for notes and progress, and says when to
// stop. All functions throw Error. They may be called from several threads at once; a Context::memory_limit is the
// whole process's.

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

/// Checks votes that a program has filled in: every index, weight and number; ids, which must be UTF-8 and differ.
/// Throws Error(kBadInput) naming column, row and value. read_votes() has done so.
VOXPOP_EXPORT void check_votes(const Votes& votes);

/// Reads comparisons/1 files as one data set: docs/hdf5.md. Embeddings are read apart: read_embeddings().
VOXPOP_EXPORT Votes read_votes(const std::vector<std::string>& paths, const Context& context = {});

/// Reads the items' embeddings into `votes`: of a file of their own (.npy, .safetensors, .h5), or where `path` is empty
/// of the files that the votes were read from.
VOXPOP_EXPORT void read_embeddings(Votes& votes, const std::string& path = "", const Context& context = {});

/// Writes comparisons/1, under its name only when it is complete.
VOXPOP_EXPORT void write_votes(const std::string& path, const Votes& votes, const Context& context = {});

/// Fits votes. Throws Error(kUsage) for wishes that contradict each other, Error(kBadInput) for votes that
/// check_votes() refuses, Error(kNotConverged) where the fit diverges or where nobody can tell which of two camps of
/// annotators is right (FitRequest::force), Error(kDevice), and Error(kInterrupted) where the context says so.
VOXPOP_EXPORT FitResult fit(Votes votes, const FitRequest& request = {}, const Context& context = {});

/// Compares models on held-out votes, and with gold labels where there are some. A model that diverges has no scores,
/// but the others do. Throws as fit(); Error(kNotConverged) where all models diverge. `gold`: of these votes, or null.
VOXPOP_EXPORT EvaluateResult evaluate(Votes votes, const EvaluateRequest& request = {}, const Context& context = {},
                                      const Gold* gold = nullptr);

/// Writes fit/1: docs/hdf5.md.
VOXPOP_EXPORT void write_fit(const std::string& path, const FitResult& fit, const Context& context = {});

/// Reads fit/1; labels of votes and tastes are not read.
VOXPOP_EXPORT FitResult read_fit(const std::string& path, const Context& context = {});

/// A vote worth asking for.
struct PlannedVote {
  std::uint32_t pair = 0;  ///< row of labels.pairs
  float bits = 0;          ///< expected information about the pair's score difference, votes above it taken as given
};

/// The `budget` pairs, fewer if there are not as many, whose next vote is worth most, one vote each, the best first.
/// `discrimination`: of who will vote; 1 is the reference annotator.
VOXPOP_EXPORT std::vector<PlannedVote> plan(const FitResult& fit, std::size_t budget, double discrimination = 1);

/// Rows for trainers: docs/formats.md.
struct RowsRequest {
  std::string format = "trl";    ///< trl, openrlhf, nemo-aligner, nemo-rl, axolotl, csv, jsonl
  double min_probability = 0.5;  ///< that the chosen item is the better one
  double max_flagged = 1;        ///< share of a pair's votes that flagged annotators may have
  double margin_scale = 1;       ///< margins times this
  bool keep_ties = false;        ///< pairs more than half of whose votes are ties
  std::vector<std::string> texts = {}, prompt_texts = {};  ///< JSONL files; none: ids stand for texts
};

/// Calls `use` with some rows at a time, whole lines, in the order of the fit's pairs. Gives back how many rows there
/// are.
VOXPOP_EXPORT std::uint64_t export_rows(const FitResult& fit, const RowsRequest& request,
                                        const std::function<void(std::string_view)>& use, const Context& context = {});

}  // namespace voxpop
