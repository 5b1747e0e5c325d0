#include "import/shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/error.h"
#include "core/json.h"
#include "core/seeded_hash.h"
#include "core/strings.h"

namespace voxpop {
namespace {

using Name = ImportOptions::Name;

/// Maximum number of items in a ranking. More items would give millions of pairs; such a group is probably not a single
/// ranking.
constexpr std::size_t kMostRanked = 1000;

std::optional<double> number_of(std::string_view text) {
  text = trimmed(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

/// Separates the common prompt from two texts. The prompt is the common beginning up to and including the last shared
/// "Assistant:" after a blank line (the format of HH-RLHF). For two lists of messages, the prompt is the messages with
/// which both lists begin.
class CommonPrompt {
 public:
  /// Sets `prompt` and `texts`. Returns false if there is no common prompt.
  bool split(std::string_view left, std::string_view right) {
    if (left.starts_with("[{") && right.starts_with("[{")) return split_messages(left, right);
    constexpr std::string_view kTurn = "\n\nAssistant:";
    const auto differ = std::ranges::mismatch(left, right);
    const std::string_view common = left.substr(0, static_cast<std::size_t>(differ.in1 - left.begin()));
    const std::size_t turn = common.rfind(kTurn);
    if (turn == common.npos) return false;
    const std::size_t end = turn + kTurn.size();
    prompt = common.substr(0, end);
    texts[0] = left.substr(end);
    texts[1] = right.substr(end);
    return true;
  }

  std::string prompt, texts[2];

 private:
  bool split_messages(std::string_view left, std::string_view right) {
    using nlohmann::ordered_json;
    const ordered_json lists[2] = {parse_json(left), parse_json(right)};
    if (!lists[0].is_array() || !lists[1].is_array()) return false;
    std::size_t shared = 0;
    while (shared + 1 < std::min(lists[0].size(), lists[1].size()) && lists[0][shared] == lists[1][shared]) ++shared;
    if (shared == 0) return false;
    const auto dump = [](auto begin, auto end) { return ordered_json(std::vector<ordered_json>(begin, end)).dump(); };
    const auto middle = [&](const ordered_json& list) { return list.begin() + static_cast<std::ptrdiff_t>(shared); };
    prompt = dump(lists[0].begin(), middle(lists[0]));
    for (const int i : {0, 1}) texts[i] = dump(middle(lists[i]), lists[i].end());
    return true;
  }
};

/// Reads the two items of a row from columns with their ids, their texts, or both.
class ItemColumns {
 public:
  ItemColumns(const ImportOptions& options, ColumnList& columns, const Name& left, const char* usual_left,
              const Name& left_text, const Name& right, const char* usual_right, const Name& right_text)
      : common_prompt_(options.common_prompt) {
    const auto named = [](const Name& name) { return name && !name->empty(); };
    if (named(options.source_left) != named(options.source_right) || options.source)
      throw usage_error("--source-left and --source-right must be given together; --source is for ranked items");
    if (left_text.has_value() != right_text.has_value())
      throw usage_error("the columns with the texts must be given for both items, or for none");
    const auto id = [&](const Name& name, const char* usual, const char* aside) {
      // A text can replace an id. Then the column with the default name is optional.
      const bool needed = name || !left_text;
      return columns.add(name.value_or(usual), fmt::format("--{}", aside), needed, Lists::kMessages);
    };
    const bool ids = left || right || !options.text_winner;  // --text-winner: no default id columns
    left_ = ids ? id(left, usual_left, usual_left) : ColumnList::kNone;
    right_ = ids ? id(right, usual_right, usual_right) : ColumnList::kNone;
    left_text_ = columns.add(left_text, "--text-left", Lists::kAny);
    right_text_ = columns.add(right_text, "--text-right", Lists::kAny);
    // Read sources from the default columns model_left and model_right, unless the models are the items.
    const bool usual = !options.source_left && left != "model_left" && right != "model_right";
    left_source_ =
        usual ? columns.add("model_left", "--source-left", false) : columns.add(options.source_left, "--source-left");
    right_source_ = usual ? columns.add("model_right", "--source-right", false)
                          : columns.add(options.source_right, "--source-right");
  }

  NamedItem left(const Row& row) const { return item(row, left_, left_text_, left_source_); }
  NamedItem right(const Row& row) const { return item(row, right_, right_text_, right_source_); }

  /// Both items. With the option common_prompt, removes the common prompt from their texts and sets it as the row's
  /// prompt text. The views are valid until the next call.
  std::pair<NamedItem, NamedItem> both(const Row& row, Source& source) {
    std::pair items(left(row), right(row));
    if (!common_prompt_) return items;
    const auto text = [](NamedItem& item) -> std::string_view& { return item.text.empty() ? item.id : item.text; };
    std::string_view &first = text(items.first), &second = text(items.second);
    if (common_.split(first, second)) {
      source.prompt_text = common_.prompt;
      first = common_.texts[0];
      second = common_.texts[1];
    }
    return items;
  }

 private:
  static NamedItem item(const Row& row, std::size_t id, std::size_t text, std::size_t source) {
    return {value_of(row, id).value_or(""), value_of(row, text).value_or(""), value_of(row, source).value_or("")};
  }
  bool common_prompt_;
  std::size_t left_, right_, left_text_, right_text_, left_source_, right_source_;
  CommonPrompt common_;
};

ItemColumns left_and_right(const ImportOptions& o, ColumnList& columns) {
  return ItemColumns(o, columns, o.left, "left", o.text_left, o.right, "right", o.text_right);
}

/// Looks up values of votes. Reports unknown values at the end, together with all values of the column.
class CodedVotes {
 public:
  CodedVotes(const ImportOptions& options, std::string column, BadRows& bad_rows)
      : codes_(options.codes, column, options.left.value_or("left"), options.right.value_or("right")),
        column_(std::move(column)),
        bad_rows_(bad_rows) {}

  /// Returns nullopt if the value is to be skipped, or has no known meaning yet (see Codes::check()).
  std::optional<std::int8_t> read(std::string_view value, const NamedItem& left, const NamedItem& right,
                                  const std::string& path, std::uint64_t line) {
    const Codes::Code& code = codes_.look_up(value, path, line);
    if (code.skip) ++skipped_;
    if (code.preference || code.skip) return code.preference;
    if (const std::string_view bare = trimmed(value); !bare.empty() && (bare == left.id || bare == right.id))
      throw bad_input(
          "{}: line {}: {} is '{}', the id of an item; if the column has the id of the winner, use --winner {}", path,
          line, shown(column_), shown(value), shown(column_));
    if (bad_rows_.allowed() && !code.number)
      throw bad_input("{}: line {}: {} is '{}', which has no known meaning; {}", path, line, shown(column_),
                      shown(value), codes_.remedy(code));
    return std::nullopt;
  }

  void finish(ImportReport& report) {
    codes_.check(bad_rows_.allowed());
    report.codes = codes_.seen();
    report.rule = codes_.rule();
    report.skipped = skipped_;
  }

 private:
  Codes codes_;
  std::string column_;
  BadRows& bad_rows_;
  std::uint64_t skipped_ = 0;
};

/// Columns left, right and preference.
class PreferenceShape : public Shape {
 public:
  PreferenceShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes, BadRows& bad_rows)
      : votes_(votes),
        items_(left_and_right(o, columns)),
        preference_(columns.add(o.preference.value_or("preference"), "--preference")),
        codes_(o, o.preference.value_or("preference"), bad_rows) {}

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [left, right] = items_.both(row, source);
    if (const auto preference = codes_.read(*row.values[preference_], left, right, path, row.line))
      votes_.add(source, {left, right, *preference});
  }
  void finish(ImportReport& report) override { codes_.finish(report); }

 private:
  VoteTable& votes_;
  ItemColumns items_;
  std::size_t preference_;
  CodedVotes codes_;
};

/// Columns winner and loser; the sides are unknown.
class WinnerLoserShape : public Shape {
 public:
  WinnerLoserShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes)
      : votes_(votes), items_(o, columns, o.winner, "winner", o.text_winner, o.loser, "loser", o.text_loser) {}

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [winner, loser] = items_.both(row, source);
    votes_.add(source, {winner, loser, 1});
  }
  bool sides_known() const override { return false; }

