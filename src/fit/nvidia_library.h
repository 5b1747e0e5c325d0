#pragma once
// Finds NVIDIA's libraries as installed by pip. Does not use fmt, because nvcc cannot compile it.

#include <filesystem>
#include <string>

namespace voxpop {

/// Path of the library in `nvidia/*/lib` of the nearest folder above `from`; "" if not found. In a Python environment,
/// `from` is in site-packages/voxpop, and the library in site-packages/nvidia/cu13/lib or nvidia/cusolver/lib.
std::string find_nvidia_library(const std::string& file_name, const std::filesystem::path& from);

/// Path of the program or shared library that contains this function; "" if unknown.
std::filesystem::path own_file();

}  // namespace voxpop
