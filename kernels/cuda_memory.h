#pragma once
// Device memory and CUDA's ways to report on it and to copy it.

#include <cuda_runtime.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/threads.h"
#include "voxpop/error.h"

namespace voxpop {

/// Throws Error(kDevice): what was being done, and what CUDA says. Out of memory has a remedy.
inline void check(cudaError_t status, const char* act) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears it, where it can be cleared
  const char* remedy = status == cudaErrorMemoryAllocation ? "; lower --memory-limit, or take --device cpu" : "";
  throw Error(Exit::kDevice, std::string("CUDA, while ") + act + ": " + cudaGetErrorString(status) + " (" +
                                 cudaGetErrorName(status) + ")" + remedy);
}

/// Device memory, freed at the end.
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

/// Host memory that the device copies from and to without the host's help.
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

/// Copies between the device and host memory. Long ones of memory that is not pinned go by way of two pinned halves:
/// all cores fill or empty one while the device works on the other. CUDA's own way takes one core, which is far slower
/// than the bus.
class StagedCopies {
 public:
  StagedCopies() = default;
  StagedCopies(const StagedCopies&) = delete;
  StagedCopies& operator=(const StagedCopies&) = delete;
  ~StagedCopies() {
    for (cudaEvent_t event : copied_)
      if (event != nullptr) cudaEventDestroy(event);
  }

  /// `from` may also lie on the device; where it is pinned it must stay as it is until the stream has come by.
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
  /// Waits for all that was queued before.
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

  /// Pinning memory takes its time: what is short is copied as CUDA would.
  static bool is_long_and_pageable(const void* host, std::size_t bytes) {
    if (bytes < kHalf) return false;
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, host), "asking where memory lies");
    return attributes.type == cudaMemoryTypeUnregistered;
  }
  static void copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copying to or from the device");
  }

  /// Few engines copy so much, and by then the device is chosen.
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
