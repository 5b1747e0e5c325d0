#pragma once
// The hot loops of the CPU engine, compiled once per instruction set and chosen when the program starts. The interface
// uses plain pointers only: see CMakeLists.txt for the reason.
//
// Votes are processed in packs of 4, 8 or 16. As many small components are solved together, one in each lane.

#include <cstdint>

#include "formulas/component.h"
#include "formulas/vote.h"

namespace voxpop {

/// What a pass over votes computes. Pointers may be null. `grid` needs `sums`. With `shared`, other threads add to the
/// same sums, so additions are atomic.
struct VotePass {
  bool update_sites = true;
  bool exact = false;      ///< use the 8-term mixture kExact instead of kFast
  bool uncertain = false;  ///< sites integrate over the annotators' variances and covariances
  bool shared = false;
  AnnotatorSums* sums = nullptr;
  GridSums* grid = nullptr;
  TasteSums* tastes = nullptr;          ///< [annotators][taste_count]; needs `sums`
  HabitSums* prompts = nullptr;         ///< [components], always shared; needs `sums`
  ThresholdSums* thresholds = nullptr;  ///< [kMaxLevels + 1], never shared; needs `sums`
  ReportSums* report = nullptr;         ///< if set, the pass computes only this and `log_scale`
  std::int64_t* log_scale = nullptr;    ///< sum of the sites' log scales, in fixed point
  /// [V] first derivative, and minus the second, of each vote's log-likelihood in d, at the posterior mean of d. If
  /// set, the pass computes only these.
  float *gradient = nullptr, *curvature = nullptr;
};

struct Kernels {
  const char* name;
  int lanes;
  /// Votes [begin, end): new sites from the pair moments, and sums. `component` and `pair` are those of vote `begin`.
  void (*votes)(const FitView&, std::uint32_t begin, std::uint32_t end, std::uint32_t component, std::uint32_t pair,
                const VotePass&);
  /// Components [begin, begin + n), n <= lanes, all small: pair moments from the sites. `scratch`:
  /// solve_scratch_floats() floats. Optional outputs (null: not wanted): slot moments, centred, and the sums for
  /// coefficients, sources and views.
  void (*solve)(const FitView&, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                float* slot_variance, SolveSums& sums, CovariateSums* covariates, SourceSums* sources,
                ViewTotals* views);
  /// Pairs [begin, end): labels from the pair moments. `discrimination`: of the reference annotator, in logits per
  /// prior unit. `view_variance`: of annotators' own views.
  void (*labels)(const FitView&, std::uint32_t begin, std::uint32_t end, float discrimination, float view_variance,
                 float* probability, float* better, float* information);
  /// For benchmarks: evaluates the derivatives or log-likelihoods of `votes` votes from constants. This is the lower
  /// bound on the time of a pass.
  float (*derivatives)(std::uint64_t votes);
  float (*log_likelihoods)(std::uint64_t votes);
};

/// Number of floats of scratch that `solve` needs. The scratch must be 64-byte aligned.
inline constexpr std::size_t solve_scratch_floats() {
  return 16 * (kSmallItems * kSmallItems + 2 * kSmallItems + kViewScratch);
}

/// The kernels with this name ("generic", "avx2", "avx512"), or null if this CPU cannot run them. Without a name: the
/// kernels named by the environment variable VOXPOP_KERNELS (throws Error(kUsage) if they cannot run), else the
/// fastest.
const Kernels* choose_kernels(const char* name = nullptr);

}  // namespace voxpop
