#pragma once
// The hot loops of the CPU engine, built once for each instruction set and chosen when the program starts. Plain
// pointers only: see CMakeLists.txt for why.
//
// Votes go through in packs of 8 or 16; small components are solved 8 or 16 at a time, one in each lane.

#include <cstdint>

#include "voxpop/vote.h"

namespace voxpop {

/// Components of at most this many items and votes are solved whole by one worker.
inline constexpr std::uint32_t kSmallItems = 32;
inline constexpr std::uint32_t kSmallVotes = 8192;

/// Nodes of the annotator quadrature: Gauss-Hermite in the proposal's standard units.
inline constexpr int kGridNodes = 5;
inline constexpr float kGridAt[kGridNodes] = {-2.856970013872806f, -1.355626179974266f, 0.0f, 1.355626179974266f,
                                              2.856970013872806f};

/// An annotator as the kernels read it.
struct alignas(32) RaterRecord {
  float discrimination = 1, side_bias = 0;
  float discrimination_variance = 0, covariance = 0, side_bias_variance = 0;
  float grid_spread = 0;  ///< node g of the quadrature lies at discrimination + grid_spread * kGridAt[g] ...
  float grid_slope = 0;   ///< ... where side_bias has moved by grid_slope a unit of discrimination
};

/// Sums of one annotator in fixed point (voxpop/fixed_point.h), all additive over votes in any order.
struct AnnotatorSums {
  std::int64_t gradient_gamma, gradient_beta, information_gamma, information_cross, information_beta;
};
struct GridSums {
  std::int64_t log_z[kGridNodes];  ///< relative to the middle node
};
struct ReportSums {
  std::int64_t agreement;  ///< votes that agree with the rest of the evidence; one half where that is even
  std::int64_t better;     ///< sum of the probability that the vote picked the better item; ties left out
  std::int64_t bits;       ///< expected information of a vote about d, in bits
  std::int64_t decided;    ///< votes that are not ties, a plain count
};

/// Groups (src/group) and the EP state, as pointers. `sites` is what EP remembers; pair moments follow from it.
struct FitView {
  const std::uint32_t *component_slots, *component_pairs, *pair_first, *pair_second, *pair_votes;
  const VoteCode* votes;
  float *site_precision, *site_shift;  ///< [V]
  float *pair_mean, *pair_variance;    ///< [P] posterior of d = score(first) - score(second), prior units
  const RaterRecord* raters;
  bool ties;
};

/// What a pass over votes adds up. Pointers may be null; `grid` needs `sums`. With `shared`, other threads add to the
/// same sums.
struct VotePass {
  bool update_sites = true;
  bool exact = false;      ///< kExact mixture terms instead of kFast
  bool uncertain = false;  ///< sites integrate over the annotators' (co)variances
  bool shared = false;
  AnnotatorSums* sums = nullptr;
  GridSums* grid = nullptr;
  ReportSums* report = nullptr;       ///< with it, nothing else is done but log_scale
  std::int64_t* log_scale = nullptr;  ///< sum of the sites' log scales
};

/// What solving components adds up: integers and a maximum, so in any order.
struct SolveSums {
  float change = 0;               ///< largest change of a pair's mean, in posterior sds
  std::int64_t squares = 0;       ///< fixed point: posterior E[score^2], scores centred in their component, summed ...
  std::int64_t freedom = 0;       ///< ... over so many degrees of freedom: items minus one, of each component
  std::int64_t log_evidence = 0;  ///< fixed point: the components' part; only with slot moments
};

struct Kernels {
  const char* name;
  int lanes;
  /// Votes [begin, end): new sites from the pair moments, and sums. `pair` holds vote `begin`.
  void (*votes)(const FitView&, std::uint32_t begin, std::uint32_t end, std::uint32_t pair, const VotePass&);
  /// Components [begin, begin + n), n <= lanes, all small: pair moments from the sites. `scratch`:
  /// solve_scratch_floats(). Slot moments, centred, where wanted (else null).
  void (*solve)(const FitView&, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                float* slot_variance, SolveSums& sums);
  /// Pairs [begin, end): labels from the pair moments; `discrimination`: the reference annotator's, prior units.
  void (*labels)(const FitView&, std::uint32_t begin, std::uint32_t end, float discrimination, float* probability,
                 float* better, float* information);
};

/// Floats of scratch that `solve` needs (64-byte aligned).
inline constexpr std::size_t solve_scratch_floats() { return 16 * (kSmallItems * kSmallItems + 3 * kSmallItems + 4); }

/// The fastest kernels this processor can run; `name` forces a set ("generic", "avx2", "avx512"), null if it cannot
/// run.
const Kernels* choose_kernels(const char* name = nullptr);

}  // namespace voxpop