 private:
  VoteTable& votes_;
  ItemColumns items_;
};

/// Columns left, right and the winner's id. A value that is neither item's id is a code, such as "tie".
class WinnerIdShape : public Shape {
 public:
  WinnerIdShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes, BadRows& bad_rows)
      : votes_(votes),
        items_(left_and_right(o, columns)),
        winner_(columns.add(*o.winner, "--winner")),
        codes_(o, *o.winner, bad_rows) {}

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [left, right] = items_.both(row, source);
    const std::string_view winner = *row.values[winner_];
    std::optional<std::int8_t> preference;
    if (!winner.empty() && winner == left.id)
      preference = 1, ++left_by_id_;
    else if (!winner.empty() && winner == right.id)
      preference = -1, ++right_by_id_;
    else
      preference = codes_.read(winner, {}, {}, path, row.line);
    if (preference) votes_.add(source, {left, right, *preference});
  }

  void finish(ImportReport& report) override {
    codes_.finish(report);
    const auto by_id = [&](const char* text, std::int8_t preference, std::uint64_t count) {
      Codes::Code code;
      code.value = text, code.preference = preference, code.count = count;
      if (count > 0) report.codes.push_back(code);
    };
    by_id("the left item's id", 1, left_by_id_);
    by_id("the right item's id", -1, right_by_id_);
  }

 private:
  VoteTable& votes_;
  ItemColumns items_;
  std::size_t winner_;
  CodedVotes codes_;
  std::uint64_t left_by_id_ = 0, right_by_id_ = 0;
};

