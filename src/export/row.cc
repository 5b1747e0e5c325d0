#include "export/row.h"

#include <fmt/compile.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

#include "core/strings.h"

namespace voxpop {
namespace {

template <class... Args>
void append(std::string& out, const Args&... args) {
  (out.append(args), ...);
}

void append_named(std::string& out, const char* key, float value) {
  append(out, ",\"", key, "\":");
  append_number(value == 0 ? 0.0f : value, out);  // write -0 as 0
}

/// Appends `"prompt":"...","chosen":"...","rejected":"..."`, with `prompt_key` in place of "prompt".
void append_texts(const ExportRow& row, const char* prompt_key, std::string& out) {
  if (!row.prompt.empty()) append(out, "\"", prompt_key, "\":", row.prompt, ",");
  append(out, "\"chosen\":", row.chosen, ",\"rejected\":", row.rejected);
}

/// Appends fields that no trainer reads yet, but users want.
void append_strength(const ExportRow& row, std::string& out) {
  append_named(out, "p_chosen", row.p_chosen);
  append_named(out, "target", row.target);
  append_named(out, "weight", row.weight);
}

/// TRL's RewardTrainer and OpenRLHF: loss -log sigma(r_chosen - r_rejected - margin).
void append_margin_row(const ExportRow& row, std::string& out) {
  out += '{';
  append_texts(row, "prompt", out);
  if (!row.expanded) append_named(out, "margin", row.margin);
  append_strength(row, out);
  out += "}\n";
}

void append_axolotl_row(const ExportRow& row, std::string& out) {
  out += "{\"system\":\"\",";
  if (row.prompt.empty()) out += "\"input\":\"\",";
  append_texts(row, "input", out);
  append_strength(row, out);
  out += "}\n";
}

std::string_view inside(std::string_view json_string) { return json_string.substr(1, json_string.size() - 2); }

/// Grades of HelpSteer's annotators: 1 slightly better (margin up to 1), 2 better (up to 2), 3 much better.
int grade_of(float margin) { return static_cast<int>(std::clamp(std::ceil(std::abs(margin)), 1.0f, 3.0f)); }

/// Appends two adjacent lines, the chosen response first. |label| is the weight in scaled Bradley-Terry.
void append_nemo_aligner_rows(const ExportRow& row, std::string& out) {
  const int grade = row.expanded ? 1 : grade_of(row.margin);
  for (const auto& [response, label] : {std::pair{row.chosen, grade}, std::pair{row.rejected, -grade}}) {
    append(out, "{\"text\":\"<extra_id_0>System\\n\\n<extra_id_1>User\\n",
           row.prompt.empty() ? std::string_view() : inside(row.prompt), "\\n<extra_id_1>Assistant\\n",
           inside(response));
    fmt::format_to(std::back_inserter(out), "\\n<extra_id_2>\",\"label\":{}}}\n", label);
  }
}

void append_messages(std::string_view json, const char* role, std::string& out) {
  if (json.empty())
    out += "[]";
  else if (json.front() == '[')
    out += json;
  else
    append(out, "[{\"role\":\"", role, "\",\"content\":", json, "}]");
}

void append_nemo_rl_row(const ExportRow& row, std::string& out) {
  out += "{\"context\":";
  append_messages(row.prompt, "user", out);
  out += ",\"completions\":[{\"rank\":0,\"completion\":";
  append_messages(row.chosen, "assistant", out);
  out += "},{\"rank\":1,\"completion\":";
  append_messages(row.rejected, "assistant", out);
  out += "}],\"task_name\":\"preference\"";
  append_strength(row, out);
  out += "}\n";
}

/// Appends `{"prompt_id":...,"chosen_id":...,"rejected_id":...`
void append_ids(const ExportRow& row, std::string& out) {
  out += '{';
  if (!row.prompt_id.empty()) append(out, "\"prompt_id\":", row.prompt_id, ",");
  append(out, "\"chosen_id\":", row.chosen_id, ",\"rejected_id\":", row.rejected_id);
}

/// Appends `,"prompt":...,"chosen":...,"rejected":...}` without the missing texts.
void append_known_texts(const ExportRow& row, std::string& out) {
  constexpr const char* kKeys[] = {"prompt", "chosen", "rejected"};
  const std::string_view texts[] = {row.prompt, row.chosen, row.rejected};
  for (int i = 0; i < 3; ++i)
    if (!texts[i].empty()) append(out, ",\"", kKeys[i], "\":", texts[i]);
  out += "}\n";
}

void append_jsonl_row(const ExportRow& row, std::string& out) {
  append_ids(row, out);
  fmt::format_to(std::back_inserter(out), FMT_COMPILE(",\"votes\":{}"), row.votes);
  append_named(out, "p_better", row.p_better);
  append_named(out, "margin", row.margin);
  append_named(out, "margin_se", row.margin_se);
  append_strength(row, out);
  append_known_texts(row, out);
}

/// Appends a JSON value as a CSV field: strings as plain text, lists as JSON.
void append_field(std::string_view json, std::string& out) {
  if (json.empty()) return;
  thread_local simdjson::dom::parser parser;
  std::string_view text = json, unescaped;
  if (json.front() == '"') {
    text = inside(json);
    if (text.find('\\') != text.npos && !parser.parse(json.data(), json.size()).get_string().get(unescaped))
      text = unescaped;
  }
  append_csv_field(text, out);
}

void append_csv_row(const ExportRow& row, std::string& out) {
  for (const std::string_view id : {row.prompt_id, row.chosen_id, row.rejected_id}) {
    append_field(id, out);
    out += ',';
  }
  fmt::format_to(std::back_inserter(out), FMT_COMPILE("{}"), row.votes);
  for (const float value : {row.p_better, row.margin, row.margin_se, row.p_chosen, row.target, row.weight}) {
    out += ',';
    append_number(value, out);
  }
  for (const std::string_view text : {row.prompt, row.chosen, row.rejected}) {
    out += ',';
    append_field(text, out);
  }
  out += '\n';
}

}  // namespace

void append_number(float value, std::string& out) {
  constexpr int kDigits = 6, kLeast = -4;  // %g writes no 'e' for exponents from kLeast to kDigits - 1
  constexpr double kPowers[] = {1e-4, 1e-3, 1e-2, 1e-1, 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
  const double size = std::abs(double{value});
  if (!(size >= kPowers[0] && size < 999999)) {
    fmt::format_to(std::back_inserter(out), FMT_COMPILE("{:.6g}"), value);
    return;
  }
  int exponent = kLeast;
  while (size >= kPowers[exponent + 1 - kLeast]) ++exponent;
  auto digits = static_cast<std::uint32_t>(std::nearbyint(size * kPowers[kDigits - 1 - exponent - kLeast]));
  if (digits == 1000000) {  // rounding gave one more digit
    digits = 100000;
    ++exponent;
  }
  char text[] = "-0.000000000";
  char* end = text + 1;
  if (exponent < 0) end += 1 - exponent;  // skip "0." and its zeros
  char* const first = end;
  for (int i = kDigits - 1; i >= 0; --i, digits /= 10) first[i] = static_cast<char>('0' + digits % 10);
  end += kDigits;
  if (exponent >= 0) {
    std::copy_backward(first + exponent + 1, end, end + 1);
    first[exponent + 1] = '.';
    ++end;
  }
  while (end[-1] == '0') --end;
  if (end[-1] == '.') --end;
  out.append(value < 0 ? text : text + 1, end);
}

std::string_view header_of(ExportFormat format) {
  return format == ExportFormat::kCsv ? "prompt_id,chosen_id,rejected_id,votes,p_better,margin,margin_se,p_chosen,"
                                        "target,weight,prompt,chosen,rejected\n"
                                      : "";
}

bool needs_strings(ExportFormat format) {
  return format == ExportFormat::kNemoAligner || format == ExportFormat::kAxolotl;
}

namespace {

constexpr std::string_view kNemoMarks[] = {"<extra_id_"};
/// Marks of ChatML and Llama 3, in which Axolotl's prompt strategies write such rows, and of other templates.
constexpr std::string_view kTemplateMarks[] = {
    "<|im_start|>",  "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",      "<|begin_of_text|>",
    "<|endoftext|>", "<|user|>",   "<|assistant|>",       "<|system|>",        "<start_of_turn>", "<end_of_turn>",
    "[INST]",        "[/INST]",    "<extra_id_"};

std::string_view find_mark_as_it_stands(std::string_view text, std::span<const std::string_view> marks) {
  for (const char begin : {'<', '['})
    for (std::size_t at = text.find(begin); at != text.npos; at = text.find(begin, at + 1))
      for (const std::string_view mark : marks)
        if (text.substr(at).starts_with(mark)) return mark;
  return {};
}

/// The JSON with escaped ASCII characters replaced by the characters themselves.
std::string without_escapes(std::string_view json) {
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] != '\\' || i + 1 == json.size()) {
      out += json[i];
      continue;
    }
    unsigned code = 0;
    const char* const digits = json.data() + i + 2;
    if (json[i + 1] == 'u' && i + 6 <= json.size() && std::from_chars(digits, digits + 4, code, 16).ptr == digits + 4 &&
        code < 0x80) {
      out += static_cast<char>(code);
      i += 5;
    } else if (json[i + 1] == '/') {
      out += '/';
      ++i;
    } else {
      out.append(json, i, 2);
      ++i;
    }
  }
  return out;
}

}  // namespace

