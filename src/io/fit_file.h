#pragma once
#include <nlohmann/json_fwd.hpp>

#include "core/output_file.h"
#include "io/votes.h"
#include "label/labels.h"

namespace voxpop {

/// Writes fit/1: items, annotators, pairs, votes, and how they came about as JSON in the root attribute `provenance`,
/// to whose `seconds` it adds `write` and `total`.
void write_fit(OutputFile& output, const Votes& votes, const Labels& labels, nlohmann::ordered_json& provenance,
               bool compress);

}  // namespace voxpop
