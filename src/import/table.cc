#include "import/table.h"

#include <csv.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <utility>

#include "core/error.h"

namespace voxpop {
namespace {

constexpr std::size_t kAbsent = ~std::size_t{0};
/// A longer field, row or line is a quote left open or another format; it would be held in memory whole.
constexpr std::size_t kLongest = 256u << 20;
/// Names of more would fill the memory: a megabyte of gzip may be a gigabyte of commas.
constexpr std::size_t kMostColumns = 65'536;

/// Where each column is among `names`, kAbsent for an optional one that is not there.
std::vector<std::size_t> find_columns(const std::string& path, const std::vector<std::string>& names,
                                      const std::vector<TableColumn>& columns) {
  std::vector<std::size_t> places;
  for (const TableColumn& column : columns) {
    const auto place = std::ranges::find(names, column.name);
    places.push_back(place == names.end() ? kAbsent : static_cast<std::size_t>(place - names.begin()));
    if (place != names.end()) {
      if (std::find(place + 1, names.end(), column.name) != names.end())
        throw bad_input("{}: has two columns '{}'; rename one", path, shown(column.name));
    } else if (column.required) {
      std::vector<std::string> there;
      for (const std::string& name : names) there.push_back("'" + shown(name) + "'");
      throw bad_input("{}: no column '{}'; its columns are {} (choose one with {} NAME)", path, shown(column.name),
                      fmt::join(there, ", "), column.option);
    }
  }
  return places;
}

std::vector<std::string> other_names(const std::vector<std::string>& names, const std::vector<std::size_t>& places) {
  std::vector<std::string> others;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (std::ranges::find(places, i) == places.end()) others.push_back(names[i]);
  return others;
}

/// CSV and TSV by libcsv. It is strict, and spaces belong to their field (RFC 4180): ids must come out as they went in.
class CsvReader {
 public:
  CsvReader(TextFile& file, unsigned char delimiter, const std::vector<TableColumn>& columns, const UseRow& use)
      : file_(file), columns_(columns), use_(use) {
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) throw std::bad_alloc();
    csv_set_delim(&parser_, delimiter);
    csv_set_space_func(&parser_, [](unsigned char) { return 0; });
    csv_set_blk_size(&parser_, 1 << 16);
    row_.values.resize(columns.size());
  }
  ~CsvReader() { csv_free(&parser_); }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  std::vector<std::string> read() {
    for (auto block = file_.next_block(); !block.empty(); block = file_.next_block()) {
      const std::size_t parsed = csv_parse(&parser_, block.data(), block.size(), on_field, on_row_end, this);
      if (failure_) std::rethrow_exception(failure_);
      if (parsed < block.size())
        throw bad_input(
            "{}: line {}: a quotation mark inside a field or text after a closing one; put the field in quotes "
            "and double those within",
            file_.path(), line_);
      if (csv_get_buffer_size(&parser_) > kLongest)
        throw bad_input("{}: line {}: a field of over {} MiB; is a quote left open?", file_.path(), line_,
                        kLongest >> 20);
    }
    if (csv_fini(&parser_, on_field, on_row_end, this) != 0)
      throw bad_input("{}: line {}: a quote opens in this row and never closes; close it", file_.path(), line_);
    if (failure_) std::rethrow_exception(failure_);
    if (places_.empty()) throw bad_input("{}: is empty; its first line should name the columns", file_.path());
    return other_names(names_, places_);
  }