std::span<const std::string_view> refused_marks(ExportFormat format) {
  if (format == ExportFormat::kNemoAligner) return kNemoMarks;
  if (format == ExportFormat::kAxolotl) return kTemplateMarks;
  return {};
}

std::span<const std::string_view> template_marks() { return kTemplateMarks; }

std::string_view find_mark(std::string_view json, std::span<const std::string_view> marks) {
  const std::string_view found = find_mark_as_it_stands(json, marks);
  if (!found.empty() || (json.find("\\u") == json.npos && json.find("\\/") == json.npos)) return found;
  return find_mark_as_it_stands(without_escapes(json), marks);
}

void append_row(ExportFormat format, const ExportRow& row, std::string& out) {
  switch (format) {
    case ExportFormat::kTrl:
    case ExportFormat::kOpenRlhf:
      return append_margin_row(row, out);
    case ExportFormat::kNemoAligner:
      return append_nemo_aligner_rows(row, out);
    case ExportFormat::kNemoRl:
      return append_nemo_rl_row(row, out);
    case ExportFormat::kAxolotl:
      return append_axolotl_row(row, out);
    case ExportFormat::kCsv:
      return append_csv_row(row, out);
    case ExportFormat::kJsonl:
    case ExportFormat::kVotes:  // append_vote_row() writes full rows of this format
      return append_jsonl_row(row, out);
  }
}

void append_vote_row(const ExportRow& items, const VoteRow& vote, std::string& out) {
  append_ids(items, out);
  append(out, ",\"annotator\":", vote.annotator);
  append_named(out, "discrimination", vote.discrimination);
  append_named(out, "side_bias", vote.side_bias);
  append_named(out, "weight", vote.count);
  append_known_texts(items, out);
}

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\')
      append(out, "\\", std::string_view(&c, 1));
    else if (static_cast<unsigned char>(c) < 0x20)
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  out += '"';
}

}  // namespace voxpop
