#pragma once
#include <nlohmann/json.hpp>

#include "core/output_file.h"
#include "evaluate/score.h"
#include "label/labels.h"
#include "label/warm_start.h"
#include "votes/votes.h"
#include "voxpop/fit_result.h"

namespace voxpop {

/// Writes fit/1: items, annotators, pairs and votes, and the provenance as JSON in the root attribute `provenance`.
/// Adds `write` and `total`, in seconds, to `seconds` of `provenance`.
void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, const Reliability& reliability,
               nlohmann::ordered_json& provenance, bool compress, const Context& context = {});

/// The same for a FitResult.
void write_fit(OutputFile& output, const FitResult& fit, nlohmann::ordered_json& provenance, bool compress,
               const Context& context = {});

/// The contents of a fit/1 file without votes, findings and warnings.
struct FitFile : FitResult {
  nlohmann::ordered_json json;  ///< the provenance
};

/// Reads a fit and checks it: indices are in range, probabilities are from 0 to 1, columns of a table are equally long.
/// Does not read votes and tastes. Throws Error(kBadInput) if a check fails.
FitFile read_fit_file(const std::string& path, const Context& context = {});

/// Reads the weight of each vote in the fit: the vote counts as that many equal votes.
Column<float> read_vote_counts(const std::string& path, std::size_t votes, const Context& context = {});

/// Reads what a warm start needs. Does not read items, pairs and votes.
EarlierFit read_earlier_fit(const std::string& path, const Context& context = {});

}  // namespace voxpop
