#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/text_output.h"
#include "export/texts.h"
#include "files/fit_file.h"

namespace voxpop {

/// Who reads the rows; what each format holds is in docs/formats.md.
enum class ExportFormat { kTrl, kOpenRlhf, kNemoAligner, kNemoRl, kAxolotl, kCsv, kJsonl, kVotes };

/// By its name on the command line. Throws a usage error where there is none of that name.
ExportFormat format_named(const std::string& name);
const std::vector<std::string>& format_names();

/// Whether a trainer reads its rows; else they are a table of what is known, and texts are extra.
inline bool is_for_trainers(ExportFormat format) {
  return format != ExportFormat::kCsv && format != ExportFormat::kJsonl && format != ExportFormat::kVotes;
}

struct ExportOptions {
  ExportFormat format = ExportFormat::kJsonl;
  double min_probability = 0.5;  ///< that the chosen item is the better one, from 1/2 to 1; below: undecided
  double max_flagged = 1;        ///< share of a pair's votes that flagged annotators may have
  double margin_scale = 1;       ///< margins times this
  int expand = 0;                ///< rows a pair of average weight, swapped in the share of 1 - target; 0: a row a pair
  bool keep_ties = false;        ///< pairs more than half of whose votes are ties
  bool keep_undecided = false;
  bool drop_missing = false;          ///< pairs without a text, else an error
  bool no_prompts = false;            ///< rows without the prompts' texts
  std::uint64_t seed = 1;             ///< of parts and of what is swapped
  std::vector<double> parts = {1.0};  ///< shares of prompts; their sum is 1
};

struct ExportCounts {
  std::uint64_t pairs = 0, exported = 0;  ///< pairs (or votes) in the fit, and in rows
  /// Left out; the first reason that holds. Conflicting: the texts of the pair's items name two prompts.
  std::uint64_t ties = 0, undecided = 0, flagged = 0, missing = 0, conflicting = 0;
  std::uint64_t first_conflict = kNoPair;  ///< row of the first such pair
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};
  std::uint64_t uncounted = 0;      ///< votes that do not count in the fit
  std::uint64_t marked = 0;         ///< exported, but their texts hold template_marks(); of trainers' formats
  double expected_flips = 0;        ///< sum of 1 - p_chosen over exported pairs
  std::vector<std::uint64_t> rows;  ///< [parts]
};

/// Items' and prompts' texts, each of them null where none were given: then ids stand for them.
struct ExportTexts {
  const Texts* items = nullptr;    ///< by row of FitResult::item_ids
  const Texts* prompts = nullptr;  ///< by row of FitResult::prompt_ids
};

/// Writes a row (with NeMo-Aligner two) for each pair, in the order of the fit's pairs, to one output a part. A
/// prompt's pairs, or without prompts a component's, all go to one part, drawn by its id and the seed, whatever else is
/// in the file. Throws Error(kBadInput) where a text is missing (with a trainer's format also a prompt's, where the
/// votes have prompts), is a list where the format needs a string, or holds the marks that the format puts between
/// turns.
ExportCounts export_rows(const FitResult& fit, const ExportTexts& texts, const ExportOptions& options,
                         std::vector<TextOutput>& outputs, const std::function<void(std::uint64_t)>& report);

/// The same, a row for each decided vote that counts, in the order of the input. `votes`: those that were fitted, their
/// items and annotators in the fit's order; `count`: as how many votes each counts.
ExportCounts export_votes(const FitResult& fit, const Votes& votes, const Column<float>& count,
                          const ExportTexts& texts, const ExportOptions& options, std::vector<TextOutput>& outputs,
                          const std::function<void(std::uint64_t)>& report);

}  // namespace voxpop
