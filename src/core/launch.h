#pragma once
namespace voxpop {

/// Number of processes that mpirun or srun started together, this process included. 1 without mpirun or srun.
int launched_processes();

}  // namespace voxpop
