#pragma once
#include <string>

namespace voxpop {

/// Creates a file without a name in `folder`. No other process can open it by name, and the kernel deletes it when the
/// process ends. Returns a descriptor for reading and writing, or -1 with errno set.
int open_nameless_file(const std::string& folder);

}  // namespace voxpop
