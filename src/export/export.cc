#include "export/export.h"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <xxhash.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <variant>

#include "core/error.h"
#include "core/strings.h"
#include "export/row.h"

namespace voxpop {
namespace {

/// How errors name the fit. A fit in memory has no path.
std::string place(const FitResult& fit) { return fit.path.empty() ? "the fit" : fit.path; }

constexpr std::size_t kRowsPerBlock = 1 << 11;

/// A hash of the bytes as a number in [0, 1).
double uniform(const void* bytes, std::size_t size, std::uint64_t seed) {
  return static_cast<double>(XXH3_64bits_withSeed(bytes, size, seed) >> 11) * 0x1p-53;
}

/// The part of each prompt. Without prompts, the part of each component, drawn by the id of its first item.
class Parts {
 public:
  Parts(const FitResult& fit, const ExportOptions& options) : fit_(fit) {
    const Column<std::int32_t>& component = fit.labels.items.component;
    const std::size_t groups = fit.prompt.empty() ? component.size() : fit.prompt_ids.size();
    of_.assign(groups, 0);
    if (options.parts.size() == 1) return;
    std::vector<bool> named(groups, false);
    const auto draw = [&](std::size_t group, std::string_view id) {
      named[group] = true;
      double left = uniform(id.data(), id.size(), options.seed);
      std::size_t part = 0;
      while (part + 1 < options.parts.size() && left >= options.parts[part]) left -= options.parts[part++];
      of_[group] = static_cast<std::uint8_t>(part);
    };
    if (!fit.prompt.empty())
      for (std::size_t p = 0; p < groups; ++p) draw(p, fit.prompt_ids[p]);
    else
      for (std::size_t item = 0; item < component.size(); ++item)
        if (component[item] >= 0 && !named[component[item]]) draw(component[item], fit.item_ids[item]);
  }

  std::size_t of(std::uint32_t item) const {
    if (!fit_.prompt.empty()) return of_[fit_.prompt[item]];
    const std::int32_t component = fit_.labels.items.component[item];
    return component < 0 ? 0 : of_[component];  // -1: the item has no votes that count
  }

 private:
  const FitResult& fit_;
  std::vector<std::uint8_t> of_;
};

enum class Verdict { kExported, kTie, kUndecided, kFlagged, kMissing, kConflicting, kUncounted };

Verdict judge(const PairColumns& pairs, std::size_t p, const ExportOptions& options) {
  const double better = std::max(pairs.probability_better[p], 1 - pairs.probability_better[p]);
  if (!options.keep_ties && 2 * pairs.ties[p] > pairs.votes[p]) return Verdict::kTie;
  // At 0.5 there is no evidence, and rounding errors would decide which item is chosen.
  if (!options.keep_undecided && (better < options.min_probability || better < 0.5 + 1e-6)) return Verdict::kUndecided;
  if (pairs.flagged_votes[p] > options.max_flagged * pairs.votes[p]) return Verdict::kFlagged;
  return Verdict::kExported;
}

/// Makes the rows of pairs and votes. One writer per block of rows.
class RowWriter {
 public:
  RowWriter(const FitResult& fit, const ExportTexts& texts, const ExportOptions& options, double mean_weight)
      : fit_(fit),
        texts_(texts),
        options_(options),
        mean_weight_(mean_weight),
        ids_stand_in_(texts.items == nullptr && is_for_trainers(options.format)) {}

  /// Appends the pair's rows. Returns their number, or the reason why there are none.
  std::variant<std::uint64_t, Verdict> append(std::size_t p, std::string& out) {
    const PairColumns& pairs = fit_.labels.pairs;
    const bool left_chosen = pairs.probability_better[p] >= 0.5f;
    const std::uint32_t chosen = left_chosen ? pairs.left[p] : pairs.right[p];
    const std::uint32_t rejected = left_chosen ? pairs.right[p] : pairs.left[p];
    ExportRow row{};
    if (const Verdict verdict = set_items(chosen, rejected, row); verdict != Verdict::kExported) return verdict;
    row.votes = pairs.votes[p];
    row.p_chosen = left_chosen ? pairs.probability[p] : 1 - pairs.probability[p];
    row.p_better = left_chosen ? pairs.probability_better[p] : 1 - pairs.probability_better[p];
    row.margin = static_cast<float>(options_.margin_scale * std::abs(pairs.margin[p]));
    row.margin_se = static_cast<float>(options_.margin_scale * pairs.margin_se[p]);
    row.target = left_chosen ? pairs.target[p] : 1 - pairs.target[p];
    row.weight = pairs.weight[p];
    if (options_.expand == 0) {
      append_row(options_.format, row, out);
      return std::uint64_t{1};
    }
    // Round up or down at random, so that the expected number of rows is exact.
    const std::uint32_t items[2] = {chosen, rejected};
    const double rows = options_.expand * double{row.weight} / mean_weight_;
    const auto rounded = [&](double x, std::uint64_t more) {
      return static_cast<std::uint64_t>(x + uniform(items, sizeof items, options_.seed + more));
    };
    const std::uint64_t kept = rounded(rows * double{row.target}, 0),
                        swapped = rounded(rows * (1 - double{row.target}), 1);
    row.expanded = true;
    row.target = 1;
    row.weight = static_cast<float>(mean_weight_ / options_.expand);
    for (std::uint64_t i = 0; i < kept + swapped; ++i) {
      if (i == kept) swap_sides(row);
      append_row(options_.format, row, out);
    }
    return kept + swapped;
  }

