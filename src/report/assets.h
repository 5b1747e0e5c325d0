#pragma once
#include <string_view>

namespace voxpop {

/// Made by CMake from page.html, page.css, page.js and Chart.js.
extern const std::string_view kPageHtml, kPageCss, kPageJs, kChartJs;

}  // namespace voxpop
