#include "group/covariates.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "group/group.h"
#include "votes/votes.h"

namespace voxpop {
namespace {

/// Centres a column (by slot) within components and returns its standard deviation there. Sums are sorted, so that the
/// result does not depend on the order of components.
double centre(std::vector<double>& column, const Groups& groups) {
  std::vector<double> squares(groups.components(), 0.0);
  double freedom = 0;
  for (std::size_t c = 0; c < groups.components(); ++c) {
    const std::uint32_t begin = groups.component_slots[c], end = groups.component_slots[c + 1];
    const double mean = std::accumulate(column.begin() + begin, column.begin() + end, 0.0) / (end - begin);
    for (std::uint32_t slot = begin; slot < end; ++slot) {
      column[slot] -= mean;
      squares[c] += column[slot] * column[slot];
    }
    freedom += end - begin - 1;
  }
  std::sort(squares.begin(), squares.end());
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0) / freedom);
}

}  // namespace

Covariates find_covariates(const Votes& votes, const Groups& groups, const CovariateChoice& choice) {
  const std::size_t slots = groups.slot_item.size(), features = choice.features ? votes.feature_names.size() : 0;
  const bool prior = choice.prior_score && !votes.prior_score.empty();
  if (features + prior > kMaxCovariates)
    throw bad_input(
        "{}: 'items/features' has {} columns{}; at most {} can be fitted in all; remove some, or ignore all of them "
        "(--ignore features){}",
        origin_of(votes), features, prior ? ", and there is 'items/prior_score'" : "", kMaxCovariates,
        prior ? ", or ignore the prior score (--ignore prior_score)" : "");
  Covariates out;
  std::vector<std::vector<double>> columns;
  const auto add = [&](std::string_view name, const auto& value_of) {
    std::vector<double> column(slots);
    for (std::size_t slot = 0; slot < slots; ++slot) column[slot] = value_of(groups.slot_item[slot]);
    const double largest = std::abs(*std::ranges::max_element(column, {}, [](double x) { return std::abs(x); }));
    const double sd = centre(column, groups);
    // Except for rounding, the column is constant in each component; or its sd is so small that the coefficient would
    // have no upper limit.
    if (!(sd > 1e-6 * largest && sd > 1e-30)) {
      out.left_out.emplace_back(name);
      return;
    }
    columns.push_back(std::move(column));
    out.names.emplace_back(name);
    out.sd.push_back(sd);
  };
  for (std::size_t f = 0; f < features; ++f)
    add(votes.feature_names[f],
        [&](std::uint32_t item) { return double{votes.features[item * votes.feature_names.size() + f]}; });
  out.features = out.count();
  if (prior) add("prior_score", [&](std::uint32_t item) { return double{votes.prior_score[item]}; });
  out.value.resize(slots * columns.size());
  for (std::size_t k = 0; k < columns.size(); ++k)
    for (std::size_t slot = 0; slot < slots; ++slot)
      out.value[slot * columns.size() + k] = static_cast<float>(columns[k][slot] / out.sd[k]);
  return out;
}

}  // namespace voxpop
