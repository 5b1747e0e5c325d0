#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/id_table.h"
#include "import/import_votes.h"
#include "import/texts_output.h"

namespace voxpop {

/// The columns to request from a file. A class that needs a column adds it and keeps the returned position of its value
/// in each row.
class ColumnList {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t add(const std::string& name, const std::string& option, bool required = true,
                  Lists lists = Lists::kNone) {
    columns_.push_back({name, option, required, lists});
    return columns_.size() - 1;
  }
  /// Returns kNone if `name` is absent or empty.
  std::size_t add(const ImportOptions::Name& name, const std::string& option, Lists lists = Lists::kNone) {
    return name && !name->empty() ? add(*name, option, true, lists) : kNone;
  }
  const std::vector<TableColumn>& columns() const { return columns_; }

 private:
  std::vector<TableColumn> columns_;
};

inline std::optional<std::string_view> value_of(const Row& row, std::size_t column) {
  return column == ColumnList::kNone ? std::nullopt : row.values[column];
}

/// Data of a row other than the items and the preference. The views are valid as long as the row.
struct Source {
  const std::string* path = nullptr;
  std::uint64_t line = 0;
  std::string_view annotator, prompt, within, judgement, prompt_text;
  std::optional<std::int64_t> timestamp;
  double weight = 1;
};

struct NamedItem {
  std::string_view id;    ///< empty: the text identifies the item
  std::string_view text;  ///< empty: no text, or the id is the text
  std::string_view source = {};
};

struct ImportedVote {
  NamedItem left, right;
  std::int8_t preference;
  double weight = 1;
  std::uint32_t judgement = kNoJudgement;
};

/// Collects the votes of all files. Assigns indices to ids, checks the votes, and drops columns (prompt, timestamp)
/// that some votes lack.
class VoteTable {
 public:
  VoteTable(const ImportOptions& options, ColumnList& columns, BadRows& bad_rows, ImportReport& report);

  /// Reads the row's data other than the vote. Throws Error(kBadInput) if a value is invalid.
  Source source(const std::string& path, const Row& row);
  /// Adds a vote. If add() throws while bad rows are skipped, the table is unchanged.
  void add(const Source& source, const ImportedVote& vote);
  std::uint32_t new_judgement() { return next_judgement_++; }

  Votes finish();

 private:
  enum class Kind { kLeft, kRight, kAnnotator, kPrompt, kSource };
  /// Name of the column with ids of this kind, for messages.
  std::string column_of(Kind kind) const;
  std::uint32_t number(Kind kind, std::string_view id, const Source& source);
  void require_valid(Kind kind, std::string_view id, const Source& source) const;
  /// The item's id in the output. The view may refer to `buffer`.
  std::string_view item_id(const NamedItem& item, const Source& source, std::string& buffer) const;
  std::string_view annotator_id(const Source& source);
  void require_prompt(std::string_view item, std::string_view prompt, const Source& source) const;
  /// Throws if strict_sources_ is set and the item had another source in an earlier vote.
  void require_source(std::string_view item, std::string_view item_source, const Source& source) const;
  void set_source(std::uint32_t item, std::string_view item_source, const Source& source);
  void note_example(const Source& source, const ImportedVote& vote);
  void note_ids_with_blanks();

  const ImportOptions& options_;
  BadRows& bad_rows_;
  ImportReport& report_;
  std::size_t annotator_, prompt_, within_, timestamp_, weight_, count_, judgement_, prompt_text_;
  bool prompt_named_, timestamp_named_, hash_ids_, strict_sources_;

  Votes votes_;
  IdTable items_, annotators_, prompts_, judgements_, sources_;
  std::optional<TextsOutput> texts_;
  std::uint32_t next_judgement_ = 0;
  std::uint64_t unnamed_ = 0, without_prompt_ = 0, without_time_ = 0;
  std::array<std::uint64_t, 4> times_of_unit_{};
  std::string first_without_prompt_, unreadable_time_;
  std::array<std::string, 3> examples_;  ///< first vote for the left item, first for the right item, first tie
  std::string buffer_[4], name_, source_id_;
};

/// XXH3-128 hash of a text as 32 hex digits. Used as the id of a long text or a list of messages.
std::string text_hash(std::string_view text);

}  // namespace voxpop
