#include "text/table.h"

#include <csv.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <utility>

#include "core/error.h"
#include "text/json_table.h"

namespace voxpop {
namespace {

constexpr std::size_t kAbsent = ~std::size_t{0};
constexpr std::size_t kSeveral = kAbsent - 1;  ///< the value is joined from several columns, see parts_
/// Limits the memory for column names: a megabyte of gzip may contain a gigabyte of commas.
constexpr std::size_t kMostColumns = 65'536;
/// Quote character for files without quotes. libcsv cannot disable quotes, so use a byte that is never in UTF-8 text.
constexpr unsigned char kNoQuote = 0xff;

/// Reads CSV and TSV with libcsv in strict mode. Spaces are part of their field (RFC 4180), so that ids are unchanged.
class CsvReader {
 public:
  CsvReader(TextFile& file, const TableOptions& options, const std::vector<TableColumn>& columns, const UseRow& use)
      : file_(file), options_(options), columns_(columns), use_(use), joined_(columns.size()) {
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) throw std::bad_alloc();
    csv_set_space_func(&parser_, [](unsigned char) { return 0; });
    csv_set_blk_size(&parser_, 1 << 16);
    row_.values.resize(columns.size());
  }
  ~CsvReader() { csv_free(&parser_); }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  std::vector<std::string> read() {
    bool first = true;
    for (auto block = file_.next_block(); !block.empty(); block = file_.next_block()) {
      if (std::exchange(first, false)) choose_separator(block);
      const std::size_t parsed = csv_parse(&parser_, block.data(), block.size(), on_field, on_row_end, this);
      if (failure_) std::rethrow_exception(failure_);
      if (options_.names_only && !names_.empty()) return names_;
      if (parsed < block.size())
        throw bad_input(
            "{}: line {}: a quotation mark inside a field, or text after a closing quotation mark; put the whole field "
            "in quotation marks, and double those inside it",
            file_.path(), line_);
      if (csv_get_buffer_size(&parser_) > kLongest)
        throw bad_input("{}: line {}: a field of more than {} MiB; is a quotation mark not closed?", file_.path(),
                        line_, kLongest >> 20);
    }
    if (csv_fini(&parser_, on_field, on_row_end, this) != 0)
      throw bad_input("{}: line {}: a quotation mark opens in this row and is never closed; close it", file_.path(),
                      line_);
    if (failure_) std::rethrow_exception(failure_);
    if (names_.empty()) throw bad_input("{}: is empty; its first line should name the columns", file_.path());
    return other_names();
  }

