#include "text/json_table.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <new>
#include <utility>

#include "core/error.h"

namespace voxpop {
namespace {

using Element = simdjson::dom::element;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// Converts the path `a.b[0].c` to the JSON pointer `/a/b/0/c`, as later versions of simdjson do. A pointer does not
/// change.
std::string pointer_of(std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  std::string pointer;
  bool at_start = true;
  for (const char c : path) {
    if (c == '.' || c == '[') {
      at_start = true;
    } else if (c != ']') {
      if (std::exchange(at_start, false)) pointer += '/';
      if (c == '~')
        pointer += "~0";
      else if (c == '/')
        pointer += "~1";
      else
        pointer += c;
    }
  }
  return pointer;
}

bool looks_like_path(std::string_view name) { return name.find_first_of(".[/,") != name.npos; }

/// The member with that name; else the value at that path; nullopt if there is neither.
std::optional<Element> find_in(const Element& value, std::string_view name) {
  simdjson::dom::object object;
  Element found;
  if (!value.get(object) && !object.at_key(name).get(found)) return found;
  if (looks_like_path(name) && !value.at_pointer(pointer_of(name)).get(found)) return found;
  return std::nullopt;
}

/// Repairs text that Python writes but that is not valid JSON: NaN and Infinity become null, a single half of a
/// surrogate pair becomes U+FFFD. Returns "" if there was nothing to repair.
std::string mended(std::string_view text) {
  const auto surrogate = [&](std::size_t at) -> unsigned {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return 0;
    const unsigned code = static_cast<unsigned>(std::strtoul(std::string(text.substr(at + 2, 4)).c_str(), nullptr, 16));
    return code >= 0xd800 && code < 0xe000 ? code : 0;
  };
  std::string out;
  bool in_string = false, changed = false;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t take = 1;
    std::string_view instead;
    if (in_string && text[i] == '\\') {
      take = 2;
      if (const unsigned code = surrogate(i); code != 0) {
        const bool pair = code < 0xdc00 && surrogate(i + 6) >= 0xdc00;
        take = pair ? 12 : 6;
        if (!pair) instead = "\\ufffd";
      }
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      for (const std::string_view word : {"NaN", "-Infinity", "Infinity"})
        if (text.substr(i).starts_with(word)) instead = "null", take = word.size();
    }
    changed |= !instead.empty();
    out += instead.empty() ? text.substr(i, take) : instead;
    i += take;
  }
  return changed ? out : std::string();
}

class JsonReader {
 public:
  JsonReader(TextFile& file, const TableOptions& options, const std::vector<TableColumn>& columns, const UseRow& use)
      : file_(file), options_(options), columns_(columns), use_(use), texts_(columns.size()) {
    for (const TableColumn& column : columns) is_path_.push_back(looks_like_path(column.name));
    for (const std::string& each : options.each) lists_.push_back(split_names(each));
  }

  std::vector<std::string> read() {
    auto block = file_.next_block();
    const std::size_t start = block.find_first_not_of(" \t\r\n");
    const bool lines = options_.format == TableFormat::kJsonl && (start == block.npos || block[start] != '[');
    for (; !block.empty(); block = file_.next_block()) {
      const std::size_t from = text_.size();  // text before it is an incomplete record without a line break
      text_.append(block);
      text_.reserve(text_.size() + simdjson::SIMDJSON_PADDING);  // simdjson may read this many bytes past the end
      lines ? use_lines(from) : use_values();
      if (options_.names_only && !names_.empty()) return std::move(names_);
      if (text_.size() > kLongest)
        throw bad_input("{}: line {} is longer than {} MiB; is this JSON with one object per vote?", file_.path(),
                        lines ? line_ + 1 : begin_line_, kLongest >> 20);
    }
    if (lines) {
      ++line_;
      use_record(text_);
    } else {
      end_of_values();
    }
    if (names_.empty()) throw bad_input("{}: is empty; it should have one JSON object per line", file_.path());
    std::erase_if(names_, [&](const std::string& name) { return is_used(name); });
    return std::move(names_);
  }

 private:
  void use_lines(std::size_t from) {
    std::size_t begin = 0;
    for (std::size_t end; (end = text_.find('\n', from)) != text_.npos; from = begin = end + 1) {
      ++line_;
      use_record(std::string_view(text_).substr(begin, end - begin));
    }
    text_.erase(0, begin);
  }

