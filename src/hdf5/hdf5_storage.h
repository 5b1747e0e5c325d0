#pragma once
// How a dataset lies in its HDF5 file: its shape, its chunks, and where its rows can be read past the library.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hdf5/hdf5.h"
#include "hdf5/packing.h"

namespace voxpop {

inline constexpr std::uint64_t kLargestChunk = 64u << 20;  ///< bytes; larger ones are left to HDF5, one at a time

Handle dataset_type(hid_t dataset);
Handle dataset_space(hid_t dataset);
/// Extent in each dimension.
std::vector<hsize_t> shape(hid_t space);

/// Of each chunk, unpacked; 0: not chunked.
std::uint64_t chunk_bytes(hid_t dataset);
/// Bytes that HDF5 may have to unpack for `rows` rows, however they lie: whole chunks, and something for each.
std::uint64_t work_of(hid_t dataset, std::uint64_t rows);
/// Whether chunks are missing, whose rows would be zeros that nobody wrote; a fill value of one's own is meant.
bool lacks_chunks(hid_t dataset);
/// The packing of the filters of a chunked dataset; none: one that only HDF5 can unpack.
std::optional<Packing> packing_of(hid_t creation);

/// A block of rows as it lies in the file: a chunk, or a part of what is not chunked.
struct StoredRows {
  std::uint64_t address, bytes;
  Rows rows;
};

/// Where a dataset's rows lie.
struct Storage {
  Packing packing;
  std::uint64_t block_rows = 0;  ///< of each block, unpacked; of its last chunk HDF5 stores the whole, too
  std::vector<StoredRows> blocks;
};

/// Where `some` rows, each `width` bytes, lie; none: leave it to HDF5.
std::optional<Storage> storage_of(hid_t file, hid_t dataset, Rows some, std::size_t width);

/// Bytes of a file that are not holes, as far as the file system tells them apart.
std::uint64_t data_bytes(const std::string& path);

}  // namespace voxpop
