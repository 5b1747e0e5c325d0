#include "import/vote_table.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/strings.h"
#include "import/times.h"

namespace voxpop {
namespace {

constexpr std::uint32_t kNoPrompt = 0xffffffffu;
constexpr std::uint32_t kTwoSources = kNoSource - 1;
constexpr double kLargestWeight = 1e6;
constexpr std::string_view kAnonymous = "anonymous";
/// Maximum length of an id in bytes. A longer one is a text; its hash becomes the id.
constexpr std::size_t kLongestId = 256;

template <class... Args>
Error bad_row(const Source& source, fmt::format_string<Args...> format, Args&&... args) {
  return bad_input("{}: line {}: {}", *source.path, source.line, fmt::format(format, std::forward<Args>(args)...));
}

/// Returns the id itself, or, if it is too long, its hash, which is stored in `buffer`.
std::string_view short_id(std::string_view id, std::string& buffer) {
  if (id.size() <= kLongestId) return id;
  return buffer = text_hash(id);
}

double positive_number(std::string_view text, const std::string& column, const Source& source) {
  const std::string_view digits = trimmed(text);
  double number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || !(number >= 0) || number > kLargestWeight)
    throw bad_row(source, "{} is '{}'; it must be a number from 0 to {}", shown(column), shown(text), kLargestWeight);
  return number;
}

}  // namespace

