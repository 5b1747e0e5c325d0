#include "fit/nvidia_library.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <vector>

namespace voxpop {

namespace fs = std::filesystem;

std::string find_nvidia_library(const std::string& file_name, const fs::path& from) {
  std::error_code ignored;
  for (fs::path folder = from.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    std::vector<fs::path> found;
    for (fs::directory_iterator entry(folder / "nvidia", ignored), end; !ignored && entry != end;
         entry.increment(ignored)) {
      const fs::path library = entry->path() / "lib" / file_name;
      std::error_code unknown;
      if (fs::is_regular_file(library, unknown)) found.push_back(library);
    }
    if (!found.empty()) return std::min_element(found.begin(), found.end())->string();  // the same choice on every call
    if (folder == folder.root_path()) break;
  }
  return "";
}

fs::path own_file() {
  Dl_info info{};
  link_map* map = nullptr;
  std::error_code unknown;
  if (dladdr1(reinterpret_cast<void*>(&own_file), &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 ||
      map == nullptr)
    return {};
  // The loader gives the program itself an empty name, and argv[0] may not be a path.
  if (map->l_name[0] == '\0') return fs::read_symlink("/proc/self/exe", unknown);
  return fs::absolute(map->l_name, unknown);
}

}  // namespace voxpop
