#include "votes/votes.h"

#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/parallel_sort.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <set>
#include <stop_token>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/id_table.h"
#include "core/progress.h"
#include "core/seeded_hash.h"
#include "formulas/likelihood.h"
#include "formulas/vote.h"
#include "hdf5/checksum.h"
#include "hdf5/hdf5.h"

namespace voxpop {
namespace {

constexpr const char* kSchema = "comparisons/1";
constexpr std::uint32_t kNoRow = 0xffffffffu;

/// Throws if an id occurs twice: its item's votes would be split between two rows. Finds candidates by equal hashes and
/// then compares the ids themselves.
void check_unique(const Strings& ids, const std::string& path, const std::string& dataset) {
  struct Hashed {
    std::uint64_t hash;
    std::uint32_t row;
    bool operator<(const Hashed& other) const { return hash != other.hash ? hash < other.hash : row < other.row; }
  };
  const auto hash_of = [&](std::size_t row) { return SeededHash()(ids[row]); };
  // Step 1: a sparse bit table with at least 16 bits per id. An id that is alone in its bit is unique. This is true for
  // most ids, so only the others need sorting.
  const std::size_t places = std::bit_ceil(16 * ids.size() + 64);
  std::vector<std::atomic<std::uint64_t>> taken(places / 64), taken_again(places / 64);
  const auto word = [&](std::uint64_t hash) { return hash % places / 64; };
  const auto bit = [](std::uint64_t hash) { return std::uint64_t{1} << hash % 64; };
  oneapi::tbb::parallel_for(std::size_t{0}, ids.size(), [&](std::size_t row) {
    const std::uint64_t hash = hash_of(row);
    // Read the bit before writing it: if all ids are equal, all cores would write the same word.
    const auto test_and_set = [&](std::vector<std::atomic<std::uint64_t>>& bits) {
      return (bits[word(hash)].load(std::memory_order_relaxed) & bit(hash)) != 0 ||
             (bits[word(hash)].fetch_or(bit(hash), std::memory_order_relaxed) & bit(hash)) != 0;
    };
    if (test_and_set(taken)) test_and_set(taken_again);
  });
  std::vector<Hashed> hashed;
  // Step 2: sort the candidates by hash and compare ids. Reports the lowest row that repeats another, because the order
  // of the hashes differs from run to run.
  const auto compare = [&] {
    std::sort(hashed.begin(), hashed.end());
    std::uint32_t first = kNoRow, before = kNoRow;
    for (std::size_t i = 1; i < hashed.size(); ++i)
      for (std::size_t j = i; hashed[i].row < first && j-- > 0 && hashed[j].hash == hashed[i].hash;)
        if (ids[hashed[j].row] == ids[hashed[i].row]) {
          first = hashed[i].row;
          before = hashed[j].row;
        }
    if (first != kNoRow)
      throw bad_input("{}: '{}' row {} is '{}', and so is row {}; each id must be unique", path, dataset, first,
                      shown(ids[first]), before);
  };
  constexpr std::size_t kMany = 1 << 20;  // if all ids differ, at most a sixteenth are candidates
  constexpr std::size_t kBlock = 1 << 16, kRound = 4 * kMany;
  for (std::size_t begin = 0; begin < ids.size(); begin += kRound) {
    const std::size_t end = std::min(ids.size(), begin + kRound);
    std::vector<std::vector<Hashed>> found((end - begin + kBlock - 1) / kBlock);
    oneapi::tbb::parallel_for(std::size_t{0}, found.size(), [&](std::size_t block) {
      const std::size_t first = begin + block * kBlock;
      for (std::size_t row = first; row < std::min(end, first + kBlock); ++row)
        if (const std::uint64_t hash = hash_of(row); taken_again[word(hash)] & bit(hash))
          found[block].push_back({hash, static_cast<std::uint32_t>(row)});
    });
    const bool compared = hashed.size() >= kMany;
    for (const auto& part : found) hashed.insert(hashed.end(), part.begin(), part.end());
    if (!compared && hashed.size() >= kMany) compare();  // early: if all ids are equal, the rest would only use memory
  }
  compare();
}

/// Reads the ids of a table and checks that they are unique. Throws unless the table has at least one row, and fewer
/// than `limit` rows together with the `known` rows of files before it.
Strings read_ids(const InputHdf5& file, const std::string& dataset, std::size_t known, std::uint64_t limit) {
  const std::uint64_t together = known + file.rows(dataset);
  if (together >= limit)  // check before reading any id
    throw bad_input("{}: with '{}' there are {} rows in all files together; at most {} can be read", file.path(),
                    dataset, together, limit - 1);
  if (together == known) throw bad_input("{}: '{}' has no rows", file.path(), dataset);
  Strings ids = file.read_strings(dataset);
  check_unique(ids, file.path(), dataset);
  return ids;
}

/// Joins the ids of several files into one table.
class JoinedIds {
 public:
  explicit JoinedIds(Strings& ids) : ids_(ids) {}

