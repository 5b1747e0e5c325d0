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

/// What the labels should have been, in simulated data: the truth behind a comparisons/1 file (group `truth`). From
/// `thresholds` on, a member is empty where the votes do not have such a thing.
struct Truth {
  std::vector<double> score;            ///< [items], in logits of the reference annotator
  std::vector<double> discrimination;   ///< [annotators], reference annotator = 1; the mean over its votes if it drifts
  std::vector<double> side_bias;        ///< [annotators], logits, > 0 = to the left
  Strings kind;                         ///< [annotators], "good", "noisy", "clicker" or "adversary"
  std::vector<double> thresholds = {};  ///< [grades], logits, ascending, the first one 0: of votes that are no ties
  std::vector<double> tie_habit = {};   ///< [annotators], probability of a tie where no difference is seen
  std::vector<double> lapse_rate = {};  ///< [annotators], probability that a vote is a click
  std::vector<double> feature_coefficients = {};  ///< [features], logits of the reference annotator a unit
  std::vector<double> taste = {};                 ///< [annotators x features], row-major, logits a unit
  std::vector<std::int8_t> drifts = {};           ///< [annotators], 1: discriminates less after half of its votes
  std::vector<std::int8_t> bursts = {};           ///< [annotators], 1: votes every second in one of its sessions
};

struct InputFile {
  std::string path;
  std::uint64_t bytes;
  std::string xxh3;    ///< 16 hex digits of the file's XXH3-64
  Rows rows = {0, 0};  ///< of Votes: which are this file's
};

/// Votes::judgement of a vote that does not say which judgement it is a part of.
inline constexpr std::uint32_t kNoJudgement = 0xffffffffu;

/// Votes::source of an item whose source is not known.
inline constexpr std::uint32_t kNoSource = 0xffffffffu;
/// Items' embeddings, in the type in which they are stored: rows of `dimensions` numbers.
struct Embeddings {
  std::string source;  ///< file, and the dataset in it: for messages
  std::uint64_t items = 0, dimensions = 0;
  Column<float> full;          ///< [items x dimensions], or empty:
  Column<std::uint16_t> half;  ///< IEEE 754 binary16

  /// Row `item` as floats.
  void row(std::uint64_t item, float* out) const;
};

/// Pairs of items whose answer is known from elsewhere; `left`, `right`: rows of `item_ids`.
struct KnownPairs {
  Column<std::uint32_t> left, right;
  Column<float> probability;  ///< that the left item is the better one: 1 or 0, or how sure that is

  std::size_t size() const { return probability.size(); }
  void add(std::uint32_t left_item, std::uint32_t right_item, float chance) {
    left.push_back(left_item);
    right.push_back(right_item);
    probability.push_back(chance);
  }
};

/// The votes of one or more comparisons/1 files, as one; every index is checked. `left`, `right`: rows of `item_ids`;
/// `preference`: > 0 left, < 0 right, 0 tie; its size, up to 9, is the strength.
struct Votes {
  Column<std::uint32_t> left, right, annotator;
  Column<std::int8_t> preference;
  Column<float> weight;             ///< > 0: the vote counts as so many equal ones; empty: each counts once
  Column<std::uint32_t> judgement;  ///< votes of one number are one act of judging; kNoJudgement; empty: none says
  std::vector<Rows> unknown_sides;  ///< votes where `left` is not where the item stood; ascending, apart
  std::vector<Rows> anonymous;      ///< votes of files that name no annotator; ascending, apart
  std::vector<Rows> independent;    ///< votes of files that call repeated votes independent; ascending, apart
  Column<std::int64_t> timestamp;   ///< seconds since 1970, or empty
  Strings item_ids, annotator_ids, prompt_ids, source_ids;
  Column<std::uint32_t> prompt;    ///< [items], or empty where the files give none
  Column<std::uint32_t> source;    ///< [items] row of source_ids, kNoSource where not known; empty: no file says
  std::vector<float> prior_score;  ///< [items], an existing reward model's, on its own scale; or empty
  std::vector<float> features;     ///< [items x feature_names], row-major; or empty
  Strings feature_names;
  KnownPairs gold;
  std::vector<std::uint32_t> trusted;            ///< rows of annotator_ids: annotators known to be good
  std::shared_ptr<const Embeddings> embeddings;  ///< of items, in their order; null: there are none
  std::optional<Truth> truth;
  std::vector<InputFile> inputs;
  std::map<std::string, InputFile> known_files;  ///< other files that it was read from, by "gold", "trust", ...
  std::vector<std::string> unused;  ///< datasets that are not known; one may be a column under another name

  std::size_t size() const { return preference.size(); }
};

/// Largest number of votes in one fit: rows are kept in 32 bits.
inline constexpr std::uint64_t kMaxVotes = 0xffff0000u;

/// Timestamps lie so close to 1970, 31 million years; what does not is in another unit.
inline constexpr std::int64_t kMostSeconds = 1'000'000'000'000'000;

}  // namespace voxpop
