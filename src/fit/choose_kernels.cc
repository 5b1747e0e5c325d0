#include <cstring>

#include "fit/component_kernel.h"

namespace voxpop {

namespace generic {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

const Kernels* choose_kernels(const char* name) {
  const auto wanted = [name](const char* set) { return name == nullptr || std::strcmp(name, set) == 0; };
#if defined(__x86_64__)
  if (wanted("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return &avx512::kernels;
  if (wanted("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::kernels;
#endif
  return wanted("generic") ? &generic::kernels : nullptr;
}

}  // namespace voxpop
