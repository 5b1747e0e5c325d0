#include "core/scratch_memory.h"
#include "hdf5/hdf5.h"

#include <fcntl.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <ranges>

#include "hdf5/hdf5_storage.h"
#include "hdf5/packing.h"
#include "hdf5/watched_call.h"

namespace voxpop {
namespace {

constexpr std::uint64_t kSlabRows = 1 << 17;
constexpr hsize_t kMaxColumns = 4096;
constexpr std::size_t kWidestText = 64u << 20;    // maximum size of a fixed-length string, bytes
constexpr std::uint64_t kTextBytes = 256u << 20;  // fixed-length strings unpacked at a time; most may be padding
constexpr std::uint64_t kTextRows = 1 << 22;      // maximum number of fixed-length strings unpacked at a time
constexpr std::uint64_t kMostHeaders = 1u << 30;  // bytes that a call about headers may have to read
constexpr std::uint64_t kSmallestLink = 8;        // minimum size of an object in a file, bytes
constexpr int kDeepest = 1000;                    // maximum nesting of groups; HDF5's own limit
constexpr std::size_t kLongestReason = 200;       // maximum length of HDF5's error text; it may quote the file

/// HDF5 calls this before it follows an external link. -1: do not follow.
herr_t refuse_external_link(const char*, const char*, const char*, const char*, unsigned*, hid_t, void*) { return -1; }

/// Property list for opening an object by name without following links into another file. The callback is necessary
/// because a soft link may lead to an external link.
Handle access_without_external_links(hid_t property_class) {
  Handle access(H5Pcreate(property_class), H5Pclose);
  H5Pset_elink_cb(access, refuse_external_link, nullptr);
  return access;
}

/// Whether HDF5 stopped at a link that it may not follow, or at a link of an unknown class.
bool is_about_link(const std::string& reason) {
  return reason.find("traversal operator failed") != std::string::npos ||
         reason.find("link class") != std::string::npos;
}

// Security: a file of votes must not make voxpop read other files.
Error link_error(const std::string& path, const std::string& what) {
  return bad_input("{}: {}: a link leads into another file; copy the data into this file first", path, what);
}

/// The error for a failed HDF5 call: a file error for a truncated file or one that is open for writing, otherwise bad
/// input.
Error read_error(const std::string& path, const std::string& what, const std::string& reason = hdf5_reason()) {
  if (reason.find("unable to lock") != std::string::npos || reason.find("already open for write") != std::string::npos)
    return file_error(
        "{}: another program has the file open for writing, or did not close it; close it there, or run 'h5clear -s' "
        "on the file if that program has ended",
        path);
  if (is_about_link(reason)) return link_error(path, what);
  // A damaged file may request more memory than any machine has: bad input. But if even kLargestChunk bytes cannot be
  // allocated, the machine is out of memory, and this line throws bad_alloc.
  if (reason.find("memory allocation failed") != std::string::npos) ::operator delete(::operator new(kLargestChunk));
  if (reason.find("truncated") != std::string::npos || reason.find("read past") != std::string::npos)
    return file_error("{}: the file is truncated: {}; copy it again", path, reason);
  if (reason.starts_with("bad version number"))
    return bad_input(
        "{}: {}: {}; the file is damaged, or a newer HDF5 wrote it; write it with libver=('earliest', 'v110')", path,
        what, reason);
  return bad_input("{}: {}: {}; the file is damaged or not HDF5", path, what, reason);
}

void require_utf8(const std::string& path, const std::string& name, std::uint64_t row, std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return;
  std::string shown;
  for (const char c : text.substr(0, 40))
    shown += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  throw bad_input("{}: '{}' row {} is not UTF-8: {}; convert the text to UTF-8", path, name, row, shown);
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

/// Reads complete rows [begin, begin + count) of a dataset as `memory_type`. Returns the error text, or "". The text is
/// fetched here because HDF5 clears it at the next call, even when a handle is closed.
std::string read_rows(hid_t dataset, hid_t file_space, hid_t memory_type, hid_t transfer, hsize_t begin, hsize_t count,
                      void* out) {
  std::vector<hsize_t> extent = shape(file_space), start(extent.size(), 0);
  extent[0] = count;
  start[0] = begin;
  if (H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) < 0)
    return hdf5_reason();
  const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  return H5Dread(dataset, memory_type, memory, file_space, transfer, out) >= 0 ? "" : hdf5_reason();
}

/// Allocates a variable-length string for HDF5. `left` points to the number of bytes still allowed; the total is
/// limited by the file's size. Without this limit a small hostile file could fill the memory: a thousand rows may point
/// to the same megabyte.
void* allocate_text(std::size_t bytes, void* left) {
  auto& bytes_left = *static_cast<std::uint64_t*>(left);
  if (bytes >= bytes_left) {
    bytes_left = 0;
    return nullptr;
  }
  bytes_left -= bytes;
  return std::malloc(bytes);
}

/// Reads the `count` strings of an attribute, of fixed or variable length. `what`: description of the attribute, for
/// errors.
Strings read_attribute(hid_t attribute, hid_t type, std::size_t count, std::uint64_t file_bytes,
                       const std::string& path, const std::string& what) {
  Strings strings;
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> texts(count, nullptr);
    const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    // Throw here: closing `memory` would clear HDF5's error text.
    if (H5Aread(attribute, memory, texts.data()) < 0) throw read_error(path, "cannot read " + what);
    for (char* text : texts) {
      strings.push_back(text != nullptr ? std::string_view(text) : std::string_view());
      H5free_memory(text);
    }
    return strings;
  }
  const std::size_t width = H5Tget_size(type);
  if (width > file_bytes / std::max<std::size_t>(count, 1))
    throw bad_input("{}: {} should have more text than the whole file; the file is damaged, so copy it again", path,
                    what);
  std::string text(width * count, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) throw read_error(path, "cannot read " + what);
  for (std::size_t i = 0; i < count; ++i)
    strings.push_back(std::string_view(text.data() + i * width, strnlen(text.data() + i * width, width)));
  return strings;
}

/// Collects the errors of blocks that threads read in parallel, and throws the error of the lowest row.
class FirstError {
 public:
  void add(std::uint64_t row, const Error& error) {
    const std::scoped_lock lock(mutex_);
    if (!error_ || row < row_) {
      row_ = row;
      error_ = error;
    }
  }
  void raise() const {
    if (error_) throw *error_;
  }

