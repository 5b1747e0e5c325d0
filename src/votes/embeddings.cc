#include "votes/embeddings.h"

#include <fmt/ranges.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/error.h"
#include "core/progress.h"
#include "core/seeded_hash.h"
#include "hdf5/hdf5.h"

namespace voxpop {
namespace {

constexpr std::uint16_t kHalfExponent = 0x7c00;

/// Converts a finite binary16 number to float.
float widen(std::uint16_t half) {
  const float size = std::bit_cast<float>(static_cast<std::uint32_t>(half & 0x7fffu) << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(size) | static_cast<std::uint32_t>(half & 0x8000u) << 16);
}

float widen_bfloat(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// Throws for the first value that is NaN, infinite, or, in all types but float16, above 1e18 in magnitude.
void require_numbers(const Embeddings& all, const Strings& item_ids) {
  const std::uint64_t count = all.items * all.dimensions;
  std::atomic<std::uint64_t> first = count;
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::uint64_t>(0, count, 1 << 20), [&](const auto& range) {
    std::uint64_t i = range.begin();
    if (all.half.empty())
      while (i < range.end() && std::abs(all.full[i]) <= 1e18f) ++i;  // so that squares do not overflow
    else
      while (i < range.end() && (all.half[i] & kHalfExponent) != kHalfExponent) ++i;
    std::uint64_t before = first;
    while (i < range.end() && i < before && !first.compare_exchange_weak(before, i)) {
    }
  });
  if (first == count) return;
  const std::uint64_t row = first / all.dimensions;
  throw bad_input("{}: row {} ('{}') column {} is {}; it must be a finite number{}", all.source, row,
                  shown(item_ids[row]), first % all.dimensions,
                  all.half.empty()                 ? fmt::format("{}", all.full[first])
                  : (all.half[first] & 0x3ff) != 0 ? "nan"
                                                   : "inf",
                  all.half.empty() ? " from -1e18 to 1e18" : "");
}

void require_shape(const std::string& source, std::uint64_t rows, std::uint64_t columns, const Strings& item_ids) {
  if (columns == 0 || columns > kMaxEmbedding)
    throw bad_input("{}: has {} columns; an embedding has from 1 to {} dimensions", source, columns, kMaxEmbedding);
  if (rows != item_ids.size())
    throw bad_input("{}: has {} rows, but the votes have {} items; write one row per item, in the order of 'items/id'",
                    source, rows, item_ids.size());
}

/// Copies the rows into the order of the votes' items. `row_of` [items]: row of each item in `from`.
Embeddings reordered(Embeddings from, const std::vector<std::uint32_t>& row_of) {
  Embeddings out;
  out.source = std::move(from.source);
  out.items = row_of.size();
  out.dimensions = from.dimensions;
  const auto copy = [&](auto& to, const auto& rows) {
    to.resize(rows.empty() ? 0 : out.items * out.dimensions);
    if (rows.empty()) return;
    oneapi::tbb::parallel_for(std::uint64_t{0}, out.items, [&](std::uint64_t i) {
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(row_of[i] * out.dimensions), out.dimensions,
                  to.begin() + static_cast<std::ptrdiff_t>(i * out.dimensions));
    });
  };
  copy(out.full, from.full);
  copy(out.half, from.half);
  return out;
}

std::shared_ptr<const Embeddings> checked(Embeddings all, const Strings& item_ids) {
  require_numbers(all, item_ids);
  return std::make_shared<const Embeddings>(std::move(all));
}

/// Source and shape of the matrix `name` of an HDF5 file, without its numbers.
Embeddings shape_of(const InputHdf5& file, const std::string& name) {
  Embeddings all;
  all.source = fmt::format("{}: '{}'", file.path(), name);
  const auto [rows, columns] = file.matrix_shape(name);
  all.items = rows;
  all.dimensions = columns;
  return all;
}

/// Reads the matrix `name` of an HDF5 file, whose rows have the ids `id_name`, into the order of the votes' items.
Embeddings read_with_ids(const InputHdf5& file, const std::string& name, const std::string& id_name,
                         const Strings& item_ids) {
  Embeddings all = shape_of(file, name);
  const Strings ids = file.read_strings(id_name);
  if (ids.size() != all.items)
    throw bad_input("{}: '{}' has {} rows, but '{}' has {}", file.path(), name, all.items, id_name, ids.size());
  file.read_matrix(name, all.full, all.half);
  if (ids == item_ids) return all;
  std::unordered_map<std::string_view, std::uint32_t, SeededHash> row;
  for (std::uint32_t i = 0; i < ids.size(); ++i)
    if (!row.emplace(ids[i], i).second)
      throw bad_input("{}: '{}' row {} is '{}', and so is an earlier row; each id must be unique", file.path(), id_name,
                      i, shown(ids[i]));
  std::vector<std::uint32_t> row_of(item_ids.size());
  for (std::uint32_t i = 0; i < item_ids.size(); ++i) {
    const auto found = row.find(item_ids[i]);
    if (found == row.end())
      throw bad_input("{}: '{}' has no row for some items of the votes, such as '{}'; give every item an embedding",
                      file.path(), id_name, shown(item_ids[i]));
    row_of[i] = found->second;
  }
  return reordered(std::move(all), row_of);
}

/// Reads a file that consists of a header and plain numbers (.npy, .safetensors).
class NumbersFile {
 public:
  NumbersFile(const std::string& path, const Context& context)
      : path_(path), context_(context), file_(std::fopen(path.c_str(), "rb"), std::fclose) {
    if (!file_) throw file_error("{}: cannot open: {}", path, std::strerror(errno));
    std::error_code problem;
    bytes_ = std::filesystem::file_size(path, problem);
    if (problem) throw file_error("{}: cannot read: {}", path, problem.message());
  }
  std::string text(std::uint64_t count) {
    if (count > bytes_)
      throw bad_input("{}: is cut off: its header should have {} bytes, but the whole file has {}; write it again",
                      path_, count, bytes_);
    std::string out(count, '\0');
    read(out.data(), count);
    return out;
  }
  std::uint64_t size() const { return bytes_; }
  void skip_to(std::uint64_t at) {
    if (std::fseek(file_.get(), static_cast<long>(at), SEEK_SET) != 0)
      throw file_error("{}: cannot read: {}", path_, std::strerror(errno));
  }
  std::uint64_t at() const { return static_cast<std::uint64_t>(std::ftell(file_.get())); }
  /// Throws if fewer than `count` bytes remain.
  void require(std::uint64_t count) const {
    if (at() + count > bytes_)
      throw bad_input("{}: is cut off: {} bytes of numbers are missing; write it again", path_, at() + count - bytes_);
  }
  void read(void* out, std::uint64_t count) {
    constexpr std::uint64_t kBlock = 1 << 24;
    for (std::uint64_t done = 0; done < count; done += kBlock) {
      context_.check_stop();
      const std::uint64_t part = std::min(kBlock, count - done);
      if (std::fread(static_cast<char*>(out) + done, 1, part, file_.get()) != part)
        throw file_error("{}: cannot read: {}", path_,
                         std::ferror(file_.get()) != 0 ? std::strerror(errno) : "the file ends too early");
    }
  }

