#include "export/texts.h"

#include <fcntl.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/id_table.h"
#include "core/nameless_file.h"
#include "core/progress.h"
#include "core/strings.h"
#include "text/text_file.h"

namespace voxpop {
namespace {

constexpr std::size_t kPartBytes = 4u << 20;

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

/// Unpacks a gzip file into an unnamed temporary file.
Descriptor unpack(const std::string& path, std::uint64_t bytes, const Context& context) {
  std::error_code problem;
  const std::string folder = std::filesystem::temp_directory_path(problem).string();
  const int descriptor = problem ? -1 : open_nameless_file(folder);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> spool(descriptor >= 0 ? fdopen(descriptor, "w+b") : nullptr,
                                                              std::fclose);
  const auto fail = [&] {
    return file_error(
        "{}: cannot unpack it into a temporary file: {}; set TMPDIR to a folder with more space, or unpack the file "
        "first",
        path, problem ? problem.message() : std::strerror(errno));
  };
  if (!spool) throw fail();
  Progress progress("unpacking", bytes, context);
  TextFile file(path, progress, 0);
  for (std::string_view block = file.next_block(); !block.empty(); block = file.next_block())
    if (std::fwrite(block.data(), 1, block.size(), spool.get()) != block.size()) throw fail();
  if (std::fflush(spool.get()) != 0) throw fail();
  return {dup(fileno(spool.get()))};
}

/// Splits a text into parts of whole lines with about kPartBytes each. Returns the start of each part, then the end of
/// the text.
std::vector<std::size_t> parts_of(std::string_view text) {
  std::vector<std::size_t> bounds = {0};
  while (bounds.back() < text.size()) {
    const std::size_t end = text.find('\n', std::min(bounds.back() + kPartBytes, text.size()));
    bounds.push_back(end == text.npos ? text.size() : end + 1);
  }
  return bounds;
}

}  // namespace

MappedText::MappedText(const std::string& path, const Context& context) : path_(path) {
  const Descriptor plain{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status {};
  if (plain.number < 0 || fstat(plain.number, &status) != 0)
    throw file_error("{}: cannot open: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw file_error("{}: is not a regular file; name a JSONL file", path);
  std::uint8_t magic[2] = {};
  const bool packed = pread(plain.number, magic, 2, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b;
  const Descriptor unpacked =
      packed ? unpack(path, static_cast<std::uint64_t>(status.st_size), context) : Descriptor{-1};
  if (packed) fstat(unpacked.number, &status);
  size_ = static_cast<std::size_t>(status.st_size);
  // Map anonymous memory that is larger than the file, then map the file over its beginning. So bytes past the end of
  // the file can be read.
  mapped_ = size_ + 2 * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* room = mmap(nullptr, mapped_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw file_error("{}: cannot map: {}", path, std::strerror(errno));
  begin_ = static_cast<const char*>(room);
  if (size_ > 0 &&
      mmap(room, size_, PROT_READ, MAP_PRIVATE | MAP_FIXED, packed ? unpacked.number : plain.number, 0) == MAP_FAILED)
    throw file_error("{}: cannot map: {}", path, std::strerror(errno));
}

MappedText::MappedText(MappedText&& other) noexcept
    : path_(std::move(other.path_)),
      begin_(std::exchange(other.begin_, nullptr)),
      size_(other.size_),
      mapped_(other.mapped_) {}

MappedText::~MappedText() {
  if (begin_ != nullptr) munmap(const_cast<char*>(begin_), mapped_);
}

/// Reads lines of one file. Each thread has its own reader.
class Texts::LineReader {
 public:
  /// An error in a line, and the start of that line.
  struct Problem {
    const char* line;
    std::string text;
  };

  LineReader(const IdTable& ids) : ids_(ids) {}

  /// The positions of the line's texts; none if its id is not wanted.
  std::optional<Line> read(std::string_view line) {
    line_ = line.data();
    simdjson::ondemand::document document;
    simdjson::ondemand::object object;
    const auto error =
        parser_.iterate(line.data(), line.size(), line.size() + simdjson::SIMDJSON_PADDING).get(document);
    if (error == simdjson::MEMALLOC) throw std::bad_alloc();
    if (error == simdjson::CAPACITY) throw Problem{line_, "is longer than 4 GiB"};
    if (error || document.get_object().get(object)) throw Problem{line_, "not a JSON object"};
    std::optional<std::string> id;
    Line out{0, {}, {}};
    for (auto field : object) {
      std::string_view key;
      simdjson::ondemand::value value;
      if (field.unescaped_key().get(key) || field.value().get(value)) throw Problem{line_, "not a JSON object"};
      if (key == "id")
        id = read_id(value);
      else if (key == "text")
        out.text = place_of(value, "text");
      else if (key == "prompt")
        out.prompt = place_of(value, "prompt");
    }
    const char* behind = nullptr;
    if (!document.current_location().get(behind) && behind < line.data() + line.size())
      throw Problem{line_, "more than one JSON object, or text after it"};
    if (!id) throw Problem{line_, "has no 'id'; each line needs \"id\" and \"text\""};
    if (out.text.bytes == 0) throw Problem{line_, "has no 'text'; each line needs \"id\" and \"text\""};
    const std::optional<std::uint32_t> known = ids_.find(*id);
    if (!known) return std::nullopt;
    out.id = *known;
    return out;
  }

 private:
  std::string read_id(simdjson::ondemand::value value) const {
    std::string_view text;
    if (!value.get_string().get(text)) return std::string(text);
    std::int64_t number = 0;
    if (!value.get_int64().get(number)) return fmt::format("{}", number);
    std::uint64_t large = 0;
    if (!value.get_uint64().get(large)) return fmt::format("{}", large);
    throw Problem{line_, "'id' must be a string or an integer"};
  }

  Place place_of(simdjson::ondemand::value value, const char* key) {
    simdjson::ondemand::json_type type;
    if (value.type().get(type)) throw Problem{line_, "not a JSON object"};
    std::string_view json, unused;
    if (type == simdjson::ondemand::json_type::string) {
      json = value.raw_json_token();
      json = json.substr(0, json.find_last_of('"') + 1);  // without trailing blanks
      if (value.get_string().get(unused)) throw Problem{line_, fmt::format("'{}' is not a valid JSON string", key)};
    } else if (type == simdjson::ondemand::json_type::array) {
      simdjson::ondemand::array list;
      // The list is exported unchanged, so all of it must be valid JSON.
      const bool is_list = !value.get_array().get(list) && !list.raw_json().get(json);
      const auto error =
          is_list ? whole_parser_.parse(json.data(), json.size(), false).error() : simdjson::INCORRECT_TYPE;
      if (error == simdjson::MEMALLOC) throw std::bad_alloc();
      if (error) throw Problem{line_, fmt::format("'{}' is not a valid JSON list", key)};
      if (trimmed(json.substr(1, json.size() - 2)).empty())
        throw Problem{line_, fmt::format("'{}' is an empty list; it must have messages", key)};
    } else if (type != simdjson::ondemand::json_type::null) {
      throw Problem{line_, fmt::format("'{}' must be a string or a list of messages", key)};
    }
    if (json.size() > std::numeric_limits<std::uint32_t>::max()) throw Problem{line_, "is longer than 4 GiB"};
    return {json.data(), static_cast<std::uint32_t>(json.size())};
  }

  const IdTable& ids_;
  const char* line_ = nullptr;
  simdjson::ondemand::parser parser_;
  simdjson::dom::parser whole_parser_;
};

Texts::Texts(const std::vector<std::string>& paths, const Strings& ids, const Context& context)
    : text_(ids.size()), prompt_(ids.size()) {
  IdTable table;
  for (std::size_t i = 0; i < ids.size(); ++i) table.number(ids[i]);
  std::uint64_t bytes = 0, bytes_before = 0;
  for (const std::string& path : paths) {
    files_.emplace_back(path, context);
    bytes += files_.back().text().size();
  }
  Progress progress("reading texts", bytes, context);
  for (const MappedText& file : files_) {
    std::string_view text = file.text();
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // skip the byte order mark
    const auto line_number = [&](const char* at) { return 1 + std::count(text.data(), at, '\n'); };
    oneapi::tbb::enumerable_thread_specific<LineReader> readers([&] { return LineReader(table); });
    struct Part {
      std::vector<Line> lines;
      std::uint64_t passed_over = 0;
      std::optional<LineReader::Problem> problem;
    };
    const std::vector<std::size_t> bounds = parts_of(text);
    std::vector<Part> parts(4 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency()));
    for (std::size_t begin = 0; begin + 1 < bounds.size(); begin += parts.size()) {
      const std::size_t count = std::min(parts.size(), bounds.size() - 1 - begin);
      oneapi::tbb::parallel_for(std::size_t{0}, count, [&](std::size_t i) {
        Part& part = parts[i] = {};
        std::string_view rest = text.substr(bounds[begin + i], bounds[begin + i + 1] - bounds[begin + i]);
        LineReader& reader = readers.local();
        try {
          while (!rest.empty()) {
            const std::string_view line = rest.substr(0, std::min(rest.find('\n'), rest.size()));
            rest.remove_prefix(std::min(line.size() + 1, rest.size()));
            if (trimmed(line).empty()) continue;
            if (const std::optional<Line> wanted = reader.read(line))
              part.lines.push_back(*wanted);
            else
              ++part.passed_over;
          }
        } catch (const LineReader::Problem& problem) {
          part.problem = problem;
        } catch (const simdjson::simdjson_error& error) {
          part.problem = {rest.data() - 1, simdjson::error_message(error.error())};
        }
      });
      for (std::size_t i = 0; i < count; ++i) {
        for (const Line& line : parts[i].lines) {
          if (text_[line.id].bytes > 0)
            throw bad_input("{}: line {}: '{}' already has a text; give each id once", file.path(),
                            line_number(line.text.begin), shown(ids[line.id]));
          text_[line.id] = line.text;
          prompt_[line.id] = line.prompt;
          ++with_text_;
        }
        passed_over_ += parts[i].passed_over;
        if (parts[i].problem)
          throw bad_input("{}: line {}: {}", file.path(), line_number(parts[i].problem->line), parts[i].problem->text);
      }
      progress.update(bytes_before + bounds[begin + count]);
    }
    bytes_before += text.size();
  }
}

}  // namespace voxpop