  /// Appends the row of a decided vote. Returns 1, or the reason why there is no row.
  std::variant<std::uint64_t, Verdict> append_vote(const Votes& votes, std::size_t v, float count, std::string& out) {
    const bool left_chosen = votes.preference[v] > 0;
    ExportRow row{};
    const Verdict verdict =
        set_items(left_chosen ? votes.left[v] : votes.right[v], left_chosen ? votes.right[v] : votes.left[v], row);
    if (verdict != Verdict::kExported) return verdict;
    const std::uint32_t annotator = votes.annotator[v];
    json_id(fit_.annotator_ids[annotator], annotator_);
    const AnnotatorLabels& known = fit_.labels.annotators;
    const bool side_known = !contains(votes.unknown_sides, static_cast<std::uint32_t>(v));
    const float bias = side_known ? known.side_bias[annotator] : 0.0f;
    append_vote_row(row, {annotator_, known.discrimination[annotator], left_chosen ? bias : -bias, count}, out);
    return std::uint64_t{1};
  }

  bool marked() const { return marked_; }

 private:
  /// Sets ids and texts of a row. Returns kExported, or the reason to leave the row out.
  Verdict set_items(std::uint32_t chosen, std::uint32_t rejected, ExportRow& row) {
    json_id(fit_.item_ids[chosen], chosen_id_);
    json_id(fit_.item_ids[rejected], rejected_id_);
    row.chosen_id = chosen_id_;
    row.rejected_id = rejected_id_;
    if (!fit_.prompt.empty()) {
      json_id(fit_.prompt_ids[fit_.prompt[chosen]], prompt_id_);
      row.prompt_id = prompt_id_;
    }
    if (texts_.items != nullptr) {
      row.chosen = texts_.items->text(chosen);
      row.rejected = texts_.items->text(rejected);
      for (const auto& [text, item] : {std::pair{row.chosen, chosen}, std::pair{row.rejected, rejected}})
        if (!usable(text, "item", fit_.item_ids[item], "texts (--texts)")) return Verdict::kMissing;
      if ((row.chosen.front() == '[') != (row.rejected.front() == '['))
        throw bad_input(
            "{}: of the texts of items '{}' and '{}', one is a list of messages and one a string; give both in the "
            "same form",
            place(fit_), shown(fit_.item_ids[chosen]), shown(fit_.item_ids[rejected]));
      row.prompt = texts_.items->prompt(chosen);
      const std::string_view other = texts_.items->prompt(rejected);
      if (row.prompt.empty()) row.prompt = other;
      if (!other.empty() && other != row.prompt && texts_.prompts == nullptr && !options_.no_prompts)
        return Verdict::kConflicting;
    } else if (ids_stand_in_) {
      row.chosen = row.chosen_id;
      row.rejected = row.rejected_id;
    }
    if (options_.no_prompts) {
      row.prompt = {};
    } else if (texts_.prompts != nullptr && !fit_.prompt.empty()) {
      row.prompt = texts_.prompts->text(fit_.prompt[chosen]);
      if (!usable(row.prompt, "prompt", fit_.prompt_ids[fit_.prompt[chosen]], "prompt_texts (--prompt-texts)"))
        return Verdict::kMissing;
    } else if (row.prompt.empty() && ids_stand_in_) {
      row.prompt = row.prompt_id;
    } else if (!row.prompt.empty()) {
      require_kind(row.prompt, "the prompt of item", fit_.item_ids[chosen]);
    } else if (!fit_.prompt.empty() && is_for_trainers(options_.format)) {
      if (options_.drop_missing) return Verdict::kMissing;
      throw bad_input(
          "{}: prompt '{}' of item '{}' has no text, and trainers need the prompt; give prompt_texts (--prompt-texts "
          "FILE with lines {{\"id\": prompt, \"text\": ...}}) or a \"prompt\" in each line of texts (--texts), leave "
          "such pairs out (--drop-missing), or write rows without prompts (--no-prompts)",
          place(fit_), shown(fit_.prompt_ids[fit_.prompt[chosen]]), shown(fit_.item_ids[chosen]));
    }
    marked_ = false;
    if (is_for_trainers(options_.format)) {
      look_for_marks(row.chosen, "item", fit_.item_ids[chosen]);
      look_for_marks(row.rejected, "item", fit_.item_ids[rejected]);
      look_for_marks(row.prompt, "the prompt of item", fit_.item_ids[chosen]);
    }
    return Verdict::kExported;
  }
  static void json_id(std::string_view id, std::string& out) {
    out.clear();
    append_json_string(id, out);
  }
  static void swap_sides(ExportRow& row) {
    std::swap(row.chosen, row.rejected);
    std::swap(row.chosen_id, row.rejected_id);
    row.p_chosen = 1 - row.p_chosen;
    row.p_better = 1 - row.p_better;
    row.margin = -row.margin;
  }

