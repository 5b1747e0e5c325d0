#pragma once
// Device memory, CUDA errors, and copies between host and device.

#include <cuda_runtime.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/threads.h"
#include "voxpop/error.h"

namespace voxpop {

/// Throws Error(kDevice) if `status` is an error. The message has `act` (what was being done), CUDA's text, and a
/// remedy if memory is missing.
inline void check(cudaError_t status, const char* act) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears the error, unless it is permanent
  const char* remedy = status == cudaErrorMemoryAllocation
                           ? "; lower memory_limit (--memory-limit), or set device to 'cpu' (--device cpu)"
                           : "";
  throw Error(Exit::kDevice, std::string("CUDA, while ") + act + ": " + cudaGetErrorString(status) + " (" +
                                 cudaGetErrorName(status) + ")" + remedy);
}

/// Owns device memory.
template <class T>
class CudaArray {
 public:
  CudaArray() = default;
  explicit CudaArray(std::size_t count) {
    if (count > 0) check(cudaMalloc(&data_, count * sizeof(T)), "allocating device memory");
  }
  CudaArray(CudaArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  CudaArray& operator=(CudaArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~CudaArray() { cudaFree(data_); }
  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

/// Owns pinned host memory: the device copies it without help of the CPU.
template <class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  explicit PinnedArray(std::size_t count) {
    if (count > 0) check(cudaMallocHost(&data_, count * sizeof(T)), "allocating pinned host memory");
  }
  PinnedArray(PinnedArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedArray() { cudaFreeHost(data_); }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }

 private:
  T* data_ = nullptr;
};

/// Copies between host and device. Long copies of pageable host memory go through two pinned buffers: all CPU cores
/// fill or empty one while the device copies the other. CUDA's own copy uses one core, which is far slower than the
/// bus.
class StagedCopies {
 public:
  StagedCopies() = default;
  StagedCopies(const StagedCopies&) = delete;
  StagedCopies& operator=(const StagedCopies&) = delete;
  ~StagedCopies() {
    for (cudaEvent_t event : copied_)
      if (event != nullptr) cudaEventDestroy(event);
  }

  /// Copies to the device. `from` may also be device memory. Pinned memory at `from` must not change until the stream
  /// has done the copy.
  void in(void* to, const void* from, std::size_t bytes, cudaStream_t stream = nullptr) {
    if (bytes == 0) return;
    if (!is_long_and_pageable(from, bytes)) return copy(to, from, bytes, stream);
    begin();
    std::size_t half = 0;
    for (std::size_t at = 0; at < bytes; at += kHalf, half = 1 - half) {
      const std::size_t count = std::min(kHalf, bytes - at);
      wait_for(half);
      copy_on_all_cores(halves_[half].data(), static_cast<const char*>(from) + at, count);
      start(half, static_cast<char*>(to) + at, halves_[half].data(), count, stream);
    }
  }
  /// Copies from the device. Waits for all work queued before.
  void out(void* to, const void* from, std::size_t bytes, cudaStream_t stream = nullptr) {
    if (!is_long_and_pageable(to, bytes)) {
      if (bytes > 0) copy(to, from, bytes, stream);
      check(cudaStreamSynchronize(stream), "waiting for the device");
      return;
    }
    begin();
    const auto empty = [&](std::size_t half, std::size_t at) {
      wait_for(half);
      copy_on_all_cores(static_cast<char*>(to) + at, halves_[half].data(), std::min(kHalf, bytes - at));
    };
    std::size_t half = 0, at = 0;
    for (; at < bytes; at += kHalf, half = 1 - half) {
      wait_for(half);
      start(half, halves_[half].data(), static_cast<const char*>(from) + at, std::min(kHalf, bytes - at), stream);
      if (at > 0) empty(1 - half, at - kHalf);
    }
    if (at > 0) empty(1 - half, at - kHalf);
  }

 private:
  static constexpr std::size_t kHalf = std::size_t{4} << 20;

  /// Short copies are left to CUDA, because pinning the buffers takes time.
  static bool is_long_and_pageable(const void* host, std::size_t bytes) {
    if (bytes < kHalf) return false;
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, host), "asking where memory lies");
    return attributes.type == cudaMemoryTypeUnregistered;
  }
  static void copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copying to or from the device");
  }

  /// Allocates the buffers on first use: few engines copy that much, and the device must be chosen before.
  void begin() {
    if (copied_[1] != nullptr) return;
    for (PinnedArray<char>& half : halves_) half = PinnedArray<char>(kHalf);
    for (cudaEvent_t& event : copied_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  }
  void start(std::size_t half, void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    copy(to, from, bytes, stream);
    check(cudaEventRecord(copied_[half], stream), "recording an event");
  }
  void wait_for(std::size_t half) { check(cudaEventSynchronize(copied_[half]), "waiting for a copy"); }

  PinnedArray<char> halves_[2];
  cudaEvent_t copied_[2] = {};
};

}  // namespace voxpop