/// Columns for left, right and ties, which contain numbers of votes, or 1 in exactly one column and 0 in the others.
class WinsShape : public Shape {
 public:
  WinsShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes)
      : votes_(votes), items_(left_and_right(o, columns)), one_hot_(o.left_won.has_value()) {
    const Name &left = one_hot_ ? o.left_won : o.left_wins, &right = one_hot_ ? o.right_won : o.right_wins;
    if (!left || !right || left->empty() || right->empty())
      throw usage_error("--left-{0} and --right-{0} must be given together: name a column for each",
                        one_hot_ ? "won" : "wins");
    columns_ = {{columns.add(*left, one_hot_ ? "--left-won" : "--left-wins"), 1, *left},
                {columns.add(*right, one_hot_ ? "--right-won" : "--right-wins"), -1, *right}};
    if (o.tied && !o.tied->empty()) columns_.push_back({columns.add(*o.tied, "--tied"), 0, *o.tied});
  }

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [left, right] = items_.both(row, source);
    double counts[3] = {}, sum = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string_view text = trimmed(*row.values[columns_[i].place]);
      const std::string word = lower(text);
      const auto number = word == "true" ? std::optional(1.0) : word == "false" ? std::optional(0.0) : number_of(text);
      if (!number || *number < 0 || *number != std::trunc(*number) || (one_hot_ && *number > 1))
        throw bad_input("{}: line {}: {} is '{}'; it must be {}", path, row.line, shown(columns_[i].name), shown(text),
                        one_hot_ ? "0 or 1" : "a whole number, 0 or more");
      sum += counts[i] = *number;
    }
    if (one_hot_ && sum != 1)
      throw bad_input("{}: line {}: {} of {} is 1, so the winner is not known{}", path, row.line,
                      sum == 0 ? "none" : "more than one", columns_.size() == 3 ? "three columns" : "two columns",
                      columns_.size() == 2 ? " (add --tied with the column of ties)" : "");
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (counts[i] > 0) votes_.add(source, {left, right, columns_[i].preference, counts[i]});
  }

 private:
  struct Column {
    std::size_t place;
    std::int8_t preference;
    std::string name;
  };
  VoteTable& votes_;
  ItemColumns items_;
  bool one_hot_;
  std::vector<Column> columns_;
};

