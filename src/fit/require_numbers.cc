#include "fit/require_numbers.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "voxpop/column.h"

namespace voxpop {
namespace {

/// Uses all cores: one core needs 40 ms for 20M pairs and as many items, which is long compared with a fit on a device.
template <class Holds>
bool all_of(const Column<float>& column, const Holds& holds) {
  constexpr std::size_t kTask = 1 << 16;
  return oneapi::tbb::parallel_reduce(
      oneapi::tbb::blocked_range<std::size_t>(0, column.size(), kTask), true,
      [&](const auto& range, bool before) {
        return before && std::all_of(column.begin() + range.begin(), column.begin() + range.end(), holds);
      },
      std::logical_and());
}

}  // namespace

void require_numbers(const Fit& fit) {
  const Posterior& posterior = fit.posterior;
  const auto finite = [](double x) { return std::isfinite(x); };
  const auto positive = [](float x) { return x > 0 && std::isfinite(x); };
  const auto known = [](const AnnotatorPosterior& a) {
    return std::isfinite(a.discrimination + a.side_bias + a.share_logit + a.habit_logit) &&
           std::isfinite(a.discrimination_variance + a.covariance + a.side_bias_variance + a.share_variance +
                         a.habit_variance);
  };
  const auto is_known = [](const Taste& taste) { return std::isfinite(taste.mean + taste.variance); };
  const auto is_found = [](const Source& source) { return std::isfinite(source.score + source.variance); };
  const Population& p = fit.population;
  const bool is_population = std::isfinite(p.mean + p.habit_mean + p.share_mean) &&
                             std::isfinite(p.variance + p.side_bias_variance + p.habit_variance + p.share_variance);
  if (is_population && std::isfinite(fit.source_sd + fit.view_variance + fit.prompt_variance) &&
      std::isfinite(posterior.log_evidence) && all_of(posterior.slot_mean, finite) &&
      all_of(posterior.slot_variance, finite) && all_of(posterior.pair_mean, finite) &&
      all_of(posterior.pair_variance, positive) && std::ranges::all_of(fit.annotators, known) &&
      std::ranges::all_of(fit.tastes, is_known) && std::ranges::all_of(fit.sources, is_found) &&
      std::ranges::all_of(fit.scale.edge, finite) && std::ranges::all_of(fit.coefficient, finite) &&
      std::ranges::all_of(fit.coefficient_se, finite) && std::ranges::all_of(fit.taste_sd, finite))
    return;
  throw Error(Exit::kNotConverged, fmt::format("the fit diverged: after {} iterations some of its numbers are NaN or "
                                               "infinite. Try another model (--model), and please report this",
                                               fit.iterations));
}

}  // namespace voxpop