  /// Adds the ids `more`, and returns the row of each in the joint table.
  std::vector<std::uint32_t> join(const Strings& more) {
    std::vector<std::uint32_t> joint(more.size());
    for (std::size_t row = 0; row < more.size(); ++row) {
      const auto [at, is_new] = rows_.try_emplace(std::string(more[row]), static_cast<std::uint32_t>(ids_.size()));
      if (is_new) ids_.push_back(more[row]);
      joint[row] = at->second;
    }
    return joint;
  }

 private:
  Strings& ids_;
  std::unordered_map<std::string, std::uint32_t, SeededHash> rows_;
};

void require_rows(const InputHdf5& file, const std::string& name, std::uint64_t rows, std::uint64_t expected,
                  const std::string& like) {
  if (rows != expected)
    throw bad_input("{}: '{}' has {} rows, but '{}' has {}", file.path(), name, rows, like, expected);
}

/// The prompt of each item of a file.
struct ItemPrompts {
  Column<std::uint32_t> of_item;  ///< [items] row of `ids`; empty if the file has no prompts
  Strings ids;
  bool named = false;  ///< false: prompts have only numbers; equal numbers in two files are the same prompt
  /// The item's prompt as the number in the file, for errors.
  std::string number(std::size_t item) const {
    return named ? fmt::format("{}", of_item[item]) : std::string(ids[of_item[item]]);
  }
};

ItemPrompts read_prompts(const InputHdf5& file, const Strings& items, std::size_t known_prompts) {
  ItemPrompts prompts;
  if (!file.has("items/prompt")) return prompts;
  prompts.named = file.has("prompts/id");
  if (prompts.named) {
    prompts.ids = read_ids(file, "prompts/id", known_prompts, kNoRow);
  }
  require_rows(file, "items/prompt", file.rows("items/prompt"), items.size(), "items/id");
  prompts.of_item =
      file.read_indices("items/prompt", prompts.named ? prompts.ids.size() : std::uint64_t{kNoRow}, "prompt indices");
  if (!prompts.named) {
    Column<std::uint32_t> numbers = prompts.of_item;
    oneapi::tbb::parallel_sort(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    for (const std::uint32_t number : numbers) prompts.ids.push_back(fmt::format("{}", number));
    for (std::uint32_t& p : prompts.of_item)
      p = static_cast<std::uint32_t>(std::lower_bound(numbers.begin(), numbers.end(), p) - numbers.begin());
  }
  return prompts;
}

/// The source of each item of a file, such as the model that wrote it. In the file, -1 means unknown.
struct ItemSources {
  Column<std::uint32_t> of_item;  ///< [items] row of `ids`, or kNoSource; empty if the file has no sources
  Strings ids;
};

ItemSources read_sources(const InputHdf5& file, std::size_t items, std::size_t known_sources) {
  const std::string name = "items/source";
  ItemSources sources;
  if (!file.has(name)) return sources;
  if (!file.has("sources/id"))
    throw bad_input("{}: has '{}', but not 'sources/id' with the names of the sources; add it", file.path(), name);
  sources.ids = read_ids(file, "sources/id", known_sources, kNoRow);
  require_rows(file, name, file.rows(name), items, "items/id");
  const auto last = static_cast<std::int64_t>(sources.ids.size()) - 1;
  const Column<std::int64_t> given =
      file.read_integers<std::int64_t>(name, {0, items}, -1, last, [&](std::uint64_t row, const std::string& value) {
        return bad_input("{}: '{}' row {} is {}; source indices run from 0 to {}, and -1 means unknown", file.path(),
                         name, row, value, last);
      });
  for (const std::int64_t source : given)
    sources.of_item.push_back(source < 0 ? kNoSource : static_cast<std::uint32_t>(source));
  return sources;
}

void append_mapped(Column<std::uint32_t>& column, const Column<std::uint32_t>& file_rows,
                   const std::vector<std::uint32_t>& joint) {
  column.reserve(column.size() + file_rows.size());
  for (const std::uint32_t row : file_rows) column.push_back(joint[row]);
}

Column<std::int8_t> read_preferences(const InputHdf5& file, const std::string& name, Rows some) {
  return file.read_integers<std::int8_t>(
      name, some, -kMaxLevels, kMaxLevels, [&](std::uint64_t row, const std::string& value) {
        return bad_input("{}: '{}' row {} is {}; it must be above 0 (left), below 0 (right) or 0 (tie), from -{} to {}",
                         file.path(), name, row, value, kMaxLevels, kMaxLevels);
      });
}

Column<std::int64_t> read_timestamps(const InputHdf5& file, Rows some) {
  const std::string name = "comparisons/timestamp";
  const auto refuse = [&](std::uint64_t row, const std::string& value) {
    return bad_input("{}: '{}' row {} is {}; it must be in seconds since 1970, so convert other units", file.path(),
                     name, row, value);
  };
  return file.read_integers<std::int64_t>(name, some, -kMostSeconds, kMostSeconds, refuse);
}

/// A larger value is probably not a weight, and sums of such values would overflow the fixed-point format.
constexpr double kLargestWeight = 1e6;

Column<float> read_weights(const InputHdf5& file) {
  const std::string name = "comparisons/weight";
  const std::vector<double> weights = file.read_floats(name);
  for (std::size_t row = 0; row < weights.size(); ++row)
    if (!(static_cast<float>(weights[row]) >= static_cast<float>(kSmallestWeight) && weights[row] <= kLargestWeight))
      throw bad_input(
          "{}: '{}' row {} is {}; it must be from {} to {}, the number of equal votes that the vote counts as",
          file.path(), name, row, weights[row], kSmallestWeight, kLargestWeight);
  Column<float> narrowed(weights.size());
  std::ranges::transform(weights, narrowed.begin(), [](double weight) { return static_cast<float>(weight); });
  return narrowed;
}

/// Reads the judgement of each vote. Judgements are renumbered from `next` on, and `next` is advanced past them. -1 in
/// the file means no judgement and becomes kNoJudgement.
Column<std::uint32_t> read_judgements(const InputHdf5& file, Rows some, std::uint32_t& next) {
  const std::string name = "comparisons/judgement";
  const Column<std::int64_t> given = file.read_integers<std::int64_t>(
      name, some, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
      [&](std::uint64_t row, const std::string& value) {
        return bad_input("{}: '{}' row {} is {}; it must fit into int64", file.path(), name, row, value);
      });
  const auto [low, high] = std::ranges::minmax(given);
  const std::uint64_t span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  Column<std::int64_t> known;  // the distinct numbers, ascending; only used if they are not dense
  const bool is_dense = span < 2 * given.size() && span < kNoJudgement - next - 1;
  if (!is_dense) {
    known = given;
    oneapi::tbb::parallel_sort(known);
    known.erase(std::unique(known.begin(), known.end()), known.end());
  }
  Column<std::uint32_t> judgements(given.size());
  oneapi::tbb::parallel_for(std::size_t{0}, given.size(), [&](std::size_t row) {
    const std::uint64_t number =
        is_dense ? static_cast<std::uint64_t>(given[row]) - static_cast<std::uint64_t>(low)
                 : static_cast<std::uint64_t>(std::ranges::lower_bound(known, given[row]) - known.begin());
    judgements[row] = given[row] == -1 ? kNoJudgement : next + static_cast<std::uint32_t>(number);
  });
  next += static_cast<std::uint32_t>(is_dense ? span + 1 : known.size());
  return judgements;
}

/// Reads an attribute of group comparisons with two possible values. Returns true for `second`, false for `first` or if
/// there is no such attribute.
bool read_choice(const InputHdf5& file, const std::string& name, const std::string& first, const std::string& second) {
  const std::string value = file.group_attribute("comparisons", name);
  if (value.empty() || value == first) return false;
  if (value == second) return true;
  throw bad_input("{}: attribute '{}' of 'comparisons' is '{}'; it must be '{}' or '{}'", file.path(), name,
                  shown(value), first, second);
}

/// Appends a file's column `more` that not every file has. Rows of files without the column, before or after, get the
/// value `otherwise`. The joint column stays empty as long as no file has it.
template <class T>
void append_optional(Column<T>& column, const Column<T>& more, std::size_t rows_before, std::size_t rows_now,
                     T otherwise) {
  if (more.empty() && column.empty()) return;
  column.resize(rows_before, otherwise);
  column.insert(column.end(), more.begin(), more.end());
  column.resize(rows_now, otherwise);
}

/// Numbers of the items: prior scores (one column without a name) or features.
struct ItemNumbers {
  std::vector<float> values;  ///< [items x columns], row-major
  std::size_t columns = 0;
  Strings names;

  /// Column of value `i`, for errors: "" or " column 'length'".
  std::string column(std::size_t i) const {
    return names.empty() ? "" : fmt::format(" column '{}'", shown(names[i % columns]));
  }
};

void check_numbers(const InputHdf5& file, const std::string& name, ItemNumbers& numbers,
                   const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(std::abs(values[i]) <= std::numeric_limits<float>::max()))
      throw bad_input("{}: '{}' row {}{} is {}; it must be a finite number (float32)", file.path(), name,
                      i / numbers.columns, numbers.column(i), values[i]);
  numbers.values.assign(values.begin(), values.end());
}

ItemNumbers read_prior_score(const InputHdf5& file, std::size_t items) {
  ItemNumbers numbers;
  if (!file.has("items/prior_score")) return numbers;
  numbers.columns = 1;
  require_rows(file, "items/prior_score", file.rows("items/prior_score"), items, "items/id");
  check_numbers(file, "items/prior_score", numbers, file.read_floats("items/prior_score"));
  return numbers;
}

ItemNumbers read_features(const InputHdf5& file, std::size_t items) {
  const std::string name = "items/features";
  ItemNumbers numbers;
  if (!file.has(name)) return numbers;
  const InputHdf5::MatrixShape shape = file.matrix_shape(name);
  require_rows(file, name, shape.rows, items, "items/id");
  numbers.columns = shape.columns;
  numbers.names = file.attribute(name, "names");
  if (numbers.names.empty())
    for (std::size_t f = 0; f < shape.columns; ++f) numbers.names.push_back(fmt::format("f{}", f));
  if (numbers.names.size() != shape.columns)
    throw bad_input("{}: '{}' has {} columns, but its attribute 'names' has {} names", file.path(), name, shape.columns,
                    numbers.names.size());
  check_unique(numbers.names, file.path(), name + ".names");
  check_numbers(file, name, numbers, file.read_matrix(name));
  return numbers;
}

/// Joins the items' numbers of several files. Keeps them only if every file has them, with the same columns.
class JoinedNumbers {
 public:
  explicit JoinedNumbers(std::string dataset) : dataset_(std::move(dataset)) {}