 private:
  std::string path_;
  Context context_;
  std::unique_ptr<std::FILE, decltype(&std::fclose)> file_;
  std::uint64_t bytes_ = 0;
};

enum class Type { kHalf, kBfloat, kFull, kDouble };
std::uint64_t size_of(Type type) { return type == Type::kDouble ? 8 : type == Type::kFull ? 4 : 2; }

Embeddings read_numbers(NumbersFile& file, const std::string& source, std::uint64_t rows, std::uint64_t columns,
                        Type type) {
  Embeddings all;
  all.source = source;
  all.items = rows;
  all.dimensions = columns;
  const std::uint64_t count = rows * columns;
  file.require(count * size_of(type));
  if (type == Type::kDouble) {
    Column<double> numbers(count);
    file.read(numbers.data(), count * sizeof(double));
    all.full.resize(count);
    std::ranges::transform(numbers, all.full.begin(), [](double x) { return static_cast<float>(x); });
    return all;
  }
  if (type == Type::kFull) {
    all.full.resize(count);
    file.read(all.full.data(), count * sizeof(float));
    return all;
  }
  all.half.resize(count);
  file.read(all.half.data(), count * sizeof(std::uint16_t));
  if (type == Type::kHalf) return all;
  all.full.resize(count);
  std::ranges::transform(all.half, all.full.begin(), widen_bfloat);
  all.half = {};
  return all;
}

/// The text after 'key': in a NumPy header, which is a Python dict; "" if the header does not contain the key.
std::string_view behind(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(fmt::format("'{}':", key));
  if (at == header.npos) return {};
  header.remove_prefix(at + key.size() + 3);
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

/// Reads NumPy's .npy format (numpy.lib.format), versions 1 to 3.
Embeddings read_npy(const std::string& path, const Strings& item_ids, const Context& context) {
  constexpr std::uint32_t kLongestHeader = 10'000;  // NumPy's own limit
  NumbersFile file(path, context);
  const std::string start = file.text(8);
  if (!start.starts_with("\x93NUMPY") || start[6] < 1 || start[6] > 3)
    throw bad_input("{}: is not an .npy file (NumPy's format)", path);
  const std::string length = file.text(start[6] == 1 ? 2 : 4);
  std::uint32_t bytes = 0;
  for (std::size_t i = 0; i < length.size(); ++i)
    bytes |= std::uint32_t{static_cast<unsigned char>(length[i])} << (8 * i);
  if (bytes > kLongestHeader)
    throw bad_input("{}: its header has {} bytes, too many for a matrix of numbers", path, bytes);
  const std::string header = file.text(bytes);
  std::string_view type = behind(header, "descr"), shape = behind(header, "shape");
  std::uint64_t extent[2] = {};
  bool is_matrix = type.starts_with('\'') && shape.starts_with('(');
  for (int k = 0; k < 2 && is_matrix; ++k) {
    shape.remove_prefix(1);  // "(" or ","
    shape.remove_prefix(std::min(shape.find_first_not_of(' '), shape.size()));
    const auto [end, problem] = std::from_chars(shape.data(), shape.data() + shape.size(), extent[k]);
    is_matrix = problem == std::errc() && end < shape.data() + shape.size() && *end == (k == 0 ? ',' : ')');
    if (is_matrix) shape.remove_prefix(static_cast<std::size_t>(end - shape.data()));
  }
  if (!is_matrix)
    throw bad_input("{}: is not a matrix [items, dimensions] of numbers; its header is {}", path, shown(header));
  if (behind(header, "fortran_order").starts_with("True"))
    throw bad_input("{}: is stored by columns; write it with numpy.ascontiguousarray()", path);
  type = type.substr(1, type.find('\'', 1) - 1);
  static const std::unordered_map<std::string_view, Type> types = {
      {"<f2", Type::kHalf}, {"<f4", Type::kFull}, {"<f8", Type::kDouble}};
  const auto known = types.find(type);
  if (known == types.end())
    throw bad_input("{}: is of type {}; write it as float16 or float32 (little-endian)", path, shown(type));
  require_shape(path, extent[0], extent[1], item_ids);
  return read_numbers(file, path, extent[0], extent[1], known->second);
}

/// Reads the format of the safetensors library: the header's length, the header in JSON, and the numbers.
Embeddings read_safetensors(const std::string& path, const Strings& item_ids, const Context& context) {
  constexpr std::uint64_t kLongestHeader = 100'000'000;  // the safetensors library's own limit
  NumbersFile file(path, context);
  const std::string start = file.text(8);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < start.size(); ++i)
    length |= std::uint64_t{static_cast<unsigned char>(start[i])} << (8 * i);
  if (length > kLongestHeader) throw bad_input("{}: is not a .safetensors file", path);
  const nlohmann::json header = nlohmann::json::parse(file.text(length), nullptr, false);
  if (!header.is_object()) throw bad_input("{}: is not a .safetensors file", path);
  static const std::unordered_map<std::string, Type> types = {
      {"F16", Type::kHalf}, {"BF16", Type::kBfloat}, {"F32", Type::kFull}, {"F64", Type::kDouble}};
  const auto is_count = [](const nlohmann::json& x) { return x.is_number_unsigned(); };
  std::vector<std::string> matrices;
  std::string names;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    names += (names.empty() ? "" : ", ") + name;
    if (tensor.is_object() && tensor.contains("shape") && tensor["shape"].is_array() && tensor["shape"].size() == 2 &&
        std::ranges::all_of(tensor["shape"], is_count))
      matrices.push_back(name);
  }
  const auto named = [&](const char* name) { return std::ranges::find(matrices, name) != matrices.end(); };
  if (matrices.empty()) throw bad_input("{}: has no matrix [items, dimensions] (tensors: {})", path, shown(names));
  const char* const name = named("embedding") ? "embedding" : named("embeddings") ? "embeddings" : nullptr;
  if (name == nullptr && matrices.size() > 1)
    throw bad_input("{}: has several matrices ({}); give the items' matrix the name 'embedding'", path,
                    shown(fmt::format("{}", fmt::join(matrices, ", "))));
  const std::string found = name != nullptr ? name : matrices.front();
  const std::string source = fmt::format("{}: '{}'", path, shown(found));
  const nlohmann::json& tensor = header[found];
  const nlohmann::json type = tensor.value("dtype", nlohmann::json()),
                       offsets = tensor.value("data_offsets", nlohmann::json());
  const auto known = types.find(type.is_string() ? type.get<std::string>() : "");
  if (known == types.end())
    throw bad_input("{}: is of type {}; write it as F16, BF16 or F32", source, shown(type.dump()));
  const std::uint64_t rows = tensor["shape"][0], columns = tensor["shape"][1];
  require_shape(source, rows, columns, item_ids);
  const std::uint64_t bytes = rows * columns * size_of(known->second);
  if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets, is_count) ||
      offsets[1].get<std::uint64_t>() - offsets[0].get<std::uint64_t>() != bytes ||
      offsets[0].get<std::uint64_t>() > file.size())
    throw bad_input("{}: its data_offsets are {}, but its shape needs {} bytes; write the file again", source,
                    shown(offsets.dump()), bytes);
  file.skip_to(sizeof(length) + length + offsets[0].get<std::uint64_t>());
  return read_numbers(file, source, rows, columns, known->second);
}

}  // namespace

