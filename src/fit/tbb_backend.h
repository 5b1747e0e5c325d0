#pragma once
// Backend that runs work in blocks (formulas/block.h) on the CPU's threads.

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <vector>

#include "formulas/block.h"
#include "voxpop/column.h"

namespace voxpop {

class TbbBackend {
 public:
  template <class T>
  using Array = Column<T>;
  template <class T>
  Array<T> allocate(std::size_t count) const {
    return Array<T>(count, T{});
  }
  template <class T>
  void copy_in(T* to, const T* from, std::size_t count) const {
    std::copy_n(from, count, to);
  }
  template <class T>
  void copy_out(T* to, const T* from, std::size_t count) const {
    std::copy_n(from, count, to);
  }
  template <class T>
  void clear(T* array, std::size_t count) const {
    std::fill_n(array, count, T{});
  }
  bool is_set(const int* flag) const { return *flag != 0; }

  template <class Act>
  void for_each(std::uint64_t count, const Act& act) const {
    oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::uint64_t>(0, count, 1024), [&](const auto& range) {
      for (std::uint64_t i = range.begin(); i != range.end(); ++i) act(i);
    });
  }
  template <class Work>
  void launch(std::uint32_t blocks, std::uint32_t threads, std::uint32_t bytes, const Work& work) const {
    oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::uint32_t>(0, blocks, 8), [&](const auto& range) {
      std::vector<double> shared(bytes / sizeof(double) + 1);
      for (std::uint32_t b = range.begin(); b != range.end(); ++b) {
        Block block{b, blocks, threads, reinterpret_cast<char*>(shared.data())};
        work(block);
      }
    });
  }
};

}  // namespace voxpop