  /// `rows`: joint row of each item of the file. `known`: number of `item_ids` that earlier files contain; these come
  /// first. Throws if the file has another number for a known item.
  void join(const InputHdf5& file, const ItemNumbers& more, const std::vector<std::uint32_t>& rows,
            const Strings& item_ids, std::size_t known) {
    if (paths_.empty()) {
      joint_.columns = more.columns;
      joint_.names = more.names;
    }
    paths_.push_back(file.path());
    known_.push_back(known);
    in_some_ = in_some_ || more.columns > 0;
    in_all_ = in_all_ && more.columns > 0 && more.columns == joint_.columns && more.names == joint_.names;
    if (!in_all_) return;
    joint_.values.resize(item_ids.size() * joint_.columns);
    for (std::size_t i = 0; i < more.values.size(); ++i) {
      const std::uint32_t row = rows[i / more.columns];
      float& value = joint_.values[row * joint_.columns + i % joint_.columns];
      if (row >= known) value = more.values[i];
      if (value == more.values[i]) continue;
      const auto owner = std::upper_bound(known_.begin(), known_.end(), row) - known_.begin() - 1;
      throw bad_input("{}: '{}' row {}{} is {}, but item '{}' has {} in {}; keep one of them", file.path(), dataset_,
                      i / more.columns, more.column(i), more.values[i], shown(item_ids[row]), value, paths_[owner]);
    }
  }

