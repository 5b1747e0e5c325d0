#include "cuda_backend.h"
#include "fit/cuda.h"
#include "group_steps.h"

namespace voxpop {

bool fits_cuda_grouping(const Votes& votes, int device, std::size_t memory_limit) {
  check(cudaSetDevice(device), "choosing the device");
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free device memory");
  const std::size_t needed = votes.size() * kGroupVoteBytes + votes.item_ids.size() * kGroupItemBytes;
  return needed < free / 10 * 9 && (memory_limit == 0 || needed <= memory_limit);
}

Groups group_votes_cuda(Votes& votes, Ties ties, int device) {
  check(cudaSetDevice(device), "choosing the device");
  try {
    return group_votes_in_steps(votes, ties);
  } catch (const thrust::system_error& error) {
    throw Error(Exit::kDevice, std::string("CUDA, while grouping votes: ") + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(Exit::kDevice, "CUDA, while grouping votes: out of device memory; take --device cpu");
  }
}

}  // namespace voxpop
