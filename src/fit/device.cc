#include "fit/device.h"

#include <charconv>

#include "core/error.h"
#include "core/scratch_memory.h"
#include "core/threads.h"
#include "fit/embedded_engine.h"

#include "fit/cuda.h"

namespace voxpop {

Device parse_device(const std::string& text) {
  if (text == "auto") return {};
  if (text == "cpu") return {Device::Kind::kCpu};
  if (text == "cuda") return {Device::Kind::kCuda};
  Device device{Device::Kind::kCuda};
  const char *begin = text.data() + std::min<std::size_t>(5, text.size()), *end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(begin, end, device.index);
  if (!text.starts_with("cuda:") || status != std::errc() || stop != end || device.index < 0)
    throw usage_error("device (--device): '{}' is not one of auto, cpu, cuda, cuda:N", text);
  return device;
}

bool may_use_cuda(const Device& wanted) {
  return wanted.kind == Device::Kind::kCuda || (wanted.kind == Device::Kind::kAuto && why_not_cuda(0).empty());
}

DeviceChoice choose_device(const Device& wanted, std::size_t votes) {
  constexpr Device cpu{Device::Kind::kCpu};
  if (wanted.kind == Device::Kind::kCpu) return {cpu, ""};
  const std::size_t enough = kVotesForDevice * static_cast<std::size_t>(used_cores());
  if (wanted.kind == Device::Kind::kAuto && votes < enough)
    return {cpu, fmt::format("with {} threads, a CUDA device is used from {} votes on", used_cores(), enough)};
  const std::string problem = why_not_cuda(wanted.index);
  if (wanted.kind == Device::Kind::kCuda) {
    if (!problem.empty())
      throw Error(Exit::kDevice, fmt::format("device cuda:{}: {}; choose another device (voxpop devices lists them)",
                                             wanted.index, problem));
    return {wanted, ""};
  }
  if (!problem.empty()) return {cpu, problem};
  return {{Device::Kind::kCuda, 0}, "it can be used"};
}

void begin_memory_limit(const Device& device, std::size_t memory_limit, const std::string& beside) {
  if (memory_limit > 0 && memory_limit < 1 << 20)
    throw usage_error("memory_limit (--memory-limit) is {} bytes; it must be at least 1 MiB (with a unit: 500MB, 8GB)",
                      memory_limit);
  if (memory_limit > 0 && device.kind == Device::Kind::kCpu)
    ScratchMemory::begin(memory_limit, ScratchMemory::folder_for(beside));
}
Groups group_votes_on(const Device& device, Votes& votes, Ties ties, std::size_t memory_limit) {
  if (device.kind == Device::Kind::kCuda && fits_cuda_grouping(votes, device.index, memory_limit))
    return group_votes_cuda(votes, ties, device.index, memory_limit);
  return group_votes(votes, ties);
}

Device device_of_rank(const Device& device, int local_rank) {
  if (device.kind != Device::Kind::kCuda) return device;
  return {device.kind, local_rank % std::max(1, find_cuda().devices)};
}

std::unique_ptr<Engine> make_engine(const Device& device, const Groups& groups, const Context& context) {
  if (device.kind == Device::Kind::kCuda && groups.embeddings == nullptr)
    return make_cuda_engine(groups, device.index, context.memory_limit);
  return make_embedded_engine(groups, make_cpu_engine(groups, *choose_kernels()), context);
}

}  // namespace voxpop
