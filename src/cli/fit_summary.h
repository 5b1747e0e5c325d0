#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "evaluate/calibration.h"
#include "files/fit_record.h"
#include "label/truth_comparison.h"

namespace voxpop {

/// On stdout, for people.
void print_summary(const FitRecord& record, const std::string& output);

/// What held-out votes ask for, in one line.
std::string told(const Calibration& calibration);

nlohmann::ordered_json describe_truth(const TruthComparison& comparison, Model model);
nlohmann::ordered_json describe_drift(const Votes& votes, const Drift& drift);

}  // namespace voxpop