 private:
  static void on_field(void* text, std::size_t size, void* self) {
    static_cast<CsvReader*>(self)->guard(&CsvReader::add_field, std::string_view(static_cast<const char*>(text), size));
  }
  static void on_row_end(int terminator, void* self) {
    static_cast<CsvReader*>(self)->guard(&CsvReader::end_row, terminator);
  }
  /// No exception may pass through libcsv, which is C: the first is kept and thrown after it returns.
  template <class Argument>
  void guard(void (CsvReader::*act)(Argument), Argument argument) noexcept {
    if (failure_) return;
    try {
      (this->*act)(argument);
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  void add_field(std::string_view text) {
    if (places_.empty()) {
      if (count_ == kMostColumns)
        throw bad_input("{}: line {}: over {} columns; is this a table of votes?", file_.path(), line_, kMostColumns);
      fields_.emplace_back();
    }
    bytes_ += text.size();
    if (bytes_ > kLongest)
      throw bad_input("{}: line {}: a row of over {} MiB; is a quote left open?", file_.path(), line_, kLongest >> 20);
    if (count_ < fields_.size()) fields_[count_].assign(text);
    ++count_;
    line_breaks_ += static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
  }

  /// Comes once for each CR and each LF outside quotes, so twice for CRLF, the second time without fields.
  void end_row(int terminator) {
    const bool second_of_crlf = count_ == 0 && terminator == '\n' && last_terminator_ == '\r';
    last_terminator_ = terminator;
    if (second_of_crlf) return;
    if (count_ > 0) places_.empty() ? use_header() : use_row();
    line_ += 1 + std::exchange(line_breaks_, 0);
    count_ = bytes_ = 0;
  }

  void use_header() {
    for (const std::string& name : fields_) names_.emplace_back(trimmed(name));
    places_ = find_columns(file_.path(), names_, columns_);
  }

  void use_row() {
    if (count_ != names_.size())
      throw bad_input("{}: line {}: {} fields, but the header has {}; {}", file_.path(), line_, count_, names_.size(),
                      count_ > names_.size() ? "put fields that hold the separator in quotes"
                                             : "is the line cut short, or the separator another one?");
    row_.line = line_;
    for (std::size_t c = 0; c < places_.size(); ++c)
      if (places_[c] != kAbsent) row_.values[c] = fields_[places_[c]];
    use_(row_);
  }

  TextFile& file_;
  const std::vector<TableColumn>& columns_;
  const UseRow& use_;
  csv_parser parser_;
  std::exception_ptr failure_;
  std::vector<std::string> names_, fields_;   ///< the header's; the current row's, whose memory is used again
  std::vector<std::size_t> places_;           ///< empty until the header is read
  std::size_t count_ = 0, bytes_ = 0;         ///< fields of the current row so far, and what is in them
  std::uint64_t line_ = 1, line_breaks_ = 0;  ///< where the current row starts; line breaks within it
  int last_terminator_ = 0;
  Row row_;
};

/// JSONL by simdjson, a line at a time.
class JsonlReader {
 public:
  JsonlReader(TextFile& file, const std::vector<TableColumn>& columns, const UseRow& use)
      : file_(file), columns_(columns), use_(use), numbers_(columns.size()) {
    row_.line = 0;
  }

  std::vector<std::string> read() {
    std::string text;  // whole lines, and the start of one that the next block goes on with
    for (auto block = file_.next_block(); !block.empty(); block = file_.next_block()) {
      std::size_t from = text.size();  // what was there has no line's end
      text.append(block);
      text.reserve(text.size() + simdjson::SIMDJSON_PADDING);  // it reads, but does not use, so much behind a line
      std::size_t begin = 0;
      for (std::size_t end; (end = text.find('\n', from)) != text.npos; from = begin = end + 1)
        use_line(std::string_view(text).substr(begin, end - begin));
      text.erase(0, begin);
      if (text.size() > kLongest)
        throw bad_input("{}: line {} is longer than {} MiB; is this JSONL, one object a line?", file_.path(),
                        row_.line + 1, kLongest >> 20);
    }
    text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    use_line(text);
    if (places_.empty()) throw bad_input("{}: is empty; it should have one JSON object a line", file_.path());
    return other_names(names_, places_);
  }

 private:
  void use_line(std::string_view line) {
    ++row_.line;
    if (trimmed(line).empty()) return;
    simdjson::dom::object object;
    const auto error = parser_.parse(line.data(), line.size(), false).get(object);
    if (error == simdjson::MEMALLOC) throw std::bad_alloc();
    if (error)
      throw bad_input("{}: line {}: not a JSON object: {}", file_.path(), row_.line, simdjson::error_message(error));
    if (places_.empty()) {
      for (const auto field : object) names_.emplace_back(field.key);
      places_ = find_columns(file_.path(), names_, columns_);
    }
    row_.values.assign(columns_.size(), std::nullopt);
    for (const auto field : object)
      for (std::size_t c = 0; c < columns_.size(); ++c)
        if (field.key == columns_[c].name) set_value(c, field.value);
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (row_.values[c].has_value() != (places_[c] != kAbsent))
        throw bad_input("{}: line {}: {} '{}', unlike the first line; give every line the same keys", file_.path(),
                        row_.line, row_.values[c] ? "has" : "has no", shown(columns_[c].name));
    use_(row_);
  }

  void set_value(std::size_t c, simdjson::dom::element value) {
    if (row_.values[c])
      throw bad_input("{}: line {}: has '{}' twice; rename one", file_.path(), row_.line, shown(columns_[c].name));
    if (value.is_array() || value.is_object())
      throw bad_input("{}: line {}: '{}' is a list or an object; it must be a string or a number", file_.path(),
                      row_.line, shown(columns_[c].name));
    if (value.is_string())
      row_.values[c] = value.get_string().value_unsafe();
    else
      row_.values[c] = numbers_[c] = value.is_null() ? std::string() : simdjson::minify(value);
  }

  TextFile& file_;
  const std::vector<TableColumn>& columns_;
  const UseRow& use_;
  simdjson::dom::parser parser_;
  std::vector<std::string> names_, numbers_;  ///< keys of the first object; texts of values that are not strings
  std::vector<std::size_t> places_;           ///< empty until the first object is read
  Row row_;
};

}  // namespace

TableFormat table_format_of(const std::string& path) {
  std::filesystem::path name(path);
  if (lower(name.extension().string()) == ".gz") name.replace_extension();
  const std::string extension = lower(name.extension().string());
  if (extension == ".csv") return TableFormat::kCsv;
  if (extension == ".tsv") return TableFormat::kTsv;
  if (extension == ".jsonl" || extension == ".ndjson") return TableFormat::kJsonl;
  if (extension == ".parquet")
    throw bad_input(
        "{}: Parquet is not read; convert it with pandas: pd.read_parquet('{}').to_csv('votes.csv', index=False)", path,
        path);
  throw usage_error(
      "{}: its name does not say what it holds; name it .csv, .tsv or .jsonl, or add --format where there is that "
      "option",
      path);
}

std::vector<std::string> read_table(TextFile& file, TableFormat format, const std::vector<TableColumn>& columns,
                                    const UseRow& use) {
  if (format == TableFormat::kJsonl) return JsonlReader(file, columns, use).read();
  return CsvReader(file, format == TableFormat::kTsv ? CSV_TAB : CSV_COMMA, columns, use).read();
}

}  // namespace voxpop
