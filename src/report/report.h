#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "files/fit_file.h"

namespace voxpop {

/// What the page shows, as numbers and sentences: aggregates, and at most 2,000 annotators, 25 prompts and 25 pairs,
/// whatever the size of the fit. page.js draws it.
nlohmann::ordered_json summarize_fit(const FitFile& fit);

/// One HTML page that needs nothing else: styles, program, chart library and `summary` are in it. Ids are data there,
/// never markup.
std::string render_page(const nlohmann::ordered_json& summary);

}  // namespace voxpop
