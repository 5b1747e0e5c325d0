/* What code compiled with a newer glibc asks of it and an older one has not: packaging/wheel.cmake. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* Since glibc 2.32: whether this process has one thread only. Never true, so that shared_ptr counts atomically. */
HIDDEN char __libc_single_threaded = 0;

/* Since glibc 2.36; std::random_device asks for it. */
HIDDEN uint32_t arc4random(void) {
  uint32_t value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
  return value;
}

/* Since glibc 2.29 without the error handling of SVID, which the older ones do afterwards; the same numbers come of
 * both. The linker turns each call of f into one of __wrap_f. */
#define OLDER_1(f)                                     \
  double older_##f(double);                            \
  __asm__(".symver older_" #f ", " #f "@GLIBC_2.2.5"); \
  HIDDEN double __wrap_##f(double x) { return older_##f(x); }
OLDER_1(exp)
OLDER_1(log)
double older_pow(double, double);
__asm__(".symver older_pow, pow@GLIBC_2.2.5");
HIDDEN double __wrap_pow(double x, double y) { return older_pow(x, y); }
