#include "hdf5/packing.h"

#include <libdeflate.h>

#include <cstring>
#include <memory>
#include <new>

#include "hdf5/deflate.h"

namespace voxpop {
namespace {

/// The width is a compile-time constant so that the compiler can vectorise the loop.
template <std::size_t kWidth>
void shuffle_elements(const std::uint8_t* in, std::size_t elements, std::uint8_t* out) {
  for (std::size_t i = 0; i < elements; ++i)
    for (std::size_t j = 0; j < kWidth; ++j) out[j * elements + i] = in[i * kWidth + j];
}
template <std::size_t kWidth>
void unshuffle_elements(const std::uint8_t* in, std::size_t elements, std::uint8_t* out) {
  for (std::size_t i = 0; i < elements; ++i)
    for (std::size_t j = 0; j < kWidth; ++j) out[i * kWidth + j] = in[j * elements + i];
}

void shuffle(const std::uint8_t* in, std::size_t elements, std::size_t width, std::uint8_t* out) {
  if (width == 2) return shuffle_elements<2>(in, elements, out);
  if (width == 4) return shuffle_elements<4>(in, elements, out);
  if (width == 8) return shuffle_elements<8>(in, elements, out);
  for (std::size_t j = 0; j < width; ++j)
    for (std::size_t i = 0; i < elements; ++i) out[j * elements + i] = in[i * width + j];
}

void unshuffle(const std::uint8_t* in, std::size_t elements, std::size_t width, std::uint8_t* out) {
  if (width == 2) return unshuffle_elements<2>(in, elements, out);
  if (width == 4) return unshuffle_elements<4>(in, elements, out);
  if (width == 8) return unshuffle_elements<8>(in, elements, out);
  for (std::size_t j = 0; j < width; ++j)
    for (std::size_t i = 0; i < elements; ++i) out[i * width + j] = in[j * elements + i];
}

using Decompressor = std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)>;

}  // namespace

bool unpack(const Packing& packing, std::span<const std::uint8_t> packed, std::span<std::uint8_t> out,
            std::vector<std::uint8_t>& scratch) {
  std::span<const std::uint8_t> mixed = packed;
  if (packing.deflated) {
    static thread_local const Decompressor inflate(libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    if (!inflate) throw std::bad_alloc();
    std::uint8_t* to = out.data();
    if (packing.shuffled_bytes > 0) {
      scratch.resize(out.size());
      to = scratch.data();
    }
    if (libdeflate_zlib_decompress(inflate.get(), packed.data(), packed.size(), to, out.size(), nullptr) !=
        LIBDEFLATE_SUCCESS)
      return false;
    mixed = {to, out.size()};
  }
  if (mixed.size() != out.size()) return false;
  if (packing.shuffled_bytes > 0) {
    // The shuffle filter does not move bytes after the last whole element.
    const std::size_t whole = out.size() / packing.shuffled_bytes * packing.shuffled_bytes;
    unshuffle(mixed.data(), out.size() / packing.shuffled_bytes, packing.shuffled_bytes, out.data());
    std::memcpy(out.data() + whole, mixed.data() + whole, out.size() - whole);
  } else if (mixed.data() != out.data()) {
    std::memcpy(out.data(), mixed.data(), out.size());
  }
  return true;
}

void pack(const Packing& packing, std::span<const std::uint8_t> chunk, std::vector<std::uint8_t>& packed,
          std::vector<std::uint8_t>& scratch) {
  std::span<const std::uint8_t> mixed = chunk;
  if (packing.shuffled_bytes > 1) {
    scratch.resize(chunk.size());
    shuffle(chunk.data(), chunk.size() / packing.shuffled_bytes, packing.shuffled_bytes, scratch.data());
    mixed = scratch;
  }
  if (!packing.deflated) {
    packed.assign(mixed.begin(), mixed.end());
    return;
  }
  deflate(mixed, packed);
}

}  // namespace voxpop
