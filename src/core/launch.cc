#include "core/launch.h"

#include <algorithm>
#include <cstdlib>

namespace voxpop {
namespace {

int number(const char* name) { return std::getenv(name) == nullptr ? 1 : std::atoi(std::getenv(name)); }

}  // namespace

int launched_processes() {
  // OpenMPI's mpirun, MPICH's, and srun --mpi=pmix.
  const int mpich = std::getenv("PMI_RANK") != nullptr ? number("PMI_SIZE") : 1;
  const int slurm = std::getenv("PMIX_NAMESPACE") != nullptr ? number("SLURM_NTASKS") : 1;
  return std::max({1, number("OMPI_COMM_WORLD_SIZE"), mpich, slurm});
}

}  // namespace voxpop