  bool usable(std::string_view text, const char* what, std::string_view id, const char* option) const {
    if (text.empty() && options_.drop_missing) return false;
    if (text.empty())
      throw bad_input("{}: {} '{}' has no text in {}; add the text, or leave such pairs out (--drop-missing)",
                      place(fit_), what, shown(id), option);
    require_kind(text, what, id);
    return true;
  }
  void require_kind(std::string_view text, const char* what, std::string_view id) const {
    if (needs_strings(options_.format) && text.front() == '[')
      throw bad_input("{}: the text of {} '{}' is a list of messages, but this format needs strings", place(fit_), what,
                      shown(id));
  }

  /// A text that contains the marks between turns could forge a turn of the user. Throws Error(kBadInput) if the format
  /// itself uses the marks; otherwise only counts them.
  void look_for_marks(std::string_view text, const char* what, std::string_view id) {
    const auto refused = refused_marks(options_.format);
    const std::string_view mark = find_mark(text, refused.empty() ? template_marks() : refused);
    if (mark.empty()) return;
    if (!refused.empty())
      throw bad_input(
          "{}: the text of {} '{}' contains '{}', which marks a turn in this format, so the text could fake a turn; "
          "remove the marks, or set format to 'nemo-rl' (--format nemo-rl), which separates turns",
          place(fit_), what, shown(id), mark);
    marked_ = true;
  }

  const FitResult& fit_;
  const ExportTexts& texts_;
  const ExportOptions& options_;
  double mean_weight_;  ///< mean weight of the fit's pairs
  bool ids_stand_in_;   ///< ids are written instead of texts
  std::string prompt_id_, chosen_id_, rejected_id_, annotator_;
  bool marked_ = false;  ///< the row's texts contain marks of turns
};

double mean_of(const Column<float>& weights) {
  double sum = 0;
  for (const float weight : weights) sum += weight;
  return sum > 0 ? sum / static_cast<double>(weights.size()) : 1;
}

/// Rows of consecutive pairs or votes.
struct Block {
  std::vector<std::string> text;  ///< [parts]
  ExportCounts counts;
};

void add(const ExportCounts& some, ExportCounts& all) {
  all.exported += some.exported;
  all.ties += some.ties;
  all.undecided += some.undecided;
  all.flagged += some.flagged;
  all.missing += some.missing;
  all.conflicting += some.conflicting;
  all.uncounted += some.uncounted;
  all.marked += some.marked;
  all.first_conflict = std::min(all.first_conflict, some.first_conflict);
  all.expected_flips += some.expected_flips;
  for (std::size_t part = 0; part < all.rows.size(); ++part) all.rows[part] += some.rows[part];
}

void count_left_out(Verdict why, std::uint64_t pair, ExportCounts& counts) {
  counts.ties += why == Verdict::kTie;
  counts.undecided += why == Verdict::kUndecided;
  counts.flagged += why == Verdict::kFlagged;
  counts.missing += why == Verdict::kMissing;
  counts.conflicting += why == Verdict::kConflicting;
  counts.uncounted += why == Verdict::kUncounted;
  if (why == Verdict::kConflicting) counts.first_conflict = std::min(counts.first_conflict, pair);
}

/// Writes the rows of `total` pairs or votes, `in_block` per block. `part_of(i)`: the part of number i. `make(writer,
/// i, text of its part)`: appends the rows of number i. `done(i, counts)`: called after number i was exported.
template <class Part, class Make, class Done>
ExportCounts export_blocks(const FitResult& fit, const ExportTexts& texts, const ExportOptions& options,
                           std::vector<TextOutput>& outputs, const std::function<void(std::uint64_t)>& report,
                           std::size_t total, std::size_t in_block, const Part& part_of, const Make& make,
                           const Done& done) {
  ExportCounts counts;
  counts.pairs = total;
  counts.rows.assign(outputs.size(), 0);
  for (TextOutput& output : outputs) output.write(header_of(options.format));
  const double mean_weight = mean_of(fit.labels.pairs.weight);
  std::vector<Block> blocks(4 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency()));
  for (std::size_t begin = 0; begin < total; begin += blocks.size() * in_block) {
    report(begin);
    oneapi::tbb::parallel_for(std::size_t{0}, blocks.size(), [&](std::size_t b) {
      Block& block = blocks[b];
      block.text.resize(outputs.size());
      for (std::string& text : block.text) text.clear();
      block.counts = {};
      block.counts.rows.assign(outputs.size(), 0);
      RowWriter writer(fit, texts, options, mean_weight);
      const std::size_t first = std::min(begin + b * in_block, total);
      for (std::size_t i = first; i < std::min(first + in_block, total); ++i) {
        const std::size_t part = part_of(i);
        const std::variant<std::uint64_t, Verdict> made = make(writer, i, block.text[part]);
        if (const Verdict* const left_out = std::get_if<Verdict>(&made)) {
          count_left_out(*left_out, i, block.counts);
          continue;
        }
        ++block.counts.exported;
        block.counts.marked += writer.marked();
        block.counts.rows[part] += std::get<std::uint64_t>(made);
        done(i, block.counts);
      }
    });
    for (const Block& block : blocks) {
      add(block.counts, counts);
      for (std::size_t part = 0; part < outputs.size(); ++part) outputs[part].write(block.text[part]);
    }
  }
  return counts;
}

}  // namespace

