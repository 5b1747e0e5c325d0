#pragma once
namespace voxpop {

/// Processes that mpirun or srun started together, this one among them; 1: nobody else.
int launched_processes();

}  // namespace voxpop
