#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>
#include <system_error>

#include "cli/commands.h"
#include "cli/end_at_once.h"
#include "cli/file_watch.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/strings.h"
#include "fit/component_kernel.h"
#include "voxpop/version.h"

namespace voxpop {

void add_common_options(CLI::App& verb, CommonOptions& options) {
  verb.add_flag("--quiet", options.quiet, "No progress and no notes on stderr");
  verb.add_flag("--json", options.json, "Print the summary as one JSON object");
}

void require_other_output(const std::vector<std::string>& inputs, const std::string& output, const std::string& what) {
  for (const std::string& input : inputs) {
    std::error_code ignored;
    if (std::filesystem::equivalent(input, output, ignored))
      throw usage_error("{}: is an input and the {}; choose another {}", input, what, what);
  }
}

CLI::Validator within(double low, double high) {
  return {[=](const std::string& text) {
            double value = NAN;
            return CLI::detail::lexical_cast(text, value) && value >= low && value <= high
                       ? std::string()
                       : fmt::format("Value {} not in range {} to {}", shown(text), low, high);
          },
          fmt::format("FLOAT in [{} - {}]", low, high)};
}

void add_threads_option(CLI::App& verb, int& threads) {
  verb.add_option("--threads", threads,
                  "CPU threads; 0: all cores that this process may use. Results do not depend on it")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
}

std::string quoted_for_shell(const std::string& argument) {
  if (argument.find_first_of(" \t\n'\"\\$*?;&|<>()") == std::string::npos && !argument.empty()) return argument;
  std::string out = "'";
  for (const char c : argument) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

namespace {

std::string given_command_line;

int run_command_line(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) given_command_line += (i ? " " : "") + quoted_for_shell(argv[i]);
  CLI::App app(
      "voxpop turns pairwise votes into calibrated preference labels, and estimates how reliable each annotator is.",
      "voxpop");
  app.set_version_flag("--version", std::string("voxpop ") + kVersion);
  app.footer(
      "A first run, with simulated votes:\n  voxpop simulate votes.h5\n  voxpop fit votes.h5 -o fit.h5\n  voxpop "
      "report fit.h5 -o "
      "report.html\n\n"
      "Exit codes: 0 done, 1 internal error or out of memory, 2 usage, 3 bad input, 4 file system, 5 diverged, or not "
      "converged (--strict),\n"
      "6 device, 130 interrupted.");
  app.require_subcommand(0, 1);
  Run run;
  add_simulate(app, run);
  add_import(app, run);
  add_check(app, run);
  add_fit(app, run);
  add_evaluate(app, run);
  add_report(app, run);
  add_export(app, run);
  add_next(app, run);
  add_info(app, run);
  add_devices(app, run);
  add_manual(app, run);
  const auto verbs = app.get_subcommands([](const CLI::App*) { return true; });
  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::none_of(verbs, [&](const CLI::App* verb) { return verb->get_name() == argv[1]; }))
    throw usage_error("voxpop has no verb '{}'; 'voxpop --help' lists all verbs", shown(argv[1]));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
    tell(fmt::format("voxpop: {} ('voxpop --help' and 'voxpop VERB --help' list the options)\n",
                     shown(error.what(), kLongestMessage)));
    return static_cast<int>(Exit::kUsage);
  }
  if (!run) {
    print_text("{}", app.help());
    return 0;
  }
  if (launched_processes() > 1 && !app.got_subcommand("fit"))
    throw usage_error("started as several MPI ranks, but only 'fit' can use several ranks; start one process");
  choose_kernels();  // throws if VOXPOP_KERNELS is wrong: better now than after a long read
  install_interrupt_handler();
  return run();
}

}  // namespace

const std::string& command_line() { return given_command_line; }

}  // namespace voxpop

namespace {

/// Prints the message as one line. Names from a damaged file may be part of it and may hold any bytes.
void print_error(const std::string& message) {
  voxpop::tell("voxpop: " + voxpop::shown(message, voxpop::kLongestMessage) + '\n');
}

/// Opens /dev/null for standard streams that are closed. Otherwise the next opened file would get the number of
/// standard output, and printed text would go into that file. Reading standard input and printing to standard output
/// still fail, as with closed streams. Notes to standard error are discarded.
void open_standard_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(number, F_GETFD) < 0) open("/dev/null", number == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
}

/// Terminate handler: reports missing memory where an exception cannot propagate, as in a starting thread. Allocates
/// nothing.
[[noreturn]] void end_without_memory() {
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
    for (const std::string_view part :
         {std::string_view("voxpop: "), std::string_view(voxpop::kOutOfMemory), std::string_view("\n")})
      if (write(STDERR_FILENO, part.data(), part.size()) < 0) break;
    _exit(static_cast<int>(voxpop::Exit::kInternal));
  } catch (...) {
  }
  std::abort();
}

int refused_thread(const std::exception& error) {
  print_error(fmt::format("cannot start a thread: {}; lower --threads, or raise the limits on memory and processes",
                          error.what()));
  return static_cast<int>(voxpop::Exit::kInternal);
}

/// Reports that printing failed or that a signal interrupted it. An output file may have been written by then.
int cannot_print(const std::string& problem) {
  const bool interrupted = voxpop::interrupted();
  print_error(interrupted ? "interrupted; the output is incomplete" : "standard output: " + problem);
  return static_cast<int>(interrupted ? voxpop::Exit::kInterrupted : voxpop::Exit::kFileSystem);
}

int run_and_report(int argc, char** argv) {
  using voxpop::Exit;
  try {
    const int status = voxpop::run_command_line(argc, argv);
    if (std::fflush(stdout) != 0) return cannot_print(fmt::format("cannot write: {}", std::strerror(errno)));
    if (std::ferror(stdout) != 0) return cannot_print("cannot write everything");  // errno of the failed write is lost
    return status;
  } catch (const voxpop::Error& error) {
    print_error(error.what());
    return static_cast<int>(error.exit());
  } catch (const std::bad_alloc&) {
    print_error(voxpop::kOutOfMemory);
    return static_cast<int>(Exit::kInternal);
  } catch (const std::filesystem::filesystem_error& error) {
    print_error(error.what());
    return static_cast<int>(Exit::kFileSystem);
  } catch (const std::system_error& error) {
    return std::ferror(stdout) != 0 ? cannot_print(error.what()) : refused_thread(error);
  } catch (const std::exception& error) {
    if (std::string_view(error.what()).starts_with("pthread_create")) return refused_thread(error);  // thrown by TBB
    print_error(fmt::format("internal error: {}; please report it", error.what()));
    return static_cast<int>(Exit::kInternal);
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  std::set_terminate(end_without_memory);
  voxpop::program_file_watch();
  // _exit(), because HDF5's cleanup at exit crashes if it could not write a file. All our files are closed by now.
  _exit(run_and_report(argc, argv));
}
