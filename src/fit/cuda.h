#pragma once
// Interface of the CUDA engine. Implemented in kernels/; in a build without CUDA by cuda_absent.cc, which reports that.

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
  std::string why_not;  ///< reason why the device cannot be used; empty: it can
};

/// CUDA support of this build and machine. Found without starting a device.
struct Cuda {
  bool in_build = true;  ///< false: this build has no CUDA engine
  int devices = 0;
  std::string driver, runtime;  ///< CUDA versions, e.g. "13.0"; empty without a driver
  std::string why_none;         ///< reason why there are no devices; empty if there are some
};
Cuda find_cuda();

/// Starts device `index` (must be below the number of devices) to find out whether it can be used.
CudaDevice inspect_cuda_device(int index);

/// Reason why device `index` cannot be used; empty: it can.
std::string why_not_cuda(int index);

/// Whether the device's free memory is sufficient to group the votes there. A `memory_limit` above 0 must also be
/// sufficient.
bool fits_cuda_grouping(const Votes& votes, int device, std::size_t memory_limit);

/// As group_votes(), on the device. If the memory is sufficient for an engine as well, the groups also stay on the
/// device (Groups::on_device). Throws Error(kDevice).
Groups group_votes_cuda(Votes& votes, Ties ties, int device, std::size_t memory_limit);

/// Makes the engine on a device. `memory_limit`: bytes on the device that may be used; 0: nine tenths of the free
/// memory. If the votes need more, they are processed in slabs. Throws Error(kDevice).
std::unique_ptr<Engine> make_cuda_engine(const Groups& groups, int device, std::size_t memory_limit);

}  // namespace voxpop
