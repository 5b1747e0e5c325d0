#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "import/codes.h"
#include "text/table.h"
#include "votes/votes.h"

namespace voxpop {

/// How a file shows which item was judged better. Names of columns may be paths, or several names separated by commas;
/// see TableColumn. An empty name disables a column that would be read by default.
struct ImportOptions {
  using Name = std::optional<std::string>;

  std::optional<TableFormat> format;  ///< nullopt: from each file's name, with or without .gz
  char delimiter = 0;
  std::optional<bool> quotes;
  std::vector<std::string> each;

  // The vote, in one of these ways. If none is given: left, right and preference.
  Name left, right, preference;
  Name winner, loser;                 ///< both: sides are unknown; only winner: an item's id, used with left and right
  Name left_won, right_won, tied;     ///< 0 or 1; exactly one is 1
  Name left_wins, right_wins;         ///< numbers of votes; `tied` is then the number of ties
  Name probability;                   ///< probability that the left item is better, or a value on codes.scale
  Name wide;                          ///< several columns, one per annotator
  Name rank, rating, item, group_by;  ///< item's place in its group: rank (1 is best) or rating (highest is best)

  CodeOptions codes;
  Name annotator, prompt, timestamp;  ///< nullopt: the column of that name, if there is one
  Name within;                        ///< ids are unique only within a value of this column, such as a prompt
  Name weight, count, judgement;
  Name source_left, source_right, source;  ///< model that wrote a response; nullopt: model_left, model_right, if any
  bool strict_sources = true;              ///< an item with two sources: true: error; false: its source is unknown
  Name unnamed;                            ///< votes without annotator: "together" (one annotator) or "each" (one each)

  // Texts for export. Without these columns, the columns that name the items are the texts.
  Name text_left, text_right, text_winner, text_loser, item_text, prompt_text, texts_out;
  bool common_prompt = false;  ///< both texts begin with the prompt

  std::uint64_t skip_bad = 0;  ///< maximum number of unusable rows to skip; 0: the first one is an error
};

/// What the import found in the files, so that the user can check that they were read correctly.
struct ImportReport {
  std::vector<std::string> unused_columns;
  std::vector<Codes::Code> codes;     ///< values of votes with their meanings
  std::string rule;                   ///< the meaning of numbers in words; "" if no numbers were read
  std::vector<std::string> examples;  ///< up to two votes in words
  std::vector<std::string> notes;     ///< possible problems
  std::uint64_t skipped = 0;          ///< votes that the map says to skip
  std::uint64_t bad_rows = 0;
  std::vector<std::string> first_bad_rows;
  std::uint64_t texts = 0;  ///< number of texts written
};

/// Reads votes from CSV, TSV and JSON files into one data set. Items, annotators and prompts get indices in order of
/// first appearance. Throws Error(kBadInput) naming file, line and value, and Error(kUsage) for invalid options.
Votes import_votes(const std::vector<std::string>& paths, const ImportOptions& options, const Context& context,
                   ImportReport* report = nullptr);

}  // namespace voxpop
