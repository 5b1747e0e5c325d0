#include "cusolver.h"

#include <cusolverDn.h>
#include <dlfcn.h>

#include "cuda_backend.h"
#include "fit/nvidia_library.h"

namespace voxpop {
namespace {

void check(cusolverStatus_t status, const char* act) {
  if (status != CUSOLVER_STATUS_SUCCESS)
    throw Error(Exit::kDevice,
                std::string("cuSOLVER, while ") + act + ": status " + std::to_string(static_cast<int>(status)));
}

/// Sets NaN in a matrix that could not be factored, so that no result of it looks converged.
__global__ void mark_failure(const int* info, double* h) {
  if (*info != 0) h[0] = NAN;
}

#define VOXPOP_TEXT_OF(x) #x
#define VOXPOP_TEXT(x) VOXPOP_TEXT_OF(x)
constexpr const char* kLibrary = "libcusolver.so." VOXPOP_TEXT(CUSOLVER_VER_MAJOR);

}  // namespace

struct CuSolver::Library {
  void* file = nullptr;
  cusolverDnHandle_t handle = nullptr;
  CudaArray<double> work;
  CudaArray<int> info;
  int work_size = 0;

  decltype(&cusolverDnCreate) create = nullptr;
  decltype(&cusolverDnDestroy) destroy = nullptr;
  decltype(&cusolverDnSetStream) set_stream = nullptr;
  decltype(&cusolverDnDpotrf_bufferSize) potrf_size = nullptr;
  decltype(&cusolverDnDpotri_bufferSize) potri_size = nullptr;
  decltype(&cusolverDnDpotrf) potrf = nullptr;
  decltype(&cusolverDnDpotri) potri = nullptr;

  template <class Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(file, name));
    if (function == nullptr) throw Error(Exit::kDevice, std::string(kLibrary) + " has no function " + name);
  }
};

CuSolver::CuSolver(double* h, std::uint32_t items) : library_(std::make_unique<Library>()) {
  Library& l = *library_;
  constexpr int kHow = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
  l.file = dlopen(kLibrary, kHow);
  if (l.file == nullptr) {
    std::string problem = dlerror();
    const std::string installed_by_pip = find_nvidia_library(kLibrary, own_file());
    if (!installed_by_pip.empty()) l.file = dlopen(installed_by_pip.c_str(), kHow);
    if (l.file == nullptr && !installed_by_pip.empty()) problem = dlerror();
    if (l.file == nullptr)
      throw Error(Exit::kDevice,
                  "a component of " + std::to_string(items) + " items needs cuSOLVER, which cannot be opened (" +
                      problem +
                      "); install NVIDIA's Python package nvidia-cusolver in the environment of voxpop, or put the "
                      "CUDA toolkit's libraries on LD_LIBRARY_PATH, or set device to 'cpu' (--device cpu)");
  }
  l.find(l.create, "cusolverDnCreate");
  l.find(l.destroy, "cusolverDnDestroy");
  l.find(l.set_stream, "cusolverDnSetStream");
  l.find(l.potrf_size, "cusolverDnDpotrf_bufferSize");
  l.find(l.potri_size, "cusolverDnDpotri_bufferSize");
  l.find(l.potrf, "cusolverDnDpotrf");
  l.find(l.potri, "cusolverDnDpotri");
  check(l.create(&l.handle), "starting");
  const int n = static_cast<int>(items);
  int factor_size = 0, invert_size = 0;
  check(l.potrf_size(l.handle, CUBLAS_FILL_MODE_LOWER, n, h, n, &factor_size), "sizing its workspace");
  check(l.potri_size(l.handle, CUBLAS_FILL_MODE_LOWER, n, h, n, &invert_size), "sizing its workspace");
  // Assumes that smaller matrices do not need a larger workspace.
  l.work_size = std::max(factor_size, invert_size);
  l.work = CudaArray<double>(static_cast<std::size_t>(l.work_size));
  l.info = CudaArray<int>(1);
}

CuSolver::~CuSolver() {
  if (library_->handle != nullptr) library_->destroy(library_->handle);
  if (library_->file != nullptr) dlclose(library_->file);
}

void CuSolver::factor(double* h, std::uint32_t items, cudaStream_t stream) {
  Library& l = *library_;
  const int n = static_cast<int>(items);
  check(l.set_stream(l.handle, stream), "choosing a stream");
  check(l.potrf(l.handle, CUBLAS_FILL_MODE_LOWER, n, h, n, l.work.data(), l.work_size, l.info.data()), "factoring");
  mark_failure<<<1, 1, 0, stream>>>(l.info.data(), h);
  check(cudaGetLastError(), "launching a kernel");
}

void CuSolver::invert(double* h, std::uint32_t items, cudaStream_t stream) {
  Library& l = *library_;
  const int n = static_cast<int>(items);
  check(l.set_stream(l.handle, stream), "choosing a stream");
  check(l.potri(l.handle, CUBLAS_FILL_MODE_LOWER, n, h, n, l.work.data(), l.work_size, l.info.data()), "inverting");
}

}  // namespace voxpop