void Embeddings::row(std::uint64_t item, float* out) const {
  if (half.empty())
    std::copy_n(full.data() + item * dimensions, dimensions, out);
  else
    for (std::uint64_t k = 0; k < dimensions; ++k) out[k] = widen(half[item * dimensions + k]);
}

std::shared_ptr<const Embeddings> read_embeddings(const std::vector<std::string>& votes, const Strings& item_ids,
                                                  const Context& context) {
  const std::string name = "items/embedding";
  std::vector<std::string> with;
  for (const std::string& path : votes)
    if (InputHdf5(path, context).has(name)) with.push_back(path);
  if (with.empty()) return nullptr;
  if (with.size() < votes.size()) {
    context.tell(fmt::format("'{}' is not used, because not all files have it", name));
    return nullptr;
  }
  Progress progress("reading embeddings", votes.size(), context);
  if (votes.size() == 1) {
    const InputHdf5 file(votes.front(), context);
    Embeddings all = shape_of(file, name);
    require_shape(all.source, all.items, all.dimensions, item_ids);
    file.read_matrix(name, all.full, all.half);
    return checked(std::move(all), item_ids);
  }
  // Several files: find each row's item by its id. An item may occur in more than one file.
  Embeddings joint;
  std::unordered_map<std::string_view, std::uint64_t, SeededHash> row_of;
  for (std::uint64_t i = 0; i < item_ids.size(); ++i) row_of.emplace(item_ids[i], i);
  std::vector<bool> known(item_ids.size());
  std::vector<float> row, before;
  for (std::size_t f = 0; f < votes.size(); ++f) {
    const InputHdf5 file(votes[f], context);
    Embeddings own = shape_of(file, name);
    const std::uint64_t columns = own.dimensions;
    const Strings ids = file.read_strings("items/id");
    require_shape(own.source, own.items, columns, ids);
    file.read_matrix(name, own.full, own.half);
    require_numbers(own, ids);
    if (f == 0) {
      joint.source = own.source;
      joint.items = item_ids.size();
      joint.dimensions = columns;
      joint.full.resize(joint.items * columns);
      row.resize(columns);
    }
    if (columns != joint.dimensions)
      throw bad_input("{}: has {} columns, but {} has {}", own.source, columns, joint.source, joint.dimensions);
    for (std::uint64_t i = 0; i < own.items; ++i) {
      own.row(i, row.data());
      const std::uint64_t item = row_of.at(ids[i]);
      float* to = joint.full.data() + item * columns;
      if (known[item] && !std::equal(row.begin(), row.end(), to))
        throw bad_input("{}: row {}: item '{}' has another embedding in an earlier file; keep one of them", own.source,
                        i, shown(ids[i]));
      std::ranges::copy(row, to);
      known[item] = true;
    }
    progress.update(f + 1, votes[f]);
  }
  return std::make_shared<const Embeddings>(std::move(joint));
}

std::shared_ptr<const Embeddings> read_embedding_file(const std::string& path, const Strings& item_ids,
                                                      const Context& context) {
  if (std::error_code none; std::filesystem::is_directory(path, none))
    throw file_error("{}: is a directory; name a file of embeddings", path);
  Progress progress("reading embeddings", 1, context);
  const std::string extension = std::filesystem::path(path).extension();
  if (extension == ".npy") return checked(read_npy(path, item_ids, context), item_ids);
  if (extension == ".safetensors") return checked(read_safetensors(path, item_ids, context), item_ids);
  if (extension != ".h5" && extension != ".hdf5")
    throw usage_error("{}: embeddings are read from .npy, .safetensors or .h5", path);
  const InputHdf5 file(path, context);
  const std::string group = file.has("items/embedding") ? "items/" : "";
  return checked(read_with_ids(file, group + "embedding", group + "id", item_ids), item_ids);
}

}  // namespace voxpop