const std::vector<std::string>& format_names() {
  static const std::vector<std::string> names = {"trl",     "openrlhf", "nemo",  "nemo-aligner", "nemo-rl",
                                                 "axolotl", "csv",      "jsonl", "votes"};
  return names;
}

ExportFormat format_named(const std::string& name) {
  static const std::map<std::string, ExportFormat> formats = {
      {"trl", ExportFormat::kTrl},          {"openrlhf", ExportFormat::kOpenRlhf},
      {"nemo", ExportFormat::kNemoAligner}, {"nemo-aligner", ExportFormat::kNemoAligner},
      {"nemo-rl", ExportFormat::kNemoRl},   {"axolotl", ExportFormat::kAxolotl},
      {"csv", ExportFormat::kCsv},          {"jsonl", ExportFormat::kJsonl},
      {"votes", ExportFormat::kVotes}};
  const auto found = formats.find(name);
  if (found == formats.end())
    throw usage_error("format: '{}' is not one of {}", shown(name), fmt::join(format_names(), ", "));
  return found->second;
}

ExportCounts export_rows(const FitResult& fit, const ExportTexts& texts, const ExportOptions& options,
                         std::vector<TextOutput>& outputs, const std::function<void(std::uint64_t)>& report) {
  const PairColumns& pairs = fit.labels.pairs;
  if (pairs.target.size() != pairs.left.size())
    throw bad_input("{}: no dataset 'pairs/target', because an earlier version wrote the file; fit again", fit.path);
  const Parts parts(fit, options);
  // An expanded pair has many rows, and the rows of all blocks are in memory together. So blocks get fewer pairs.
  double most = 1;
  if (options.expand > 0 && !pairs.weight.empty())
    most = options.expand * double{*std::ranges::max_element(pairs.weight)} / mean_of(pairs.weight);
  constexpr double kMost{kRowsPerBlock};
  const auto in_block = static_cast<std::size_t>(std::clamp(kMost / most, 1.0, kMost));
  return export_blocks(
      fit, texts, options, outputs, report, pairs.left.size(), in_block,
      [&](std::size_t p) { return parts.of(pairs.left[p]); },
      [&](RowWriter& writer, std::size_t p, std::string& out) -> std::variant<std::uint64_t, Verdict> {
        if (const Verdict verdict = judge(pairs, p, options); verdict != Verdict::kExported) return verdict;
        return writer.append(p, out);
      },
      [&](std::size_t p, ExportCounts& counts) {
        counts.expected_flips += std::min(pairs.probability[p], 1 - pairs.probability[p]);
      });
}

ExportCounts export_votes(const FitResult& fit, const Votes& votes, const Column<float>& count,
                          const ExportTexts& texts, const ExportOptions& options, std::vector<TextOutput>& outputs,
                          const std::function<void(std::uint64_t)>& report) {
  constexpr float kHardlyAny = 1e-4f;  // weight that the fit leaves to votes that do not count
  const Parts parts(fit, options);
  return export_blocks(
      fit, texts, options, outputs, report, votes.size(), kRowsPerBlock,
      [&](std::size_t v) { return parts.of(votes.left[v]); },
      [&](RowWriter& writer, std::size_t v, std::string& out) -> std::variant<std::uint64_t, Verdict> {
        if (votes.preference[v] == 0) return Verdict::kTie;
        if (!(count[v] > kHardlyAny)) return Verdict::kUncounted;
        return writer.append_vote(votes, v, count[v], out);
      },
      [](std::size_t, ExportCounts&) {});
}

}  // namespace voxpop