 private:
  static void on_field(void* text, std::size_t size, void* self) {
    static_cast<CsvReader*>(self)->guard(&CsvReader::add_field, std::string_view(static_cast<const char*>(text), size));
  }
  static void on_row_end(int terminator, void* self) {
    static_cast<CsvReader*>(self)->guard(&CsvReader::end_row, terminator);
  }
  /// Exceptions must not pass through libcsv, which is C. Keeps the first exception; read() throws it after libcsv
  /// returns.
  template <class Argument>
  void guard(void (CsvReader::*act)(Argument), Argument argument) noexcept {
    if (failure_) return;
    try {
      (this->*act)(argument);
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  /// Chooses the separator: the requested one; else the separator of the format; else, if the first line does not
  /// contain it, the most frequent of , ; tab and | there.
  void choose_separator(std::string_view block) {
    const std::string_view header = block.substr(0, block.find_first_of("\r\n"));
    delimiter_ = options_.format == TableFormat::kTsv ? '\t' : ',';
    if (options_.delimiter != 0) {
      delimiter_ = options_.delimiter;
    } else if (header.find(delimiter_) == header.npos) {
      const auto count = [&](char c) { return std::ranges::count(header, c); };
      const char other = std::ranges::max(std::string_view(",;\t|"), {}, count);
      if (count(other) > 0) {
        delimiter_ = other;
        if (options_.notes)
          options_.notes->push_back(
              fmt::format("{}: the first line has the separator '{}', so all lines are read with it", file_.path(),
                          other == '\t' ? "\\t" : std::string(1, other)));
      }
    }
    quotes_ = options_.quotes.value_or(delimiter_ != '\t');
    csv_set_delim(&parser_, static_cast<unsigned char>(delimiter_));
    if (!quotes_) csv_set_quote(&parser_, kNoQuote);
  }

  void add_field(std::string_view text) {
    if (names_.empty()) {
      if (count_ == kMostColumns)
        throw bad_input("{}: line {}: more than {} columns; is this a table of votes?", file_.path(), line_,
                        kMostColumns);
      fields_.emplace_back();
    }
    bytes_ += text.size();
    if (bytes_ > kLongest)
      throw bad_input("{}: line {}: a row of more than {} MiB; is a quotation mark not closed?", file_.path(), line_,
                      kLongest >> 20);
    if (count_ < fields_.size()) fields_[count_].assign(text);
    ++count_;
    const auto breaks = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
    line_breaks_ += breaks;
    if (breaks > 0 && names_.size() > 1 && !told_swallowed_) look_for_swallowed_rows(text);
  }

  /// Notes a quoted field that contains lines with as many separators as the header. If quotation marks are ordinary
  /// characters in this file, one of them can merge many rows into a single field.
  void look_for_swallowed_rows(std::string_view text) {
    for (std::size_t begin = text.find('\n') + 1, end; begin != 0 && !told_swallowed_; begin = end + 1) {
      end = text.find('\n', begin);
      const std::string_view line = text.substr(begin, end == text.npos ? end : end - begin);
      if (static_cast<std::size_t>(std::ranges::count(line, delimiter_)) + 1 == names_.size()) told_swallowed_ = true;
      if (end == text.npos) break;
    }
    if (told_swallowed_ && options_.notes)
      options_.notes->push_back(
          fmt::format("{}: line {}: a field in quotation marks seems to contain whole rows; if quotation marks are "
                      "ordinary characters in this file, add --quotes no",
                      file_.path(), line_));
  }

  /// libcsv calls this for each CR and each LF outside quotes, so twice for CRLF, the second time without fields.
  void end_row(int terminator) {
    const bool second_of_crlf = count_ == 0 && terminator == '\n' && last_terminator_ == '\r';
    last_terminator_ = terminator;
    if (second_of_crlf) return;
    if (count_ > 0) names_.empty() ? use_header() : use_row();
    line_ += 1 + std::exchange(line_breaks_, 0);
    count_ = bytes_ = 0;
  }

  void use_header() {
    for (const std::string& name : fields_) names_.emplace_back(trimmed(name));
    for (const TableColumn& column : columns_) places_.push_back(find(column));
  }

  std::size_t place_of(const std::string& name) const {
    const auto place = std::ranges::find(names_, name);
    if (place == names_.end()) return kAbsent;
    if (std::find(place + 1, names_.end(), name) != names_.end())
      throw bad_input("{}: has two columns '{}'; rename one", file_.path(), shown(name));
    return static_cast<std::size_t>(place - names_.begin());
  }

  std::size_t find(const TableColumn& column) {
    parts_.emplace_back();
    if (const std::size_t place = place_of(column.name); place != kAbsent) return place;
    if (column.name.find(',') != column.name.npos) {
      for (const std::string& name : split_names(column.name)) {
        parts_.back().push_back(place_of(name));
        if (parts_.back().back() == kAbsent) throw no_column(file_.path(), {name, column.option}, names_);
      }
      return kSeveral;
    }
    if (column.required) throw no_column(file_.path(), column, names_);
    return kAbsent;
  }

  std::vector<std::string> other_names() const {
    std::vector<std::string> others;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const auto has = [&](const std::vector<std::size_t>& places) {
        return std::ranges::find(places, i) != places.end();
      };
      if (!has(places_) && std::ranges::none_of(parts_, has)) others.push_back(names_[i]);
    }
    return others;
  }

  void use_row() {
    row_.line = row_.record = line_;
    if (count_ != names_.size()) {
      const Error error =
          bad_input("{}: line {}: {} fields, but the header has {}; {}", file_.path(), line_, count_, names_.size(),
                    count_ > names_.size()
                        ? "put fields that contain the separator in quotation marks"
                        : "is the line cut short, or is the separator another character ('import --delimiter')?");
      if (!options_.bad_rows) throw error;
      return options_.bad_rows->leave_out(error);
    }
    for (std::size_t c = 0; c < places_.size(); ++c)
      if (places_[c] < kSeveral)
        row_.values[c] = fields_[places_[c]];
      else if (places_[c] == kSeveral)
        row_.values[c] = join(c);
    use_(row_);
  }

  std::string_view join(std::size_t column) {
    std::string& text = joined_[column];
    text.clear();
    const std::vector<std::size_t>& parts = parts_[column];
    for (std::size_t i = 0; i < parts.size(); ++i) append_joined(fields_[parts[i]], i + 1 == parts.size(), text);
    return text;
  }

  TextFile& file_;
  const TableOptions& options_;
  const std::vector<TableColumn>& columns_;
  const UseRow& use_;
  csv_parser parser_;
  char delimiter_ = ',';
  bool quotes_ = true, told_swallowed_ = false;
  std::exception_ptr failure_;
  std::vector<std::string> names_, fields_;      ///< of the header; of the current row (its memory is reused)
  std::vector<std::size_t> places_;              ///< [columns] index in names_, kSeveral or kAbsent
  std::vector<std::vector<std::size_t>> parts_;  ///< [columns] for kSeveral: indices in names_
  std::vector<std::string> joined_;              ///< [columns] for kSeveral: the joined value of the current row
  std::size_t count_ = 0, bytes_ = 0;            ///< number of fields, and their bytes, so far in the current row
  std::uint64_t line_ = 1, line_breaks_ = 0;     ///< line where the current row starts; line breaks within the row
  int last_terminator_ = 0;
  Row row_{};
};

}  // namespace

void BadRows::leave_out(const Error& error) {
  if (most_ == 0) throw error;
  if (count_ == most_)
    throw bad_input(
        "more than {} rows cannot be used, and --skip-bad allows no more; the last one: {}; the first one: {}", most_,
        error.what(), first_.front());
  ++count_;
  if (first_.size() < 10) first_.emplace_back(error.what());
}

Error no_column(const std::string& path, const TableColumn& column, const std::vector<std::string>& names) {
  std::vector<std::string> there;
  for (const std::string& name : names) there.push_back("'" + shown(name) + "'");
  return bad_input("{}: no column '{}'; its columns are {}{}", path, shown(column.name), fmt::join(there, ", "),
                   column.option.empty() ? "" : fmt::format(" (choose one with {} NAME)", column.option));
}

void append_joined(std::string_view part, bool last, std::string& out) {
  if (last) {
    out += part;
    return;
  }
  for (const char c : part) {
    if (c == '/')
      out += "%2F";
    else if (c == '%')
      out += "%25";
    else
      out += c;
  }
  out += '/';
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end; begin <= names.size(); begin = end + 1) {
    end = std::min(names.find(',', begin), names.size());
    parts.emplace_back(trimmed(names.substr(begin, end - begin)));
  }
  return parts;
}

