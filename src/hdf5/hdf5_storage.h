#pragma once
// How a dataset is stored in its HDF5 file: shape, chunks, and file positions for reading rows without the library.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hdf5/hdf5.h"
#include "hdf5/packing.h"

namespace voxpop {

inline constexpr std::uint64_t kLargestChunk = 64u << 20;  ///< bytes; HDF5 reads larger chunks, one at a time

Handle dataset_type(hid_t dataset);
Handle dataset_space(hid_t dataset);
/// Extent in each dimension.
std::vector<hsize_t> shape(hid_t space);

/// Size of an unpacked chunk in bytes; 0 if the dataset is not chunked.
std::uint64_t chunk_bytes(hid_t dataset);
/// Upper estimate, in bytes, of what HDF5 must unpack for any `rows` consecutive rows: whole chunks, plus 4 KiB per
/// chunk for the time to find the chunk.
std::uint64_t work_of(hid_t dataset, std::uint64_t rows);
/// Whether chunks are missing although the file defines no fill value. HDF5 would return zeros for their rows, which
/// the writer never wrote. With a user-defined fill value, missing chunks are intended and the result is false.
bool lacks_chunks(hid_t dataset);
/// The packing that the filters of a chunked dataset describe; nullopt if only HDF5 can unpack it.
std::optional<Packing> packing_of(hid_t creation);

/// A block of rows in the file: a chunk, or a part of a contiguous dataset. `address`: byte offset in the file.
/// `bytes`: stored size.
struct StoredRows {
  std::uint64_t address, bytes;
  Rows rows;
};

/// Positions of a dataset's rows in the file.
struct Storage {
  Packing packing;
  std::uint64_t block_rows = 0;  ///< rows of each unpacked block; HDF5 stores the last chunk in full, too
  std::vector<StoredRows> blocks;
};

/// Positions of the rows `some`, each `width` bytes; nullopt if only HDF5 can read them.
std::optional<Storage> storage_of(hid_t file, hid_t dataset, Rows some, std::size_t width);

/// Size of a file without its holes, bytes; the whole size if the file system does not report holes.
std::uint64_t data_bytes(const std::string& path);

}  // namespace voxpop
