#pragma once
// Access to a block of threads, so that the same work can run on a device and on the host. On a device each thread of
// the block runs in parallel. On the host the block's threads run one after the other between two barriers. Work is a
// functor with
//   VOXPOP_DEVICE void operator()(Block& block) const;

#include <atomic>

#include "formulas/portable.h"

#if defined(__CUDACC__)
#define VOXPOP_DEVICE __host__ __device__
#else
#define VOXPOP_DEVICE
#endif

namespace voxpop {

struct Block {
  std::uint32_t index, count;  ///< index of this block, and number of blocks
  std::uint32_t threads;
  char* shared;  ///< memory shared by the block's threads, 16-byte aligned

  /// Runs act(thread) for each thread of the block, then a barrier.
  template <class Act>
  VOXPOP_DEVICE void for_threads(const Act& act) const {
#if defined(__CUDA_ARCH__)
    act(threadIdx.x);
    __syncthreads();
#else
    for (std::uint32_t thread = 0; thread < threads; ++thread) act(thread);
#endif
  }
};

/// Atomic addition to a sum that is shared between blocks.
VOXPOP_HD void add_shared(std::int64_t* sum, std::int64_t value) {
#if defined(__CUDA_ARCH__)
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
#else
  std::atomic_ref(*sum).fetch_add(value, std::memory_order_relaxed);
#endif
}

/// Addition to a sum in the block's shared memory. Uses two native 32-bit additions with a carry, because a 64-bit
/// addition would be a loop of compare-and-swap. Both halves are exact modulo 2^64, so the order does not matter.
VOXPOP_HD void add_in_block(std::int64_t* sum, std::int64_t value) {
#if defined(__CUDA_ARCH__)
  auto* half = reinterpret_cast<unsigned*>(sum);
  const auto low = static_cast<unsigned>(value);
  const unsigned carry = atomicAdd(half, low) + low < low ? 1u : 0u;
  const unsigned high = static_cast<unsigned>(value >> 32) + carry;
  if (high != 0) atomicAdd(half + 1, high);
#else
  *sum += value;
#endif
}

/// Maximum of non-negative floats; atomic on a device only. Their bit patterns have the same order as their values.
VOXPOP_HD void raise_shared(float* largest, float value) {
#if defined(__CUDA_ARCH__)
  atomicMax(reinterpret_cast<int*>(largest), __float_as_int(value));
#else
  if (value > *largest) *largest = value;
#endif
}

/// Compare-and-swap, atomic on a device only: replaces `before` by `after`. Returns the old value.
VOXPOP_HD std::uint32_t swap_shared(std::uint32_t* value, std::uint32_t before, std::uint32_t after) {
#if defined(__CUDA_ARCH__)
  return atomicCAS(value, before, after);
#else
  const std::uint32_t was = *value;
  if (was == before) *value = after;
  return was;
#endif
}

VOXPOP_HD void increment_shared(std::uint32_t* count) {
#if defined(__CUDA_ARCH__)
  atomicAdd(count, 1u);
#else
  ++*count;
#endif
}

/// Minimum number of blocks of a kind of work per multiprocessor. The number of registers is limited accordingly.
template <class Work>
inline constexpr int kBlocksAtOnce = 3;

/// Independent work for each index.
template <class Act>
struct ForEach {
  std::uint64_t count;
  Act act;
  VOXPOP_DEVICE void operator()(Block& block) const {
    block.for_threads([&](std::uint32_t thread) {
      const std::uint64_t step = std::uint64_t{block.count} * block.threads;
      for (std::uint64_t i = std::uint64_t{block.index} * block.threads + thread; i < count; i += step) act(i);
    });
  }
};

}  // namespace voxpop
