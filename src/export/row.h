#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "export/export.h"

namespace voxpop {

/// What one row says. Texts and ids are JSON values: strings with their quotes, or lists of messages; a prompt may be
/// "".
struct ExportRow {
  std::string_view prompt, chosen, rejected;
  std::string_view prompt_id, chosen_id, rejected_id;
  std::uint32_t votes;
  float p_chosen, p_better, margin, margin_se;
  float target, weight;  ///< evidence_label(), towards the chosen item
  bool expanded;         ///< its label's strength is in how many rows say the opposite: no margin beside that
};

/// One vote; the chosen item is the one it is for.
struct VoteRow {
  std::string_view annotator;              ///< JSON
  float discrimination, side_bias, count;  ///< the side bias is towards the chosen item
};
void append_vote_row(const ExportRow& items, const VoteRow& vote, std::string& out);

/// Six significant digits, as printf's %g, several times as fast.
void append_number(float value, std::string& out);

/// The format's first line, or "".
std::string_view header_of(ExportFormat format);

/// Whether its prompts and responses must be strings.
bool needs_strings(ExportFormat format);

/// Marks that no text may hold: this format, or the trainer that reads it, joins texts with them to turns. Empty: the
/// format keeps turns apart.
std::span<const std::string_view> refused_marks(ExportFormat format);

/// Marks of turns in common chat templates, which a tokenizer that knows them sees in a text, too.
std::span<const std::string_view> template_marks();

/// One of these that a text or a list of messages, as JSON, holds, however its characters are escaped; "": none.
std::string_view find_mark(std::string_view json, std::span<const std::string_view> marks);

void append_row(ExportFormat format, const ExportRow& row, std::string& out);

/// Text as a JSON string, with its quotes. `text` is UTF-8.
void append_json_string(std::string_view text, std::string& out);

}  // namespace voxpop
