#include "report/assets.h"
#include "report/report.h"

namespace voxpop {
namespace {

void replace(std::string& text, std::string_view mark, std::string_view with) {
  text.replace(text.find(mark), mark.size(), with);
}

/// JSON that is safe inside a <script> element: it cannot end the element or start a comment.
std::string inert(const nlohmann::ordered_json& json) {
  std::string out;
  for (const char c : json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace))
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  return out;
}

}  // namespace

std::string render_page(const nlohmann::ordered_json& summary) {
  std::string page(kPageHtml);
  replace(page, "/* page.css */", kPageCss);
  replace(page, "/* chart.js */", kChartJs);
  replace(page, "/* page.js */", kPageJs);
  replace(page, "{\"summary\": null}", inert(summary));  // last, so that no mark is replaced inside ids
  return page;
}

}  // namespace voxpop
