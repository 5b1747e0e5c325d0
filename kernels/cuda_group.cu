#include "cuda_backend.h"
#include "fit/cuda.h"
#include "group_steps.h"

namespace voxpop {

bool fits_cuda_grouping(const Votes& votes, int device) {
  check(cudaSetDevice(device), "choosing the device");
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free device memory");
  return votes.size() * kGroupVoteBytes + votes.item_ids.size() * kGroupItemBytes < free / 10 * 9;
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
