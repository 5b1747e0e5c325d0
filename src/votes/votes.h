#pragma once
#include <string>
#include <vector>

#include "core/output_file.h"
#include "voxpop/context.h"
#include "voxpop/export.h"
#include "voxpop/votes.h"

namespace voxpop {

class ColumnReaders;

/// Path, size and checksum of a file. Reads the whole file. Throws Error(kFileSystem).
InputFile fingerprint(const std::string& path, const Context& context = {});

/// Reads and checks votes. Several files form one data set: items, annotators, prompts and sources are joined by id.
/// Timestamps, prior scores, features and prompts are dropped unless every file has them. An item must have the same
/// prior score, features, prompt and source in all files that name it.
///
/// Throws Error(kBadInput) naming file, dataset, row and value, for example if an index is out of range, an item is
/// compared with itself, items of different prompts are compared, an id is duplicated or not UTF-8, a score, feature or
/// weight is out of range, or there are no votes. `others`: ranks that help to read long columns, or null.
Votes read_votes(const std::vector<std::string>& paths, const Context& context, ColumnReaders* others);
VOXPOP_EXPORT Votes read_votes(const std::vector<std::string>& paths, const Context& context);

/// Checks votes that a program has filled in; see voxpop/voxpop.h.
VOXPOP_EXPORT void check_votes(const Votes& votes);

/// What an error about all votes names: their first file, or "the votes" if they come from no file.
inline std::string origin_of(const Votes& votes) {
  return votes.inputs.empty() ? "the votes" : votes.inputs.front().path;
}

/// Minimum weight of a vote; the maximum is a million. A smaller weight would be lost in sums with the others.
inline constexpr double kSmallestWeight = 1e-6;

/// Writes comparisons/1, including the truth if there is one. `unknown_sides`, `anonymous` and `independent` must each
/// cover all votes or none, because the file has one attribute for all its votes.
void write_votes(OutputFile& output, const Votes& votes, bool compress, const Context& context = {});

}  // namespace voxpop
