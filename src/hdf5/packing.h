#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace voxpop {

/// How the bytes of an HDF5 chunk are packed, as far as voxpop does that itself, on all cores; HDF5 would use one.
struct Packing {
  bool deflated = false;  ///< gzip, level 1 on writing
  std::size_t shuffled_bytes =
      0;  ///< byte j of every element of so many bytes together, which makes numbers compress; 0: no
};

/// Unpacks into `out`, which is as large as the chunk; false where the bytes are damaged. `scratch` is kept between
/// calls to spare allocations.
bool unpack(const Packing& packing, std::span<const std::uint8_t> packed, std::span<std::uint8_t> out,
            std::vector<std::uint8_t>& scratch);

/// The opposite; `packed` becomes as long as it must be.
void pack(const Packing& packing, std::span<const std::uint8_t> chunk, std::vector<std::uint8_t>& packed,
          std::vector<std::uint8_t>& scratch);

}  // namespace voxpop