/// A column with the probability p that the left item is better. Gives two votes with weights p and 1 - p, which are
/// one judgement. If p is 0 or 1, gives one vote.
class ProbabilityShape : public Shape {
 public:
  ProbabilityShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes)
      : votes_(votes),
        items_(left_and_right(o, columns)),
        column_(columns.add(*o.probability, "--probability")),
        name_(*o.probability) {
    if (!o.codes.map.empty())
      throw usage_error(
          "--map and --probability contradict each other: --map is for codes, and a probability is a number");
    const std::string& scale = o.codes.scale;
    if (!scale.empty()) {
      const std::size_t dots = scale.find("..");
      const auto first = number_of(scale.substr(0, dots));
      const auto last = dots == scale.npos ? std::nullopt : number_of(scale.substr(dots + 2));
      if (!first || !last || *first == *last)
        throw usage_error("--scale: '{}' is not a scale; write its two ends, LOW..HIGH, such as 1..2", shown(scale));
      left_ = *first, right_ = *last;
    }
    const std::string& positive = o.codes.positive;
    if (!positive.empty() && (left_ > right_) != (positive == "left")) std::swap(left_, right_);
  }

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [left, right] = items_.both(row, source);
    const std::string_view text = *row.values[column_];
    const auto number = number_of(text);
    const double p = number ? (*number - right_) / (left_ - right_) : -1;
    if (!(p >= 0 && p <= 1))
      throw bad_input(
          "{}: line {}: {} is '{}'; it must be a number from {} to {} (add --scale LOW..HIGH for another range)", path,
          row.line, shown(name_), shown(text), std::min(left_, right_), std::max(left_, right_));
    const bool sure = p == 0 || p == 1;
    const std::uint32_t judgement = sure ? kNoJudgement : votes_.new_judgement();
    if (p > 0) votes_.add(source, {left, right, 1, p, judgement});
    if (p < 1) votes_.add(source, {left, right, -1, 1 - p, judgement});
  }

  void finish(ImportReport& report) override {
    report.rule = fmt::format("{} means certainly left, {} certainly right", left_, right_);
  }

 private:
  VoteTable& votes_;
  ItemColumns items_;
  std::size_t column_;
  std::string name_;
  double left_ = 1, right_ = 0;  ///< values for surely left, surely right
};

/// One column per annotator.
class WideShape : public Shape {
 public:
  WideShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes, BadRows& bad_rows)
      : votes_(votes), items_(left_and_right(o, columns)), codes_(o, *o.wide, bad_rows) {
    for (const std::string& name : split_names(*o.wide)) annotators_.emplace_back(columns.add(name, "--wide"), name);
  }

  void add(const std::string& path, const Row& row) override {
    Source source = votes_.source(path, row);
    const auto [left, right] = items_.both(row, source);
    for (const auto& [place, name] : annotators_) {
      const std::string_view value = *row.values[place];
      if (trimmed(value).empty()) continue;  // this annotator did not judge this pair
      source.annotator = name;
      if (const auto preference = codes_.read(value, left, right, path, row.line))
        votes_.add(source, {left, right, *preference});
    }
  }
  void finish(ImportReport& report) override { codes_.finish(report); }

 private:
  VoteTable& votes_;
  ItemColumns items_;
  CodedVotes codes_;
  std::vector<std::pair<std::size_t, std::string>> annotators_;
};

