#pragma once
#include <string>
#include <vector>

#include "core/output_file.h"
#include "voxpop/context.h"
#include "voxpop/export.h"
#include "voxpop/votes.h"

namespace voxpop {

class ColumnReaders;

/// Reads the whole file. Throws Error(kFileSystem).
InputFile fingerprint(const std::string& path, const Context& context = {});

/// Reads and checks; several files are one data set, their items, annotators and prompts joined by id. Timestamps,
/// prior scores and features are left out unless every file has them; an item's, and its source, must be the same in
/// all files. Throws Error(kBadInput) naming file, dataset, row and value: an index out of range, an item compared with
/// itself, items of two prompts compared, a prompt of a single item, an id twice or not UTF-8, a score, feature or
/// weight out of range, no votes at all. `others`: who reads a part of the columns, or null.
Votes read_votes(const std::vector<std::string>& paths, const Context& context, ColumnReaders* others);
VOXPOP_EXPORT Votes read_votes(const std::vector<std::string>& paths, const Context& context);

/// Votes that a program has filled in: voxpop/voxpop.h.
VOXPOP_EXPORT void check_votes(const Votes& votes);

/// Weights lie from this to a million; less would be lost among the others.
inline constexpr double kSmallestWeight = 1e-6;

/// Writes comparisons/1, with the truth where there is one. `unknown_sides`, `anonymous` and `independent` are of all
/// votes or of none: one file says so of all that it holds.
void write_votes(OutputFile& output, const Votes& votes, bool compress, const Context& context = {});

}  // namespace voxpop