 private:
  std::mutex mutex_;
  std::uint64_t row_ = 0;
  std::optional<Error> error_;
};

/// Fills `bytes` from the file offset `address`. Returns false if the file ends too early.
bool read_at(int file, std::uint64_t address, std::span<std::uint8_t> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t got = pread(file, bytes.data(), bytes.size(), static_cast<off_t>(address));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw file_error("{}: cannot read: {}", path, std::strerror(errno));
    if (got == 0) return false;
    address += static_cast<std::uint64_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace

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
  return reason.empty() ? "HDF5 gives no reason" : shown(reason, kLongestReason);
}

InputHdf5::InputHdf5(const std::string& path, const Context& context, ColumnReaders* others)
    : path_(path), context_(context), others_(others) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) throw file_error("{}: cannot open: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw file_error("{}: is not a regular file; name an HDF5 file", path);
  if (status.st_size == 0) throw bad_input("{}: the file is empty", path);
  // Copying a file may turn zeros into holes, so holes can be real data. Count them only up to 1,100 times the data:
  // a small file that consists of holes must not justify large allocations. The best ratio of gzip is similar (1,032).
  data_bytes_ = data_bytes(path);
  file_bytes_ = std::min(static_cast<std::uint64_t>(status.st_size), 1100 * data_bytes_ + (1u << 20));
  const WatchedCall watched = watch_headers();
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 == 0) throw bad_input("{}: not an HDF5 file; convert CSV, TSV or JSONL first (voxpop import)", path);
  file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file_) {
    const std::string reason = hdf5_reason();
    if (reason.find("unable to open") != std::string::npos) throw file_error("{}: cannot open: {}", path, reason);
    throw read_error(path, "cannot open", reason);
  }
  link_access_ = access_without_external_links(H5P_LINK_ACCESS);
}

WatchedCall InputHdf5::watch_headers() const {
  return WatchedCall(context_.watch, path_, std::min(file_bytes_, kMostHeaders));
}

InputHdf5::~InputHdf5() {
  const WatchedCall watched = watch_headers();
  file_ = Handle();
}

int InputHdf5::descriptor() const {
  void* descriptor = nullptr;
  if (H5Fget_vfd_handle(file_, H5P_DEFAULT, &descriptor) < 0) throw read_error(path_, "cannot read");
  return *static_cast<const int*>(descriptor);
}

