#include "io/hdf5.h"

#include <libdeflate.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <simdjson.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <ranges>

#include "core/error.h"
#include "core/interrupt.h"
#include "io/damage_guard.h"

namespace voxpop {
namespace {

constexpr std::uint64_t kSlabRows = 1 << 17;
constexpr std::uint64_t kChunkRows = 1 << 16;
constexpr hsize_t kMaxColumns = 4096;
constexpr std::uint64_t kLargestChunk = 64u << 20;  // bytes; larger chunks are left to HDF5, one at a time

/// The innermost message of HDF5's error stack: what actually went wrong.
std::string hdf5_reason() {
  std::string reason;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& text = *static_cast<std::string*>(out);
        if (text.empty() && error->desc != nullptr) text = error->desc;
        return 0;
      },
      &reason);
  std::erase(reason, '\n');  // an error is one line
  return reason.empty() ? "HDF5 gives no reason" : reason;
}

/// Truncation is the file system's doing, anything else that HDF5 cannot read is bad input.
Error read_error(const std::string& path, const std::string& what, const std::string& reason = hdf5_reason()) {
  if (reason.find("truncated") != std::string::npos || reason.find("read past") != std::string::npos)
    return file_error("{}: the file is truncated: {}; copy it again", path, reason);
  return bad_input("{}: {}: {}; the file is damaged or not HDF5", path, what, reason);
}

void require_utf8(const std::string& path, const std::string& name, std::uint64_t row, std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return;
  std::string shown;
  for (const char c : text.substr(0, 40))
    shown += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  throw bad_input("{}: '{}' row {} is not UTF-8: {}", path, name, row, shown);
}

std::string type_name(hid_t type) {
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return fmt::format("{}int{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    case H5T_FLOAT:
      return fmt::format("float{}", bits);
    case H5T_STRING:
      return H5Tis_variable_str(type) > 0 ? "string" : fmt::format("string[{}]", bits / 8);
    case H5T_ENUM:
      return "enum";
    case H5T_COMPOUND:
      return "compound";
    default:
      return "another type";
  }
}

Handle dataset_type(hid_t dataset) { return {H5Dget_type(dataset), H5Tclose}; }
Handle dataset_space(hid_t dataset) { return {H5Dget_space(dataset), H5Sclose}; }

std::vector<hsize_t> shape(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> extent(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  return extent;
}

/// Reads rows [begin, begin + count) of a dataset, each whole, as `memory_type`. Returns what went wrong, or "": HDF5
/// forgets its reason with the next call, a handle's closing included.
std::string read_rows(hid_t dataset, hid_t file_space, hid_t memory_type, hsize_t begin, hsize_t count, void* out) {
  std::vector<hsize_t> extent = shape(file_space), start(extent.size(), 0);
  extent[0] = count;
  start[0] = begin;
  if (H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) < 0)
    return hdf5_reason();
  const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  return H5Dread(dataset, memory_type, memory, file_space, H5P_DEFAULT, out) >= 0 ? "" : hdf5_reason();
}

/// The `count` strings of an attribute, of fixed or variable length. `what`: it, for errors.
Strings read_attribute(hid_t attribute, hid_t type, std::size_t count, const std::string& path,
                       const std::string& what) {
  Strings strings;
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> texts(count, nullptr);
    const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    // Here, since closing `memory` would clear the reason away.
    if (H5Aread(attribute, memory, texts.data()) < 0) throw read_error(path, "cannot read " + what);
    for (char* text : texts) {
      strings.push_back(text != nullptr ? std::string_view(text) : std::string_view());
      H5free_memory(text);
    }
    return strings;
  }
  const std::size_t width = H5Tget_size(type);
  std::string text(width * count, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) throw read_error(path, "cannot read " + what);
  for (std::size_t i = 0; i < count; ++i)
    strings.push_back(std::string_view(text.data() + i * width, strnlen(text.data() + i * width, width)));
  return strings;
}

/// How a chunked dataset is packed, where all cores can unpack it: at most shuffle, then gzip. HDF5 itself would use
/// one.
struct Packing {
  hsize_t chunk_rows = 0;  ///< 0: leave it to HDF5
  bool shuffled = false;
};

