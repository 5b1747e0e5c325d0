#include "hdf5/hdf5_storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <functional>
#include <numeric>
#include <ranges>

namespace voxpop {
namespace {

constexpr std::uint64_t kBlockBytes = 256u << 10;  // block of an unpacked dataset: fits a core's cache
// To locate one chunk, HDF5 searches all of them. With more chunks than this, HDF5 reads the column itself.
constexpr hsize_t kMostChunks = 4096;

/// Extent of a chunk in each dimension; empty if the dataset is not chunked.
std::vector<hsize_t> chunk_shape(hid_t dataset) {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  std::vector<hsize_t> extent(H5S_MAX_RANK);
  const int rank = H5Pget_layout(creation) == H5D_CHUNKED ? H5Pget_chunk(creation, H5S_MAX_RANK, extent.data()) : 0;
  extent.resize(static_cast<std::size_t>(std::max(rank, 0)));
  return extent;
}

}  // namespace

Handle dataset_type(hid_t dataset) { return {H5Dget_type(dataset), H5Tclose}; }
Handle dataset_space(hid_t dataset) { return {H5Dget_space(dataset), H5Sclose}; }

std::vector<hsize_t> shape(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> extent(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  return extent;
}

std::uint64_t chunk_bytes(hid_t dataset) {
  const std::vector<hsize_t> extent = chunk_shape(dataset);
  return extent.empty() ? 0
                        : std::accumulate(extent.begin(), extent.end(),
                                          std::uint64_t{H5Tget_size(dataset_type(dataset))}, std::multiplies<>());
}

std::uint64_t work_of(hid_t dataset, std::uint64_t rows) {
  // kChunkCost, bytes: finding a chunk takes as long as unpacking this many bytes.
  constexpr double kChunkCost = 4096, kMost = 1e15;
  const std::vector<hsize_t> chunk = chunk_shape(dataset), extent = shape(dataset_space(dataset));
  double bytes = static_cast<double>(rows) * static_cast<double>(H5Tget_size(dataset_type(dataset)));
  for (const hsize_t columns : extent | std::views::drop(1)) bytes *= static_cast<double>(columns);
  if (!chunk.empty()) {
    // + 2: a part of a chunk at each end.
    double chunks = static_cast<double>(rows / std::max<hsize_t>(chunk[0], 1)) + 2;
    for (std::size_t k = 1; k < chunk.size(); ++k)
      chunks *= std::ceil(static_cast<double>(extent[k]) / static_cast<double>(std::max<hsize_t>(chunk[k], 1)));
    bytes = chunks * (static_cast<double>(chunk_bytes(dataset)) + kChunkCost);
  }
  return static_cast<std::uint64_t>(std::min(bytes, kMost));
}

bool lacks_chunks(hid_t dataset) {
  const std::vector<hsize_t> chunk = chunk_shape(dataset), extent = shape(dataset_space(dataset));
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  H5D_fill_value_t fill{};
  if (chunk.size() != extent.size() || chunk.empty() || H5Pfill_value_defined(creation, &fill) < 0 ||
      fill == H5D_FILL_VALUE_USER_DEFINED)
    return false;
  double needed = 1;
  for (std::size_t k = 0; k < chunk.size(); ++k)
    needed *= std::ceil(static_cast<double>(extent[k]) / static_cast<double>(chunk[k]));
  hsize_t there = 0;
  return H5Dget_num_chunks(dataset, dataset_space(dataset), &there) >= 0 && static_cast<double>(there) < needed;
}

std::optional<Packing> packing_of(hid_t creation) {
  Packing packing;
  const int filters = H5Pget_nfilters(creation);
  for (int i = 0; i < filters; ++i) {
    unsigned values[8] = {}, flags = 0, config = 0;
    std::size_t count = std::size(values);
    const H5Z_filter_t filter =
        H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &count, values, 0, nullptr, &config);
    if (filter == H5Z_FILTER_SHUFFLE && i == 0 && count > 0)
      packing.shuffled_bytes = values[0];
    else if (filter == H5Z_FILTER_DEFLATE && !packing.deflated)
      packing.deflated = true;
    else
      return std::nullopt;
  }
  return packing;
}

std::optional<Storage> storage_of(hid_t file, hid_t dataset, Rows some, std::size_t width) {
  const Handle access(H5Fget_access_plist(file), H5Pclose), made(H5Fget_create_plist(file), H5Pclose);
  hsize_t before_file = 0;
  if (H5Pget_driver(access) != H5FD_SEC2 || H5Pget_userblock(made, &before_file) < 0 || before_file != 0) return {};
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  Storage storage;
  if (H5Pget_layout(creation) == H5D_CONTIGUOUS) {
    const haddr_t start = H5Dget_offset(dataset);
    if (start == HADDR_UNDEF) return {};
    storage.block_rows = std::max<std::uint64_t>(kBlockBytes / width, 1);
    for (std::uint64_t row = some.begin; row < some.end; row += storage.block_rows) {
      const Rows rows{row, std::min(some.end, row + storage.block_rows)};
      storage.blocks.push_back({start + row * width, rows.count() * width, rows});
    }
    return storage;
  }
  hsize_t chunk_rows = 0;
  if (H5Pget_layout(creation) != H5D_CHUNKED || H5Pget_chunk(creation, 1, &chunk_rows) != 1) return {};
  const std::optional<Packing> packing = packing_of(creation);
  unsigned options = 0;  // with this option the last chunk may be unpacked, without a mark in the file
  if (H5Pget_chunk_opts(creation, &options) < 0 || (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0) return {};
  if (!packing || chunk_rows * width > kLargestChunk || shape(dataset_space(dataset))[0] / chunk_rows > kMostChunks)
    return {};
  storage.packing = *packing;
  storage.block_rows = chunk_rows;
  for (hsize_t row = some.begin / chunk_rows * chunk_rows; row < some.end; row += chunk_rows) {
    unsigned skipped_filters = 0;
    haddr_t address = 0;
    hsize_t bytes = 0;
    // A chunk that was never written has no bytes. HDF5 must read it, because its rows are the fill value.
    if (H5Dget_chunk_info_by_coord(dataset, &row, &skipped_filters, &address, &bytes) < 0 || address == HADDR_UNDEF ||
        bytes == 0 || skipped_filters != 0)
      return {};
    storage.blocks.push_back({address, bytes, {row, row + chunk_rows}});
  }
  return storage;
}

std::uint64_t data_bytes(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  std::uint64_t bytes = 0;
  for (off_t begin = 0, end = 0; (begin = lseek(file, end, SEEK_DATA)) >= 0;
       bytes += static_cast<std::uint64_t>(end - begin))
    end = lseek(file, begin, SEEK_HOLE);
  const bool told = errno == ENXIO;  // true: lseek() reached the end, so the file system reports holes
  struct stat status {};
  if (!told && fstat(file, &status) == 0) bytes = static_cast<std::uint64_t>(status.st_size);
  close(file);
  return bytes;
}

}  // namespace voxpop
