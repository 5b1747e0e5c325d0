#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/text_output.h"
#include "export/texts.h"
#include "files/fit_file.h"

namespace voxpop {

/// Formats of rows, most of them named after the trainer that reads them. docs/formats.md describes each.
enum class ExportFormat { kTrl, kOpenRlhf, kNemoAligner, kNemoRl, kAxolotl, kCsv, kJsonl, kVotes };

/// The format with this name on the command line. Throws a usage error if there is none.
ExportFormat format_named(const std::string& name);
const std::vector<std::string>& format_names();

/// Whether a trainer reads this format. Other formats are tables of results, where texts are optional.
inline bool is_for_trainers(ExportFormat format) {
  return format != ExportFormat::kCsv && format != ExportFormat::kJsonl && format != ExportFormat::kVotes;
}

struct ExportOptions {
  ExportFormat format = ExportFormat::kJsonl;
  double min_probability = 0.5;  ///< least probability that the chosen item is better, 0.5 to 1; below: undecided
  double max_flagged = 1;        ///< largest share of a pair's votes that may be from flagged annotators
  double margin_scale = 1;       ///< factor for margins
  int expand = 0;  ///< rows for a pair of average weight, a share 1 - target of them swapped; 0: one row per pair
  bool keep_ties = false;  ///< export pairs with ties in more than half of their votes
  bool keep_undecided = false;
  bool drop_missing = false;          ///< leave out pairs without a text; otherwise they are an error
  bool no_prompts = false;            ///< leave out the texts of prompts
  std::uint64_t seed = 1;             ///< for drawing parts and swapped rows
  std::vector<double> parts = {1.0};  ///< share of prompts in each part; the sum is 1
};

struct ExportCounts {
  std::uint64_t pairs = 0, exported = 0;  ///< pairs (or votes) in the fit, and those exported
  /// Pairs (or votes) left out, each counted under the first reason that holds. Conflicting: the texts of the pair's
  /// items name two different prompts.
  std::uint64_t ties = 0, undecided = 0, flagged = 0, missing = 0, conflicting = 0;
  std::uint64_t first_conflict = kNoPair;  ///< row of the first conflicting pair
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};
  std::uint64_t uncounted = 0;      ///< votes with (almost) no weight in the fit
  std::uint64_t marked = 0;         ///< exported with template_marks() in their texts; only for trainers' formats
  double expected_flips = 0;        ///< sum of 1 - p_chosen over exported pairs
  std::vector<std::uint64_t> rows;  ///< [parts]
};

/// Texts of items and prompts. Null if no texts were given; ids are then written in their place.
struct ExportTexts {
  const Texts* items = nullptr;    ///< same index as FitResult::item_ids
  const Texts* prompts = nullptr;  ///< same index as FitResult::prompt_ids
};

/// Writes one row (with NeMo-Aligner two) per pair, in the order of the fit's pairs, to one output per part. All pairs
/// of a prompt go to the same part; without prompts, all pairs of a component. The part depends only on the id and the
/// seed, not on the rest of the file. Throws Error(kBadInput) if a text is missing (for a trainer's format also a
/// prompt's text, if the votes have prompts), is a list but the format needs a string, or contains the marks that the
/// format puts between turns.
ExportCounts export_rows(const FitResult& fit, const ExportTexts& texts, const ExportOptions& options,
                         std::vector<TextOutput>& outputs, const std::function<void(std::uint64_t)>& report);

/// The same, with one row per decided vote that counts in the fit, in input order. `votes`: the votes that were fitted,
/// with items and annotators in the fit's order. `count`: weight of each vote, as a number of equal votes.
ExportCounts export_votes(const FitResult& fit, const Votes& votes, const Column<float>& count,
                          const ExportTexts& texts, const ExportOptions& options, std::vector<TextOutput>& outputs,
                          const std::function<void(std::uint64_t)>& report);

}  // namespace voxpop