Packing packing_of(hid_t dataset, std::uint64_t rows, std::size_t width) {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  Packing packing;
  if (H5Pget_layout(creation) != H5D_CHUNKED || H5Pget_chunk(creation, 1, &packing.chunk_rows) != 1) return {};
  const int filters = H5Pget_nfilters(creation);
  if (filters < 1 || filters > 2 || packing.chunk_rows * width > kLargestChunk) return {};
  for (int i = 0; i < filters; ++i) {
    std::size_t values = 0;
    unsigned flags = 0, config = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config);
    if (filter != (i + 1 == filters ? H5Z_FILTER_DEFLATE : H5Z_FILTER_SHUFFLE)) return {};
    packing.shuffled |= filter == H5Z_FILTER_SHUFFLE;
  }
  for (hsize_t offset = 0; offset < rows; offset += packing.chunk_rows) {
    hsize_t stored = 0;
    // A chunk that was never written has no bytes: its rows are the fill value, which HDF5 knows.
    if (H5Dget_chunk_storage_size(dataset, &offset, &stored) < 0 || stored == 0) return {};
  }
  return packing;
}

/// The opposite of shuffle().
void unshuffle(const std::uint8_t* in, std::size_t elements, std::size_t element_bytes, std::uint8_t* out) {
  for (std::size_t j = 0; j < element_bytes; ++j)
    for (std::size_t i = 0; i < elements; ++i) out[i * element_bytes + j] = in[j * elements + i];
}

/// HDF5's shuffle filter: byte j of every element together, which makes numbers compress.
void shuffle(const std::uint8_t* in, std::size_t elements, std::size_t element_bytes, std::uint8_t* out) {
  for (std::size_t j = 0; j < element_bytes; ++j)
    for (std::size_t i = 0; i < elements; ++i) out[j * elements + i] = in[i * element_bytes + j];
}

}  // namespace

InputHdf5::InputHdf5(const std::string& path) : path_(path) {
  const DamageGuard guard(path_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) throw file_error("{}: cannot open: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw file_error("{}: is not a regular file; name an HDF5 file", path);
  if (status.st_size == 0) throw bad_input("{}: the file is empty", path);
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 == 0)
    throw bad_input("{}: not an HDF5 file (turn CSV, TSV or JSONL into one with 'voxpop import')", path);
  file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file_) {
    const std::string reason = hdf5_reason();
    if (reason.find("unable to open") != std::string::npos) throw file_error("{}: cannot open: {}", path, reason);
    throw read_error(path, "cannot open");
  }
}

InputHdf5::~InputHdf5() {
  const DamageGuard guard(path_);
  file_ = Handle();
}

bool InputHdf5::has(const std::string& name) const {
  const DamageGuard guard(path_);
  for (std::size_t end = name.find('/', 1);;
       end = name.find('/', end + 1)) {  // each group on the way, then the dataset
    const std::string part = name.substr(0, end);
    if (H5Lexists(file_, part.c_str(), H5P_DEFAULT) <= 0) return false;
    H5L_info_t link{};
    if (H5Lget_info(file_, part.c_str(), &link, H5P_DEFAULT) < 0)
      throw read_error(path_, fmt::format("cannot open '{}'", part));
    // Votes must not make voxpop read other files.
    if (link.type == H5L_TYPE_EXTERNAL)
      throw bad_input("{}: '{}' is a link into another file; copy the data into this one first", path_, part);
    if (end == std::string::npos) return true;
  }
}

std::vector<std::string> InputHdf5::datasets() const {
  const DamageGuard guard(path_);
  std::vector<std::string> names;
  const herr_t status = H5Ovisit2(
      file_, H5_INDEX_NAME, H5_ITER_NATIVE,
      [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
        if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(out)->emplace_back(name);
        return 0;
      },
      &names, H5O_INFO_BASIC);
  if (status < 0) throw read_error(path_, "cannot list the datasets");
  return names;
}

Handle InputHdf5::open(const std::string& name) const {
  if (!has(name))
    throw bad_input("{}: no dataset '{}' (run 'voxpop info {}' to list what is there)", path_, name, path_);
  Handle dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset) throw read_error(path_, fmt::format("cannot open dataset '{}'", name));
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_external_count(creation) > 0)
    throw bad_input("{}: '{}' keeps its data in another file; copy it into this one first", path_, name);
  return dataset;
}