std::uint64_t InputHdf5::mark() const {
  const int file = descriptor();
  struct stat status {};
  if (fstat(file, &status) != 0) throw file_error("{}: cannot read: {}", path_, std::strerror(errno));
  // A program can set mtime but not ctime (the time of the last status change). So a copy has another ctime, and a
  // file that was written to since, too.
  const std::int64_t known[] = {status.st_size,        static_cast<std::int64_t>(status.st_ino),
                                status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                                status.st_ctim.tv_sec, status.st_ctim.tv_nsec};
  constexpr std::size_t kEnd = 1 << 20;
  std::vector<std::uint8_t> ends(2 * kEnd);
  const auto bytes = static_cast<std::uint64_t>(status.st_size), end = std::min<std::uint64_t>(bytes, kEnd);
  read_at(file, 0, std::span(ends).first(end), path_);
  read_at(file, bytes - end, std::span(ends).subspan(kEnd, end), path_);
  return XXH3_64bits_withSeed(ends.data(), ends.size(), XXH3_64bits(known, sizeof known));
}

bool InputHdf5::has(const std::string& name) const {
  const WatchedCall watched = watch_headers();
  for (std::size_t end = name.find('/', 1);;
       end = name.find('/', end + 1)) {  // each group on the path, then the dataset
    const std::string part = name.substr(0, end);
    const htri_t exists = H5Lexists(file_, part.c_str(), link_access_);
    if (exists < 0 && is_about_link(hdf5_reason()))
      throw link_error(path_, fmt::format("cannot open '{}'", shown(part)));
    if (exists <= 0) return false;
    H5L_info_t link{};
    if (H5Lget_info(file_, part.c_str(), &link, link_access_) < 0)
      throw read_error(path_, fmt::format("cannot open '{}'", shown(part)));
    if (link.type == H5L_TYPE_EXTERNAL) throw link_error(path_, fmt::format("cannot open '{}'", shown(part)));
    if (end == std::string::npos) return true;
  }
}

void InputHdf5::visit_datasets(const std::string& group, const std::function<bool(const std::string&)>& use) const {
  const WatchedCall watched = watch_headers();
  struct Visit {
    const std::string group;
    const std::function<bool(const std::string&)>& use;
    const WatchedCall& watched;
    const Context& context;
    std::uint64_t objects, most_objects;
    bool too_deep;
    std::exception_ptr thrown;  // exceptions must not pass through HDF5, which is C
  } visit{group == "/" ? "" : group + "/", use, watched, context_, 0, file_bytes_ / kSmallestLink, false, nullptr};
  const herr_t status = H5Ovisit_by_name2(
      file_, group.c_str(), H5_INDEX_NAME, H5_ITER_NATIVE,
      [](hid_t, const char* name, const H5O_info_t* info, void* data) -> herr_t {
        auto& here = *static_cast<Visit*>(data);
        if (++here.objects > here.most_objects) return 1;
        here.too_deep = std::ranges::count(std::string_view(name), '/') > kDeepest;
        if (here.too_deep) return 1;
        if (here.objects % 256 == 0) here.watched.begin_again();
        try {
          here.context.check_stop();
          return info->type != H5O_TYPE_DATASET || here.use(here.group + name) ? 0 : 1;
        } catch (...) {
          here.thrown = std::current_exception();
          return 1;
        }
      },
      &visit, H5O_INFO_BASIC, link_access_);
  if (visit.thrown) std::rethrow_exception(visit.thrown);
  if (status < 0) throw read_error(path_, "cannot list the datasets");
  if (visit.too_deep)
    throw bad_input("{}: groups are nested more than {} deep, or form a circle; the file is damaged", path_, kDeepest);
  if (visit.objects > visit.most_objects)
    throw bad_input("{}: lists more objects than fit into the file; the file is damaged, so copy it again", path_);
}

std::vector<std::string> InputHdf5::datasets() const {
  std::vector<std::string> names;
  visit_datasets("/", [&](const std::string& name) {
    names.push_back(name);
    return true;
  });
  return names;
}

Handle InputHdf5::open(const std::string& name) const {
  const WatchedCall watched = watch_headers();
  if (!has(name))
    throw bad_input("{}: no dataset '{}'; look at what the file has (voxpop info {})", path_, shown(name), path_);
  const Handle access = access_without_external_links(H5P_DATASET_ACCESS);
  Handle dataset(H5Dopen2(file_, name.c_str(), access), H5Dclose);
  if (!dataset) {
    const std::string reason = hdf5_reason();
    if (H5Oexists_by_name(file_, name.c_str(), link_access_) == 0)
      throw bad_input("{}: '{}' is a link, but its target does not exist; write the dataset itself", path_,
                      shown(name));
    const Handle object(H5Oopen(file_, name.c_str(), link_access_), H5Oclose);
    if (object && H5Iget_type(object) != H5I_DATASET)
      throw bad_input("{}: '{}' is a group or a type; it must be a dataset", path_, shown(name));
    throw read_error(path_, fmt::format("cannot open dataset '{}'", shown(name)), reason);
  }
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_external_count(creation) > 0 || H5Pget_layout(creation) == H5D_VIRTUAL)
    throw bad_input("{}: '{}' has its data in another file; copy the data into this file first", path_, shown(name));
  // HDF5's chunk cache has no room for chunks above 1 MiB: it would unpack such a chunk again for every slab of rows.
  // Open the dataset again with a cache for one chunk.
  const std::uint64_t chunk = chunk_bytes(dataset);
  if (chunk <= 1u << 20) return dataset;
  dataset = Handle();  // close first: while the dataset is open, new settings have no effect
  H5Pset_chunk_cache(access, 1, chunk, 1);
  return {H5Dopen2(file_, name.c_str(), access), H5Dclose};
}