  ItemNumbers take(const Context& context) {
    if (in_all_) return std::move(joint_);
    if (in_some_)
      context.tell(fmt::format("'{}' is not used, because not all files have it with the same columns", dataset_));
    return {};
  }

 private:
  std::string dataset_;
  ItemNumbers joint_;
  bool in_some_ = false, in_all_ = true;
  std::vector<std::string> paths_;
  std::vector<std::size_t> known_;  // per file: number of items before it
};

/// Reads group gold; `left` and `right` of the result are rows of the file's items. Skips ties, with a note, because a
/// tie does not show which item is better.
KnownPairs read_known_pairs(const InputHdf5& file, const Strings& item_ids, const Context& context) {
  KnownPairs known;
  if (!file.has("gold/left")) return known;
  const Rows all{0, file.rows("gold/left")};
  for (const char* name : {"gold/right", "gold/preference", "gold/probability"})
    if (file.has(name) || std::string_view(name) != "gold/probability")
      require_rows(file, name, file.rows(name), all.count(), "gold/left");
  if (all.count() == 0) return known;
  const Column<std::uint32_t> left = file.read_indices("gold/left", all, item_ids.size(), "item indices");
  const Column<std::uint32_t> right = file.read_indices("gold/right", all, item_ids.size(), "item indices");
  const Column<std::int8_t> preference = read_preferences(file, "gold/preference", all);
  std::vector<double> probability;
  if (file.has("gold/probability")) probability = file.read_floats("gold/probability");
  std::uint64_t ties = 0;
  for (std::size_t row = 0; row < all.count(); ++row) {
    if (left[row] == right[row])
      throw bad_input("{}: 'gold/right' row {} is {} ('{}'), the same item as on the left; drop the row", file.path(),
                      row, right[row], shown(item_ids[right[row]]));
    const double chance =
        probability.empty() ? 0.5 * (1 + (preference[row] > 0) - (preference[row] < 0)) : probability[row];
    if (!(chance >= 0 && chance <= 1))
      throw bad_input("{}: 'gold/probability' row {} is {}; it must be from 0 to 1", file.path(), row, chance);
    if (chance == 0.5)
      ++ties;
    else
      known.add(left[row], right[row], static_cast<float>(chance));
  }
  if (ties > 0) context.tell(fmt::format("{}: {} gold pairs are ties and are not used", file.path(), ties));
  return known;
}

std::optional<Truth> read_truth(const InputHdf5& file, std::size_t items, std::size_t annotators,
                                std::size_t features) {
  if (!file.has("truth/score")) return std::nullopt;
  require_rows(file, "truth/score", file.rows("truth/score"), items, "items/id");
  for (const char* name : {"truth/discrimination", "truth/side_bias", "truth/kind", "truth/tie_habit",
                           "truth/lapse_rate", "truth/drifts", "truth/bursts"})
    if (file.has(name)) require_rows(file, name, file.rows(name), annotators, "annotators/id");
  const auto require_numbers = [&](const std::string& name, std::uint64_t numbers, std::uint64_t most) {
    if (numbers > most)
      throw bad_input("{}: '{}' has {} numbers; it must have at most {}", file.path(), name, numbers, most);
  };
  if (file.has("truth/thresholds")) require_numbers("truth/thresholds", file.rows("truth/thresholds"), kMaxLevels);
  if (file.has("truth/feature_coefficients"))
    require_numbers("truth/feature_coefficients", file.rows("truth/feature_coefficients"), features);
  if (file.has("truth/taste")) {
    const auto [rows, columns] = file.matrix_shape("truth/taste");
    require_rows(file, "truth/taste", rows, annotators, "annotators/id");
    require_numbers("truth/taste", rows * columns, annotators * features);
  }
  Truth truth{file.read_floats("truth/score"), file.read_floats("truth/discrimination"),
              file.read_floats("truth/side_bias"), file.read_strings("truth/kind")};
  const auto floats = [&](const std::string& name) {
    return file.has(name) ? file.read_floats(name) : std::vector<double>();
  };
  const auto marks = [&](const std::string& name) {
    const auto read = file.has(name) ? file.read_indices(name, 2, "marks") : Column<std::uint32_t>();
    return std::vector<std::int8_t>(read.begin(), read.end());
  };
  truth.thresholds = floats("truth/thresholds");
  truth.tie_habit = floats("truth/tie_habit");
  truth.lapse_rate = floats("truth/lapse_rate");
  truth.feature_coefficients = floats("truth/feature_coefficients");
  if (file.has("truth/taste")) truth.taste = file.read_matrix("truth/taste");
  truth.drifts = marks("truth/drifts");
  truth.bursts = marks("truth/bursts");
  for (const auto& [name, size, rows] :
       {std::tuple{"truth/feature_coefficients", truth.feature_coefficients.size(), std::size_t{1}},
        std::tuple{"truth/taste", truth.taste.size(), annotators}})
    if (file.has(name) && size != rows * features)
      throw bad_input("{}: '{}' has {} numbers; with {} features it must have {}", file.path(), name, size, features,
                      rows * features);
  return truth;
}

void note_unused(const InputHdf5& file, const Context& context, std::vector<std::string>& all_unused) {
  static const std::set<std::string> known = {"comparisons/left",
                                              "comparisons/right",
                                              "comparisons/annotator",
                                              "comparisons/preference",
                                              "comparisons/timestamp",
                                              "comparisons/weight",
                                              "comparisons/judgement",
                                              "items/id",
                                              "items/prompt",
                                              "items/source",
                                              "items/prior_score",
                                              "items/features",
                                              "items/embedding",
                                              "annotators/id",
                                              "prompts/id",
                                              "sources/id",
                                              "gold/left",
                                              "gold/right",
                                              "gold/preference",
                                              "gold/probability",
                                              "truth/score",
                                              "truth/kind",
                                              "truth/discrimination",
                                              "truth/side_bias",
                                              "truth/thresholds",
                                              "truth/tie_habit",
                                              "truth/lapse_rate",
                                              "truth/feature_coefficients",
                                              "truth/taste",
                                              "truth/drifts",
                                              "truth/bursts"};
  static const std::vector<std::string> groups = {"comparisons", "items", "annotators", "prompts", "sources", "gold"};
  constexpr std::size_t kMost = 1000, kMostNamed = 10;  // limits of the note: a file may have very many other datasets
  std::set<std::string> unused;
  const auto add = [&](const std::string& name) {
    if (!known.contains(name)) unused.insert(name);
    return unused.size() <= kMost;
  };
  // Begin with the groups of comparisons/1: an unused dataset there is probably a column with a wrong name.
  for (const std::string& group : groups)
    if (file.has(group)) file.visit_datasets(group, add);
  file.visit_datasets("/", add);
  if (unused.empty()) return;
  std::vector<std::string> named;
  for (const std::string& name : unused)
    if (named.size() < kMostNamed) named.push_back(shown(name));
  std::string others;
  if (unused.size() > kMost)
    others = fmt::format(", ... and at least {} others", unused.size() - named.size());
  else if (unused.size() > named.size())
    others = fmt::format(", ... and {} others", unused.size() - named.size());
  context.tell(fmt::format("{}: datasets not used: {}{}", file.path(), fmt::join(named, ", "), others));
  all_unused.insert(all_unused.end(), unused.begin(), unused.end());
}

/// Throws for the lowest row that compares an item with itself, or items of different prompts.
void check_pairs(const InputHdf5& file, const Column<std::uint32_t>& left, const Column<std::uint32_t>& right,
                 const ItemPrompts& prompts, const Strings& items) {
  const Column<std::uint32_t>& prompt = prompts.of_item;
  const auto good = [&](std::size_t row) {
    return left[row] != right[row] && (prompt.empty() || prompt[left[row]] == prompt[right[row]]);
  };
  using Range = oneapi::tbb::blocked_range<std::size_t>;
  const std::size_t row = oneapi::tbb::parallel_reduce(
      Range(0, left.size(), 1 << 16), left.size(),
      [&](const Range& range, std::size_t first) {
        for (std::size_t i = range.begin(); i < std::min(range.end(), first); ++i)
          if (!good(i)) return i;
        return first;
      },
      [](std::size_t a, std::size_t b) { return std::min(a, b); });
  if (row == left.size()) return;
  if (left[row] == right[row])
    throw bad_input("{}: 'comparisons/right' row {} is {} ('{}'), the same item as on the left; drop the row",
                    file.path(), row, right[row], shown(items[right[row]]));
  throw bad_input(
      "{}: 'comparisons/right' row {} is {} ('{}', prompt {}), but the left item answers prompt {}; "
      "leave 'items/prompt' out if items of different prompts may be compared",
      file.path(), row, right[row], shown(items[right[row]]), prompts.number(right[row]), prompts.number(left[row]));
}

}  // namespace

InputFile fingerprint(const std::string& path, const Context& context) {
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw file_error("{}: cannot open: {}", path, std::strerror(errno));
  Checksum sum;
  std::vector<char> block(1 << 20);
  std::uint64_t bytes = 0;
  while (const std::size_t got = std::fread(block.data(), 1, block.size(), file.get())) {
    context.check_stop();
    sum.add(block.data(), got);
    bytes += got;
  }
  if (std::ferror(file.get())) throw file_error("{}: cannot read: {}", path, std::strerror(errno));
  return {path, bytes, sum.digits()};
}

namespace {

/// Computes a fingerprint in another thread while the votes are read. The destructor stops the computation if the
/// result is no longer needed, for example after an error.
class FingerprintMeanwhile {
 public:
  FingerprintMeanwhile(const std::string& path, const Context& context)
      : made_(std::async(std::launch::async, [this, path, stop = context.stop] {
          return fingerprint(path, {.stop = [this, stop] { return unwanted_ || (stop && stop()); }});
        })) {}
  ~FingerprintMeanwhile() { unwanted_ = true; }
  FingerprintMeanwhile(const FingerprintMeanwhile&) = delete;
  FingerprintMeanwhile& operator=(const FingerprintMeanwhile&) = delete;
  InputFile get() { return made_.get(); }

