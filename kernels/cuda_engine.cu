#include "cuda_backend.h"
#include "fit/cuda.h"
#include "parallel_engine.h"

namespace voxpop {
namespace {

std::string version_of(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

/// For a kernel that this build has no code for.
template <class Work>
cudaError_t has_code() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, run_block<Work>);
}

}  // namespace

CudaDevices find_cuda_devices() {
  CudaDevices found;
  int runtime = 0, driver = 0, count = 0;
  if (cudaRuntimeGetVersion(&runtime) == cudaSuccess) found.runtime = version_of(runtime);
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) found.driver = version_of(driver);
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    found.why_none = found.driver.empty() ? "no NVIDIA driver found" : cudaGetErrorString(status);
    return found;
  }
  if (count == 0) found.why_none = "no CUDA device found";
  for (int d = 0; d < count; ++d) {
    CudaDevice device;
    cudaDeviceProp properties{};
    cudaError_t problem = cudaGetDeviceProperties(&properties, d);
    if (problem == cudaSuccess) {
      device.name = properties.name;
      device.compute_capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
      device.memory = properties.totalGlobalMem;
      device.multiprocessors = properties.multiProcessorCount;
      problem = cudaSetDevice(d);
    }
    if (problem == cudaSuccess) problem = has_code<StepAnnotators>();
    if (problem == cudaSuccess) problem = cudaMemGetInfo(&device.free_memory, &device.memory);
    if (problem != cudaSuccess) {
      cudaGetLastError();
      device.why_not = cudaGetErrorString(problem);
    }
    found.devices.push_back(device);
  }
  return found;
}

std::unique_ptr<Engine> make_cuda_engine(const Groups& groups, int device, std::size_t memory_limit) {
  return std::make_unique<ParallelEngine<CudaBackend>>(groups, std::make_unique<CudaBackend>(device), memory_limit);
}

}  // namespace voxpop
