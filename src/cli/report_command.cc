#include "report/report.h"

#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/text_output.h"
#include "guards/findings.h"

namespace voxpop {
namespace {

struct Arguments {
  std::string input, output;
  CommonOptions common;
};

int report_command(const Arguments& arguments) {
  require_other_output({arguments.input}, arguments.output);
  const Context context = terminal_context(arguments.common);
  TextOutput output(arguments.output, context);
  const FitFile fit = read_fit(arguments.input, context);
  const nlohmann::ordered_json summary = summarize_fit(fit);
  output.write(render_page(summary));
  output.commit();
  if (arguments.common.json) {
    fmt::print("{}\n", summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{}\n", summary["verdict"]["text"].get<std::string>());
  static const char* const weight[] = {"", "Care: ", "Do not train: "};
  for (const Finding& point : findings_from(summary["verdict"]["findings"]))  // the worst first
    fmt::print("- {}{}{}\n", weight[static_cast<std::size_t>(point.level)], point.text,
               point.remedy.empty() ? "" : "\n  " + point.remedy);
  fmt::print("wrote {}: open it in a browser\n", arguments.output);
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb =
      *app.add_subcommand("report", "One HTML page: can these labels be used, and who and what needs a look");
  verb.add_option("FIT.h5", arguments->input, "A fit (fit/1)")->required();
  verb.add_option("-o,--output", arguments->output, "The page to write; it needs no network and no other file")
      ->required();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop report fit.h5 -o report.html");
  verb.callback([=, &run] { run = [arguments] { return report_command(*arguments); }; });
}

}  // namespace voxpop
