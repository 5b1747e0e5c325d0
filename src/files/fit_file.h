#pragma once
#include <nlohmann/json.hpp>

#include "core/output_file.h"
#include "evaluate/score.h"
#include "label/labels.h"
#include "label/warm_start.h"
#include "votes/votes.h"
#include "voxpop/fit_result.h"

namespace voxpop {

/// Writes fit/1: items, annotators, pairs, votes, and how they came about as JSON in the root attribute `provenance`,
/// to whose `seconds` it adds `write` and `total`.
void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, const Reliability& reliability,
               nlohmann::ordered_json& provenance, bool compress, const Context& context = {});

/// The same of a result.
void write_fit(OutputFile& output, const FitResult& fit, nlohmann::ordered_json& provenance, bool compress,
               const Context& context = {});

/// What a fit/1 file holds, but for the votes, findings and warnings.
struct FitFile : FitResult {
  nlohmann::ordered_json json;  ///< the provenance
};

/// Reads and checks: indices within range, probabilities from 0 to 1, columns of a table equally long. Votes and tastes
/// are not read.
FitFile read_fit_file(const std::string& path, const Context& context = {});

/// As how many votes each of the fit's votes counts.
Column<float> read_vote_counts(const std::string& path, std::size_t votes, const Context& context = {});

/// Reads what a later fit can start from: neither items, pairs nor votes.
EarlierFit read_earlier_fit(const std::string& path, const Context& context = {});

}  // namespace voxpop
