#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "files/fit_file.h"

namespace voxpop {

/// Contents of the page as numbers and sentences: aggregates, and at most 2,000 annotators, 25 prompts and 25 pairs,
/// however large the fit is. page.js draws the page.
nlohmann::ordered_json summarize_fit(const FitFile& fit);

/// One self-contained HTML page with styles, script, chart library and `summary`. Ids are embedded as data, never as
/// markup.
std::string render_page(const nlohmann::ordered_json& summary);

}  // namespace voxpop
