#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "core/threads.h"
#include "fit/component_kernel.h"

namespace voxpop {
namespace {

int devices_command(const CommonOptions& common) {
  const Kernels& kernels = *choose_kernels();
  if (common.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"devices",
                                               {{{"name", "cpu"},
                                                 {"cores", available_cores()},
                                                 {"instruction_set", kernels.name},
                                                 {"votes_at_once", kernels.lanes}}}},
                                              {"cuda", "not in this build"}}
                           .dump(2));
  } else {
    fmt::print("cpu   {} cores, {} kernels ({} votes at once)\n", available_cores(), kernels.name, kernels.lanes);
    fmt::print("cuda  not in this build: GPU fitting has not been released yet\n");
  }
  return 0;
}

}  // namespace

void add_devices(CLI::App& app, Run& run) {
  auto common = std::make_shared<CommonOptions>();
  CLI::App& verb = *app.add_subcommand("devices", "Which devices can be used");
  add_common_options(verb, *common);
  verb.footer("Example:\n  voxpop devices");
  verb.callback([=, &run] { run = [common] { return devices_command(*common); }; });
}

}  // namespace voxpop