TableFormat table_format_of(const std::string& path) {
  std::filesystem::path name(path);
  if (lower(name.extension().string()) == ".gz") name.replace_extension();
  const std::string extension = lower(name.extension().string());
  if (extension == ".csv") return TableFormat::kCsv;
  if (extension == ".tsv") return TableFormat::kTsv;
  if (extension == ".jsonl" || extension == ".ndjson") return TableFormat::kJsonl;
  if (extension == ".json") return TableFormat::kJson;
  if (extension == ".parquet")
    throw bad_input(
        "{}: Parquet is not read; convert it with pandas: pd.read_parquet('{}').to_csv('votes.csv', index=False)", path,
        path);
  if (extension == ".h5" || extension == ".hdf5")
    throw usage_error("{}: is HDF5, not a table; 'fit' and 'check' read such files without 'import'", path);
  throw usage_error(
      "{}: its name does not show its format; name it .csv, .tsv, .jsonl or .json, or add --format to 'import'", path);
}

std::vector<std::string> read_table(TextFile& file, const TableOptions& options,
                                    const std::vector<TableColumn>& columns, const UseRow& use) {
  if (options.format == TableFormat::kJsonl || options.format == TableFormat::kJson)
    return read_json(file, options, columns, use);
  if (!options.each.empty())
    throw usage_error("{}: --each is for lists in JSON; in CSV and TSV every line is a row", file.path());
  return CsvReader(file, options, columns, use).read();
}

}  // namespace voxpop
