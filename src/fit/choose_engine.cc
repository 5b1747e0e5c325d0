#include "fit/choose_engine.h"

#include <charconv>

#include "core/error.h"

#if VOXPOP_WITH_CUDA
#include "fit/cuda.h"
#endif

namespace voxpop {
namespace {

EngineChoice cpu_engine(const Groups& groups, const std::string& why) {
  return {make_cpu_engine(groups, *choose_kernels()), why};
}

#if VOXPOP_WITH_CUDA
/// Why CUDA device `index` cannot be used; empty: it can.
std::string why_not(const CudaDevices& found, int index) {
  if (!found.why_none.empty()) return found.why_none;
  if (index >= static_cast<int>(found.devices.size()))
    return fmt::format("there are {} CUDA devices, numbered from 0", found.devices.size());
  return found.devices[static_cast<std::size_t>(index)].why_not;
}

EngineChoice cuda_engine(const Groups& groups, const Device& device, std::size_t memory_limit) {
  const std::string problem = why_not(find_cuda_devices(), device.index);
  if (device.kind == Device::Kind::kCuda) {
    if (!problem.empty())
      throw Error(Exit::kDevice,
                  fmt::format("device cuda:{}: {}; 'voxpop devices' lists what can be used", device.index, problem));
    return {make_cuda_engine(groups, device.index, memory_limit), ""};
  }
  if (!problem.empty()) return cpu_engine(groups, problem);
  if (groups.votes.size() < kVotesForDevice)
    return cpu_engine(groups, fmt::format("fewer than {} votes: starting a device takes longer", kVotesForDevice));
  try {
    return {make_cuda_engine(groups, device.index, memory_limit), "a CUDA device can be used"};
  } catch (const Error& error) {
    if (error.exit() != Exit::kDevice) throw;
    return cpu_engine(groups, error.what());
  }
}
#else
EngineChoice cuda_engine(const Groups& groups, const Device& device, std::size_t) {
  if (device.kind == Device::Kind::kCuda)
    throw Error(Exit::kDevice, "this build has no CUDA: build it where nvcc is, or take --device cpu");
  return cpu_engine(groups, "this build has no CUDA");
}
#endif

}  // namespace

Device parse_device(const std::string& text) {
  if (text == "auto") return {};
  if (text == "cpu") return {Device::Kind::kCpu};
  if (text == "cuda") return {Device::Kind::kCuda};
  Device device{Device::Kind::kCuda};
  const char *begin = text.data() + std::min<std::size_t>(5, text.size()), *end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(begin, end, device.index);
  if (!text.starts_with("cuda:") || status != std::errc() || stop != end || device.index < 0)
    throw usage_error("--device: '{}' is none of auto, cpu, cuda, cuda:N", text);
  return device;
}

EngineChoice choose_engine(const Groups& groups, const Device& device, std::size_t memory_limit) {
  if (device.kind == Device::Kind::kCpu) return cpu_engine(groups, "");
  return cuda_engine(groups, device, memory_limit);
}

}  // namespace voxpop
