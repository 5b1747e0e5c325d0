#include "export/export.h"

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <variant>

#include "core/error.h"
#include "export/row.h"

namespace voxpop {
namespace {

constexpr std::size_t kRowsPerBlock = 1 << 11;

/// From 0 to below 1, by a hash.
double uniform(const void* bytes, std::size_t size, std::uint64_t seed) {
  return static_cast<double>(XXH3_64bits_withSeed(bytes, size, seed) >> 11) * 0x1p-53;
}

/// The part of each prompt, or of each component where there are no prompts; the latter go by their first item's id.
class Parts {
 public:
  Parts(const FitFile& fit, const ExportOptions& options) : fit_(fit) {
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
    return of_[fit_.prompt.empty() ? static_cast<std::uint32_t>(fit_.labels.items.component[item]) : fit_.prompt[item]];
  }

 private:
  const FitFile& fit_;
  std::vector<std::uint8_t> of_;
};

enum class Verdict { kExported, kTie, kUndecided, kFlagged, kMissing, kConflicting };

Verdict judge(const PairColumns& pairs, std::size_t p, const ExportOptions& options) {
  const double better = std::max(pairs.probability_better[p], 1 - pairs.probability_better[p]);
  if (!options.keep_ties && 2 * pairs.ties[p] > pairs.votes[p]) return Verdict::kTie;
  // Without any evidence rounding would choose.
  if (!options.keep_undecided && (better < options.min_probability || better < 0.5 + 1e-6)) return Verdict::kUndecided;
  if (pairs.flagged_votes[p] > options.max_flagged * pairs.votes[p]) return Verdict::kFlagged;
  return Verdict::kExported;
}

/// Makes the rows of pairs.
class RowWriter {
 public:
  RowWriter(const FitFile& fit, const ExportTexts& texts, const ExportOptions& options)
      : fit_(fit),
        texts_(texts),
        options_(options),
        ids_stand_in_(texts.items == nullptr && is_for_trainers(options.format)) {}

  /// Appends the pair's rows and returns how many; or why there are none.
  std::variant<int, Verdict> append(std::size_t p, std::string& out) {
    const PairColumns& pairs = fit_.labels.pairs;
    const bool left_chosen = pairs.probability_better[p] >= 0.5f;
    const std::uint32_t chosen = left_chosen ? pairs.left[p] : pairs.right[p];
    const std::uint32_t rejected = left_chosen ? pairs.right[p] : pairs.left[p];
    ExportRow row{};
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
        if (!usable(text, "item", fit_.item_ids[item], "--texts")) return Verdict::kMissing;
      if ((row.chosen.front() == '[') != (row.rejected.front() == '['))
        throw bad_input(
            "{}: the text of item '{}' or '{}' is a list of messages and the other's a string; give both as "
            "one or the other",
            fit_.path, shown(fit_.item_ids[chosen]), shown(fit_.item_ids[rejected]));
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
      if (!usable(row.prompt, "prompt", fit_.prompt_ids[fit_.prompt[chosen]], "--prompt-texts"))
        return Verdict::kMissing;
    } else if (row.prompt.empty() && ids_stand_in_) {
      row.prompt = row.prompt_id;
    } else if (!row.prompt.empty()) {
      require_kind(row.prompt, "the prompt of item", fit_.item_ids[chosen]);
    } else if (!fit_.prompt.empty() && is_for_trainers(options_.format)) {
      if (options_.drop_missing) return Verdict::kMissing;
      throw bad_input(
          "{}: prompt '{}' of item '{}' has no text, so that a trainer would see answers to nothing; give "
          "--prompt-texts "
          "FILE ({{\"id\": prompt, \"text\": ...}}) or a \"prompt\" in the lines of --texts, leave such pairs out with "
          "--drop-missing, or do without with --no-prompts",
          fit_.path, shown(fit_.prompt_ids[fit_.prompt[chosen]]), shown(fit_.item_ids[chosen]));
    }
    if (has_marks(options_.format)) {
      require_no_marks(row.chosen, "item", fit_.item_ids[chosen]);
      require_no_marks(row.rejected, "item", fit_.item_ids[rejected]);
      require_no_marks(row.prompt, "the prompt of item", fit_.item_ids[chosen]);
    }
    row.votes = pairs.votes[p];
    row.p_chosen = left_chosen ? pairs.probability[p] : 1 - pairs.probability[p];
    row.p_better = left_chosen ? pairs.probability_better[p] : 1 - pairs.probability_better[p];
    row.margin = static_cast<float>(options_.margin_scale * std::abs(pairs.margin[p]));
    row.margin_se = static_cast<float>(options_.margin_scale * pairs.margin_se[p]);
    row.weight = std::max(2 * row.p_chosen - 1, 0.0f);
    if (options_.expand == 0) {
      append_row(options_.format, row, out);
      return 1;
    }
    // Rounded up or down at random, so that over many pairs the shares are right.
    const std::uint32_t items[2] = {chosen, rejected};
    const int kept =
        static_cast<int>(options_.expand * double{row.p_chosen} + uniform(items, sizeof items, options_.seed));
    row.expanded = true;
    row.weight = 1 / static_cast<float>(options_.expand);
    for (int i = 0; i < options_.expand; ++i) {
      if (i == kept) swap_sides(row);
      append_row(options_.format, row, out);
    }
    return options_.expand;
  }

