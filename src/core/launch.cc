#include "core/launch.h"

#include <algorithm>
#include <cstdlib>

namespace voxpop {
namespace {

int number(const char* name) { return std::getenv(name) == nullptr ? 1 : std::atoi(std::getenv(name)); }

}  // namespace

int launched_processes() {
  // In this order: mpirun of OpenMPI (also inside a Slurm job), mpirun of MPICH, srun --mpi=pmix.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return std::max(1, number("OMPI_COMM_WORLD_SIZE"));
  if (std::getenv("PMI_RANK") != nullptr) return std::max(1, number("PMI_SIZE"));
  return std::getenv("PMIX_NAMESPACE") != nullptr ? std::max(1, number("SLURM_STEP_NUM_TASKS")) : 1;
}

}  // namespace voxpop
