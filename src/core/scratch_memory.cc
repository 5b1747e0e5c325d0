#include "core/scratch_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/nameless_file.h"
#include "voxpop/column.h"

namespace voxpop {
namespace {

std::size_t asked = 0;
std::atomic<std::size_t> limit{0};    // bytes; slightly below `asked`. 0: no limit was set
std::atomic<std::size_t> allowed{0};  // bytes; the limit, or more if the limit cannot be kept
std::string folder;
std::mutex mapping;
std::map<void*, std::size_t> mapped;

std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%zu %zu", &pages, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

[[noreturn]] void watch() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ScratchMemory::keep_within_limit();
  }
}

}  // namespace

void ScratchMemory::begin(std::size_t bytes, const std::string& where) {
  if (limit > 0) return;
  folder = where;
  const int file = open_nameless_file(folder);
  if (file < 0) throw file_error("{}: cannot write scratch files here: {}", folder, std::strerror(errno));
  close(file);
  // The watcher checks once per millisecond. This reserve is for memory that is allocated between two checks.
  constexpr std::size_t kBetween = std::size_t{64} << 20;
  asked = bytes;
  limit = allowed = bytes - std::min(kBetween, bytes / 2);
  std::thread(watch).detach();
}

std::string ScratchMemory::folder_for(const std::string& output) {
  const char* temporary = std::getenv("TMPDIR");
  struct statfs found {};
  if (temporary != nullptr && statfs(temporary, &found) == 0 && found.f_type != TMPFS_MAGIC &&
      access(temporary, W_OK) == 0)
    return temporary;
  const std::string parent = std::filesystem::path(output).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::size_t ScratchMemory::peak() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) << 10;
  return 0;
}

bool ScratchMemory::is_exceeded() { return limit > 0 && peak() > asked; }

void ScratchMemory::keep_within_limit() {
  if (limit == 0 || resident_bytes() <= allowed) return;
  // Memory outside the scratch columns cannot be released. If it exceeds the limit by itself, allow kRoom more than it
  // needs; otherwise every check would drop all columns again and the work would stop.
  constexpr std::size_t kRoom = std::size_t{32} << 20;
  const std::lock_guard lock(mapping);
  for (const auto& [memory, bytes] : mapped) madvise(memory, bytes, MADV_DONTNEED);
  allowed = std::max<std::size_t>(limit, resident_bytes() + kRoom);
}

void* allocate_scratch(std::size_t bytes) {
  if (limit == 0) return nullptr;
  const int file = open_nameless_file(folder);
  // Reserve the disk space now: writing to a mapped file on a full disk would end the process with SIGBUS.
  const int problem = file < 0 ? errno : posix_fallocate(file, 0, static_cast<off_t>(bytes));
  void* memory = problem == 0 ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
  if (file >= 0) close(file);
  if (memory == MAP_FAILED)
    throw file_error(
        "{}: no room for {} MiB of scratch files: {}; free some space, set TMPDIR to another folder, or raise "
        "memory_limit (--memory-limit)",
        folder, bytes >> 20, std::strerror(problem != 0 ? problem : errno));
  const std::lock_guard lock(mapping);
  mapped.emplace(memory, bytes);
  return memory;
}

bool release_scratch(void* memory) {
  if (limit == 0) return false;
  const std::lock_guard lock(mapping);
  const auto found = mapped.find(memory);
  if (found == mapped.end()) return false;
  munmap(memory, found->second);
  mapped.erase(found);
  return true;
}

}  // namespace voxpop
