#pragma once
#include <cstdint>
#include <vector>

#include "formulas/fit_view.h"
#include "voxpop/column.h"

namespace voxpop {

/// Linear model of the scores by the items' embeddings. With x the embedding, centred within the component:
///   score ~ N(w'x, 1),  w ~ N(0, coefficient_variance I)
/// (Bishop 2006, section 3.3, with EP's sites in place of measurements). In prior units, for FitState::prior_scale 1.
struct EmbeddingFit {
  std::vector<double> coefficient, variance;  ///< [dimensions] posterior mean and variances of w
  double coefficient_variance = 0;  ///< estimated by maximum evidence; for embeddings with a mean squared length of 1
  double explained = 0, explained_variance = 0;  ///< posterior mean and variance of the mean square of w'x
  double unexplained_variance = 0;  ///< variance, given the votes, of the logarithm of the scores' variance around w'x
  double haste = 1;                 ///< see FitState::haste
  int rounds = 0;                   ///< number of times that w was estimated
};

/// Prior of a component's scores by embeddings, as the votes of all other components show it: normal with mean `mean`
/// times FitState::prior_scale and precision P. A component's own votes are left out. So EP can continue with this
/// prior, and votes can be left out, without using a vote twice.
struct ScorePrior {
  Column<float> mean;                    ///< [slots] centred within components
  Column<float> precision;               ///< P of each component, as a lower triangle; P 1 = 1
  std::vector<std::uint64_t> component;  ///< [components] offset of each component's P in `precision`
  float least = 1;                       ///< lower bound on the eigenvalues of all P
  double log_evidence = 0;  ///< add to the sum of the components' log evidences, each of which is given all other
                            ///< components
  EmbeddingFit embedding;
};

inline PriorArrays view_of(const ScorePrior* prior, float scale) {
  if (prior == nullptr) return {};
  return {prior->mean.data(), prior->precision.data(), prior->component.data(), scale, prior->least};
}

/// Lower bound on the precision of a pair's cavity: see least_precision(FitView).
inline float least_precision(const ScorePrior* prior, double view_variance) {
  return least_precision(prior == nullptr ? 1.0f : prior->least, static_cast<float>(view_variance));
}

}  // namespace voxpop
