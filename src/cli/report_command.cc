#include "report/report.h"

#include <fmt/format.h>

#include <memory>
#include <ranges>

#include "cli/commands.h"
#include "cli/print.h"
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
  const FitFile fit = read_fit_file(arguments.input, context);
  const nlohmann::ordered_json summary = summarize_fit(fit);
  output.write(render_page(summary));
  output.commit();
  if (arguments.common.json) {
    print_json(summary);
    return 0;
  }
  print_text("{}\n", summary["verdict"]["text"].get<std::string>());
  static const char* const weight[] = {"", "Care: ", "Do not train: "};
  constexpr std::size_t kMost = 40;  // more findings than a fit ever has
  const std::vector<Finding> points = findings_from(summary["verdict"]["findings"]);  // worst first
  for (const Finding& point : points | std::views::take(kMost))
    print_text("- {}{}{}\n", weight[static_cast<std::size_t>(point.level)], point.text,
               point.remedy.empty() ? "" : "\n  " + point.remedy);
  if (points.size() > kMost) print_text("- ... and {} others (--json has all)\n", points.size() - kMost);
  print_text("wrote {}: open it in a browser\n", one_line(arguments.output));
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Run& run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& verb = *app.add_subcommand(
      "report", "Write one HTML page: whether the labels can be used, and which annotators and pairs to look at");
  verb.add_option("FIT.h5", arguments->input, "A fit (fit/1)")->required();
  verb.add_option("-o,--output", arguments->output, "The page to write; it needs no network and no other file")
      ->required();
  add_common_options(verb, arguments->common);
  verb.footer("Example:\n  voxpop report fit.h5 -o report.html");
  verb.callback([=, &run] { run = [arguments] { return report_command(*arguments); }; });
}

}  // namespace voxpop
