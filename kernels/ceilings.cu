#include "ceilings.h"

#include "cuda_backend.h"
#include "formulas/smoothed.h"

namespace voxpop {
namespace {

constexpr int kRuns = 7;
constexpr int kEvaluations = 512;  // per thread, each depending on the one before

__global__ void evaluate(float* out) {
  const auto thread = blockIdx.x * blockDim.x + threadIdx.x;
  float mean = static_cast<float>(thread % 64) * 0.05f - 1.6f, sum = 0;
  for (int i = 0; i < kEvaluations; ++i) {
    const Smoothed<float> z = smoothed_logistic<kFast>(mean, 0.8f);
    sum += z.log_value + z.third + z.fourth;
    mean = z.first - z.second - 0.5f;  // makes the next evaluation depend on this one
  }
  out[thread] = sum;
}

/// Seconds of the fastest run.
template <class Act>
double best_of_runs(const Act& act) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "creating an event");
  check(cudaEventCreate(&end), "creating an event");
  float best = INFINITY;
  for (int run = 0; run < kRuns; ++run) {
    check(cudaEventRecord(begin), "recording an event");
    act();
    check(cudaEventRecord(end), "recording an event");
    check(cudaEventSynchronize(end), "measuring");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "measuring");
    best = std::min(best, milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return best * 1e-3;
}

}  // namespace

double measure_copy(std::size_t bytes) {
  CudaArray<char> from(bytes), to(bytes);
  check(cudaMemset(from.data(), 1, bytes), "clearing device memory");
  const double seconds =
      best_of_runs([&] { check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice), "copying"); });
  return 2 * static_cast<double>(bytes) / seconds;
}

double measure_logistic() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "asking for the device's properties");
  const unsigned blocks = static_cast<unsigned>(properties.multiProcessorCount) * 32, threads = 256;
  CudaArray<float> out(std::size_t{blocks} * threads);
  const double seconds = best_of_runs([&] {
    evaluate<<<blocks, threads>>>(out.data());
    check(cudaGetLastError(), "launching a kernel");
  });
  return static_cast<double>(blocks) * threads * kEvaluations / seconds;
}

}  // namespace voxpop