 private:
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
      throw bad_input("{}: {} '{}' has no text in the files of {}; add it, or leave such pairs out with --drop-missing",
                      fit_.path, what, shown(id), option);
    require_kind(text, what, id);
    return true;
  }
  void require_kind(std::string_view text, const char* what, std::string_view id) const {
    if (needs_strings(options_.format) && text.front() == '[')
      throw bad_input("{}: the text of {} '{}' is a list of messages; this format needs strings", fit_.path, what,
                      shown(id));
  }

  /// A text with the format's marks between turns could put words into the mouth of the user.
  void require_no_marks(std::string_view text, const char* what, std::string_view id) const {
    if (holds_marks(text))
      throw bad_input(
          "{}: the text of {} '{}' holds '<extra_id_', which marks turns in this format: it could forge a turn; take "
          "the marks out, or use --format nemo-rl, which keeps turns apart",
          fit_.path, what, shown(id));
  }

  const FitFile& fit_;
  const ExportTexts& texts_;
  const ExportOptions& options_;
  bool ids_stand_in_;  ///< for texts that were not given
  std::string prompt_id_, chosen_id_, rejected_id_;
};

/// Rows of consecutive pairs.
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
  if (why == Verdict::kConflicting) counts.first_conflict = std::min(counts.first_conflict, pair);
}

}  // namespace

ExportCounts export_rows(const FitFile& fit, const ExportTexts& texts, const ExportOptions& options,
                         std::vector<TextOutput>& outputs, const std::function<void(std::uint64_t)>& report) {
  const PairColumns& pairs = fit.labels.pairs;
  const Parts parts(fit, options);
  ExportCounts total;
  total.pairs = pairs.left.size();
  total.rows.assign(outputs.size(), 0);
  for (TextOutput& output : outputs) output.write(header_of(options.format));
  // An expanded pair is as many rows: all blocks' rows are in memory at a time.
  const std::size_t block_pairs = std::max<std::size_t>(kRowsPerBlock / std::max(options.expand, 1), 1);
  std::vector<Block> blocks(4 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency()));
  for (std::size_t begin = 0; begin < total.pairs; begin += blocks.size() * block_pairs) {
    report(begin);
    oneapi::tbb::parallel_for(std::size_t{0}, blocks.size(), [&](std::size_t b) {
      Block& block = blocks[b];
      block.text.resize(outputs.size());
      for (std::string& text : block.text) text.clear();
      block.counts = {};
      block.counts.rows.assign(outputs.size(), 0);
      RowWriter writer(fit, texts, options);
      const std::size_t first = std::min(begin + b * block_pairs, pairs.left.size());
      for (std::size_t p = first; p < std::min(first + block_pairs, pairs.left.size()); ++p) {
        const std::size_t part = parts.of(pairs.left[p]);
        std::variant<int, Verdict> done = judge(pairs, p, options);
        if (std::get<Verdict>(done) == Verdict::kExported) done = writer.append(p, block.text[part]);
        if (const Verdict* const left_out = std::get_if<Verdict>(&done)) {
          count_left_out(*left_out, p, block.counts);
          continue;
        }
        const int rows = std::get<int>(done);
        ++block.counts.exported;
        block.counts.rows[part] += static_cast<std::uint64_t>(rows);
        block.counts.expected_flips += std::min(pairs.probability[p], 1 - pairs.probability[p]);
      }
    });
    for (const Block& block : blocks) {
      add(block.counts, total);
      for (std::size_t part = 0; part < outputs.size(); ++part) outputs[part].write(block.text[part]);
    }
  }
  return total;
}

}  // namespace voxpop
