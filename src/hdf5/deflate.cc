// deflate() by ISA-L, which takes two fifths of libdeflate's time.

#include "hdf5/deflate.h"

#include <isa-l/igzip_lib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <limits>
#include <stdexcept>

namespace voxpop {
namespace {

/// ISA-L's AVX functions leave the upper halves of the registers in use. With them in use, SSE code that runs later is
/// several times slower.
#if defined(__x86_64__)
__attribute__((target("avx"))) void clear_upper_halves() { _mm256_zeroupper(); }
#else
void clear_upper_halves() {}
#endif

bool has_upper_halves() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx") != 0;
#else
  return false;
#endif
}

}  // namespace

void deflate(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& packed) {
  static thread_local std::vector<std::uint8_t> buffer(ISAL_DEF_LVL2_DEFAULT);
  static const bool clears = has_upper_halves();
  // Bytes that cannot be compressed are stored as they are, in blocks of less than 64 KiB with 5 bytes before each.
  const std::size_t most = bytes.size() + 5 * (bytes.size() / 32768 + 1) + 64;
  if (most > std::numeric_limits<std::uint32_t>::max()) throw std::length_error("a chunk has 4 GiB or more");
  packed.resize(most);
  isal_zstream stream;
  isal_deflate_stateless_init(&stream);
  stream.level = 2;  // a fit's files are 7 % larger than libdeflate's at its level 1; at ISA-L's level 1, 16 %
  stream.level_buf = buffer.data();
  stream.level_buf_size = static_cast<std::uint32_t>(buffer.size());
  stream.gzip_flag = IGZIP_ZLIB;
  stream.end_of_stream = 1;
  stream.next_in = const_cast<std::uint8_t*>(bytes.data());  // is only read
  stream.avail_in = static_cast<std::uint32_t>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<std::uint32_t>(packed.size());
  const int status = isal_deflate_stateless(&stream);
  if (clears) clear_upper_halves();
  if (status != COMP_OK || stream.avail_in > 0) throw std::logic_error("a chunk cannot be compressed");
  packed.resize(stream.total_out);
}

}  // namespace voxpop
