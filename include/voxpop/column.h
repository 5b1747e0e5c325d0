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

/// Memory for a long column in a scratch file, where the process has a memory limit; null where it has none. Throws
/// Error(kFileSystem) where the disk is full.
VOXPOP_EXPORT void* allocate_scratch(std::size_t bytes);
/// False for memory that is not from there.
VOXPOP_EXPORT bool release_scratch(void* memory);

/// Memory that is not set to zero first: whoever asks for a long column fills it next, on all cores. Under a memory
/// limit it lies in files.
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
    madvise(memory, count * sizeof(T) / kHuge * kHuge, MADV_HUGEPAGE);  // not the last, of which little may be used
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

/// A long column of numbers: a std::vector, except that resize() leaves new rows undefined.
template <class T>
using Column = std::vector<T, ColumnAllocator<T>>;

}  // namespace voxpop