std::string InputHdf5::describe(const std::string& name) const {
  const WatchedCall watched = watch_headers();
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
    text += std::string_view(filter) == "deflate" ? ", gzip" : ", " + shown(filter);
  }
  return text;
}

std::string InputHdf5::attribute(const std::string& name) const { return group_attribute("/", name); }

std::string InputHdf5::group_attribute(const std::string& group_name, const std::string& name) const {
  const WatchedCall watched = watch_headers();
  const Handle access = access_without_external_links(H5P_GROUP_ACCESS);
  const Handle group(H5Gopen2(file_, group_name.c_str(), access), H5Gclose);
  if (!group || H5Aexists(group, name.c_str()) <= 0) return "";
  const std::string what =
      group_name == "/" ? fmt::format("attribute '{}'", name) : fmt::format("attribute '{}' of '{}'", name, group_name);
  const Handle attribute(H5Aopen(group, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
  if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_type(space) != H5S_SCALAR)
    throw bad_input("{}: {} is not a single string", path_, what);
  return std::string(read_attribute(attribute, type, 1, file_bytes_, path_, what)[0]);
}

Strings InputHdf5::attribute(const std::string& dataset_name, const std::string& name) const {
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(dataset_name);
  if (H5Aexists(dataset, name.c_str()) <= 0) return {};
  const Handle attribute(H5Aopen(dataset, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose), space(H5Aget_space(attribute), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  if (H5Tget_class(type) != H5T_STRING || shape(space).size() > 1 || count < 0 ||
      static_cast<hsize_t>(count) > kMaxColumns)
    throw bad_input("{}: attribute '{}' of '{}' is not a list of at most {} strings", path_, name, dataset_name,
                    kMaxColumns);
  Strings strings = read_attribute(attribute, type, static_cast<std::size_t>(count), file_bytes_, path_,
                                   fmt::format("attribute '{}' of '{}'", name, dataset_name));
  for (std::size_t i = 0; i < strings.size(); ++i) require_utf8(path_, dataset_name + "." + name, i, strings[i]);
  return strings;
}

std::vector<hsize_t> InputHdf5::extent_of(const std::string& name, std::size_t rank, const char* rank_name) const {
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(name);
  auto extent = shape(dataset_space(dataset));
  if (extent.size() != rank)
    throw bad_input("{}: '{}' has {} dimensions; it must have {}", path_, name, extent.size(), rank_name);
  return extent;
}

std::uint64_t InputHdf5::rows(const std::string& name) const { return extent_of(name, 1, "one")[0]; }

void InputHdf5::require_readable(const std::string& name, hid_t dataset, std::uint64_t total) const {
  const WatchedCall watched = watch_headers();
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
          "{}: '{}' is compressed with the filter '{}' (number {}), but HDF5 finds no plugin for it; install the "
          "plugin, or compress with gzip",
          path_, name, shown(filter), id);
  }
  std::size_t columns = 1;
  for (const hsize_t extent : shape(dataset_space(dataset)) | std::views::drop(1)) columns *= extent;
  // The stored size is limited by the file's size, whatever the header claims. gzip's best compression ratio is 1,032,
  // that of other filters up to 100,000. A header that claims more is damaged and could make voxpop allocate all
  // memory.
  const std::uint64_t stored = std::min<std::uint64_t>(H5Dget_storage_size(dataset), file_bytes_);
  const double most = H5Pget_layout(creation) != H5D_CHUNKED ? 1 : packing_of(creation) ? 1100 : 1e6;
  const std::size_t width = H5Tget_size(dataset_type(dataset));
  if (total > 0 && most * static_cast<double>(stored) <
                       static_cast<double>(total) * static_cast<double>(columns) * static_cast<double>(width))
    throw bad_input(
        "{}: '{}' should have {} rows, but has only {} bytes of data; it is incomplete or damaged, so write it again",
        path_, name, total, std::min(stored, data_bytes_));
  const std::uint64_t chunk = chunk_bytes(dataset);
  if (chunk > kLargestChunk && chunk / 4 > total * columns * width)
    throw bad_input("{}: '{}' has {} rows, but chunks of {} MiB; write it again with smaller chunks", path_, name,
                    total, chunk >> 20);
  if (lacks_chunks(dataset))
    throw bad_input("{}: '{}' is incomplete: some of its chunks are missing; write it again", path_, name);
}

void InputHdf5::read_blocks(const WatchedCall& watched, const std::string& name, hid_t dataset, hid_t memory_type,
                            bool as_stored, Rows some, const UseBlock& use) const {
  if (some.count() == 0) return;  // otherwise storage_of() may return a chunk without any wanted row
  const Handle space = dataset_space(dataset);
  std::size_t width = H5Tget_size(memory_type);
  for (const hsize_t extent : shape(space) | std::views::drop(1)) width *= extent;
  const std::optional<Storage> storage = as_stored ? storage_of(file_, dataset, some, width) : std::nullopt;
  if (!storage) {
    const std::uint64_t slab = std::clamp<std::uint64_t>((4u << 20) / width, 1, kSlabRows);
    std::vector<std::uint8_t> buffer(std::min(some.count(), slab) * width);
    const Handle transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
    std::uint64_t text_left = file_bytes_ + some.count();  // plus a terminating zero for each string
    H5Pset_vlen_mem_manager(transfer, allocate_text, &text_left, nullptr, nullptr);
    const std::uint64_t work = work_of(dataset, std::min(some.count(), slab)) + std::min(file_bytes_, kMostHeaders);
    for (std::uint64_t begin = some.begin; begin < some.end; begin += slab) {
      context_.check_stop();
      const std::uint64_t count = std::min(slab, some.end - begin);
      std::string problem;
      {
        const WatchedCall reading(context_.watch, path_, work);
        problem = read_rows(dataset, space, memory_type, transfer, begin, count, buffer.data());
      }
      if (text_left == 0)
        throw bad_input("{}: '{}' should have more text than the whole file; the file is damaged, so copy it again",
                        path_, name);
      if (!problem.empty()) throw read_error(path_, fmt::format("cannot read '{}' from row {}", name, begin), problem);
      const WatchedCall::Pause own_work(watched);
      use(begin, count, buffer.data());
    }
    return;
  }
  const int file = descriptor();
  const WatchedCall::Pause own_work(watched);
  struct stat status {};
  if (fstat(file, &status) != 0) throw file_error("{}: cannot read: {}", path_, std::strerror(errno));
  const auto length = static_cast<std::uint64_t>(status.st_size);
  struct Buffers {
    std::vector<std::uint8_t> stored, rows, mixed;
  };
  oneapi::tbb::enumerable_thread_specific<Buffers> buffers;
  FirstError first_error;
  const bool packed = storage->packing.deflated || storage->packing.shuffled_bytes > 0;
  const std::size_t block_bytes = storage->block_rows * width;
  oneapi::tbb::parallel_for(std::size_t{0}, storage->blocks.size(), [&](std::size_t b) {
    context_.check_stop();
    ScratchMemory::keep_within_limit();
    const StoredRows& block = storage->blocks[b];
    const auto refuse = [&](const char* why) {
      first_error.add(block.rows.begin, bad_input("{}: cannot read '{}' from row {}: {}; copy the file again", path_,
                                                  name, block.rows.begin, why));
    };
    const bool sound = packed ? block.bytes <= 2 * block_bytes + 1024 : block.bytes == block.rows.count() * width;
    if (!sound) return refuse("its chunks are damaged");
    Buffers& scratch = buffers.local();
    const bool there = block.address <= length && block.bytes <= length - block.address;
    if (there) scratch.stored.resize(block.bytes);
    if (!there || !read_at(file, block.address, scratch.stored, path_))
      return first_error.add(block.rows.begin, file_error("{}: the file is truncated: '{}' ends before row {}; copy it "
                                                          "again",
                                                          path_, name, block.rows.end));
    if (packed) {
      scratch.rows.resize(block_bytes);
      if (!unpack(storage->packing, scratch.stored, scratch.rows, scratch.mixed))
        return refuse("its compressed data are damaged");
    }
    const Rows wanted{std::max(block.rows.begin, some.begin), std::min(block.rows.end, some.end)};
    std::uint8_t* rows = packed ? scratch.rows.data() : scratch.stored.data();
    try {
      use(wanted.begin, wanted.count(), rows + (wanted.begin - block.rows.begin) * width);
    } catch (const Error& error) {
      first_error.add(wanted.begin, error);
    }
  });
  first_error.raise();
}

namespace {

/// Converts `count` integers from the file's type From to To. Returns the first row whose value is not from `low` to
/// `high`, or `count` if all are valid.
template <class From, class To>
std::uint64_t convert(const std::uint8_t* bytes, std::uint64_t count, std::int64_t low, std::int64_t high, To* out) {
  // Compare in the file's own type, so that the compiler can vectorise the loop.
  using Limits = std::numeric_limits<From>;
  if (std::cmp_greater(low, Limits::max()) || std::cmp_less(high, Limits::min())) return 0;
  const From least = std::cmp_less(low, Limits::min()) ? Limits::min() : static_cast<From>(low);
  const From most = std::cmp_greater(high, Limits::max()) ? Limits::max() : static_cast<From>(high);
  const auto good = [&](From value) { return value >= least && value <= most; };
  const auto value_at = [&](std::uint64_t i) {
    From value;
    std::memcpy(&value, bytes + i * sizeof(From), sizeof(From));
    return value;
  };
  From smallest = Limits::max(), largest = Limits::min();
  for (std::uint64_t i = 0; i < count; ++i) {
    const From value = value_at(i);
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
    out[i] = static_cast<To>(value);
  }
  if (good(smallest) && good(largest)) return count;
  std::uint64_t first = 0;
  while (good(value_at(first))) ++first;
  return first;
}

/// An integer of the file as decimal text.
template <class From>
std::string digits(const std::uint8_t* bytes) {
  From value;
  std::memcpy(&value, bytes, sizeof(From));
  return fmt::format("{}", value);
}

template <class To>
struct Converter {
  std::uint64_t (*convert)(const std::uint8_t*, std::uint64_t, std::int64_t, std::int64_t, To*) = nullptr;
  std::string (*digits)(const std::uint8_t*) = nullptr;
  std::size_t width = 0;
};
template <class From, class To>
constexpr Converter<To> converter = {convert<From, To>, digits<From>, sizeof(From)};

bool is_little_endian(hid_t type) {
  return (H5Tget_order(type) == H5T_ORDER_LE || H5Tget_size(type) == 1) &&
         H5Tget_precision(type) == 8 * H5Tget_size(type) && H5Tget_offset(type) == 0;
}

/// The converter for a little-endian integer type without padding bits. Its `convert` is null for any other type; HDF5
/// converts those.
template <class To>
Converter<To> converter_from(hid_t type) {
  if (!is_little_endian(type)) return {};
  const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
  switch (H5Tget_size(type)) {
    case 1:
      return is_signed ? converter<std::int8_t, To> : converter<std::uint8_t, To>;
    case 2:
      return is_signed ? converter<std::int16_t, To> : converter<std::uint16_t, To>;
    case 4:
      return is_signed ? converter<std::int32_t, To> : converter<std::uint32_t, To>;
    case 8:
      return is_signed ? converter<std::int64_t, To> : converter<std::uint64_t, To>;
    default:
      return {};
  }
}

}  // namespace

template <class Integer>
void InputHdf5::read_integers_of(H5T_class_t kind, const std::string& name, Rows some, std::int64_t low,
                                 std::int64_t high, const Refuse& refuse, Integer* out) const {
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != kind)
    throw bad_input("{}: '{}' is {}; it must be an {}", path_, name, type_name(type),
                    kind == H5T_ENUM ? "enum" : "integer type");
  const Handle integer(kind == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type), H5Tclose);
  Converter<Integer> number = converter_from<Integer>(integer);
  const bool as_stored = number.convert != nullptr;
  // Read signed 64-bit integers and check the range later: HDF5 would convert -2 to 0 in an unsigned type.
  if (!as_stored) number = converter<std::int64_t, Integer>;
  read_blocks(watched, name, dataset, as_stored ? static_cast<hid_t>(type) : H5T_NATIVE_INT64, as_stored, some,
              [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
                const std::uint64_t good = number.convert(bytes, count, low, high, out + (begin - some.begin));
                if (good < count) throw refuse(begin + good, number.digits(bytes + good * number.width));
              });
}

