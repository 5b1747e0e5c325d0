// Preloaded by faults_test.py: stands for a disk that is full, and for a process killed while it writes. Counts the
// calls by which voxpop and HDF5 write to files, and from call number FAULT_FROM on lets each fail for want of room, or
// with FAULT_KILL ends the process there. FAULT_NAMED: files cannot be nameless, as on NFS. FAULT_LOG: gets the name of
// the first call that failed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fails(const char* call) {
  static int calls;
  const char* from = getenv("FAULT_FROM");
  const int number = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
  if (from == NULL || number < atoi(from)) return 0;
  if (number == atoi(from) && getenv("FAULT_LOG") != NULL) {
    const int log = REAL(open)(getenv("FAULT_LOG"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (write(log, call, strlen(call)) < 0) abort();
    close(log);
  }
  if (getenv("FAULT_KILL") != NULL) raise(SIGKILL);
  errno = ENOSPC;
  return 1;
}

static int is_output(FILE* file) {
  return file != NULL && fileno(file) > 2 && (fcntl(fileno(file), F_GETFL) & O_ACCMODE) != O_RDONLY;
}

size_t fwrite(const void* data, size_t size, size_t count, FILE* file) {
  return is_output(file) && fails("fwrite") ? 0 : REAL(fwrite)(data, size, count, file);
}
int fflush(FILE* file) { return is_output(file) && fails("fflush") ? EOF : REAL(fflush)(file); }
int fclose(FILE* file) {
  const int failed = is_output(file) && fails("fclose");
  const int status = REAL(fclose)(file);
  if (failed) errno = ENOSPC;
  return failed ? EOF : status;
}
int fsync(int file) { return fails("fsync") ? -1 : REAL(fsync)(file); }
int ftruncate(int file, off_t size) { return fails("ftruncate") ? -1 : REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return fails("ftruncate") ? -1 : REAL(ftruncate64)(file, size); }
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  return fails("linkat") ? -1 : REAL(linkat)(from_folder, from, to_folder, to, flags);
}
int rename(const char* from, const char* to) { return fails("rename") ? -1 : REAL(rename)(from, to); }
int mkstemp(char* name) { return fails("mkstemp") ? -1 : REAL(mkstemp)(name); }
int mkstemp64(char* name) { return fails("mkstemp") ? -1 : REAL(mkstemp64)(name); }
int posix_fallocate(int file, off_t begin, off_t size) {
  return fails("posix_fallocate") ? ENOSPC : REAL(posix_fallocate)(file, begin, size);
}
int posix_fallocate64(int file, off64_t begin, off64_t size) {
  return fails("posix_fallocate") ? ENOSPC : REAL(posix_fallocate64)(file, begin, size);
}

static int cannot_open(int flags) {
  if ((flags & O_TMPFILE) != O_TMPFILE) return 0;
  if (getenv("FAULT_NAMED") == NULL) return fails("open");
  errno = EOPNOTSUPP;
  return 1;
}
#define OPEN(name)                                                  \
  int name(const char* path, int flags, ...) {                      \
    va_list rest;                                                   \
    va_start(rest, flags);                                          \
    const int mode = va_arg(rest, int);                             \
    va_end(rest);                                                   \
    return cannot_open(flags) ? -1 : REAL(name)(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
