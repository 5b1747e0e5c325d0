#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace voxpop {

/// HDF5 filters of a chunk that voxpop applies itself, on all cores. The HDF5 library would use only one core. Shuffled
/// numbers compress better.
struct Packing {
  bool deflated = false;  ///< gzip; level 1 when writing
  std::size_t shuffled_bytes =
      0;  ///< element size of the shuffle filter, which stores byte j of all elements together; 0: not shuffled
};

/// Unpacks a chunk into `out`, whose size must be that of the unpacked chunk. Returns false if the bytes are damaged.
/// Pass the same `scratch` to all calls of a thread to avoid allocations.
bool unpack(const Packing& packing, std::span<const std::uint8_t> packed, std::span<std::uint8_t> out,
            std::vector<std::uint8_t>& scratch);

/// Packs a chunk; the inverse of unpack(). Resizes `packed` to the packed size.
void pack(const Packing& packing, std::span<const std::uint8_t> chunk, std::vector<std::uint8_t>& packed,
          std::vector<std::uint8_t>& scratch);

}  // namespace voxpop
