// deflate() where ISA-L is not installed.

#include <libdeflate.h>

#include <memory>
#include <new>

#include "hdf5/deflate.h"

namespace voxpop {

void deflate(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& packed) {
  using Compressor = std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)>;
  static thread_local const Compressor deflate(libdeflate_alloc_compressor(1), libdeflate_free_compressor);
  if (!deflate) throw std::bad_alloc();
  packed.resize(libdeflate_zlib_compress_bound(deflate.get(), bytes.size()));
  packed.resize(libdeflate_zlib_compress(deflate.get(), bytes.data(), bytes.size(), packed.data(), packed.size()));
}

}  // namespace voxpop
