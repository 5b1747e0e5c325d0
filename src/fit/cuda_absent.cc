// Replaces kernels/ in a build without CUDA.

#include "core/error.h"
#include "fit/cuda.h"

namespace voxpop {
namespace {

constexpr const char* kAbsent = "this build has no CUDA";

}  // namespace

Cuda find_cuda() {
  Cuda none;
  none.in_build = false;
  none.why_none = kAbsent;
  return none;
}

CudaDevice inspect_cuda_device(int) {
  CudaDevice none;
  none.why_not = kAbsent;
  return none;
}

std::string why_not_cuda(int) { return kAbsent; }

bool fits_cuda_grouping(const Votes&, int, std::size_t) { return false; }

Groups group_votes_cuda(Votes&, Ties, int, std::size_t) { throw Error(Exit::kDevice, kAbsent); }

std::unique_ptr<Engine> make_cuda_engine(const Groups&, int, std::size_t) { throw Error(Exit::kDevice, kAbsent); }

}  // namespace voxpop
