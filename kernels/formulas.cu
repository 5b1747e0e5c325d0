// The shared formulas, compiled for the device: one site update a thread over a batch of votes, one small component's
// Cholesky a thread. Nothing launches these kernels yet: they prove at every build that include/voxpop/ suits nvcc, and
// they are where the GPU engine starts.

#include "voxpop/cholesky.h"
#include "voxpop/fixed_point.h"
#include "voxpop/vote.h"

namespace voxpop {

/// Component matrices are interleaved in tiles of a warp, so that its 32 threads read neighbouring addresses.
inline constexpr int kTile = 32;

/// The terms kept for an annotator, in the order of AnnotatorTerms' members.
inline constexpr int kAnnotatorTerms = 5;

/// Threads beyond the batch get an index >= count.
__device__ inline std::int64_t thread_index() { return std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

/// The annotator as this vote sees it: the side bias points to the left, the formulas want it towards the pair's first
/// item.
template <class Real>
__device__ inline Rater<Real> rater_of(VoteCode vote, const Rater<Real>* raters) {
  Rater<Real> rater = raters[vote.annotator()];
  if (!vote.first_on_left()) {
    rater.side_bias = -rater.side_bias;
    rater.covariance = -rater.covariance;
  }
  return rater;
}

template <class Real>
__device__ inline Real winner_of(VoteCode vote) {
  if (vote.outcome() == Outcome::kTie) return Real(0);
  return vote.outcome() == Outcome::kFirst ? Real(1) : Real(-1);
}

/// One EP update a vote: takes its site out of the posterior of its pair's score difference, and matches a new site.
/// `differences`, `cavities`, `sites` and `log_scales` have one element a vote.
template <int kMixture, bool kTies, class Real>
__global__ void update_sites(const VoteCode* votes, std::int64_t count, const Rater<Real>* raters,
                             const Cavity<Real>* differences, Cavity<Real>* cavities, Site<Real>* sites,
                             Real* log_scales) {
  const std::int64_t index = thread_index();
  if (index >= count) return;
  const VoteCode vote = votes[index];
  const Rater<Real> rater = rater_of(vote, raters);
  const Cavity<Real> cavity = cavity_without(differences[index].mean, differences[index].variance, sites[index]);
  const Smoothed<Real> z = smoothed_vote<kMixture, kTies>(winner_of<Real>(vote), logit(rater, cavity));
  const Site<Real> site = matched_site(rater, cavity, z);
  cavities[index] = cavity;
  sites[index] = site;
  log_scales[index] = site_log_scale(z.log_value, cavity, site);
}

__device__ inline void add(unsigned long long* sum, double term) {
  atomicAdd(sum,
            static_cast<unsigned long long>(to_fixed(static_cast<float>(term))));  // two's complement: signs work out
}

/// Adds every vote's gradient and information to its annotator's sums, in fixed point: the same bits in any order.
template <int kMixture, bool kTies, class Real>
__global__ void sum_annotator_terms(const VoteCode* votes, std::int64_t count, const Rater<Real>* raters,
                                    const Cavity<Real>* cavities, unsigned long long* sums) {
  const std::int64_t index = thread_index();
  if (index >= count) return;
  const VoteCode vote = votes[index];
  const Rater<Real> rater = rater_of(vote, raters);
  const Cavity<Real> cavity = cavities[index];
  const Smoothed<Real> z = smoothed_vote<kMixture, kTies>(winner_of<Real>(vote), logit(rater, cavity));
  const AnnotatorTerms<Real> terms = annotator_terms(rater, cavity, z);
  const Real side = vote.first_on_left() ? Real(1) : Real(-1);  // back from "first" to "left"
  unsigned long long* own = sums + std::int64_t(vote.annotator()) * kAnnotatorTerms;
  add(own, terms.gradient_gamma);
  add(own + 1, side * terms.gradient_beta);
  add(own + 2, terms.information_gamma);
  add(own + 3, side * terms.information_cross);
  add(own + 4, terms.information_beta);
}

/// One component a thread: its precision matrix becomes its covariance. Component c's element (i, j) lies at
/// matrices[((c / kTile * size + i) * size + j) * kTile + c % kTile].
template <class Real>
__global__ void invert_components(Real* matrices, int size, std::int64_t count, Real* log_determinants) {
  const std::int64_t component = thread_index();
  if (component >= count) return;
  Real* own = matrices + component / kTile * kTile * size * size + component % kTile;
  log_determinants[component] = invert_positive_definite(own, size, kTile);
}

#define VOXPOP_INSTANTIATE(mixture, ties, Real)                                                                        \
  template __global__ void update_sites<mixture, ties, Real>(const VoteCode*, std::int64_t, const Rater<Real>*,        \
                                                             const Cavity<Real>*, Cavity<Real>*, Site<Real>*, Real*);  \
  template __global__ void sum_annotator_terms<mixture, ties, Real>(const VoteCode*, std::int64_t, const Rater<Real>*, \
                                                                    const Cavity<Real>*, unsigned long long*);
VOXPOP_INSTANTIATE(kFast, false, float)
VOXPOP_INSTANTIATE(kFast, true, float)
VOXPOP_INSTANTIATE(kExact, false, float)
VOXPOP_INSTANTIATE(kExact, true, float)
VOXPOP_INSTANTIATE(kExact, true, double)  // the reference that a GPU test compares with
#undef VOXPOP_INSTANTIATE
template __global__ void invert_components<float>(float*, int, std::int64_t, float*);
template __global__ void invert_components<double>(double*, int, std::int64_t, double*);

}  // namespace voxpop
