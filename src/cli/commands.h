#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace voxpop {

/// Each verb is one file here: it declares its options on a subcommand of `app` and, when that verb is given, sets
/// `run` to what it does. Order of a verb: declare options, parse, check, read, one call, write, report.
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
/// What man and shells ask for; not listed in the help.
void add_manual(CLI::App& app, Run& run);

/// The command line as given, quoted where a shell would need it: for provenance.
const std::string& command_line();

/// The argument in quotes where a shell would need them.
std::string quoted_for_shell(const std::string& argument);

/// Options that many verbs share, with one wording.
struct CommonOptions {
  bool quiet = false;  ///< --quiet: no progress and no notes on stderr
  bool json = false;   ///< --json: the summary on stdout as one JSON object
};
void add_common_options(CLI::App& verb, CommonOptions& options);
/// Refuses, as a usage error, an output (or what else is written: `what`) that is one of the inputs: it would replace
/// what was read.
void require_other_output(const std::vector<std::string>& inputs, const std::string& output,
                          const std::string& what = "output");
/// Seeds fit 32 bits, so that every tool that reads the provenance can hold them.
inline const CLI::Range kSeedRange(std::uint64_t{0}, std::uint64_t{4294967295});
/// A number from `low` to `high`; CLI::Range lets NaN pass.
CLI::Validator within(double low, double high);
/// --threads N: 0 (the default) takes every core this process may use.
void add_threads_option(CLI::App& verb, int& threads);

}  // namespace voxpop
