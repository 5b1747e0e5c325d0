#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/seeded_hash.h"
#include "votes/votes.h"

namespace voxpop {

using IdIndex = std::unordered_map<std::string_view, std::uint32_t, SeededHash>;
/// Maps each id to its row. The index refers to the text of `ids`, which must outlive it.
IdIndex index_of(const Strings& ids);
/// Finds the id exactly as given; if there is no such id, finds it without leading and trailing blanks.
IdIndex::const_iterator find_id(const IdIndex& index, std::string_view id);

/// Parses the column `preference` of known answers. A value is a word (left, right, tie), or a number: 1 (left), -1
/// (right), 0 (tie). If the column has a number strictly between 0 and 1, all its numbers are probabilities that the
/// left item is better.
class KnownAnswers {
 public:
  explicit KnownAnswers(std::string path) : path_(std::move(path)) {}
  /// Adds one value. Throws Error(kBadInput) naming file, line and value.
  void add(std::string_view text, std::uint64_t line);
  /// For each value, the probability that the left item is better; 0.5 for a tie. Throws Error(kBadInput) if the
  /// meaning of the numbers is not clear: 1 and 0 without -1 (0 may mean tie or right), or probabilities mixed with
  /// numbers outside 0 to 1.
  std::vector<float> probabilities() const;

 private:
  std::string path_;
  std::vector<float> values_;  ///< numbers unchanged; words as codes above all numbers
  bool has_parts_ = false, has_minus_ = false, has_zero_ = false, has_one_ = false;
};

/// Reads known answers from CSV, TSV or JSONL (also .gz): columns left, right, preference. Ties and rows with an item
/// that is not in `item_ids` are skipped, with a note. Throws Error(kBadInput) naming file, line and value, also if no
/// row is left or if two rows contradict each other.
KnownPairs read_known_pairs(const std::string& path, const Strings& item_ids, const Context& context);

/// Reads prior scores from CSV, TSV or JSONL (also .gz): columns id and score, on any scale. Returns one score per
/// item. Every item must have a score; rows of unknown items are skipped, with a note. Throws Error(kBadInput) naming
/// file, line and value.
std::vector<float> read_prior_scores(const std::string& path, const Strings& item_ids, const Context& context);

/// Reads trusted annotators from CSV, TSV or JSONL (also .gz): column annotator. Returns their indices in
/// `annotator_ids`, ascending. Rows of unknown annotators are skipped, with a note. Throws Error(kBadInput) if no row
/// names a known annotator.
std::vector<std::uint32_t> read_trusted(const std::string& path, const Strings& annotator_ids, const Context& context);

}  // namespace voxpop