template <class Integer>
void InputHdf5::read_together(const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                              const Refuse& refuse, Column<Integer>& column) const {
  const int readers = 1 + others_->count();
  std::vector<ColumnReaders::Part> parts;
  std::vector<void*> places;
  const auto read = [&](Rows part) {
    read_integers_of(H5T_INTEGER, name, part, low, high, refuse, column.data() + (part.begin - some.begin));
  };
  const auto bound = [&](int reader) {  // a multiple of 64 Ki rows, a common chunk size
    return reader == readers ? some.end : some.begin + (some.count() * reader / readers & ~std::uint64_t{0xffff});
  };
  const std::uint64_t own_mark = mark();
  for (int reader = 1; reader < readers; ++reader) {
    parts.push_back({path_, own_mark, name, {bound(reader), bound(reader + 1)}, low, high, sizeof(Integer)});
    places.push_back(column.data() + (bound(reader) - some.begin));
  }
  others_->start(parts);
  std::optional<Error> refused;
  try {
    read({some.begin, bound(1)});
  } catch (const Error& error) {
    refused = error;  // throw only after the other readers have finished
  }
  const std::vector<ColumnReaders::Outcome> outcomes = others_->finish(places);
  if (refused) throw *refused;
  for (std::size_t reader = 0; reader < outcomes.size(); ++reader) {
    if (!outcomes[reader].is_read)
      read(parts[reader].rows);
    else if (!outcomes[reader].refused_value.empty())
      throw refuse(outcomes[reader].refused_row, outcomes[reader].refused_value);
  }
}

