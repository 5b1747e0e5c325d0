#pragma once
#include <cstdint>
#include <vector>

#include "fit/fit.h"

namespace voxpop {

/// Votes without any noise would drive discriminations to infinity; here they stop, in prior units.
inline constexpr double kLargestMean = 20, kLargestVariance = 25;

/// One annotator's Newton step on (gamma, beta) from its summed gradient and Louis information, population as prior.
/// Steps are at most 0.3 in each; where the information is not positive definite, a gradient step of that scale is
/// taken. Returns how far gamma moved, in posterior sds.
double newton_step(AnnotatorPosterior& annotator, const AnnotatorSums& sums, const Population& population);

/// One annotator's posterior mean and variance of gamma by quadrature over the cavity likelihoods, along the ridge on
/// which beta follows gamma; `record` holds the nodes that `grid` was summed at, `sums` the terms at the middle node.
/// Means move by the share `damping` of the way.
void integrate_discrimination(AnnotatorPosterior& annotator, const RaterRecord& record, const AnnotatorSums& sums,
                              const GridSums& grid, const Population& population, double damping);

/// The nodes of the next quadrature: centred on the current posterior, a little wider.
RaterRecord record_of(const AnnotatorPosterior& annotator);

/// Moment estimates of the population, with a weak hyperprior: mean ~ N(1, 1), each variance as if two more annotators
/// had been seen at 0.1. Annotators without votes are left out.
Population estimate_population(const std::vector<AnnotatorPosterior>& annotators,
                               const std::vector<std::uint32_t>& votes_of, const Population& before, bool variances);

}  // namespace voxpop
