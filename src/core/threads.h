#pragma once
namespace voxpop {

/// Cores that this process may use (its affinity mask, as a batch scheduler sets it).
int available_cores();

}  // namespace voxpop