std::string InputHdf5::describe(const std::string& name) const {
  const DamageGuard guard(path_);
  const Handle dataset = open(name);
  std::string text = type_name(dataset_type(dataset)) + " [";
  const auto extent = shape(dataset_space(dataset));
  for (std::size_t i = 0; i < extent.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", extent[i]);
  text += "]";
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const int filters = H5Pget_layout(creation) == H5D_CHUNKED ? H5Pget_nfilters(creation) : 0;
  for (int i = 0; i < filters; ++i) {
    std::size_t values = 0;
    unsigned flags = 0, config = 0;
    char filter[64] = "";
    H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr, sizeof filter, filter, &config);
    text += fmt::format(", {}", std::string_view(filter) == "deflate" ? "gzip" : filter);
  }
  return text;
}

std::string InputHdf5::attribute(const std::string& name) const {
  const DamageGuard guard(path_);
  if (H5Aexists(file_, name.c_str()) <= 0) return "";
  const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
  if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_type(space) != H5S_SCALAR)
    throw bad_input("{}: attribute '{}' is not a single string", path_, name);
  return std::string(read_attribute(attribute, type, 1, path_, fmt::format("attribute '{}'", name))[0]);
}

Strings InputHdf5::attribute(const std::string& dataset_name, const std::string& name) const {
  const DamageGuard guard(path_);
  const Handle dataset = open(dataset_name);
  if (H5Aexists(dataset, name.c_str()) <= 0) return {};
  const Handle attribute(H5Aopen(dataset, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  if (H5Tget_class(type) != H5T_STRING || shape(space).size() > 1 || count < 0 ||
      static_cast<hsize_t>(count) > kMaxColumns)
    throw bad_input("{}: attribute '{}' of '{}' is not a list of at most {} strings", path_, name, dataset_name,
                    kMaxColumns);
  Strings strings = read_attribute(attribute, type, static_cast<std::size_t>(count), path_,
                                   fmt::format("attribute '{}' of '{}'", name, dataset_name));
  for (std::size_t i = 0; i < strings.size(); ++i) require_utf8(path_, dataset_name + "." + name, i, strings[i]);
  return strings;
}

std::vector<hsize_t> InputHdf5::extent_of(const std::string& name, std::size_t rank, const char* rank_name) const {
  const DamageGuard guard(path_);
  const Handle dataset = open(name);
  auto extent = shape(dataset_space(dataset));
  if (extent.size() != rank)
    throw bad_input("{}: '{}' has {} dimensions; it must have {}", path_, name, extent.size(), rank_name);
  return extent;
}

std::uint64_t InputHdf5::rows(const std::string& name) const { return extent_of(name, 1, "one")[0]; }

void InputHdf5::read_slabs(const std::string& name, hid_t dataset, hid_t memory_type, bool as_stored,
                           std::uint64_t total,
                           const std::function<void(std::uint64_t, std::uint64_t, std::uint8_t*)>& use) const {
  const DamageGuard guard(path_);
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const int filters = H5Pget_layout(creation) == H5D_CHUNKED ? H5Pget_nfilters(creation) : 0;
  for (int i = 0; i < filters; ++i) {
    std::size_t values = 0;
    unsigned flags = 0, config = 0;
    char filter[64] = "";
    const H5Z_filter_t id =
        H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr, sizeof filter, filter, &config);
    if (id >= 0 && H5Zfilter_avail(id) <= 0)
      throw bad_input(
          "{}: '{}' is packed by the filter '{}' (number {}), for which HDF5 finds no plugin here; install it, or "
          "pack with gzip",
          path_, name, shown(filter), id);
  }
  std::size_t columns = 1;
  for (const hsize_t extent : shape(dataset_space(dataset)) | std::views::drop(1)) columns *= extent;
  // gzip packs 1,032 to 1 at best: a header that claims more is damaged, and would have us fill the memory with
  // nothing.
  if (total > 0 && 1100.0 * static_cast<double>(H5Dget_storage_size(dataset)) <
                       static_cast<double>(total) * static_cast<double>(columns * H5Tget_size(dataset_type(dataset))))
    throw bad_input("{}: '{}' claims {} rows but stores {} bytes: it was never written in full, or is damaged", path_,
                    name, total, H5Dget_storage_size(dataset));
  const std::size_t width = columns * H5Tget_size(memory_type);
  const Packing packing = as_stored && total > 0 ? packing_of(dataset, total, width) : Packing{};
  const auto damaged = [&](std::uint64_t row) {
    return bad_input("{}: cannot read '{}' from row {}: its compressed data are damaged; copy the file again", path_,
                     name, row);
  };
  if (packing.chunk_rows == 0) {
    const std::uint64_t slab = std::clamp<std::uint64_t>((4u << 20) / width, 1, kSlabRows);
    const Handle space = dataset_space(dataset);
    std::vector<std::uint8_t> buffer(std::min(total, slab) * width);
    for (std::uint64_t begin = 0; begin < total; begin += slab) {
      const std::uint64_t count = std::min(slab, total - begin);
      const std::string problem = read_rows(dataset, space, memory_type, begin, count, buffer.data());
      if (!problem.empty()) throw read_error(path_, fmt::format("cannot read '{}' from row {}", name, begin), problem);
      use(begin, count, buffer.data());
      guard.still_alive();
    }
    return;
  }
  const std::size_t chunk_bytes = packing.chunk_rows * width;
  const std::size_t batch = 4 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency());
  struct Chunk {
    std::vector<std::uint8_t> packed, mixed, rows;
    bool good = false;
  };
  std::vector<Chunk> chunks(std::min<std::size_t>(batch, (total + packing.chunk_rows - 1) / packing.chunk_rows));
  for (std::uint64_t begin = 0; begin < total; begin += chunks.size() * packing.chunk_rows) {
    guard.still_alive();
    std::size_t count = 0;
    for (; count < chunks.size() && begin + count * packing.chunk_rows < total; ++count) {
      const hsize_t offset = begin + count * packing.chunk_rows;
      hsize_t stored = 0;
      std::uint32_t skipped = 0;
      if (H5Dget_chunk_storage_size(dataset, &offset, &stored) < 0 || stored > 2 * chunk_bytes + 1024)
        throw damaged(offset);
      chunks[count].packed.resize(stored);
      if (H5Dread_chunk(dataset, H5P_DEFAULT, &offset, &skipped, chunks[count].packed.data()) < 0)
        throw read_error(path_, fmt::format("cannot read '{}' from row {}", name, offset));
      if (skipped != 0) throw damaged(offset);
    }
    oneapi::tbb::parallel_for(std::size_t{0}, count, [&](std::size_t i) {
      Chunk& chunk = chunks[i];
      chunk.rows.resize(chunk_bytes);
      if (packing.shuffled) chunk.mixed.resize(chunk_bytes);
      const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> unpack(
          libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
      std::uint8_t* out = packing.shuffled ? chunk.mixed.data() : chunk.rows.data();
      chunk.good = libdeflate_zlib_decompress(unpack.get(), chunk.packed.data(), chunk.packed.size(), out, chunk_bytes,
                                              nullptr) == LIBDEFLATE_SUCCESS;
      if (packing.shuffled) unshuffle(chunk.mixed.data(), packing.chunk_rows, width, chunk.rows.data());
    });
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t row = begin + i * packing.chunk_rows;
      if (!chunks[i].good) throw damaged(row);
      use(row, std::min<std::uint64_t>(packing.chunk_rows, total - row), chunks[i].rows.data());
    }
  }
}

