#pragma once
// Where kernels/parallel_engine.h runs without a device: blocks and their threads one after another.

#include <Eigen/Dense>
#include <deque>
#include <vector>

#include "fit/tbb_backend.h"
#include "kernels/parallel_engine.h"

namespace voxpop::test {

class HostBackend : public TbbBackend {
 public:
  template <class T>
  using HostArray = std::vector<T>;

  explicit HostBackend(std::uint32_t blocks = 3, std::size_t block_memory = 1 << 17)
      : blocks_(blocks), block_memory_(block_memory) {}

  std::string name() const { return "host"; }
  std::size_t free_memory() const { return std::size_t{1} << 40; }
  std::size_t block_memory() const { return block_memory_; }

  template <class T>
  Array<T> allocate(std::size_t count) const {
    Array<T> array(count);
    std::fill_n(reinterpret_cast<char*>(array.data()), count * sizeof(T), '\x55');  // a device's memory is not zero
    return array;
  }
  template <class T>
  HostArray<T> allocate_host(std::size_t count) const {
    return HostArray<T>(count);
  }
  template <class T>
  void copy_out_later(T* to, const T* from, std::size_t count) const {
    std::copy_n(from, count, to);
  }
  template <class Work>
  std::uint32_t resident_blocks(const Work&, std::uint32_t, std::uint32_t) const {
    return blocks_;
  }
  template <class Work>
  void launch(std::uint32_t blocks, std::uint32_t threads, std::uint32_t bytes, const Work& work) const {
    for (std::uint32_t b = 0; b < blocks; ++b) {
      std::vector<std::max_align_t> shared(bytes / sizeof(std::max_align_t) + 1);
      auto* memory = reinterpret_cast<char*>(shared.data());
      std::fill_n(memory, bytes, '\x55');
      Block block{b, blocks, threads, memory};
      work(block);
    }
  }
  template <class Act>
  void for_each(std::uint64_t count, const Act& act) const {
    launch(blocks_, 64, 0, ForEach<Act>{count, act});
  }
  template <class Enqueue>
  void repeat(const Enqueue& enqueue) const {
    enqueue();
  }

  void pin(const void*, std::size_t) const {}
  void use_two_streams() const {}
  void use_stream(std::size_t) const {}
  void fork() const {}
  void join() const {}
  void wait_for_other_stream() const {}

  void push_state(const FitState* state) { states_.push_back(*state); }
  FitState pop_state() {
    const FitState state = states_.front();
    states_.pop_front();
    return state;
  }
  std::size_t states_in_flight() const { return states_.size(); }

  void prepare_dense(double*, std::uint32_t) const {}
  /// The lower triangle of a column-major matrix becomes its Cholesky factor, then the matrix's inverse.
  void factor(double* h, std::uint32_t items) const {
    Eigen::Map<Eigen::MatrixXd> matrix(h, items, items);
    const Eigen::MatrixXd lower = Eigen::MatrixXd(matrix.selfadjointView<Eigen::Lower>()).llt().matrixL();
    matrix.triangularView<Eigen::Lower>() = lower;
  }
  void invert(double* h, std::uint32_t items) const {
    Eigen::Map<Eigen::MatrixXd> matrix(h, items, items);
    const Eigen::MatrixXd root = matrix.triangularView<Eigen::Lower>().solve(Eigen::MatrixXd::Identity(items, items));
    matrix.triangularView<Eigen::Lower>() = root.transpose() * root;
  }

 private:
  std::uint32_t blocks_;
  std::size_t block_memory_;
  std::deque<FitState> states_;
};

inline std::unique_ptr<ParallelEngine<HostBackend>> make_host_engine(const Groups& groups,
                                                                     HostBackend backend = HostBackend(),
                                                                     std::size_t memory_limit = 0) {
  return std::make_unique<ParallelEngine<HostBackend>>(groups, std::make_unique<HostBackend>(std::move(backend)),
                                                       memory_limit);
}

}  // namespace voxpop::test