/// Items with ranks or ratings. Each pair of items of a ranking is a vote; all votes of a ranking are one judgement.
class RankingShape : public Shape {
 public:
  RankingShape(const ImportOptions& o, ColumnList& columns, VoteTable& votes, BadRows& bad_rows)
      : votes_(votes), bad_rows_(bad_rows), low_is_best_(o.rank.has_value()) {
    const std::string option = low_is_best_ ? "--rank" : "--rating";
    const std::string& names = low_is_best_ ? *o.rank : *o.rating;
    const auto values = split_names(names);
    name_ = names;
    if (o.source_left || o.source_right)
      throw usage_error("for ranked items, use --source instead of --source-left and --source-right");
    if (values.size() == 1) {
      source_ = columns.add(o.source, "--source");
      if (!o.item && !o.item_text) throw usage_error("{} needs --item: the column with the ranked item", option);
      if (o.each.empty() && !o.group_by)
        throw usage_error("{} needs --group-by: the columns that say which rows are one ranking", option);
      values_ = {columns.add(names, option)};
      items_ = {columns.add(o.item, "--item", Lists::kMessages)};
      text_ = columns.add(o.item_text, "--item-text", Lists::kAny);
      group_ = columns.add(o.group_by, "--group-by");
      return;
    }
    if (o.source)
      throw usage_error("--source is for one ranked item per row; with {} {} columns, leave it out", values.size(),
                        option);
    // Several columns: each row is a ranking with one column per item. An item's id is in a column of --item, or else
    // is the name of its column.
    const auto items = o.item ? split_names(*o.item) : std::vector<std::string>();
    if (o.item && items.size() != values.size())
      throw usage_error("{} names {} columns, but --item names {}; name one item column per column", option,
                        values.size(), items.size());
    ids_ = values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      values_.push_back(columns.add(values[i], option));
      items_.push_back(o.item ? columns.add(items[i], "--item", true, Lists::kMessages) : ColumnList::kNone);
    }
  }

  void add(const std::string& path, const Row& row) override {
    if (values_.size() > 1) {
      for (std::size_t i = 0; i < values_.size(); ++i)
        add_entry(open_, path, row, values_[i],
                  items_[i] == ColumnList::kNone ? NamedItem{ids_[i], {}} : NamedItem{*row.values[items_[i]], {}});
      return close(open_);
    }
    const NamedItem item{value_of(row, items_[0]).value_or(""), value_of(row, text_).value_or(""),
                         value_of(row, source_).value_or("")};
    if (group_ == ColumnList::kNone) {
      if (!open_.empty() && (open_.front().source.path != &path || record_ != row.record)) close(open_);
      record_ = row.record;
      return add_entry(open_, path, row, values_[0], item);
    }
    const Source source = votes_.source(path, row);
    const std::string key = fmt::format("{}\n{}\n{}", *row.values[group_], source.annotator, source.within);
    const auto [at, is_new] = place_of_.try_emplace(key, groups_.size());
    if (is_new) groups_.emplace_back();
    add_entry(groups_[at->second], path, row, values_[0], item);
  }

  void finish(ImportReport& report) override {
    close(open_);
    for (auto& group : groups_) close(group);
    if (alone_ > 0)
      report.notes.push_back(fmt::format("{} rankings have only one item, so they give no votes", alone_));
    report.rule = low_is_best_ ? fmt::format("in {}, low is better", shown(name_))
                               : fmt::format("in {}, high is better", shown(name_));
  }
  bool sides_known() const override { return false; }

 private:
  struct Entry {
    std::string item, text, item_source, annotator, prompt, within, judgement, prompt_text;
    double value;
    Source source;
  };

  void add_entry(std::vector<Entry>& ranking, const std::string& path, const Row& row, std::size_t place,
                 const NamedItem& item) {
    const std::string_view text = *row.values[place];
    if (trimmed(text).empty() || lower(trimmed(text)) == "nan") return;  // not ranked
    const auto value = number_of(text);
    if (!value)
      throw bad_input("{}: line {}: {} is '{}'; it must be a number", path, row.line, shown(name_), shown(text));
    if (item.id.empty() && item.text.empty())
      throw bad_input("{}: line {}: has {} {}, but no item", path, row.line, shown(name_), shown(text));
    if (ranking.size() == kMostRanked)
      throw bad_input(
          "{}: line {}: more than {} items in one ranking; check that --group-by names the columns that identify a "
          "ranking",
          path, row.line, kMostRanked);
    const Source source = votes_.source(path, row);
    ranking.push_back({std::string(item.id), std::string(item.text), std::string(item.source),
                       std::string(source.annotator), std::string(source.prompt), std::string(source.within),
                       std::string(source.judgement), std::string(source.prompt_text), *value, source});
  }

  void close(std::vector<Entry>& ranking) {
    alone_ += ranking.size() == 1;
    const std::uint32_t judgement = ranking.size() > 1 ? votes_.new_judgement() : kNoJudgement;
    for (std::size_t i = 0; i < ranking.size(); ++i)
      for (std::size_t j = i + 1; j < ranking.size(); ++j) {
        const bool first_is_better =
            low_is_best_ ? ranking[i].value <= ranking[j].value : ranking[i].value >= ranking[j].value;
        const Entry &better = ranking[first_is_better ? i : j], &worse = ranking[first_is_better ? j : i];
        const bool tie = better.value == worse.value;
        Source source = better.source;
        source.annotator = better.annotator, source.prompt = better.prompt, source.within = better.within;
        source.judgement = better.judgement, source.prompt_text = better.prompt_text;
        try {
          votes_.add(source, {{better.item, better.text, better.item_source},
                              {worse.item, worse.text, worse.item_source},
                              static_cast<std::int8_t>(tie ? 0 : 1),
                              1,
                              judgement});
        } catch (const Error& error) {
          bad_rows_.leave_out(error);
        }
      }
    ranking.clear();
  }

  VoteTable& votes_;
  BadRows& bad_rows_;
  bool low_is_best_;
  std::string name_;
  std::vector<std::string> ids_;
  std::vector<std::size_t> values_, items_;
  std::size_t text_ = ColumnList::kNone, group_ = ColumnList::kNone, source_ = ColumnList::kNone;
  std::vector<Entry> open_;  ///< the ranking of the current row or record
  std::uint64_t record_ = 0, alone_ = 0;
  std::unordered_map<std::string, std::size_t, SeededHash> place_of_;
  std::vector<std::vector<Entry>> groups_;
};

}  // namespace

