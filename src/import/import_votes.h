#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "import/codes.h"
#include "text/table.h"
#include "votes/votes.h"

namespace voxpop {

/// How a file says who was judged better. Names of columns may be paths, or several names (table.h). A name that is
/// empty turns a column off that would be taken by default.
struct ImportOptions {
  using Name = std::optional<std::string>;

  std::optional<TableFormat> format;  ///< none: by each file's name, with or without .gz
  char delimiter = 0;
  std::optional<bool> quotes;
  std::vector<std::string> each;

  // The vote: one of these ways. None given: left, right and preference.
  Name left, right, preference;
  Name winner, loser;                 ///< both: sides are unknown; the winner alone: an item's id, beside left, right
  Name left_won, right_won, tied;     ///< 0 or 1; one of them is 1
  Name left_wins, right_wins;         ///< counts; `tied` beside them counts ties
  Name probability;                   ///< that the left item is better, or on the scale
  Name wide;                          ///< columns, an annotator each
  Name rank, rating, item, group_by;  ///< an item's place among those of its group; best: rank 1, the highest rating

  CodeOptions codes;
  Name annotator, prompt, timestamp;  ///< none: the column of that name where there is one
  Name within;                        ///< an item is a prompt of this column and an id
  Name weight, count, judgement;
  Name source_left, source_right, source;  ///< the model that wrote a response; none: model_left and model_right
  bool strict_sources = true;              ///< a response of two models is an error, else its source is not known
  Name unnamed;                            ///< votes without annotator: "together" as one, or "each" as one of its own

  // Texts, for export: in columns of their own, else in those that name the items.
  Name text_left, text_right, text_winner, text_loser, item_text, prompt_text, texts_out;
  bool common_prompt = false;  ///< the two texts begin with their prompt

  std::uint64_t skip_bad = 0;
};

/// What was found in the files, for the user to see whether they were read as meant.
struct ImportReport {
  std::vector<std::string> unused_columns;
  std::vector<Codes::Code> codes;     ///< values of votes, with what they were taken for
  std::string rule;                   ///< which side a number speaks for, where numbers were read
  std::vector<std::string> examples;  ///< two votes in words
  std::vector<std::string> notes;     ///< what may be wrong
  std::uint64_t skipped = 0;          ///< votes that the map leaves out
  std::uint64_t bad_rows = 0;
  std::vector<std::string> first_bad_rows;
  std::uint64_t texts = 0;  ///< written
};

/// Reads votes from CSV, TSV and JSON files, as one set; items, annotators and prompts are numbered in order of first
/// appearance. Throws Error(kBadInput) naming file, line and value.
Votes import_votes(const std::vector<std::string>& paths, const ImportOptions& options, const Context& context,
                   ImportReport* report = nullptr);

}  // namespace voxpop
