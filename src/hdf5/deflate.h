#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace voxpop {

/// Compresses bytes, fast rather than small, to the zlib format (RFC 1950), which the gzip filter of HDF5 uses. Resizes
/// `packed` to the compressed size. The compressed bytes may depend on the library and on the processor; what they
/// unpack to does not.
void deflate(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& packed);

}  // namespace voxpop
