#pragma once
// NVIDIA's libraries as pip installs them. Does without fmt, which nvcc does not compile.

#include <filesystem>
#include <string>

namespace voxpop {

/// Path of the library in `nvidia/*/lib` of a folder above `from`, the nearest first; "" if there is none. In a Python
/// environment `from` is in site-packages/voxpop, and the library in site-packages/nvidia/cu13/lib or
/// nvidia/cusolver/lib.
std::string find_nvidia_library(const std::string& file_name, const std::filesystem::path& from);

/// Path of the program or shared library that this function is in; "" if unknown.
std::filesystem::path own_file();

}  // namespace voxpop