namespace {

/// Widens `count` little-endian integers as they lie in the file. Returns the first row beyond 2^63 - 1, or `count`.
template <class T>
std::uint64_t widen(const std::uint8_t* bytes, std::uint64_t count, std::int64_t* out) {
  for (std::uint64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    if (!std::in_range<std::int64_t>(value)) return i;
    out[i] = static_cast<std::int64_t>(value);
  }
  return count;
}
using Widen = std::uint64_t (*)(const std::uint8_t*, std::uint64_t, std::int64_t*);

/// The conversion for a plain integer type, or null for one that HDF5 should convert.
Widen widen_from(hid_t type) {
  const bool plain =
      H5Tget_order(type) == H5T_ORDER_LE && H5Tget_precision(type) == 8 * H5Tget_size(type) && H5Tget_offset(type) == 0;
  const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
  if (!plain && H5Tget_size(type) != 1) return nullptr;
  switch (H5Tget_size(type)) {
    case 1:
      return is_signed ? widen<std::int8_t> : widen<std::uint8_t>;
    case 2:
      return is_signed ? widen<std::int16_t> : widen<std::uint16_t>;
    case 4:
      return is_signed ? widen<std::int32_t> : widen<std::uint32_t>;
    case 8:
      return is_signed ? widen<std::int64_t> : widen<std::uint64_t>;
    default:
      return nullptr;
  }
}

}  // namespace

