#include <cstring>

#include "fit/component_kernel.h"
#include "fit/products.h"

namespace voxpop {

namespace generic {
extern const Kernels kernels;
extern const Products products;
}  // namespace generic
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
extern const Products products;
}  // namespace avx2
namespace avx512 {
extern const Kernels kernels;
extern const Products products;
}  // namespace avx512
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

const Products& choose_products() {
  const Kernels* kernels = choose_kernels();
#if defined(__x86_64__)
  if (kernels == &avx512::kernels) return avx512::products;
  if (kernels == &avx2::kernels) return avx2::products;
#endif
  return generic::products;
}

}  // namespace voxpop
