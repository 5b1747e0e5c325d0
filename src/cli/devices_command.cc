#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/print.h"
#include "core/threads.h"
#include "fit/component_kernel.h"
#include "fit/cuda.h"
#include "ranks/ranked_run.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

/// CUDA in this build and on this machine: versions, devices, and why there are none.
Json describe_cuda() {
  const Cuda found = find_cuda();
  if (!found.in_build) return {{"in_build", false}, {"problem", found.why_none}, {"devices", Json::array()}};
  Json devices = Json::array();
  for (int d = 0; d < found.devices; ++d) {
    const CudaDevice device = inspect_cuda_device(d);
    devices.push_back({{"name", fmt::format("cuda:{}", d)},
                       {"model", device.name},
                       {"compute_capability", device.compute_capability},
                       {"multiprocessors", device.multiprocessors},
                       {"memory_bytes", device.memory},
                       {"free_memory_bytes", device.free_memory},
                       {"usable", device.why_not.empty()},
                       {"problem", device.why_not}});
  }
  return {{"in_build", true},
          {"runtime", found.runtime},
          {"driver", found.driver},
          {"problem", found.why_none},
          {"devices", devices}};
}

int devices_command(const CommonOptions& common) {
  const Kernels& kernels = *choose_kernels();
  const Json cpu = {{"name", "cpu"},
                    {"cores", available_cores()},
                    {"instruction_set", kernels.name},
                    {"votes_at_once", kernels.lanes}};
  const Json cuda = describe_cuda();
  if (common.json) {
    Json devices = Json::array({cpu});
    for (const Json& device : cuda["devices"]) devices.push_back(device);
    Json versions = cuda;
    versions.erase("devices");
    print_json({{"devices", devices}, {"cuda", versions}, {"mpi", knows_ranks()}});
    return 0;
  }
  print_text("cpu     {} cores, {} kernels ({} votes at once)\n", available_cores(), kernels.name, kernels.lanes);
  for (const Json& device : cuda["devices"]) {
    print_text("{:<7} {}, compute capability {}, {} multiprocessors, {:.1f} of {:.1f} GiB free{}\n",
               device["name"].get<std::string>(), device["model"].get<std::string>(),
               device["compute_capability"].get<std::string>(), device["multiprocessors"].get<int>(),
               device["free_memory_bytes"].get<double>() / (1 << 30), device["memory_bytes"].get<double>() / (1 << 30),
               device["usable"].get<bool>() ? "" : "; NOT USABLE: " + device["problem"].get<std::string>());
  }
  const std::string problem = cuda["problem"];
  if (!problem.empty()) print_text("cuda    none: {}\n", problem);
  if (cuda["in_build"])
    print_text("CUDA runtime {}, driver {}\n", cuda["runtime"].get<std::string>(),
               cuda["driver"].get<std::string>().empty() ? "none" : cuda["driver"].get<std::string>());
  print_text("MPI     {}\n",
             knows_ranks() ? "in this build: 'mpirun voxpop fit' shares the work" : "not in this build");
  return 0;
}

}  // namespace

void add_devices(CLI::App& app, Run& run) {
  auto common = std::make_shared<CommonOptions>();
  CLI::App& verb =
      *app.add_subcommand("devices", "Show which CPU kernels and GPUs can be used, and why the others cannot");
  add_common_options(verb, *common);
  verb.footer("Example:\n  voxpop devices");
  verb.callback([=, &run] { run = [common] { return devices_command(*common); }; });
}

}  // namespace voxpop
