#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <unordered_set>

#include "core/error.h"
#include "core/seeded_hash.h"
#include "core/strings.h"
#include "formulas/vote.h"
#include "votes/votes.h"

#include <simdjson.h>

namespace voxpop {
namespace {

/// `may_be_empty`: an optional column; empty means absent.
void require_length(const char* name, std::size_t rows, std::size_t expected, bool may_be_empty = true) {
  if (rows == expected || (may_be_empty && rows == 0)) return;
  throw bad_input("'{}' has {} rows; it must have {}", name, rows, expected);
}

void check_ids(const char* name, const Strings& ids) {
  std::unordered_set<std::string_view, SeededHash> seen;
  seen.reserve(ids.size());
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (!simdjson::validate_utf8(ids[row].data(), ids[row].size()))
      throw bad_input("'{}' row {} is '{}', which is not UTF-8", name, row, shown(ids[row]));
    if (!seen.insert(ids[row]).second)
      throw bad_input("'{}' row {} is '{}', and so is an earlier row; each id must be unique", name, row,
                      shown(ids[row]));
  }
}

void check_indices(const char* name, const Column<std::uint32_t>& column, std::size_t limit, bool may_be_none = false) {
  for (std::size_t row = 0; row < column.size(); ++row)
    if (column[row] >= limit && !(may_be_none && column[row] == kNoSource))
      throw bad_input("'{}' row {} is {}; it must be from 0 to {}", name, row, column[row], limit - 1);
}

template <class Numbers>
void check_range(const char* name, const Numbers& column, double low, double high) {
  for (std::size_t row = 0; row < column.size(); ++row)
    if (!(static_cast<double>(column[row]) >= low && static_cast<double>(column[row]) <= high))  // also refuses NaN
      throw bad_input("'{}' row {} is {}; it must be from {} to {}", name, row, column[row], low, high);
}

void check_rows(const char* name, const std::vector<Rows>& some, std::size_t rows) {
  std::uint64_t end = 0;
  for (const Rows& one : some) {
    if (one.begin < end || one.begin > one.end || one.end > rows)
      throw bad_input("'{}' must have ranges of rows from 0 to {}, in ascending order and without overlap", name, rows);
    end = one.end;
  }
}

}  // namespace

void check_votes(const Votes& votes) {
  const std::size_t rows = votes.size(), items = votes.item_ids.size(), annotators = votes.annotator_ids.size();
  if (rows == 0) throw bad_input("there are no votes");
  if (rows > kMaxVotes) throw bad_input("there are {} votes; at most {} are fitted together", rows, kMaxVotes);
  if (annotators >= VoteCode::kMaxAnnotators)
    throw bad_input("there are {} annotators; at most {} are fitted together", annotators,
                    VoteCode::kMaxAnnotators - 1);
  if (items >= kNoSource) throw bad_input("there are {} items; at most {} are fitted together", items, kNoSource - 1);
  require_length("left", votes.left.size(), rows, false);
  require_length("right", votes.right.size(), rows, false);
  require_length("annotator", votes.annotator.size(), rows, false);
  require_length("weight", votes.weight.size(), rows);
  require_length("judgement", votes.judgement.size(), rows);
  require_length("timestamp", votes.timestamp.size(), rows);
  require_length("prompt", votes.prompt.size(), items);
  require_length("source", votes.source.size(), items);
  require_length("prior_score", votes.prior_score.size(), items);
  require_length("features", votes.features.size(), items * votes.feature_names.size(), false);
  check_ids("item_ids", votes.item_ids);
  check_ids("annotator_ids", votes.annotator_ids);
  check_ids("prompt_ids", votes.prompt_ids);
  check_ids("source_ids", votes.source_ids);
  check_ids("feature_names", votes.feature_names);
  check_indices("left", votes.left, items);
  check_indices("right", votes.right, items);
  check_indices("annotator", votes.annotator, annotators);
  check_indices("prompt", votes.prompt, votes.prompt_ids.size());
  check_indices("source", votes.source, votes.source_ids.size(), true);
  check_indices("trusted", {votes.trusted.begin(), votes.trusted.end()}, annotators);
  check_range("preference", votes.preference, -kMaxLevels, kMaxLevels);
  check_range("weight", votes.weight, kSmallestWeight, 1e6);
  check_range("timestamp", votes.timestamp, -static_cast<double>(kMostSeconds), static_cast<double>(kMostSeconds));
  constexpr double kAny = std::numeric_limits<float>::max();
  check_range("prior_score", votes.prior_score, -kAny, kAny);
  check_range("features", votes.features, -kAny, kAny);
  check_rows("unknown_sides", votes.unknown_sides, rows);
  check_rows("anonymous", votes.anonymous, rows);
  check_rows("independent", votes.independent, rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint32_t left = votes.left[row], right = votes.right[row];
    if (left == right)
      throw bad_input("'right' row {} is {} ('{}'), the same item as on the left; drop the row", row, right,
                      shown(votes.item_ids[right]));
    if (!votes.prompt.empty() && votes.prompt[left] != votes.prompt[right])
      throw bad_input(
          "'right' row {} is {} ('{}', prompt '{}'), but the left item answers prompt '{}'; leave 'prompt' out if "
          "items "
          "of different prompts may be compared",
          row, right, shown(votes.item_ids[right]), shown(votes.prompt_ids[votes.prompt[right]]),
          shown(votes.prompt_ids[votes.prompt[left]]));
  }
  const KnownPairs& gold = votes.gold;
  require_length("gold.left", gold.left.size(), gold.size(), false);
  require_length("gold.right", gold.right.size(), gold.size(), false);
  check_indices("gold.left", gold.left, items);
  check_indices("gold.right", gold.right, items);
  check_range("gold.probability", gold.probability, 0, 1);
  for (std::size_t row = 0; row < gold.size(); ++row)
    if (gold.left[row] == gold.right[row])
      throw bad_input("'gold.right' row {} is {}, the same item as on the left; drop the row", row, gold.right[row]);
  if (const Embeddings* embeddings = votes.embeddings.get(); embeddings != nullptr) {
    const std::size_t numbers = embeddings->full.empty() ? embeddings->half.size() : embeddings->full.size();
    if (embeddings->items != items || embeddings->dimensions == 0 || numbers != items * embeddings->dimensions)
      throw bad_input("'embeddings' must have {} rows, one per item, and rows times dimensions numbers", items);
  }
}

}  // namespace voxpop
