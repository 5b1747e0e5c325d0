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

/// The columns to ask a file for: who needs one adds it, and keeps its place in each row.
class ColumnList {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t add(const std::string& name, const std::string& option, bool required = true,
                  Lists lists = Lists::kNone) {
    columns_.push_back({name, option, required, lists});
    return columns_.size() - 1;
  }
  /// kNone if no name is given.
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

/// What a row says of a vote beside who won.
struct Source {
  const std::string* path = nullptr;
  std::uint64_t line = 0;
  std::string_view annotator, prompt, within, judgement, prompt_text;
  std::optional<std::int64_t> timestamp;
  double weight = 1;
};

struct NamedItem {
  std::string_view id;    ///< empty: the text stands for it
  std::string_view text;  ///< empty: none, or the id is the text
  std::string_view source = {};
};

struct ImportedVote {
  NamedItem left, right;
  std::int8_t preference;
  double weight = 1;
  std::uint32_t judgement = kNoJudgement;
};

/// Collects the votes of all files: numbers ids, checks what must hold of votes, drops what few have.
class VoteTable {
 public:
  VoteTable(const ImportOptions& options, ColumnList& columns, BadRows& bad_rows, ImportReport& report);

  /// Throws bad input where what the row says beside the vote cannot be.
  Source source(const std::string& path, const Row& row);
  /// Nothing is added where it throws and bad rows are left out.
  void add(const Source& source, const ImportedVote& vote);
  std::uint32_t new_judgement() { return next_judgement_++; }

  Votes finish();

 private:
  enum class Kind { kLeft, kRight, kAnnotator, kPrompt, kSource };
  /// The name of its column, for messages.
  std::string column_of(Kind kind) const;
  std::uint32_t number(Kind kind, std::string_view id, const Source& source);
  void require_valid(Kind kind, std::string_view id, const Source& source) const;
  /// The id in the file of votes; `buffer` may hold it.
  std::string_view item_id(const NamedItem& item, const Source& source, std::string& buffer) const;
  std::string_view annotator_id(const Source& source);
  void require_prompt(std::string_view item, std::string_view prompt, const Source& source) const;
  /// Throws where the item was of another source before, and that is an error.
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
  std::array<std::string, 3> examples_;  ///< the first vote for the left, for the right, and the first tie
  std::string buffer_[4], name_, source_id_;
};

/// Of a long text, or a list of messages: 32 hex digits of its XXH3-128.
std::string text_hash(std::string_view text);

}  // namespace voxpop
