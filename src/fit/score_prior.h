#pragma once
#include <cstdint>
#include <vector>

#include "formulas/fit_view.h"
#include "voxpop/column.h"

namespace voxpop {

/// A linear function of items' embeddings about which their scores lie: with x the embedding, centred within the
/// component,
///   score ~ N(w'x, 1),  w ~ N(0, coefficient_variance I)
/// (Bishop 2006, section 3.3, with EP's sites in place of measurements). In prior units at FitState::prior_scale 1.
struct EmbeddingFit {
  std::vector<double> coefficient, variance;  ///< [dimensions] posterior mean and variances of w
  double coefficient_variance = 0;  ///< estimated: the evidence is largest there; for embeddings of mean square 1
  double explained = 0, explained_variance = 0;  ///< posterior mean and variance of the mean square of w'x
  double unexplained_variance = 0;               ///< of the logarithm of scores' variance about w'x: what votes tell
  double haste = 1;                              ///< see FitState::haste
  int rounds = 0;                                ///< how often w was found
};

/// What embeddings say of the scores of a component before its own votes are seen, by the votes of all others: normal
/// about `mean` times FitState::prior_scale, with precision P. Without votes of its own in it, a component's prior does
/// not depend on what its votes are, so that EP may go on, and votes be left out.
struct ScorePrior {
  Column<float> mean;                    ///< [slots], centred within components
  Column<float> precision;               ///< P of each component, a lower triangle; P 1 = 1
  std::vector<std::uint64_t> component;  ///< [components] where that begins
  float least = 1;                       ///< no eigenvalue of a P is below it
  double log_evidence = 0;               ///< to be added to what components say, each given all others
  EmbeddingFit embedding;
};

inline PriorArrays view_of(const ScorePrior* prior, float scale) {
  if (prior == nullptr) return {};
  return {prior->mean.data(), prior->precision.data(), prior->component.data(), scale, prior->least};
}

/// Of a pair's cavity: see least_precision(FitView).
inline float least_precision(const ScorePrior* prior, double view_variance) {
  return least_precision(prior == nullptr ? 1.0f : prior->least, static_cast<float>(view_variance));
}

}  // namespace voxpop
