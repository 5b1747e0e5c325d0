#pragma once
#include <string>

namespace voxpop {

/// A file in `folder` that has no name, so that nobody else can open it and nothing is left of it when the process
/// ends. Returns its descriptor, to read and write; -1 and errno where that cannot be.
int open_nameless_file(const std::string& folder);

}  // namespace voxpop
