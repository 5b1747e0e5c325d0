#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "voxpop/column.h"
#include "voxpop/rows.h"
#include "voxpop/strings.h"

namespace voxpop {

/// True parameters of simulated votes (group `truth` of a comparisons/1 file). Members from `thresholds` on are empty
/// if the votes do not have this property.
struct Truth {
  std::vector<double> score;           ///< [items], in logits of the reference annotator
  std::vector<double> discrimination;  ///< [annotators], reference annotator = 1; if it drifts, the mean over its votes
  std::vector<double> side_bias;       ///< [annotators], logits, > 0: to the left
  Strings kind;                        ///< [annotators], "good", "noisy", "clicker" or "adversary"
  /// [grades], logits, ascending, the first is 0: between the strengths of decided votes.
  std::vector<double> thresholds = {};
  std::vector<double> tie_habit = {};             ///< [annotators], probability of a tie if no difference is seen
  std::vector<double> lapse_rate = {};            ///< [annotators], probability that a vote is a random click
  std::vector<double> feature_coefficients = {};  ///< [features], logits of the reference annotator per unit
  std::vector<double> taste = {};                 ///< [annotators x features], row-major, logits per unit
  std::vector<std::int8_t> drifts = {};  ///< [annotators], 1: lower discrimination in the second half of its votes
  std::vector<std::int8_t> bursts = {};  ///< [annotators], 1: one of its sessions has a vote every second
};

struct InputFile {
  std::string path;
  std::uint64_t bytes;
  std::string xxh3;    ///< 16 hex digits of the file's XXH3-64
  Rows rows = {0, 0};  ///< rows of Votes that come from this file
};

/// Votes::judgement of a vote whose judgement is not known.
inline constexpr std::uint32_t kNoJudgement = 0xffffffffu;

/// Votes::source of an item whose source is not known.
inline constexpr std::uint32_t kNoSource = 0xffffffffu;
/// Items' embeddings, [items x dimensions], row-major, in the type in which they are stored.
struct Embeddings {
  std::string source;  ///< file and dataset, for messages
  std::uint64_t items = 0, dimensions = 0;
  Column<float> full;          ///< [items x dimensions], or empty if `half` is used
  Column<std::uint16_t> half;  ///< [items x dimensions], IEEE 754 binary16, or empty if `full` is used

  /// Writes row `item` as `dimensions` floats.
  void row(std::uint64_t item, float* out) const;
};

/// Pairs of items whose answer is known from elsewhere. `left`, `right`: rows of `item_ids`.
struct KnownPairs {
  Column<std::uint32_t> left, right;
  Column<float> probability;  ///< that the left item is better: 1 or 0, or between them if not certain

  std::size_t size() const { return probability.size(); }
  void add(std::uint32_t left_item, std::uint32_t right_item, float chance) {
    left.push_back(left_item);
    right.push_back(right_item);
    probability.push_back(chance);
  }
};

/// The votes of one or more comparisons/1 files as one data set, with all indices checked. `left`, `right`: rows of
/// `item_ids`. `preference`: > 0 left, < 0 right, 0 tie; its absolute value, 1 to 9, is the strength.
struct Votes {
  Column<std::uint32_t> left, right, annotator;
  Column<std::int8_t> preference;
  Column<float> weight;  ///< > 0: the vote counts as that many equal votes; empty: all count 1
  /// Votes with the same number are one act of judging; kNoJudgement: not known. Empty: not known for any vote.
  Column<std::uint32_t> judgement;
  std::vector<Rows> unknown_sides;  ///< votes whose `left` does not show the item's position; ascending, disjoint
  std::vector<Rows> anonymous;      ///< votes from files without annotators; ascending, disjoint
  std::vector<Rows> independent;    ///< votes from files that mark repeated votes as independent; ascending, disjoint
  Column<std::int64_t> timestamp;   ///< seconds since 1970, or empty
  Strings item_ids, annotator_ids, prompt_ids, source_ids;
  Column<std::uint32_t> prompt;  ///< [items] row of prompt_ids; empty if the files have none
  /// [items] row of source_ids; kNoSource: not known. Empty: the files have no sources.
  Column<std::uint32_t> source;
  std::vector<float> prior_score;  ///< [items], score by an existing reward model, in its own unit; or empty
  std::vector<float> features;     ///< [items x feature_names], row-major; or empty
  Strings feature_names;
  KnownPairs gold;
  std::vector<std::uint32_t> trusted;            ///< rows of annotator_ids: annotators who are known to be good
  std::shared_ptr<const Embeddings> embeddings;  ///< of items, in the order of item_ids; null: none
  std::optional<Truth> truth;
  std::vector<InputFile> inputs;
  std::map<std::string, InputFile> known_files;  ///< other input files, by "gold", "trust", ...
  std::vector<std::string> unused;  ///< names of unknown datasets in the files, perhaps columns with a wrong name

  std::size_t size() const { return preference.size(); }
};

/// Largest number of votes in one fit: row numbers have 32 bits.
inline constexpr std::uint64_t kMaxVotes = 0xffff0000u;

/// Largest absolute timestamp in seconds, 31 million years from 1970. Larger numbers are in another unit.
inline constexpr std::int64_t kMostSeconds = 1'000'000'000'000'000;

}  // namespace voxpop