std::string text_hash(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

VoteTable::VoteTable(const ImportOptions& options, ColumnList& columns, BadRows& bad_rows, ImportReport& report)
    : options_(options), bad_rows_(bad_rows), report_(report) {
  // If the user does not name a column, use the column with the default name, if there is one.
  const auto usual = [&](const ImportOptions::Name& name, const char* what, Lists lists = Lists::kNone) {
    const std::string option = fmt::format("--{}", what);
    return name ? columns.add(name, option, lists) : columns.add(what, option, false, lists);
  };
  annotator_ = options.wide ? ColumnList::kNone : usual(options.annotator, "annotator");
  within_ = columns.add(options.within, "--within", Lists::kAny);
  prompt_named_ = options.prompt.has_value();
  prompt_ = options.within && !prompt_named_ ? ColumnList::kNone : usual(options.prompt, "prompt", Lists::kAny);
  timestamp_named_ = options.timestamp.has_value();
  timestamp_ = usual(options.timestamp, "timestamp");
  weight_ = columns.add(options.weight, "--weight");
  count_ = columns.add(options.count, "--count");
  judgement_ = columns.add(options.judgement, "--judgement");
  prompt_text_ = columns.add(options.prompt_text, "--prompt-text", Lists::kAny);
  strict_sources_ = options.strict_sources && (options.source_left || options.source);
  if (options.texts_out) texts_.emplace(*options.texts_out);
  hash_ids_ = options.texts_out && !options.text_left && !options.text_winner && !options.item_text;
}

Source VoteTable::source(const std::string& path, const Row& row) {
  Source source;
  source.path = &path;
  source.line = row.line;
  source.annotator = value_of(row, annotator_).value_or("");
  source.within = value_of(row, within_).value_or("");
  source.prompt = prompt_ == ColumnList::kNone ? source.within : value_of(row, prompt_).value_or("");
  source.judgement = value_of(row, judgement_).value_or("");
  source.prompt_text = value_of(row, prompt_text_).value_or("");
  if (within_ != ColumnList::kNone && source.within.empty())
    throw bad_row(source, "{} is empty; --within needs a value in every row", shown(*options_.within));
  if (const auto text = value_of(row, timestamp_); text && unreadable_time_.empty()) {
    const auto time = parse_time(*text);
    if (time) {
      source.timestamp = time->seconds;
      ++times_of_unit_[static_cast<std::size_t>(time->unit)];
    } else if (timestamp_named_) {
      throw bad_row(source,
                    "{} is '{}'; it must be seconds since 1970, up to the year 9999, or a time such as "
                    "2024-05-21T19:18:25Z (to leave times out, add --timestamp '')",
                    shown(*options_.timestamp), shown(*text));
    } else {
      unreadable_time_ = fmt::format("'{}', line {} of {}", shown(*text), row.line, path);
    }
  }
  if (const auto text = value_of(row, weight_)) {
    source.weight = positive_number(*text, *options_.weight, source);
    if (source.weight < kSmallestWeight)
      throw bad_row(source, "{} is '{}'; a weight must be at least {}", shown(*options_.weight), shown(*text),
                    kSmallestWeight);
  }
  if (const auto text = value_of(row, count_)) {
    const double count = positive_number(*text, *options_.count, source);
    if (count != std::trunc(count))
      throw bad_row(source, "{} is '{}'; a count must be a whole number (for other numbers, use --weight)",
                    shown(*options_.count), shown(*text));
    source.weight *= count;
  }
  return source;
}

std::string VoteTable::column_of(Kind kind) const {
  const auto name = [](const ImportOptions::Name& given, const ImportOptions::Name& text, const char* usual) {
    return shown(given ? *given : text.value_or(usual));
  };
  const bool winner = options_.loser || options_.text_winner;
  switch (kind) {
    case Kind::kLeft:
      return winner ? name(options_.winner, options_.text_winner, "winner")
                    : name(options_.left, options_.text_left, "left");
    case Kind::kRight:
      return winner ? name(options_.loser, options_.text_loser, "loser")
                    : name(options_.right, options_.text_right, "right");
    case Kind::kAnnotator:
      return name(options_.annotator, {}, "annotator");
    case Kind::kPrompt:
      return name(options_.prompt, options_.within, "prompt");
    case Kind::kSource:
      return name(options_.source, options_.source_left, "model_left");
  }
  return {};
}

void VoteTable::require_valid(Kind kind, std::string_view id, const Source& source) const {
  if (!simdjson::validate_utf8(id))
    throw bad_row(source, "{} is '{}'; ids must be UTF-8 (convert the file with iconv)", column_of(kind), shown(id));
  if (id.find('\0') != id.npos)
    throw bad_row(source, "{} is '{}'; ids must not contain NUL bytes", column_of(kind), shown(id));
}

std::uint32_t VoteTable::number(Kind kind, std::string_view id, const Source& source) {
  IdTable& table = kind == Kind::kAnnotator ? annotators_
                   : kind == Kind::kPrompt  ? prompts_
                   : kind == Kind::kSource  ? sources_
                                            : items_;
  const auto [index, is_new] = table.number(id);
  if (is_new) require_valid(kind, id, source);
  return index;
}

std::string_view VoteTable::item_id(const NamedItem& item, const Source& source, std::string& buffer) const {
  const std::string_view id = item.id.empty() ? item.text : item.id;
  if (id.empty()) return id;
  if (hash_ids_ || item.id.empty()) {
    std::string whole(source.prompt.empty() ? source.prompt_text : source.prompt);
    whole += '\0';
    whole += id;
    return buffer = text_hash(whole);
  }
  if (within_ == ColumnList::kNone) return short_id(id, buffer);
  std::string hash;
  buffer.clear();
  append_joined(short_id(source.within, hash), false, buffer);
  buffer += short_id(id, hash);
  return buffer;
}

std::string_view VoteTable::annotator_id(const Source& source) {
  if (!source.annotator.empty()) return source.annotator;
  if (annotator_ != ColumnList::kNone && options_.annotator && !options_.unnamed)
    throw bad_row(source,
                  "{} is empty; every vote needs an annotator (--skip-bad N leaves such rows out; with --unnamed "
                  "together they all count as one annotator, with --unnamed each as one annotator each)",
                  shown(*options_.annotator));
  ++unnamed_;
  if (options_.unnamed != "each") return kAnonymous;
  return name_ = fmt::format("{} {}", kAnonymous, unnamed_);
}

void VoteTable::require_prompt(std::string_view item, std::string_view prompt, const Source& source) const {
  const auto index = items_.find(item);
  if (!index || votes_.prompt[*index] == kNoPrompt) return;
  const std::string_view before = prompts_.ids()[votes_.prompt[*index]];
  if (before == prompt) return;
  const std::string column = options_.within && !prompt_named_ ? *options_.within : options_.prompt.value_or("prompt");
  throw bad_row(source,
                "item '{1}' belongs to prompt '{2}' here, but to '{3}' in an earlier row; if ids are unique only "
                "within a prompt, add --within {0}; if the same items (such as models) are compared on many prompts, "
                "add --prompt '' --judgement {0},LEFT,RIGHT with the columns of the items, so that votes on different "
                "prompts do not count as repeats",
                shown(column), shown(item), shown(prompt), shown(before));
}

void VoteTable::require_source(std::string_view item, std::string_view item_source, const Source& source) const {
  const auto index = items_.find(item);
  if (!strict_sources_ || item_source.empty() || !index || *index >= votes_.source.size()) return;
  if (votes_.source[*index] == kNoSource || sources_.ids()[votes_.source[*index]] == item_source) return;
  throw bad_row(source,
                "item '{}' has source '{}' here, but '{}' in an earlier row; an item has one source (to leave sources "
                "out, add --source-left '')",
                shown(item), shown(item_source), shown(sources_.ids()[votes_.source[*index]]));
}

void VoteTable::set_source(std::uint32_t item, std::string_view item_source, const Source& source) {
  if (item_source.empty()) return;
  if (votes_.source.size() <= item) votes_.source.resize(item + std::size_t{1}, kNoSource);
  const std::uint32_t number_here = number(Kind::kSource, item_source, source);
  std::uint32_t& mine = votes_.source[item];
  mine = mine == kNoSource || mine == number_here ? number_here : kTwoSources;
}

void VoteTable::add(const Source& source, const ImportedVote& vote) {
  if (votes_.size() == kMaxVotes) throw bad_row(source, "more than {} votes; import fewer", kMaxVotes);
  const std::string_view left = item_id(vote.left, source, buffer_[0]);
  const std::string_view right = item_id(vote.right, source, buffer_[1]);
  if (left.empty() || right.empty())
    throw bad_row(source, "{} is empty; every vote needs two items",
                  column_of(left.empty() ? Kind::kLeft : Kind::kRight));
  if (left == right)
    throw bad_row(source, "{} is '{}', so the item is compared with itself; remove the row, or add --skip-bad N",
                  column_of(Kind::kRight), shown(vote.right.id.empty() ? vote.right.text : vote.right.id));
  const double weight = source.weight * vote.weight;
  if (weight > kLargestWeight)
    throw bad_row(source, "the weight of the vote is {}; it must be at most {}", weight, kLargestWeight);
  if (weight < kSmallestWeight) return;  // a count or probability of 0

  const std::string_view annotator = annotator_id(source);
  const std::string_view prompt = !source.prompt.empty() ? short_id(source.prompt, buffer_[2])
                                  : source.prompt_text.empty() || (prompt_named_ && options_.prompt->empty())
                                      ? std::string_view()
                                      : (buffer_[2] = text_hash(source.prompt_text));
  if (prompt.empty()) {
    if (prompt_ != ColumnList::kNone && prompt_named_)
      throw bad_row(source, "{} is empty; every vote needs a prompt (--skip-bad N leaves such rows out)",
                    shown(*options_.prompt));
    if (without_prompt_++ == 0) first_without_prompt_ = fmt::format("line {} of {}", source.line, *source.path);
  } else if (bad_rows_.allowed()) {
    require_prompt(left, prompt, source);
    require_prompt(right, prompt, source);
  }
  const std::string_view sources[] = {short_id(trimmed(vote.left.source), buffer_[3]),
                                      short_id(trimmed(vote.right.source), source_id_)};
  require_source(left, sources[0], source);
  require_source(right, sources[1], source);
  if (bad_rows_.allowed())
    for (const auto& [kind, id] :
         {std::pair(Kind::kLeft, left), std::pair(Kind::kRight, right), std::pair(Kind::kAnnotator, annotator),
          std::pair(Kind::kPrompt, prompt), std::pair(Kind::kSource, sources[0]), std::pair(Kind::kSource, sources[1])})
      require_valid(kind, id, source);

  const std::uint32_t prompt_index = prompt.empty() ? kNoPrompt : number(Kind::kPrompt, prompt, source);
  const auto number_item = [&](Kind kind, std::string_view id, const NamedItem& item) {
    const std::uint32_t index = number(kind, id, source);
    if (index == votes_.prompt.size()) {
      votes_.prompt.push_back(prompt_index);
      if (texts_) texts_->write(id, item.text.empty() ? item.id : item.text, source.prompt_text);
    } else if (votes_.prompt[index] != prompt_index && prompt_index != kNoPrompt) {
      require_prompt(id, prompt, source);
    }
    return index;
  };
  votes_.left.push_back(number_item(Kind::kLeft, left, vote.left));
  votes_.right.push_back(number_item(Kind::kRight, right, vote.right));
  set_source(votes_.left.back(), sources[0], source);
  set_source(votes_.right.back(), sources[1], source);
  votes_.annotator.push_back(number(Kind::kAnnotator, annotator, source));
  votes_.preference.push_back(vote.preference);
  if (source.timestamp)
    votes_.timestamp.push_back(*source.timestamp);
  else
    ++without_time_;
  if (weight != 1 && votes_.weight.empty()) votes_.weight.assign(votes_.size() - 1, 1);
  if (weight != 1 || !votes_.weight.empty()) votes_.weight.push_back(static_cast<float>(weight));

  std::uint32_t judgement = vote.judgement;
  if (!source.judgement.empty()) {
    // A judgement belongs to one annotator: equal names of different annotators are different judgements.
    name_ = fmt::format("{}\n{}", votes_.annotator.back(), source.judgement);
    judgement = judgements_.number(name_).first;
  }
  if (judgement != kNoJudgement && votes_.judgement.empty()) votes_.judgement.assign(votes_.size() - 1, kNoJudgement);
  if (judgement != kNoJudgement || !votes_.judgement.empty()) votes_.judgement.push_back(judgement);
  if (std::string& example = examples_[vote.preference > 0 ? 0 : vote.preference < 0 ? 1 : 2]; example.empty())
    note_example(source, vote);
}

void VoteTable::note_example(const Source& source, const ImportedVote& vote) {
  const auto named = [](const NamedItem& item) { return shown(item.id.empty() ? item.text : item.id); };
  const bool right = vote.preference < 0;
  const std::string better = named(right ? vote.right : vote.left), worse = named(right ? vote.left : vote.right);
  std::string& example = examples_[vote.preference > 0 ? 0 : right ? 1 : 2];
  if (vote.preference == 0)
    example = fmt::format("line {}: '{}' and '{}' were judged equal", source.line, better, worse);
  else
    example = fmt::format("line {}: '{}' was judged better than '{}'", source.line, better, worse);
  if (std::abs(vote.preference) > 1) example += fmt::format(", strength {}", std::abs(vote.preference));
  if (source.weight * vote.weight != 1) example += fmt::format(", weight {:.6g}", source.weight * vote.weight);
}

void VoteTable::note_ids_with_blanks() {
  const auto look = [&](const IdTable& table, const char* what) {
    for (std::size_t i = 0; i < table.ids().size(); ++i) {
      const std::string_view id = table.ids()[i], bare = trimmed(id);
      if (bare.size() == id.size() || !table.find(bare)) continue;
      report_.notes.push_back(fmt::format(
          "{} '{}' and '{}' differ only by spaces and count as two; if they are the same, remove the spaces", what,
          shown(id), shown(bare)));
      return;
    }
  };
  look(items_, "items");
  look(annotators_, "annotators");
}

Votes VoteTable::finish() {
  note_ids_with_blanks();
  const auto note = [&](std::string text) { report_.notes.push_back(std::move(text)); };
  if (without_prompt_ > 0) {
    if (!prompts_.ids().empty())
      note(fmt::format("some votes have no prompt (first: {}), so items/prompt is not written", first_without_prompt_));
    votes_.prompt = {};
  } else {
    votes_.prompt_ids = prompts_.release();
  }
  if (const auto two = std::ranges::count(votes_.source, kTwoSources); two > 0) {
    note(fmt::format("{} items have two different sources ({}), so their source counts as unknown", two,
                     column_of(Kind::kSource)));
    std::ranges::replace(votes_.source, kTwoSources, kNoSource);
  }
  if (!votes_.source.empty()) votes_.source.resize(items_.ids().size(), kNoSource);
  votes_.source_ids = sources_.release();
  if (!unreadable_time_.empty())
    note(fmt::format("column 'timestamp' has a value that is not a time ({}), so it is not used", unreadable_time_));
  else if (!votes_.timestamp.empty() && without_time_ > 0)
    note("some votes have no timestamp, so comparisons/timestamp is not written");
  if (!unreadable_time_.empty() || without_time_ > 0) votes_.timestamp = {};
  constexpr const char* kUnits[] = {"", "milliseconds", "microseconds", "nanoseconds"};
  for (std::size_t unit = 1; unit < times_of_unit_.size() && !votes_.timestamp.empty(); ++unit)
    if (times_of_unit_[unit] > 0)
      note(fmt::format("{} times are in {}; they are converted to seconds", times_of_unit_[unit], kUnits[unit]));
  if (unnamed_ == votes_.size() && options_.unnamed != "each")
    votes_.anonymous = {{0, votes_.size()}};
  else if (unnamed_ > 0)
    note(fmt::format("{} votes have no annotator; {}", unnamed_,
                     options_.unnamed == "each" ? "each counts as a separate annotator"
                                                : "together they count as one annotator, 'anonymous'"));
  for (const std::size_t of : {0, 1, 2})
    if (report_.examples.size() < 2 && !examples_[of].empty()) report_.examples.push_back(examples_[of]);
  if (texts_) {
    texts_->commit();
    report_.texts = texts_->count();
  }
  votes_.item_ids = items_.release();
  votes_.annotator_ids = annotators_.release();
  return std::move(votes_);
}

}  // namespace voxpop
