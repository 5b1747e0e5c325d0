#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstring>

#include "core/scratch_memory.h"
#include "hdf5/hdf5.h"
#include "hdf5/packing.h"
#include "hdf5/watched_call.h"

namespace voxpop {
namespace {

constexpr std::uint64_t kChunkRows = 1 << 16;

}  // namespace

OutputHdf5::OutputHdf5(OutputFile& output, bool compress, const Context& context)
    : output_(output), compress_(compress), context_(context) {
  const QuietHdf5 quiet;
  // HDF5's default driver needs the real path of the file, which a file without a name does not have.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_stdio(access);
  file_ = Handle(H5Fcreate(output.temporary().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
  if (!file_) fail("create the file");
}

OutputHdf5::~OutputHdf5() {
  const QuietHdf5 quiet;
  file_ = Handle();
}

void OutputHdf5::fail(const std::string& what) const {
  throw file_error("{}: cannot {}: {} (is the disk full?)", output_.path(), what, hdf5_reason());
}

void OutputHdf5::write_attribute(const std::string& name, const std::string& value) {
  write_group_attribute("/", name, value);
}

void OutputHdf5::write_group_attribute(const std::string& group_name, const std::string& name,
                                       const std::string& value) {
  const QuietHdf5 quiet;
  const Handle group(H5Gopen2(file_, group_name.c_str(), H5P_DEFAULT), H5Gclose);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  // Variable-length strings are stored outside the object header. The header holds at most 64 KiB, too little for a
  // long provenance.
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(group, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const char* text = value.c_str();
  if (!attribute || H5Awrite(attribute, type, &text) < 0) fail(fmt::format("write attribute '{}'", name));
}

void OutputHdf5::write_attribute(const std::string& dataset_name, const std::string& name, const Strings& values) {
  const QuietHdf5 quiet;
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

void OutputHdf5::write_chunks(const std::string& name, hid_t dataset, const Packing& packing,
                              std::span<const std::uint8_t> bytes, std::uint64_t chunk_rows, std::size_t chunk_bytes) {
  struct Packed {
    std::uint64_t first_row = 0;
    std::vector<std::uint8_t> bytes;
  };
  std::size_t next = 0;
  const std::size_t chunks = (bytes.size() + chunk_bytes - 1) / chunk_bytes;
  const auto number = [&](oneapi::tbb::flow_control& control) {
    if (next == chunks) control.stop();
    return next++;
  };
  const auto pack_chunk = [&](std::size_t c) {
    static thread_local std::vector<std::uint8_t> last, scratch;
    std::span<const std::uint8_t> chunk = bytes.subspan(c * chunk_bytes);
    if (chunk.size() >= chunk_bytes) {
      chunk = chunk.first(chunk_bytes);
    } else {  // HDF5 stores whole chunks: pad the last one with zeros
      last.assign(chunk.begin(), chunk.end());
      last.resize(chunk_bytes);
      chunk = last;
    }
    ScratchMemory::keep_within_limit();
    Packed packed{c * chunk_rows, {}};
    pack(packing, chunk, packed.bytes, scratch);
    return packed;
  };
  const auto write_chunk = [&](const Packed& packed) {
    const QuietHdf5 quiet;  // per thread: QuietHdf5 only affects its own thread
    const hsize_t offset[2] = {packed.first_row, 0};
    if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, packed.bytes.size(), packed.bytes.data()) < 0)
      fail(fmt::format("write '{}'", name));
  };
  // Two chunks in flight per thread keep all cores busy. More would only wait for the writer and use memory.
  using oneapi::tbb::filter_mode;
  oneapi::tbb::parallel_pipeline(2 * static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency()),
                                 oneapi::tbb::make_filter<void, std::size_t>(filter_mode::serial_in_order, number) &
                                     oneapi::tbb::make_filter<std::size_t, Packed>(filter_mode::parallel, pack_chunk) &
                                     oneapi::tbb::make_filter<Packed, void>(filter_mode::serial_in_order, write_chunk));
}

void OutputHdf5::write_rows(const std::string& name, hid_t type, std::size_t element_bytes, const void* data,
                            std::uint64_t rows, std::size_t columns) {
  context_.check_stop();
  const QuietHdf5 quiet;
  const int rank = columns > 0 ? 2 : 1;
  const hsize_t extent[2] = {rows, columns};
  const std::size_t row_elements = std::max<std::size_t>(columns, 1), row_bytes = row_elements * element_bytes;
  const Handle space(H5Screate_simple(rank, extent, nullptr), H5Sclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // no timestamps: the same fit must write identical bytes
  const bool chunked = compress_ && rows > 0;
  // One core compresses a chunk, so there must be several: about 1 MiB each, but at most 64 Ki rows.
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
    write_chunks(name, dataset, {.deflated = true, .shuffled_bytes = element_bytes},
                 {static_cast<const std::uint8_t*>(data), rows * row_bytes}, chunk, chunk * row_bytes);
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
  // Fixed-length strings compress well and can be read fast. Use variable length only if a few long strings would make
  // the padding of all others too large.
  const std::size_t longest = std::max<std::size_t>(values.longest(), 1);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_cset(type, H5T_CSET_UTF8);
  if (longest <= 64 || longest * values.size() <= 4 * values.characters()) {
    H5Tset_size(type, longest);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    Column<char> padded(longest * values.size());
    using Range = oneapi::tbb::blocked_range<std::size_t>;
    oneapi::tbb::parallel_for(Range(0, values.size(), 1 << 14), [&](const Range& range) {
      for (std::size_t i = range.begin(); i < range.end(); ++i) {
        char* const field = padded.data() + i * longest;
        std::memcpy(field, values[i].data(), values[i].size());
        std::memset(field + values[i].size(), 0, longest - values[i].size());
      }
    });
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
  const bool compress = std::exchange(compress_, false);  // the rows are pointers, which write_chunks() cannot pack
  write_rows(name, type, sizeof(char*), rows.data(), rows.size());
  compress_ = compress;
}

void OutputHdf5::finish() {
  context_.check_stop();
  const QuietHdf5 quiet;
  if (H5Fflush(file_, H5F_SCOPE_GLOBAL) < 0 || !file_.finish()) fail("finish the file");
  output_.commit();
}

}  // namespace voxpop