 private:
  std::atomic<bool> unwanted_ = false;
  std::future<InputFile> made_;  // the destructor waits for the thread
};

}  // namespace

Votes read_votes(const std::vector<std::string>& paths, const Context& context, ColumnReaders* others) {
  Votes votes;
  JoinedIds items(votes.item_ids), annotators(votes.annotator_ids), prompts(votes.prompt_ids);
  JoinedIds sources(votes.source_ids);
  JoinedNumbers prior_score("items/prior_score"), features("items/features");
  bool every_file_has_prompts = true;
  std::uint32_t next_judgement = 0;
  Progress progress("reading", paths.size(), context);
  for (std::size_t f = 0; f < paths.size(); ++f) {
    const InputHdf5 file(paths[f], context, others);
    const std::string schema = file.attribute("voxpop_schema");
    if (schema.empty())
      throw bad_input("{}: no root attribute 'voxpop_schema'; it must be '{}' (docs/hdf5.md)", file.path(), kSchema);
    if (schema != kSchema)
      throw bad_input("{}: schema '{}'; a file of votes must have '{}'", file.path(), shown(schema), kSchema);
    note_unused(file, context, votes.unused);

    if (votes.size() + file.rows("comparisons/left") > kMaxVotes)
      throw bad_input("{}: more than {} votes together; fit fewer at a time", file.path(), kMaxVotes);
    Strings item_ids = read_ids(file, "items/id", votes.item_ids.size(), kNoRow);
    const Rows all{0, file.rows("comparisons/left")};
    const auto require_all = [&](const std::string& name) {
      require_rows(file, name, file.rows(name), all.count(), "comparisons/left");
    };
    if (all.count() == 0) throw bad_input("{}: 'comparisons/left' has no rows: there are no votes to fit", file.path());
    for (const char* name : {"comparisons/right", "comparisons/preference"}) require_all(name);
    FingerprintMeanwhile input(paths[f], context);
    Column<std::uint32_t> left = file.read_indices("comparisons/left", all, item_ids.size(), "item indices");
    Column<std::uint32_t> right = file.read_indices("comparisons/right", all, item_ids.size(), "item indices");
    Column<std::int8_t> preference = read_preferences(file, "comparisons/preference", all);

    Column<float> weight;
    if (file.has("comparisons/weight")) {
      require_all("comparisons/weight");
      weight = read_weights(file);
    }
    Column<std::uint32_t> judgement;
    if (file.has("comparisons/judgement")) {
      require_all("comparisons/judgement");
      judgement = read_judgements(file, all, next_judgement);
    }
    const Rows rows_here{votes.size(), votes.size() + all.count()};
    append_optional(votes.weight, weight, rows_here.begin, rows_here.end, 1.0f);
    append_optional(votes.judgement, judgement, rows_here.begin, rows_here.end, kNoJudgement);
    if (read_choice(file, "sides", "known", "unknown")) append_rows(votes.unknown_sides, rows_here);
    if (read_choice(file, "repeats", "dependent", "independent")) append_rows(votes.independent, rows_here);
    Strings annotator_ids;
    Column<std::uint32_t> annotator;
    if (file.has("comparisons/annotator")) {
      annotator_ids = read_ids(file, "annotators/id", votes.annotator_ids.size(), VoteCode::kMaxAnnotators);
      require_all("comparisons/annotator");
      annotator = file.read_indices("comparisons/annotator", all, annotator_ids.size(), "annotator indices");
    } else {
      context.tell(
          fmt::format("{}: no dataset 'comparisons/annotator', so all votes count as votes of one anonymous annotator",
                      file.path()));
      annotator_ids.push_back("anonymous");
      annotator.assign(left.size(), 0);
    }
    if (annotator_ids.size() == 1 && annotator_ids[0] == "anonymous") append_rows(votes.anonymous, rows_here);

    ItemPrompts file_prompts = read_prompts(file, item_ids, votes.prompt_ids.size());
    check_pairs(file, left, right, file_prompts, item_ids);

    ItemSources file_sources = read_sources(file, item_ids.size(), votes.source_ids.size());
    ItemNumbers file_prior_score = read_prior_score(file, item_ids.size());
    ItemNumbers file_features = read_features(file, item_ids.size());
    KnownPairs gold = read_known_pairs(file, item_ids, context);
    every_file_has_prompts = every_file_has_prompts && !file_prompts.of_item.empty();
    if (paths.size() == 1) {  // common case: nothing to join, so no copies
      votes.truth = read_truth(file, item_ids.size(), annotator_ids.size(), file_features.columns);
      votes.prior_score = std::move(file_prior_score.values);
      votes.features = std::move(file_features.values);
      votes.feature_names = std::move(file_features.names);
      votes.gold = std::move(gold);
      votes.item_ids = std::move(item_ids);
      votes.annotator_ids = std::move(annotator_ids);
      votes.prompt_ids = std::move(file_prompts.ids);
      votes.prompt = std::move(file_prompts.of_item);
      votes.source_ids = std::move(file_sources.ids);
      votes.source = std::move(file_sources.of_item);
      votes.left = std::move(left);
      votes.right = std::move(right);
      votes.annotator = std::move(annotator);
      votes.preference = std::move(preference);
    } else {
      const std::size_t known_items = votes.item_ids.size();
      const auto item_rows = items.join(item_ids);
      prior_score.join(file, file_prior_score, item_rows, votes.item_ids, known_items);
      features.join(file, file_features, item_rows, votes.item_ids, known_items);
      if (!file_prompts.of_item.empty()) {
        const auto prompt_rows = prompts.join(file_prompts.ids);
        votes.prompt.resize(votes.item_ids.size(), kNoRow);
        for (std::size_t i = 0; i < item_ids.size(); ++i) {
          const std::uint32_t prompt = file_prompts.of_item[i];
          std::uint32_t& joint = votes.prompt[item_rows[i]];
          if (joint != kNoRow && joint != prompt_rows[prompt])
            throw bad_input(
                "{}: 'items/prompt' row {}: item '{}' answers prompt '{}' here, but '{}' in an earlier file; an item "
                "has one prompt",
                file.path(), i, shown(item_ids[i]), shown(file_prompts.ids[prompt]), shown(votes.prompt_ids[joint]));
          joint = prompt_rows[prompt];
        }
      }
      if (!file_sources.of_item.empty()) {
        const auto source_rows = sources.join(file_sources.ids);
        votes.source.resize(votes.item_ids.size(), kNoSource);
        for (std::size_t i = 0; i < item_ids.size(); ++i) {
          const std::uint32_t source = file_sources.of_item[i];
          if (source == kNoSource) continue;
          std::uint32_t& joint = votes.source[item_rows[i]];
          if (joint != kNoSource && joint != source_rows[source])
            throw bad_input(
                "{}: 'items/source' row {}: item '{}' has source '{}' here, but '{}' in an earlier file; an item has "
                "one source",
                file.path(), i, shown(item_ids[i]), shown(file_sources.ids[source]), shown(votes.source_ids[joint]));
          joint = source_rows[source];
        }
      }
      append_mapped(votes.gold.left, gold.left, item_rows);
      append_mapped(votes.gold.right, gold.right, item_rows);
      votes.gold.probability.insert(votes.gold.probability.end(), gold.probability.begin(), gold.probability.end());
      append_mapped(votes.left, left, item_rows);
      append_mapped(votes.right, right, item_rows);
      append_mapped(votes.annotator, annotator, annotators.join(annotator_ids));
      votes.preference.insert(votes.preference.end(), preference.begin(), preference.end());
    }
    if (file.has("comparisons/timestamp")) {
      require_all("comparisons/timestamp");
      const Column<std::int64_t> timestamp = read_timestamps(file, all);
      votes.timestamp.insert(votes.timestamp.end(), timestamp.begin(), timestamp.end());
    }
    votes.inputs.push_back(input.get());
    votes.inputs.back().rows = rows_here;
    progress.update(f + 1, paths[f]);
  }
  if (paths.size() > 1) {
    votes.prior_score = prior_score.take(context).values;
    ItemNumbers joint = features.take(context);
    votes.features = std::move(joint.values);
    votes.feature_names = std::move(joint.names);
  }
  if (votes.timestamp.size() != votes.size()) {
    if (!votes.timestamp.empty()) context.tell("'comparisons/timestamp' is not used, because not all files have it");
    votes.timestamp.clear();
  }
  if (!votes.source.empty()) votes.source.resize(votes.item_ids.size(), kNoSource);
  if (!every_file_has_prompts) {
    votes.prompt.clear();
    votes.prompt_ids = Strings();
  }
  return votes;
}

Votes read_votes(const std::vector<std::string>& paths, const Context& context) {
  return read_votes(paths, context, nullptr);
}

void write_votes(OutputFile& output, const Votes& votes, bool compress, const Context& context) {
  OutputHdf5 file(output, compress, context);
  file.write_attribute("voxpop_schema", kSchema);
  file.write("comparisons/left", votes.left);
  file.write("comparisons/right", votes.right);
  const bool anonymous = count_rows(votes.anonymous) == votes.size();
  if (!anonymous) file.write("comparisons/annotator", votes.annotator);
  file.write("comparisons/preference", votes.preference);
  if (!votes.weight.empty()) file.write("comparisons/weight", votes.weight);
  if (!votes.judgement.empty()) {
    Column<std::int64_t> judgement(votes.size());
    for (std::size_t row = 0; row < votes.size(); ++row)
      judgement[row] = votes.judgement[row] == kNoJudgement ? -1 : std::int64_t{votes.judgement[row]};
    file.write("comparisons/judgement", judgement);
  }
  if (!votes.unknown_sides.empty()) file.write_group_attribute("comparisons", "sides", "unknown");
  if (!votes.independent.empty()) file.write_group_attribute("comparisons", "repeats", "independent");
  if (!votes.timestamp.empty()) file.write("comparisons/timestamp", votes.timestamp);
  file.write("items/id", votes.item_ids);
  if (!votes.prompt.empty()) {
    file.write("items/prompt", votes.prompt);
    file.write("prompts/id", votes.prompt_ids);
  }
  if (!votes.source.empty()) {
    Column<std::int32_t> source(votes.source.size());
    std::ranges::transform(votes.source, source.begin(),
                           [](std::uint32_t s) { return s == kNoSource ? -1 : static_cast<std::int32_t>(s); });
    file.write("items/source", source);
    file.write("sources/id", votes.source_ids);
  }
  if (!votes.prior_score.empty()) file.write("items/prior_score", votes.prior_score);
  if (!votes.features.empty()) {
    file.write_matrix("items/features", votes.features, votes.feature_names.size());
    file.write_attribute("items/features", "names", votes.feature_names);
  }
  if (!anonymous) file.write("annotators/id", votes.annotator_ids);
  if (votes.gold.size() > 0) {
    Column<std::int8_t> preference(votes.gold.size());
    std::ranges::transform(votes.gold.probability, preference.begin(),
                           [](float chance) { return chance > 0.5f ? 1 : -1; });
    file.write("gold/left", votes.gold.left);
    file.write("gold/right", votes.gold.right);
    file.write("gold/preference", preference);
    if (std::ranges::any_of(votes.gold.probability, [](float chance) { return chance > 0 && chance < 1; }))
      file.write("gold/probability", votes.gold.probability);
  }
  if (votes.truth) {
    const Truth& truth = *votes.truth;
    file.write("truth/score", truth.score);
    file.write("truth/discrimination", truth.discrimination);
    file.write("truth/side_bias", truth.side_bias);
    file.write("truth/kind", truth.kind);
    if (!truth.thresholds.empty()) file.write("truth/thresholds", truth.thresholds);
    if (!truth.tie_habit.empty()) file.write("truth/tie_habit", truth.tie_habit);
    if (!truth.lapse_rate.empty()) file.write("truth/lapse_rate", truth.lapse_rate);
    if (!truth.feature_coefficients.empty()) file.write("truth/feature_coefficients", truth.feature_coefficients);
    if (!truth.taste.empty()) file.write_matrix("truth/taste", truth.taste, votes.feature_names.size());
    if (!truth.drifts.empty()) file.write("truth/drifts", truth.drifts);
    if (!truth.bursts.empty()) file.write("truth/bursts", truth.bursts);
  }
  file.finish();
}

}  // namespace voxpop
