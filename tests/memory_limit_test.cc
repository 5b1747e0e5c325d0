// The limit on memory goes with the device that is chosen. Each case is a process of its own: a limit lasts as long as
// its process.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "core/scratch_memory.h"
#include "fit/device.h"
#include "voxpop/column.h"

namespace voxpop {
namespace {

constexpr std::size_t kLimit = std::size_t{1} << 30;

[[noreturn]] void end(bool good) { std::_Exit(good ? 0 : 1); }

bool is_limited() {
  void* const memory = allocate_scratch(1 << 20);
  if (memory != nullptr) release_scratch(memory);
  return memory != nullptr;
}

TEST(MemoryLimitDeathTest, begins_where_the_cpu_is_chosen) {
  EXPECT_EXIT(
      {
        if (is_limited()) end(false);
        begin_memory_limit({Device::Kind::kCpu}, kLimit, "");
        end(is_limited());
      },
      testing::ExitedWithCode(0), "");
}

/// As of `auto` where it may use CUDA and takes the CPU, for so few votes.
TEST(MemoryLimitDeathTest, begins_with_the_choice_of_auto) {
  EXPECT_EXIT(
      {
        begin_memory_limit(choose_device({}, 1000).device, kLimit, "");
        end(is_limited());
      },
      testing::ExitedWithCode(0), "");
}

TEST(MemoryLimitDeathTest, is_the_devices_own_on_cuda_and_none_unless_asked_for) {
  EXPECT_EXIT(
      {
        begin_memory_limit({Device::Kind::kCuda}, kLimit, "");
        begin_memory_limit({Device::Kind::kCpu}, 0, "");
        end(!is_limited());
      },
      testing::ExitedWithCode(0), "");
}

TEST(MemoryLimitDeathTest, begins_once) {
  EXPECT_EXIT(
      {
        begin_memory_limit({Device::Kind::kCpu}, kLimit, "");
        begin_memory_limit({Device::Kind::kCpu}, 2 << 20, "/nowhere/out.h5");
        end(is_limited() && !ScratchMemory::is_exceeded());
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace voxpop
