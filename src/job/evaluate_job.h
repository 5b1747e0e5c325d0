#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/gold.h"
#include "evaluate/held_out.h"
#include "fit/fit.h"
#include "group/views.h"
#include "group/weights.h"
#include "guards/findings.h"
#include "voxpop/context.h"
#include "voxpop/evaluation.h"
#include "voxpop/request.h"

namespace voxpop {

/// evaluate() of votes that were checked when they were read. `make`: engines to use instead of those of the context's
/// device, for tests; empty: those of the device.
using MakeModelEngine = std::function<std::unique_ptr<Engine>(Model model, const Groups& groups)>;
EvaluateResult evaluate_with(const MakeModelEngine& make, Votes votes, const EvaluateRequest& request,
                             const Context& context, const Gold* gold = nullptr);

}  // namespace voxpop