  /// Finds the end of each object. Objects are in sequence or in one array, over any number of lines.
  void use_values() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (in_string_) {
        if (std::exchange(escaped_, false)) continue;
        escaped_ = c == '\\';
        in_string_ = c != '"';
        continue;
      }
      if (c == '\n') ++lines_;
      if (depth_ > 0) {
        in_string_ = c == '"';
        if (c == '{' || c == '[') ++depth_;
        if ((c == '}' || c == ']') && --depth_ == 0) end_value(at_ + 1);
      } else if (!is_blank(c)) {
        between_values(c);
      }
    }
    const std::size_t used = depth_ > 0 ? begin_ : at_;
    text_.erase(0, used);
    at_ -= used;
    begin_ = 0;
  }

  void between_values(char c) {
    if (closed_ || (array_ && after_value_ && c != ',' && c != ']') || (!array_ && (c == ',' || c == ']')))
      throw bad_input("{}: line {}: found '{}' instead of {}; was the file cut, or joined from parts?", file_.path(),
                      lines_, c,
                      closed_  ? "the end of the file"
                      : array_ ? "a comma"
                               : "an object");
    if (c == '[' && !array_ && !after_value_) {
      array_ = true;
    } else if (c == ',' || c == ']') {
      closed_ = c == ']';
      after_value_ = false;
    } else if (c == '{') {
      begin_ = at_, begin_line_ = lines_;
      depth_ = 1;
    } else {
      throw bad_input("{}: line {}: not a JSON object, nor a list of objects", file_.path(), lines_);
    }
  }

  void end_value(std::size_t end) {
    after_value_ = true;
    line_ = begin_line_;
    use_record(std::string_view(text_).substr(begin_, end - begin_));
  }

  void end_of_values() {
    if (depth_ > 0 || (array_ && !closed_))
      throw bad_input("{}: line {}: ends in the middle of {}; it was cut short, so copy it again", file_.path(),
                      depth_ > 0 ? begin_line_ : lines_, depth_ > 0 ? "the object that begins here" : "its array");
  }

  void use_record(std::string_view text) {
    if (trimmed(text).empty()) return;
    if (options_.names_only && !names_.empty()) return;
    row_.line = line_;
    ++row_.record;
    try {
      Element record;
      simdjson::dom::object object;
      auto error = parser_.parse(text.data(), text.size(), false).get(record);
      mended_.clear();
      if (error && error != simdjson::MEMALLOC && !(mended_ = mended(text)).empty())
        error = parser_.parse(mended_).get(record);
      if (error == simdjson::MEMALLOC) throw std::bad_alloc();
      if (!error) error = record.get(object);
      if (error)
        throw bad_input(
            "{}: line {}: not a JSON object: {}{}", file_.path(), line_, simdjson::error_message(error),
            options_.format == TableFormat::kJsonl
                ? " (if an object spans several lines, name the file .json, or add --format json to 'import')"
                : "");
      const bool first = names_.empty();
      if (first)
        for (const auto field : object) names_.emplace_back(field.key);
      if (lists_.empty()) {
        use_object(record, object, first);
      } else {
        for (const auto& lists : lists_) use_elements(record, lists, first);
      }
    } catch (const Error& error) {
      if (!options_.bad_rows || error.exit() != Exit::kBadInput) throw;
      options_.bad_rows->leave_out(error);
    }
  }

  /// Makes one row of an object. In the usual case every column is a key.
  void use_object(const Element& record, const simdjson::dom::object& object, bool first) {
    row_.values.assign(columns_.size(), std::nullopt);
    for (const auto field : object)
      for (std::size_t c = 0; c < columns_.size(); ++c)
        if (field.key == columns_[c].name) set_value(c, field.value);
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (!row_.values[c] && is_path_[c]) set_from(c, record);
    finish_row(first);
  }

  /// Makes one row per element of parallel lists.
  void use_elements(const Element& record, const std::vector<std::string>& lists, bool first) {
    std::vector<std::vector<Element>> elements;
    std::vector<std::vector<std::string_view>> keys;
    for (const std::string& path : lists) {
      const auto list = find_in(record, path);
      if (!list && first) throw no_column(file_.path(), {path, "--each"}, names_);
      if (!list || list->is_null()) return;  // no list: the record has no judgements
      elements.emplace_back(), keys.emplace_back();
      simdjson::dom::array array;
      simdjson::dom::object object;
      if (!list->get(array)) {
        for (const Element element : array) elements.back().push_back(element);
      } else if (!list->get(object)) {
        for (const auto field : object) {
          elements.back().push_back(field.value);
          keys.back().push_back(field.key);
        }
      } else {
        throw bad_input("{}: line {}: '{}' is not a list; --each needs a list or an object", file_.path(), line_,
                        shown(path));
      }
      if (elements.back().size() != elements.front().size())
        throw bad_input("{}: line {}: '{}' has {} elements, but '{}' has {}; parallel lists must have the same length",
                        file_.path(), line_, shown(path), elements.back().size(), shown(lists.front()),
                        elements.front().size());
    }
    for (std::size_t i = 0; i < elements.front().size(); ++i) {
      simdjson::dom::object object;
      if (first && i == 0 && !elements.front()[0].get(object))
        for (const auto field : object)
          if (std::ranges::find(names_, field.key) == names_.end()) names_.emplace_back(field.key);
      row_.values.assign(columns_.size(), std::nullopt);
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        const std::string& name = columns_[c].name;
        for (std::size_t k = 0; k < lists.size() && !row_.values[c]; ++k) {
          const Element& element = elements[k][i];
          if (!keys[k].empty() && name == "key") row_.values[c] = keys[k][i];
          const auto value = name == lists[k] || (!keys[k].empty() && name == "value") ? std::optional(element)
                             : name.starts_with(lists[k] + ".") ? find_in(element, name.substr(lists[k].size() + 1))
                                                                : find_in(element, name);
          if (!row_.values[c] && value) set_value(c, *value);
        }
        if (!row_.values[c]) set_from(c, record);
      }
      finish_row(first && i == 0);
    }
  }

  /// Sets the value of column `c`, whose name may be a path or several names.
  void set_from(std::size_t c, const Element& record) {
    const std::string& name = columns_[c].name;
    if (const auto value = find_in(record, name)) return set_value(c, *value);
    if (name.find(',') == name.npos) return;
    std::string joined;
    const auto parts = split_names(name);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto value = find_in(record, parts[i]);
      if (!value)
        throw bad_input("{}: line {}: has no '{}', which is named by {} {}", file_.path(), line_, shown(parts[i]),
                        columns_[c].option, shown(name));
      row_.values[c].reset();
      set_value(c, *value);
      append_joined(*row_.values[c], i + 1 == parts.size(), joined);
    }
    texts_[c] = std::move(joined);
    row_.values[c] = texts_[c];
  }

  static bool is_text(const Element& value, Lists lists) {
    simdjson::dom::array array;
    const bool messages = !value.get(array) && array.begin() != array.end() && (*array.begin()).is_object();
    return lists == Lists::kAny || (lists == Lists::kMessages && messages);
  }

  void set_value(std::size_t c, const Element& value) {
    const auto fail = [&](const char* problem) {
      return bad_input("{}: line {}: '{}' {}", file_.path(), line_, shown(columns_[c].name), problem);
    };
    if (row_.values[c]) throw fail("occurs twice; rename one");
    if ((value.is_array() || value.is_object()) && !is_text(value, columns_[c].lists)) {
      if (columns_[c].required)
        throw fail(columns_[c].option.empty() ? "is a list or an object; it must be a string or a number"
                                              : "is a list or an object; it must be a string or a number (NAME[0] is "
                                                "the first element, NAME.KEY is a "
                                                "member; --each NAME makes one row per element)");
      if (options_.notes && std::ranges::find(left_alone_, c) == left_alone_.end()) {
        left_alone_.push_back(c);
        options_.notes->push_back(
            fmt::format("column '{}' is a list or an object in some lines (first: line {} of {}) and is not used there",
                        shown(columns_[c].name), line_, file_.path()));
      }
      return;
    }
    if (value.is_string())
      row_.values[c] = value.get_string().value_unsafe();
    else
      row_.values[c] = texts_[c] = value.is_null() ? std::string() : simdjson::minify(value);
    if (!mended_.empty() && row_.values[c]->find("\xef\xbf\xbd") != std::string_view::npos)
      throw fail(
          "has half of a surrogate pair (an emoji cut in two); correct the text, or write it with errors='replace'");
  }

  void finish_row(bool first) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (row_.values[c] || !columns_[c].required) continue;
      if (first) throw no_column(file_.path(), columns_[c], names_);
      throw bad_input("{}: line {}: has no '{}', unlike the first line; give every line the same keys", file_.path(),
                      line_, shown(columns_[c].name));
    }
    use_(row_);
  }

  bool is_used(const std::string& name) const {
    const auto begins = [&](std::string_view path) {
      return path.starts_with(name) && (path.size() == name.size() || path[name.size()] == '.' ||
                                        path[name.size()] == '[' || path[name.size()] == '/');
    };
    const auto names_it = [&](std::string_view given) {
      if (begins(given) || (given.starts_with('/') && begins(given.substr(1)))) return true;
      for (const std::string& path : split_names(given))
        if (begins(path)) return true;
      return false;
    };
    return std::ranges::any_of(columns_, [&](const TableColumn& column) { return names_it(column.name); }) ||
           std::ranges::any_of(options_.each, names_it);
  }

  TextFile& file_;
  const TableOptions& options_;
  const std::vector<TableColumn>& columns_;
  const UseRow& use_;
  simdjson::dom::parser parser_;
  std::vector<std::vector<std::string>> lists_;  ///< per --each: its parallel lists
  std::vector<bool> is_path_;                    ///< [columns] whether the name may be a path or several names
  std::vector<std::string> names_;               ///< keys of the first object and of its first list element
  std::vector<std::string> texts_;               ///< [columns] text of values that are not JSON strings
  std::vector<std::size_t> left_alone_;          ///< optional columns with lists or objects, which are ignored
  std::string text_, mended_;                    ///< text not parsed yet; repaired text of the current record, or ""
  std::uint64_t line_ = 0;                       ///< line where the current record starts
  Row row_{};

  // State of use_values().
  std::size_t at_ = 0, begin_ = 0, depth_ = 0;
  std::uint64_t lines_ = 1, begin_line_ = 1;
  bool array_ = false, closed_ = false, after_value_ = false, in_string_ = false, escaped_ = false;
};

}  // namespace

std::vector<std::string> read_json(TextFile& file, const TableOptions& options, const std::vector<TableColumn>& columns,
                                   const UseRow& use) {
  return JsonReader(file, options, columns, use).read();
}

}  // namespace voxpop
