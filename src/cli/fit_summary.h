#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "evaluate/calibration.h"
#include "files/fit_record.h"
#include "label/truth_comparison.h"

namespace voxpop {

/// Prints the summary to stdout in readable form.
void print_summary(const FitRecord& record, const std::string& output);

/// One line that says which correction of probabilities the held-out votes call for.
std::string told(const Calibration& calibration);

nlohmann::ordered_json describe_truth(const TruthComparison& comparison, Model model);
nlohmann::ordered_json describe_drift(const Votes& votes, const Drift& drift);

}  // namespace voxpop
