#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "export/export.h"

namespace voxpop {

/// Contents of one row. Texts and ids are JSON values: strings with their quotes, or lists of messages. `prompt` may be
/// "".
struct ExportRow {
  std::string_view prompt, chosen, rejected;
  std::string_view prompt_id, chosen_id, rejected_id;
  std::uint32_t votes;
  float p_chosen, p_better, margin, margin_se;
  float target, weight;  ///< see evidence_label(); for the chosen item
  bool expanded;  ///< one of several rows of a pair; the number of swapped rows expresses the strength, so no margin
};

/// One vote. The chosen item is the one that the vote prefers.
struct VoteRow {
  std::string_view annotator;              ///< id as JSON
  float discrimination, side_bias, count;  ///< the side bias points to the chosen item
};
void append_vote_row(const ExportRow& items, const VoteRow& vote, std::string& out);

/// Appends `value` with six significant digits, as printf's %g does, but several times as fast.
void append_number(float value, std::string& out);

/// The format's header line, or "" if it has none.
std::string_view header_of(ExportFormat format);

/// Whether prompts and responses must be strings, not lists of messages.
bool needs_strings(ExportFormat format);

/// Marks that texts must not contain, because this format, or the trainer that reads it, joins texts to turns with
/// them. Empty if the format keeps turns apart.
std::span<const std::string_view> refused_marks(ExportFormat format);

/// Marks of turns in common chat templates. A tokenizer that knows them also recognises them inside a text.
std::span<const std::string_view> template_marks();

/// One of `marks` that occurs in `json` (a text or a list of messages), also if its characters are escaped; "" if none.
std::string_view find_mark(std::string_view json, std::span<const std::string_view> marks);

void append_row(ExportFormat format, const ExportRow& row, std::string& out);

/// Appends `text`, which is UTF-8, as a JSON string with quotes.
void append_json_string(std::string_view text, std::string& out);

}  // namespace voxpop