template <class Integer>
Column<Integer> InputHdf5::read_integers(const std::string& name, Rows some, std::int64_t low, std::int64_t high,
                                         const Refuse& refuse) const {
  constexpr std::uint64_t kLong = 1 << 20;
  require_readable(name, open(name), rows(name));  // check before allocating memory for the claimed rows
  Column<Integer> column(some.count());
  if (others_ != nullptr && some.count() >= kLong)
    read_together(name, some, low, high, refuse, column);
  else
    read_integers_of(H5T_INTEGER, name, some, low, high, refuse, column.data());
  return column;
}
template Column<std::int8_t> InputHdf5::read_integers(const std::string&, Rows, std::int64_t, std::int64_t,
                                                      const Refuse&) const;
template Column<std::int32_t> InputHdf5::read_integers(const std::string&, Rows, std::int64_t, std::int64_t,
                                                       const Refuse&) const;
template Column<std::int64_t> InputHdf5::read_integers(const std::string&, Rows, std::int64_t, std::int64_t,
                                                       const Refuse&) const;
template Column<std::uint32_t> InputHdf5::read_integers(const std::string&, Rows, std::int64_t, std::int64_t,
                                                        const Refuse&) const;

Column<std::int8_t> InputHdf5::read_enum(const std::string& name, std::int64_t low, std::int64_t high,
                                         const Refuse& refuse) const {
  require_readable(name, open(name), rows(name));
  Column<std::int8_t> column(rows(name));
  read_integers_of(H5T_ENUM, name, {0, column.size()}, low, high, refuse, column.data());
  return column;
}

