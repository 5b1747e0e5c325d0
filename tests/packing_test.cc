// Packed chunks, which zlib must unpack to the same bytes: HDF5 does so with it.

#include "hdf5/packing.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>
#include <vector>

namespace voxpop {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes packed(const Packing& packing, const Bytes& bytes) {
  Bytes out, scratch;
  pack(packing, bytes, out, scratch);
  return out;
}

Bytes inflated(const Bytes& packed, std::size_t size) {
  Bytes out(std::max<std::size_t>(size, 1));
  uLongf length = out.size();
  EXPECT_EQ(uncompress(out.data(), &length, packed.data(), packed.size()), Z_OK);
  out.resize(length);
  return out;
}

/// `kinds` different values: 1: constant, 256: cannot be compressed.
Bytes drawn(std::size_t size, int kinds) {
  std::mt19937 random(static_cast<unsigned>(size) + static_cast<unsigned>(kinds));
  Bytes out(size);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random() % static_cast<unsigned>(kinds));
  return out;
}

TEST(Packing, zlib_unpacks_what_is_packed) {
  for (const std::size_t size : {0, 1, 2, 3, 100, 4095, 4096, 65535, 65536, 65537, 262144, 1048576 + 1})
    for (const int kinds : {1, 2, 7, 60, 256}) {
      const Bytes bytes = drawn(size, kinds), small = packed({.deflated = true}, bytes);
      EXPECT_EQ(inflated(small, size), bytes) << size << " bytes of " << kinds << " kinds";
      EXPECT_LE(small.size(), size + size / 1000 + 80) << kinds;
      if (size > 4000 && kinds < 8) {
        EXPECT_LT(small.size(), size / 2) << size << ", " << kinds;
      }
    }
}

TEST(Packing, unpack_is_the_inverse) {
  for (const std::size_t width : {1, 2, 3, 4, 8, 12})
    for (const std::size_t size : {width, 100 * width, 65536 * width, 1000 * width + 1})
      for (const bool deflated : {false, true}) {
        const Packing packing{.deflated = deflated, .shuffled_bytes = width};
        const Bytes bytes = drawn(size, 50);
        if (size % width != 0 && width > 1) continue;  // HDF5 writes whole elements
        Bytes out(size), scratch;
        ASSERT_TRUE(unpack(packing, packed(packing, bytes), out, scratch));
        EXPECT_EQ(out, bytes) << width << ", " << size;
      }
}

TEST(Packing, bytes_of_a_chunk_are_the_same_each_time) {
  const Bytes bytes = drawn(262144, 40), other = drawn(262144, 256), first = packed({.deflated = true}, bytes);
  for (int i = 0; i < 5; ++i) {
    packed({.deflated = true}, other);
    EXPECT_EQ(packed({.deflated = true}, bytes), first);
  }
}

}  // namespace
}  // namespace voxpop
