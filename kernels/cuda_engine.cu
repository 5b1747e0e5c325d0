#include "cuda_backend.h"
#include "fit/cuda.h"
#include "parallel_engine.h"

namespace voxpop {
namespace {

std::string version_of(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

/// Returns an error if this build has no code of the kernel for the current device.
template <class Work>
cudaError_t has_code() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, run_block<Work>);
}

}  // namespace

Cuda find_cuda() {
  Cuda found;
  int runtime = 0, driver = 0;
  if (cudaRuntimeGetVersion(&runtime) == cudaSuccess) found.runtime = version_of(runtime);
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) found.driver = version_of(driver);
  const cudaError_t status = cudaGetDeviceCount(&found.devices);
  if (status != cudaSuccess) {
    cudaGetLastError();
    found.devices = 0;
    found.why_none = found.driver.empty() ? "no NVIDIA driver found" : cudaGetErrorString(status);
  } else if (found.devices == 0) {
    found.why_none = "no CUDA device found";
  }
  return found;
}

CudaDevice inspect_cuda_device(int index) {
  CudaDevice device;
  cudaDeviceProp properties{};
  cudaError_t problem = cudaGetDeviceProperties(&properties, index);
  if (problem == cudaSuccess) {
    device.name = properties.name;
    device.compute_capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
    device.memory = properties.totalGlobalMem;
    device.multiprocessors = properties.multiProcessorCount;
    problem = cudaSetDevice(index);
  }
  if (problem == cudaSuccess) problem = has_code<StepAnnotators>();
  if (problem == cudaSuccess) problem = cudaMemGetInfo(&device.free_memory, &device.memory);
  if (problem != cudaSuccess) {
    cudaGetLastError();
    device.why_not = cudaGetErrorString(problem);
  }
  return device;
}

std::string why_not_cuda(int index) {
  const Cuda found = find_cuda();
  if (!found.why_none.empty()) return found.why_none;
  if (index >= found.devices) return "there are " + std::to_string(found.devices) + " CUDA devices, numbered from 0";
  return inspect_cuda_device(index).why_not;
}

std::unique_ptr<Engine> make_cuda_engine(const Groups& groups, int device, std::size_t memory_limit) {
  return std::make_unique<ParallelEngine<CudaBackend>>(groups, std::make_unique<CudaBackend>(device), memory_limit);
}

}  // namespace voxpop
