#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace voxpop {

/// Each verb has one file in this folder. It declares its options on a subcommand of `app`. If the user gave that verb,
/// it sets `run` to the function that does the work. Steps of a verb: declare options, parse, check, read, one call,
/// write, report.
using Run = std::function<int()>;

void add_simulate(CLI::App& app, Run& run);
void add_import(CLI::App& app, Run& run);
void add_check(CLI::App& app, Run& run);
void add_fit(CLI::App& app, Run& run);
void add_evaluate(CLI::App& app, Run& run);
void add_report(CLI::App& app, Run& run);
void add_export(CLI::App& app, Run& run);
void add_next(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
void add_devices(CLI::App& app, Run& run);
/// Prints the man page and shell completions. Not listed in the help.
void add_manual(CLI::App& app, Run& run);

/// The command line as given, with quotes where a shell needs them. For the provenance.
const std::string& command_line();

/// The argument, in quotes if a shell needs them.
std::string quoted_for_shell(const std::string& argument);

/// Options that many verbs share, with the same wording.
struct CommonOptions {
  bool quiet = false;  ///< --quiet: no progress and no notes on stderr
  bool json = false;   ///< --json: the summary on stdout as one JSON object
};
void add_common_options(CLI::App& verb, CommonOptions& options);
/// Throws a usage error if `output` is one of `inputs`, since writing it would replace what was read. `what`: name of
/// the output in the message.
void require_other_output(const std::vector<std::string>& inputs, const std::string& output,
                          const std::string& what = "output");
/// Seeds have 32 bits, so that every tool that reads the provenance can represent them.
inline const CLI::Range kSeedRange(std::uint64_t{0}, std::uint64_t{4294967295});
/// Accepts numbers from `low` to `high`. Unlike CLI::Range it refuses NaN.
CLI::Validator within(double low, double high);
/// --threads N: 0 (the default) uses every core that this process may use.
void add_threads_option(CLI::App& verb, int& threads);

}  // namespace voxpop
