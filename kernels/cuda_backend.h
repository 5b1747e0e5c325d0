#pragma once
// The backend of kernels/parallel_engine.h for a CUDA device. tests/host_backend.h is the one for tests.

#include <cuda_runtime.h>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cuda_memory.h"
#include "cusolver.h"
#include "formulas/block.h"
#include "formulas/fit_state.h"

namespace voxpop {

template <class Work>
__global__ void __launch_bounds__(256, kBlocksAtOnce<Work>) run_block(Work work) {
  extern __shared__ __align__(16) char shared[];
  Block block{blockIdx.x, gridDim.x, blockDim.x, shared};
  work(block);
}

class CudaBackend {
 public:
  template <class T>
  using Array = CudaArray<T>;
  template <class T>
  using HostArray = PinnedArray<T>;

  explicit CudaBackend(int device) {
    check(cudaSetDevice(device), "choosing the device");
    check(cudaGetDeviceProperties(&properties_, device), "asking for the device's properties");
    states_ = PinnedArray<FitState>(kStates);
    name_ = "cuda:" + std::to_string(device) + " (" + properties_.name + ")";
    for (cudaStream_t& stream : streams_)
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
    for (cudaEvent_t& event : events_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    for (cudaEvent_t& event : state_events_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;
  ~CudaBackend() {
    for (cudaStream_t stream : streams_) cudaStreamSynchronize(stream);
    for (const void* memory : pinned_) cudaHostUnregister(const_cast<void*>(memory));
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
    for (cudaEvent_t event : state_events_) cudaEventDestroy(event);
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
  }

  std::string name() const { return name_; }
  std::size_t free_memory() const {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free device memory");
    return free;
  }
  /// Bytes of shared memory that a block may use so that two or more blocks fit on a multiprocessor.
  std::size_t block_memory() const { return properties_.sharedMemPerMultiprocessor / 2 - 2048; }

  template <class T>
  Array<T> allocate(std::size_t count) const {
    return Array<T>(count);
  }
  template <class T>
  HostArray<T> allocate_host(std::size_t count) const {
    return HostArray<T>(count);
  }
  /// `from` may also be device memory.
  template <class T>
  void copy_in(T* to, const T* from, std::size_t count) {
    copies_.in(to, from, count * sizeof(T), stream());
  }
  /// Waits for all work queued before.
  template <class T>
  void copy_out(T* to, const T* from, std::size_t count) {
    copies_.out(to, from, count * sizeof(T), stream());
  }
  template <class T>
  void copy_out_later(T* to, const T* from, std::size_t count) {
    if (count == 0) return;
    check(cudaMemcpyAsync(to, from, count * sizeof(T), cudaMemcpyDeviceToHost, stream()), "copying from the device");
  }
  template <class T>
  void clear(T* array, std::size_t count) {
    if (count == 0) return;
    check(cudaMemsetAsync(array, 0, count * sizeof(T), stream()), "clearing device memory");
  }
  /// Pins host memory that others own, for faster copies. If the system refuses, copies are only slower.
  void pin(const void* memory, std::size_t bytes) {
    if (bytes == 0) return;
    if (cudaHostRegister(const_cast<void*>(memory), bytes, cudaHostRegisterDefault) == cudaSuccess)
      pinned_.push_back(memory);
    else
      cudaGetLastError();
  }

  template <class Work>
  std::uint32_t resident_blocks(const Work&, std::uint32_t threads, std::uint32_t bytes) {
    allow_shared(run_block<Work>, bytes);
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, run_block<Work>, static_cast<int>(threads), bytes),
          "asking for a kernel's occupancy");
    return static_cast<std::uint32_t>(std::max(blocks, 1) * properties_.multiProcessorCount);
  }
  template <class Work>
  void launch(std::uint32_t blocks, std::uint32_t threads, std::uint32_t bytes, const Work& work) {
    allow_shared(run_block<Work>, bytes);
    run_block<Work><<<blocks, threads, bytes, stream()>>>(work);
    check(cudaGetLastError(), "launching a kernel");
  }
  /// Always false: work that is queued ahead reads its flags on the device, and the host does not wait for them.
  bool is_set(const int*) const { return false; }

  template <class Act>
  void for_each(std::uint64_t count, const Act& act) {
    if (count == 0) return;
    const std::uint64_t most = std::uint64_t(properties_.multiProcessorCount) * 16;
    launch(static_cast<std::uint32_t>(std::min(most, (count + 255) / 256)), 256, 0, ForEach<Act>{count, act});
  }

  /// Records the launches of enqueue() the first time, as a CUDA graph, and replays them from then on: one host call
  /// for all launches.
  template <class Enqueue>
  void repeat(const Enqueue& enqueue) {
    if (graph_ == nullptr) {
      check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "recording an iteration");
      enqueue();
      cudaGraph_t graph = nullptr;
      check(cudaStreamEndCapture(stream(), &graph), "recording an iteration");
      check(cudaGraphInstantiate(&graph_, graph, 0), "preparing an iteration");
      cudaGraphDestroy(graph);
    }
    check(cudaGraphLaunch(graph_, stream()), "launching an iteration");
  }

