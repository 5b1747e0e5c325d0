#include "cuda_memory.h"
#include "fit/cuda.h"
#include "group_steps.h"

namespace voxpop {

namespace {

bool fits(const Votes& votes, int device, std::size_t memory_limit, std::size_t vote_bytes) {
  check(cudaSetDevice(device), "choosing the device");
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for free device memory");
  const std::size_t needed = votes.size() * vote_bytes + votes.item_ids.size() * kGroupItemBytes;
  return needed < free / 10 * 9 && (memory_limit == 0 || needed <= memory_limit);
}

/// Bytes per vote of an engine that holds all votes, plus those of the groups that it starts from; for at most one pair
/// per vote.
constexpr std::size_t kKeptVoteBytes = 64;

}  // namespace

bool fits_cuda_grouping(const Votes& votes, int device, std::size_t memory_limit) {
  return fits(votes, device, memory_limit, kGroupVoteBytes);
}

Groups group_votes_cuda(Votes& votes, Ties ties, int device, std::size_t memory_limit) {
  const bool keep = fits(votes, device, memory_limit, kKeptVoteBytes);
  try {
    return group_votes_in_steps(votes, ties, keep, StagedCopies());
  } catch (const thrust::system_error& error) {
    throw Error(Exit::kDevice, std::string("CUDA, while grouping votes: ") + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(Exit::kDevice, "CUDA, while grouping votes: out of device memory; set device to 'cpu' (--device cpu)");
  }
}

}  // namespace voxpop