Column<std::uint32_t> InputHdf5::read_indices(const std::string& name, Rows some, std::uint64_t limit,
                                              const std::string& of) const {
  const std::int64_t last = static_cast<std::int64_t>(limit) - 1;
  return read_integers<std::uint32_t>(name, some, 0, last, [&](std::uint64_t row, const std::string& value) {
    return bad_input("{}: '{}' row {} is {}; {} run from 0 to {}", path_, name, row, value, of, last);
  });
}

std::vector<double> InputHdf5::read_numbers(const std::string& name, std::uint64_t rows) const {
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != H5T_FLOAT && H5Tget_class(type) != H5T_INTEGER)
    throw bad_input("{}: '{}' is {}; it must be a number type", path_, name, type_name(type));
  require_readable(name, dataset, rows);
  const std::uint64_t columns = shape(dataset_space(dataset)).size() == 2 ? shape(dataset_space(dataset))[1] : 1;
  const bool is_double = H5Tequal(type, H5T_IEEE_F64LE) > 0, is_float = H5Tequal(type, H5T_IEEE_F32LE) > 0;
  std::vector<double> values(rows * columns);
  read_blocks(watched, name, dataset, is_float ? H5T_IEEE_F32LE : H5T_NATIVE_DOUBLE, is_float || is_double, {0, rows},
              [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
                double* out = values.data() + begin * columns;
                if (!is_float) {
                  std::memcpy(out, bytes, count * columns * sizeof(double));
                  return;
                }
                for (std::uint64_t i = 0; i < count * columns; ++i) {
                  float value;
                  std::memcpy(&value, bytes + i * sizeof(float), sizeof(float));
                  out[i] = static_cast<double>(value);
                }
              });
  return values;
}

std::vector<double> InputHdf5::read_floats(const std::string& name) const { return read_numbers(name, rows(name)); }

InputHdf5::MatrixShape InputHdf5::matrix_shape(const std::string& name) const {
  const auto extent = extent_of(name, 2, "two");
  if (extent[1] == 0 || extent[1] > kMaxColumns)
    throw bad_input("{}: '{}' has {} columns; it must have from 1 to {}", path_, name, extent[1], kMaxColumns);
  return {extent[0], extent[1]};
}