void InputHdf5::read_integers(const std::string& name, const UseIntegers& use) const {
  read_integers_of(H5T_INTEGER, name, use);
}

void InputHdf5::read_enum(const std::string& name, const UseIntegers& use) const {
  read_integers_of(H5T_ENUM, name, use);
}

void InputHdf5::read_integers_of(H5T_class_t kind, const std::string& name, const UseIntegers& use) const {
  const std::uint64_t total = rows(name);
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != kind)
    throw bad_input("{}: '{}' is {}; it must be an {}", path_, name, type_name(type),
                    kind == H5T_ENUM ? "enum" : "integer type");
  const Handle integer(kind == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type), H5Tclose);
  const Widen convert = widen_from(integer);
  std::vector<std::int64_t> slab;
  read_slabs(name, dataset, convert != nullptr ? static_cast<hid_t>(type) : H5T_NATIVE_INT64, convert != nullptr, total,
             [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
               slab.resize(count);
               const std::uint64_t good =
                   (convert != nullptr ? convert : widen<std::int64_t>)(bytes, count, slab.data());
               if (good < count) {
                 std::uint64_t value = 0;
                 std::memcpy(&value, bytes + 8 * good, 8);
                 throw bad_input("{}: '{}' row {} is {}; no index or preference is so large", path_, name, begin + good,
                                 value);
               }
               use(begin, slab);
             });
}

std::vector<std::uint32_t> InputHdf5::read_indices(const std::string& name, std::uint64_t limit,
                                                   const std::string& of) const {
  std::vector<std::uint32_t> indices;
  // Grown slab by slab, not reserved: a damaged header that claims 2^60 rows must fail on reading, not on allocating.
  read_integers(name, [&](std::uint64_t begin, std::span<const std::int64_t> slab) {
    for (std::size_t i = 0; i < slab.size(); ++i)
      if (slab[i] < 0 || static_cast<std::uint64_t>(slab[i]) >= limit)
        throw bad_input("{}: '{}' row {} is {}; {} run from 0 to {}", path_, name, begin + i, slab[i], of,
                        static_cast<std::int64_t>(limit) - 1);
    indices.insert(indices.end(), slab.begin(), slab.end());
  });
  indices.shrink_to_fit();
  return indices;
}

std::vector<double> InputHdf5::read_numbers(const std::string& name, std::uint64_t rows) const {
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != H5T_FLOAT && H5Tget_class(type) != H5T_INTEGER)
    throw bad_input("{}: '{}' is {}; it must be a number type", path_, name, type_name(type));
  const std::uint64_t columns = shape(dataset_space(dataset)).size() == 2 ? shape(dataset_space(dataset))[1] : 1;
  std::vector<double> values;
  read_slabs(name, dataset, H5T_NATIVE_DOUBLE, false, rows,
             [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
               values.resize((begin + count) * columns);
               std::memcpy(values.data() + begin * columns, bytes, count * columns * sizeof(double));
             });
  return values;
}

std::vector<double> InputHdf5::read_floats(const std::string& name) const { return read_numbers(name, rows(name)); }

InputHdf5::Matrix InputHdf5::read_matrix(const std::string& name) const {
  const auto extent = extent_of(name, 2, "two");
  if (extent[1] == 0 || extent[1] > kMaxColumns)
    throw bad_input("{}: '{}' has {} columns; it must have from 1 to {}", path_, name, extent[1], kMaxColumns);
  return {read_numbers(name, extent[0]), extent[0], extent[1]};
}

