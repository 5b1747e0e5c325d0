#pragma once
// The hot loops of the CPU engine, built once for each instruction set and chosen when the program starts. Plain
// pointers only: see CMakeLists.txt for why.
//
// Votes go through in packs of 8 or 16; small components are solved 8 or 16 at a time, one in each lane.

#include <cstdint>

#include "formulas/component.h"
#include "formulas/vote.h"

namespace voxpop {

/// What a pass over votes adds up. Pointers may be null; `grid` needs `sums`. With `shared`, other threads add to the
/// same sums.
struct VotePass {
  bool update_sites = true;
  bool exact = false;      ///< kExact mixture terms instead of kFast
  bool uncertain = false;  ///< sites integrate over the annotators' (co)variances
  bool shared = false;
  AnnotatorSums* sums = nullptr;
  GridSums* grid = nullptr;
  TasteSums* tastes = nullptr;          ///< [annotators][taste_count]; needs `sums`
  HabitSums* prompts = nullptr;         ///< [components], always shared; needs `sums`
  ThresholdSums* thresholds = nullptr;  ///< [kMaxLevels + 1], never shared; needs `sums`
  ReportSums* report = nullptr;         ///< with it, nothing else is done but log_scale
  std::int64_t* log_scale = nullptr;    ///< sum of the sites' log scales
  /// [V] of each vote's log-likelihood in d, where d has its posterior mean; with them, nothing else is done.
  float *gradient = nullptr, *curvature = nullptr;
};

struct Kernels {
  const char* name;
  int lanes;
  /// Votes [begin, end): new sites from the pair moments, and sums. `component` and `pair` hold vote `begin`.
  void (*votes)(const FitView&, std::uint32_t begin, std::uint32_t end, std::uint32_t component, std::uint32_t pair,
                const VotePass&);
  /// Components [begin, begin + n), n <= lanes, all small: pair moments from the sites. `scratch`:
  /// solve_scratch_floats(). Slot moments, centred, and sums for coefficients, of sources and views, where wanted (else
  /// null).
  void (*solve)(const FitView&, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                float* slot_variance, SolveSums& sums, CovariateSums* covariates, SourceSums* sources,
                ViewTotals* views);
  /// Pairs [begin, end): labels from the pair moments; `discrimination`: the reference annotator's, prior units;
  /// `view_variance`: of annotators' own views.
  void (*labels)(const FitView&, std::uint32_t begin, std::uint32_t end, float discrimination, float view_variance,
                 float* probability, float* better, float* information);
  /// For benchmarks: so many votes' likelihoods from numbers at hand, derivatives or log-likelihoods. No pass is faster
  /// than its evaluations.
  float (*derivatives)(std::uint64_t votes);
  float (*log_likelihoods)(std::uint64_t votes);
};

/// Floats of scratch that `solve` needs (64-byte aligned).
inline constexpr std::size_t solve_scratch_floats() {
  return 16 * (kSmallItems * kSmallItems + 2 * kSmallItems + kViewScratch);
}

/// The kernels of that name ("generic", "avx2", "avx512"), null if they cannot run here. Without a name: those that the
/// variable VOXPOP_KERNELS of the environment names (throws Error(kUsage) if they cannot run), or else the fastest.
const Kernels* choose_kernels(const char* name = nullptr);

}  // namespace voxpop