std::vector<double> InputHdf5::read_matrix(const std::string& name) const {
  return read_numbers(name, matrix_shape(name).rows);
}

void InputHdf5::read_matrix(const std::string& name, Column<float>& full, Column<std::uint16_t>& half) const {
  const auto [rows, columns] = matrix_shape(name);
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != H5T_FLOAT)
    throw bad_input("{}: '{}' is {}; it must be float16, float32 or float64", path_, name, type_name(type));
  require_readable(name, dataset, rows);
  std::size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;
  const bool is_half = H5Tget_size(type) == 2 && H5Tget_order(type) == H5T_ORDER_LE && H5Tget_ebias(type) == 15 &&
                       H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 &&
                       sign == 15 && exponent == 10 && exponent_bits == 5 && mantissa == 0 && mantissa_bits == 10;
  const bool is_float = H5Tequal(type, H5T_IEEE_F32LE) > 0;
  (is_half ? half.resize(rows * columns) : full.resize(rows * columns));
  auto* out = is_half ? reinterpret_cast<std::uint8_t*>(half.data()) : reinterpret_cast<std::uint8_t*>(full.data());
  const std::uint64_t width = columns * (is_half ? sizeof(std::uint16_t) : sizeof(float));
  read_blocks(watched, name, dataset, is_half ? hid_t{type} : H5T_IEEE_F32LE, is_half || is_float, {0, rows},
              [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
                std::memcpy(out + begin * width, bytes, count * width);
              });
}

Strings InputHdf5::read_strings(const std::string& name) const {
  const std::uint64_t total = rows(name);
  const WatchedCall watched = watch_headers();
  const Handle dataset = open(name);
  const Handle type = dataset_type(dataset);
  if (H5Tget_class(type) != H5T_STRING)
    throw bad_input("{}: '{}' is {}; it must be a string type", path_, name, type_name(type));
  require_readable(name, dataset, total);
  if (H5Tis_variable_str(type) > 0) {
    Strings strings;
    read_blocks(watched, name, dataset, type, false, {0, total},
                [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
                  // HDF5 allocated the strings: free them also if a row is refused.
                  const auto reclaim = [&](std::uint8_t* rows_read) {
                    const QuietHdf5 quiet;
                    const hsize_t extent = count;
                    const Handle memory(H5Screate_simple(1, &extent, nullptr), H5Sclose);
                    H5Dvlen_reclaim(type, memory, H5P_DEFAULT, rows_read);
                  };
                  const std::unique_ptr<std::uint8_t, decltype(reclaim)> owned(bytes, reclaim);
                  for (std::uint64_t i = 0; i < count; ++i) {
                    const char* row = reinterpret_cast<char* const*>(bytes)[i];
                    const std::string_view text = row != nullptr ? std::string_view(row) : std::string_view();
                    require_utf8(path_, name, begin + i, text);
                    strings.push_back(text);
                  }
                });
    return strings;
  }
  const std::size_t width = H5Tget_size(type);
  if (width == 0 || width > kWidestText)
    throw bad_input("{}: '{}' has strings of {} bytes each; they must have from 1 to {}", path_, name, width,
                    kWidestText);
  const bool space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  Strings strings;
  const std::uint64_t slab = std::min(std::clamp<std::uint64_t>(kTextBytes / width, 1, kTextRows), total);
  Column<char> fields(slab * width);
  std::vector<std::uint32_t> lengths(slab);
  for (Rows some{0, 0}; some.end < total;) {
    some = {some.end, std::min(some.end + slab, total)};
    read_blocks(watched, name, dataset, type, true, some,
                [&](std::uint64_t begin, std::uint64_t count, std::uint8_t* bytes) {
                  const char* rows_read = reinterpret_cast<const char*>(bytes);
                  std::uint8_t all_bits = 0;
                  for (std::uint64_t i = 0; i < count * width; ++i) all_bits |= bytes[i];
                  const bool ascii = all_bits < 0x80;
                  for (std::uint64_t i = 0; i < count; ++i) {
                    std::string_view text(rows_read + i * width, strnlen(rows_read + i * width, width));
                    while (space_padded && !text.empty() && text.back() == ' ') text.remove_suffix(1);
                    if (!ascii) require_utf8(path_, name, begin + i, text);
                    lengths[begin - some.begin + i] = static_cast<std::uint32_t>(text.size());
                  }
                  std::memcpy(fields.data() + (begin - some.begin) * width, rows_read, count * width);
                });
    strings.append_fields(fields.data(), width, std::span(lengths).first(some.count()));
  }
  return strings;
}

}  // namespace voxpop
