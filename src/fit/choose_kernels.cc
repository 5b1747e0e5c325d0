#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/strings.h"
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

namespace {

/// The fastest set, or the set with this name. Null if this processor cannot run it.
const Kernels* find_kernels(const char* name) {
  const auto wanted = [name](const char* set) { return name == nullptr || std::strcmp(name, set) == 0; };
#if defined(__x86_64__)
  if (wanted("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return &avx512::kernels;
  if (wanted("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::kernels;
#endif
  return wanted("generic") ? &generic::kernels : nullptr;
}

bool is_a_set(const char* name) {
  for (const char* set : {"generic", "avx2", "avx512"})
    if (std::strcmp(name, set) == 0) return true;
  return false;
}

}  // namespace

const Kernels* choose_kernels(const char* name) {
  if (name != nullptr) return find_kernels(name);
  const char* told = std::getenv("VOXPOP_KERNELS");
  if (told == nullptr || *told == '\0') return find_kernels(nullptr);
  const Kernels* kernels = find_kernels(told);
  if (kernels != nullptr) return kernels;
  if (is_a_set(told)) throw usage_error("VOXPOP_KERNELS: this processor cannot run {}; unset the variable", told);
  throw usage_error(
      "VOXPOP_KERNELS: '{}' is not one of generic, avx2, avx512; choose one of them, or unset the variable",
      shown(told));
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