Strings InputHdf5::read_strings(const std::string& name) const {
  const std::uint64_t total = rows(name);
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != H5T_STRING)
    throw bad_input("{}: '{}' is {}; it must be a string type", path_, name, type_name(type));
  Strings strings;
  const bool variable = H5Tis_variable_str(type) > 0;
  const std::size_t width = H5Tget_size(type);
  const bool space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  read_slabs(name, dataset, type, !variable, total, [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
    // Variable-length rows are HDF5's own allocations: given back even when a row is refused.
    const auto reclaim = [&](std::uint8_t* rows_read) {
      const hsize_t extent = count;
      const Handle memory(H5Screate_simple(1, &extent, nullptr), H5Sclose);
      H5Dvlen_reclaim(type, memory, H5P_DEFAULT, rows_read);
    };
    const std::unique_ptr<std::uint8_t, decltype(reclaim)> owned(variable ? bytes : nullptr, reclaim);
    for (std::uint64_t i = 0; i < count; ++i) {
      std::string_view text;
      if (variable) {
        const char* row = reinterpret_cast<char* const*>(bytes)[i];
        text = row != nullptr ? std::string_view(row) : std::string_view();
      } else {
        const char* row = reinterpret_cast<const char*>(bytes) + i * width;
        text = std::string_view(row, strnlen(row, width));
        while (space_padded && !text.empty() && text.back() == ' ') text.remove_suffix(1);
      }
      require_utf8(path_, name, begin + i, text);
      strings.push_back(text);
    }
  });
  return strings;
}

OutputHdf5::OutputHdf5(OutputFile& output, bool compress) : output_(output), compress_(compress) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  file_ = Handle(H5Fcreate(output.temporary().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  if (!file_) fail("create the file");
}

void OutputHdf5::fail(const std::string& what) const {
  throw file_error("{}: cannot {}: {} (is the disk full?)", output_.path(), what, hdf5_reason());
}

void OutputHdf5::write_attribute(const std::string& name, const std::string& value) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  // Variable length lies outside the object header, which holds 64 KiB at most: a long provenance would not fit.
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(file_, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const char* text = value.c_str();
  if (!attribute || H5Awrite(attribute, type, &text) < 0) fail(fmt::format("write attribute '{}'", name));
}

void OutputHdf5::write_attribute(const std::string& dataset_name, const std::string& name, const Strings& values) {
  const Handle dataset(H5Dopen2(file_, dataset_name.c_str(), H5P_DEFAULT), H5Dclose);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const hsize_t extent = values.size();
  const Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
  const Handle attribute(H5Acreate2(dataset, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  std::vector<std::string> owned;
  for (std::size_t i = 0; i < values.size(); ++i) owned.emplace_back(values[i]);
  std::vector<const char*> texts;
  for (const std::string& text : owned) texts.push_back(text.c_str());
  if (!attribute || H5Awrite(attribute, type, texts.data()) < 0)
    fail(fmt::format("write attribute '{}' of '{}'", name, dataset_name));
}

void OutputHdf5::write_rows(const std::string& name, hid_t type, std::size_t element_bytes, const void* data,
                            std::uint64_t rows, std::size_t columns) {
  check_interrupt();
  const int rank = columns > 0 ? 2 : 1;
  const hsize_t extent[2] = {rows, columns};
  const std::size_t row_elements = std::max<std::size_t>(columns, 1), row_bytes = row_elements * element_bytes;
  const Handle space(H5Screate_simple(rank, extent, nullptr), H5Sclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // the same fit gives the same bytes
  const bool chunked = compress_ && rows > 0;
  // A chunk is compressed by one core: many small ones for wide strings, 64 Ki rows of numbers otherwise.
  const hsize_t chunk =
      std::clamp<hsize_t>((1u << 20) / row_bytes, 1, std::min<hsize_t>(kChunkRows, std::max<hsize_t>(rows, 1)));
  if (chunked) {
    const hsize_t chunk_extent[2] = {chunk, columns};
    H5Pset_chunk(creation, rank, chunk_extent);
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, 1);
  }
  Handle dataset(H5Dcreate2(file_, name.c_str(), type, space, links, creation, H5P_DEFAULT), H5Dclose);
  if (!dataset) fail(fmt::format("create '{}'", name));
  if (!chunked) {
    if (rows > 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
      fail(fmt::format("write '{}'", name));
  } else {
    const std::size_t chunks = (rows + chunk - 1) / chunk;
    const std::size_t chunk_bytes = chunk * row_bytes;
    // As many at a time as keep all cores busy: more would only wait for the writer, in memory.
    const std::size_t at_once = 2 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency());
    std::vector<std::vector<std::uint8_t>> packed(std::min(chunks, at_once));
    for (std::size_t first = 0; first < chunks; first += at_once) {
      const std::size_t batch = std::min(at_once, chunks - first);
      oneapi::tbb::parallel_for(std::size_t{0}, batch, [&](std::size_t i) {
        const std::uint64_t begin = (first + i) * chunk;
        const std::uint64_t count = std::min<std::uint64_t>(chunk, rows - begin);
        // HDF5 stores whole chunks: the last one is padded with zeros.
        std::vector<std::uint8_t> raw(chunk_bytes), mixed(chunk_bytes);
        std::memcpy(raw.data(), static_cast<const std::uint8_t*>(data) + begin * row_bytes, count * row_bytes);
        shuffle(raw.data(), chunk * row_elements, element_bytes, mixed.data());
        const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
            libdeflate_alloc_compressor(1), libdeflate_free_compressor);
        packed[i].resize(libdeflate_zlib_compress_bound(compressor.get(), chunk_bytes));
        packed[i].resize(
            libdeflate_zlib_compress(compressor.get(), mixed.data(), chunk_bytes, packed[i].data(), packed[i].size()));
      });
      for (std::size_t i = 0; i < batch; ++i) {
        const hsize_t offset[2] = {(first + i) * chunk, 0};
        if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, packed[i].size(), packed[i].data()) < 0)
          fail(fmt::format("write '{}'", name));
      }
    }
  }
  if (!dataset.finish()) fail(fmt::format("write '{}'", name));
}

