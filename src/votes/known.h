#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/seeded_hash.h"
#include "votes/votes.h"

namespace voxpop {

using IdIndex = std::unordered_map<std::string_view, std::uint32_t, SeededHash>;
/// Rows of ids, which must outlive it.
IdIndex index_of(const Strings& ids);
/// Of an id as it is, or without the blanks around it.
IdIndex::const_iterator find_id(const IdIndex& index, std::string_view id);

/// The column `preference` of known answers: left, right or tie; 1, -1 or 0; or how probable it is that the left item
/// is the better one, which numbers between 0 and 1 show.
class KnownAnswers {
 public:
  explicit KnownAnswers(std::string path) : path_(std::move(path)) {}
  /// Throws Error(kBadInput) naming file, line and value.
  void add(std::string_view text, std::uint64_t line);
  /// Of each answer, that left is better; a tie: 1/2. Throws Error(kBadInput) where 0 may be a tie or the right item.
  std::vector<float> probabilities() const;

 private:
  std::string path_;
  std::vector<float> values_;  ///< numbers as they stand, words as codes beyond 1
  bool has_parts_ = false, has_minus_ = false, has_zero_ = false, has_one_ = false;
};

/// Reads CSV, TSV or JSONL (.gz too): columns left, right, preference. Rows with an item that is not among `item_ids`,
/// and ties, are left out, with a note. Throws Error(kBadInput) naming file, line and value, and where no row is left.
KnownPairs read_known_pairs(const std::string& path, const Strings& item_ids, const Context& context);

/// Reads scores of items (CSV, TSV, JSONL; .gz too): columns id and score, on any scale. Every item must have one; rows
/// of other items are passed over, with a note. Throws Error(kBadInput) naming file, line and value.
std::vector<float> read_prior_scores(const std::string& path, const Strings& item_ids, const Context& context);

/// Rows of `annotator_ids` in the column `annotator`, ascending; the same of what is not among them.
std::vector<std::uint32_t> read_trusted(const std::string& path, const Strings& annotator_ids, const Context& context);

}  // namespace voxpop
