/* What code compiled with a newer glibc asks of it and an older one has not: packaging/wheel.cmake. */
#include <features.h>

/* Since glibc 2.32: whether a process has one thread only. Never true, so shared_ptr counts with atomic instructions. */
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