void OutputHdf5::write(const std::string& name, std::span<const float> values) {
  write_rows(name, H5T_IEEE_F32LE, 4, values.data(), values.size());
}
void OutputHdf5::write(const std::string& name, std::span<const double> values) {
  write_rows(name, H5T_IEEE_F64LE, 8, values.data(), values.size());
}
void OutputHdf5::write(const std::string& name, std::span<const std::int8_t> values) {
  write_rows(name, H5T_STD_I8LE, 1, values.data(), values.size());
}
void OutputHdf5::write(const std::string& name, std::span<const std::int32_t> values) {
  write_rows(name, H5T_STD_I32LE, 4, values.data(), values.size());
}
void OutputHdf5::write(const std::string& name, std::span<const std::uint32_t> values) {
  write_rows(name, H5T_STD_U32LE, 4, values.data(), values.size());
}
void OutputHdf5::write(const std::string& name, std::span<const std::int64_t> values) {
  write_rows(name, H5T_STD_I64LE, 8, values.data(), values.size());
}

void OutputHdf5::write_matrix(const std::string& name, std::span<const float> values, std::size_t columns) {
  write_rows(name, H5T_IEEE_F32LE, 4, values.data(), values.size() / columns, columns);
}
void OutputHdf5::write_matrix(const std::string& name, std::span<const double> values, std::size_t columns) {
  write_rows(name, H5T_IEEE_F64LE, 8, values.data(), values.size() / columns, columns);
}

void OutputHdf5::write_enum(const std::string& name, std::span<const std::int8_t> values,
                            const std::vector<std::string>& names) {
  const Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto value = static_cast<std::int8_t>(i);
    H5Tenum_insert(type, names[i].c_str(), &value);
  }
  write_rows(name, type, 1, values.data(), values.size());
}

void OutputHdf5::write(const std::string& name, const Strings& values) {
  // Fixed length compresses and reads fast; variable length only where a few long ids would pad all the others.
  const std::size_t longest = std::max<std::size_t>(values.longest(), 1);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_cset(type, H5T_CSET_UTF8);
  if (longest <= 64 || longest * values.size() <= 4 * values.characters()) {
    H5Tset_size(type, longest);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    std::vector<char> padded(longest * values.size(), '\0');
    for (std::size_t i = 0; i < values.size(); ++i)
      std::memcpy(padded.data() + i * longest, values[i].data(), values[i].size());
    write_rows(name, type, longest, padded.data(), values.size());
    return;
  }
  H5Tset_size(type, H5T_VARIABLE);
  std::vector<std::string> owned(values.size());
  std::vector<const char*> rows(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    owned[i] = values[i];
    rows[i] = owned[i].c_str();
  }
  const bool compress = std::exchange(compress_, false);  // a chunk of pointers is not to be packed by hand
  write_rows(name, type, sizeof(char*), rows.data(), rows.size());
  compress_ = compress;
}

void OutputHdf5::finish() {
  check_interrupt();
  if (H5Fflush(file_, H5F_SCOPE_GLOBAL) < 0 || !file_.finish()) fail("finish the file");
  output_.commit();
}

}  // namespace voxpop