std::unique_ptr<Shape> make_shape(const ImportOptions& o, ColumnList& columns, VoteTable& votes, BadRows& bad_rows) {
  const bool one_hot = o.left_won || o.right_won, wins = o.left_wins || o.right_wins;
  const bool winner_loser =
      o.loser || o.text_winner || o.text_loser || (o.winner && !o.left && !o.right && o.common_prompt);
  const int ways = int{o.preference.has_value()} + int{o.winner || winner_loser} + int{one_hot} + int{wins} +
                   int{o.probability.has_value()} + int{o.wide.has_value()} + int{o.rank.has_value()} +
                   int{o.rating.has_value()};
  if (ways > 1)
    throw usage_error(
        "several options say who won; use only one of --preference, --winner, --left-won, --left-wins, --probability, "
        "--wide, --rank and --rating");
  if (o.loser && (o.left || o.right))
    throw usage_error(
        "--loser and --left or --right contradict each other; use either --winner and --loser, or --left, --right and "
        "--winner");
  if (o.loser && !o.winner) throw usage_error("--loser needs --winner: name the columns of both");
  if (o.rank || o.rating) return std::make_unique<RankingShape>(o, columns, votes, bad_rows);
  if (winner_loser) return std::make_unique<WinnerLoserShape>(o, columns, votes);
  if (o.winner) return std::make_unique<WinnerIdShape>(o, columns, votes, bad_rows);
  if (one_hot || wins) return std::make_unique<WinsShape>(o, columns, votes);
  if (o.probability) return std::make_unique<ProbabilityShape>(o, columns, votes);
  if (o.wide) return std::make_unique<WideShape>(o, columns, votes, bad_rows);
  return std::make_unique<PreferenceShape>(o, columns, votes, bad_rows);
}

}  // namespace voxpop
