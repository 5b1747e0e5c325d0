#pragma once
#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "voxpop/export.h"

namespace voxpop {

/// Allocates `bytes` in a scratch file if the process has a memory limit; else returns null. Throws Error(kFileSystem)
/// if the disk is full.
VOXPOP_EXPORT void* allocate_scratch(std::size_t bytes);
/// Returns false if `memory` is not from allocate_scratch().
VOXPOP_EXPORT bool release_scratch(void* memory);

/// Memory that is not zeroed: callers fill a long column right after they allocate it, on all cores. Under a memory
/// limit it is in scratch files.
template <class T>
struct ColumnAllocator : std::allocator<T> {
  static constexpr std::size_t kHuge = std::size_t{2} << 20;
  template <class U>
  struct rebind {
    using other = ColumnAllocator<U>;
  };
  using std::allocator<T>::allocator;
  T* allocate(std::size_t count) {
    if (count * sizeof(T) < kHuge) return std::allocator<T>::allocate(count);
    const std::size_t bytes = (count * sizeof(T) + kHuge - 1) / kHuge * kHuge;
    if (void* scratch = allocate_scratch(bytes); scratch != nullptr) return static_cast<T*>(scratch);
    void* memory = std::aligned_alloc(kHuge, bytes);
    if (memory == nullptr) throw std::bad_alloc();
    // The last part is left out: perhaps little of that huge page would be used.
    madvise(memory, count * sizeof(T) / kHuge * kHuge, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    if (count * sizeof(T) < kHuge)
      std::allocator<T>::deallocate(memory, count);
    else if (!release_scratch(memory))
      std::free(memory);
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    if constexpr (sizeof...(Arguments) == 0 && std::is_trivially_default_constructible_v<U>)
      return;
    else
      ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
};

/// A long column of numbers: a std::vector whose resize() leaves new rows uninitialised.
template <class T>
using Column = std::vector<T, ColumnAllocator<T>>;

}  // namespace voxpop