  /// From now on slabs alternate between two streams. Without this call all work is on one stream.
  void use_two_streams() { two_streams_ = true; }
  /// Selects the stream for the following work.
  void use_stream(std::size_t index) { current_ = index; }
  /// The second stream waits for the work that is queued on the first.
  void fork() { order(0, 1); }
  /// The first stream waits for the work that is queued on the second, and is selected again.
  void join() {
    order(1, 0);
    current_ = 0;
  }

  /// The selected stream waits for the other one. Needed before work with memory that both streams use.
  void wait_for_other_stream() { order(1 - current_, current_); }

  void push_state(const FitState* state) {
    const std::size_t slot = pushed_ % kStates;
    check(cudaMemcpyAsync(states_.data() + slot, state, sizeof(FitState), cudaMemcpyDeviceToHost, stream()),
          "copying the fit's state");
    check(cudaEventRecord(state_events_[slot], stream()), "recording an event");
    ++pushed_;
  }
  FitState pop_state() {
    const std::size_t slot = popped_++ % kStates;
    check(cudaEventSynchronize(state_events_[slot]), "iterating on the device");
    return states_[slot];
  }
  std::size_t states_in_flight() const { return pushed_ - popped_; }

  void prepare_dense(double* h, std::uint32_t items) { solver_ = std::make_unique<CuSolver>(h, items); }
  void factor(double* h, std::uint32_t items) { solver_->factor(h, items, stream()); }
  void invert(double* h, std::uint32_t items) { solver_->invert(h, items, stream()); }

 private:
  static constexpr std::size_t kStates = 8;

  cudaStream_t stream() const { return streams_[current_]; }
  template <class Kernel>
  static void allow_shared(Kernel* kernel, std::uint32_t bytes) {
    if (bytes > 48 * 1024)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
            "asking for shared memory");
  }
  void order(std::size_t before, std::size_t after) {
    if (!two_streams_) return;
    check(cudaEventRecord(events_[before], streams_[before]), "recording an event");
    check(cudaStreamWaitEvent(streams_[after], events_[before], 0), "ordering streams");
  }

  cudaDeviceProp properties_{};
  std::string name_;
  cudaStream_t streams_[2] = {};
  cudaEvent_t events_[2] = {}, state_events_[kStates] = {};
  std::size_t current_ = 0;
  bool two_streams_ = false;
  cudaGraphExec_t graph_ = nullptr;
  PinnedArray<FitState> states_;
  StagedCopies copies_;
  std::size_t pushed_ = 0, popped_ = 0;
  std::vector<const void*> pinned_;
  std::unique_ptr<CuSolver> solver_;
};

}  // namespace voxpop
