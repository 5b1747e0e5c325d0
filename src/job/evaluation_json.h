#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "voxpop/evaluation.h"
#include "voxpop/request.h"

namespace voxpop {

/// The JSON that `evaluate --json` prints. `gold`: known answers that the models were compared with, or null.
nlohmann::ordered_json describe(const EvaluateRequest& request, const EvaluateResult& result,
                                const std::vector<std::string>& inputs, const Gold* gold = nullptr);

}  // namespace voxpop
