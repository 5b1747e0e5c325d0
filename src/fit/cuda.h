#pragma once
// The CUDA engine: kernels/, or in a build without CUDA cuda_absent.cc, which says so.

#include <memory>
#include <string>
#include <vector>

#include "fit/engine.h"

namespace voxpop {

struct CudaDevice {
  std::string name;
  std::string compute_capability;  ///< "9.0"
  std::size_t memory = 0, free_memory = 0;
  int multiprocessors = 0;
  std::string why_not;  ///< why the device cannot be used; empty: it can
};

/// What CUDA is here, without starting any device.
struct Cuda {
  bool in_build = true;  ///< false: this build has no CUDA engine
  int devices = 0;
  std::string driver, runtime;  ///< CUDA versions, "13.0"; no driver: empty
  std::string why_none;         ///< why there are no devices, where there are none
};
Cuda find_cuda();

/// Starts device `index`, below the number of devices, to see whether it can be used.
CudaDevice inspect_cuda_device(int index);

/// Why device `index` cannot be used; empty: it can.
std::string why_not_cuda(int index);

/// Whether the device's free memory, and `memory_limit` unless that is 0, suffice to group the votes there.
bool fits_cuda_grouping(const Votes& votes, int device, std::size_t memory_limit);

/// As group_votes(), on the device; where memory suffices for an engine beside them, the groups also stay there
/// (Groups::on_device). Throws Error(kDevice).
Groups group_votes_cuda(Votes& votes, Ties ties, int device, std::size_t memory_limit);

/// The engine on a device. `memory_limit`: bytes on the device that may be used, 0: nine tenths of what is free. More
/// votes than fit go through it in slabs. Throws Error(kDevice).
std::unique_ptr<Engine> make_cuda_engine(const Groups& groups, int device, std::size_t memory_limit);

}  // namespace voxpop
