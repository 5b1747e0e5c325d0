#pragma once
// Components too large for a matrix of their own: means by conjugate gradients, variances by perturbation samples
// (Papandreou and Yuille 2010). H = I + sum of precisions is never formed; each row stores only its neighbours'
// precisions.
//
// A sample is u = H^-1 z, where z has covariance H; then u has covariance H^-1. z is easy to draw, because H is a sum.
// Only second moments are used, so the noise is random signs. Samples are used only for the part of a variance that the
// row's own neighbourhood does not determine (Rao and Blackwell): given all other scores, the scores of a pair are
// normal. Their covariance is the inverse of their own 2 x 2 block of H, and their means vary with the samples.
//
// Eight right-hand sides are solved together, [item][8]. Signs are functions of a counter and the same in each
// iteration of the fit. So the fit converges, and the last solution is a good start for the next. Sums are computed
// block by block in a fixed order.

#include "formulas/block.h"
#include "formulas/component.h"
#include "formulas/hash.h"

namespace voxpop {

inline constexpr int kSparseColumns = 8;
/// Blocks of solutions that are kept: column 0 of block 0 is the mean, all other columns are samples.
inline constexpr int kSparseBlocks = 4, kSparseSamples = kSparseBlocks * kSparseColumns - 1;
inline constexpr std::uint32_t kSparseThreads = 256;
/// Maximum number of steps of conjugate gradients.
inline constexpr int kSparseSteps = 100;
static_assert(kMaxCovariates <= kSparseColumns);

/// A pair as seen from one of its items: index of the other item, and of the pair.
struct SparseEntry {
  std::uint32_t neighbour, pair;  ///< within the component
};

/// State of conjugate gradients for eight right-hand sides.
struct SparseState {
  double square[kSparseColumns];  ///< squared residuals, in the metric of the preconditioner
  double target[kSparseColumns];  ///< a column has converged if `square` is not above this
  double alpha[kSparseColumns], beta[kSparseColumns];
  int steps;
  int done;
};

struct SparseArrays {
  FitView view;
  const PassOptions* pass;  ///< if set, sites are read with its stretch; else with view.stretch
  std::uint32_t component, slot0, items, pair0, pairs;
  const std::uint64_t* row_begin;         ///< [items + 1]
  const SparseEntry* entries;             ///< [2 pairs]
  float *precision, *shift;               ///< [pairs]
  float* diagonal;                        ///< [items] of H; also the preconditioner (Jacobi)
  float* solution;                        ///< [items][8] of the current block
  float *residual, *direction, *product;  ///< [items][8]
  float *slot_more, *pair_more;           ///< [items], [pairs] sums of what samples add to variances
  double* partial;                        ///< [blocks][8]
  SparseState* state;
  double* history;  ///< [kSparseSteps][2][8] alphas and betas, for log determinants; or null

  VOXPOP_HD float stretch() const { return pass == nullptr ? view.stretch : pass->stretch; }
};

namespace detail {

/// Random signs for the eight columns of a block, from one source of noise.
VOXPOP_HD void signs_of(std::uint32_t source, int block, float* eight) {
  const std::uint64_t bits = mixed(std::uint64_t{source} + 0x5bf03635u) >> (kSparseColumns * block);
  for (int k = 0; k < kSparseColumns; ++k) eight[k] = (bits >> k & 1) != 0 ? 1.0f : -1.0f;
}

/// Off-diagonal part of row i of H x, with the opposite sign: sum over neighbours of precision * x.
VOXPOP_HD void neighbours_sum(const SparseArrays& s, std::uint32_t i, const float* x, float* eight) {
  for (int k = 0; k < kSparseColumns; ++k) eight[k] = 0;
  for (std::uint64_t e = s.row_begin[i]; e < s.row_begin[i + 1]; ++e) {
    const SparseEntry entry = s.entries[e];
    const float precision = s.precision[entry.pair];
    const float* other = x + std::size_t{entry.neighbour} * kSparseColumns;
    for (int k = 0; k < kSparseColumns; ++k) eight[k] += precision * other[k];
  }
}

/// Sums eight values over the rows of a block, one row per thread, computed by `of(row, sums)`. Threads beyond the last
/// row add 0. The result is the block's row of `partial`.
template <class Of>
VOXPOP_DEVICE void sum_rows(Block& block, std::uint32_t rows, double* partial, const Of& of) {
  auto* own = reinterpret_cast<double*>(block.shared);  // [threads][8]
  block.for_threads([&](std::uint32_t thread) {
    double* sums = own + thread * kSparseColumns;
    for (int k = 0; k < kSparseColumns; ++k) sums[k] = 0;
    const std::uint32_t row = block.index * block.threads + thread;
    if (row < rows) of(row, sums);
  });
  block.for_threads([&](std::uint32_t thread) {
    if (thread >= kSparseColumns) return;
    double sum = 0;
    for (std::uint32_t t = 0; t < block.threads; ++t) sum += own[t * kSparseColumns + thread];
    partial[block.index * kSparseColumns + thread] = sum;
  });
}

/// Sums all blocks' partial sums [count][8] into total [8]. Run by one block.
VOXPOP_DEVICE inline void total_partials(Block& block, const double* partial, std::uint32_t count, double* total) {
  auto* own = reinterpret_cast<double*>(block.shared);
  block.for_threads([&](std::uint32_t thread) {
    double sum = 0;
    for (std::uint32_t b = thread / kSparseColumns; b < count; b += block.threads / kSparseColumns)
      sum += partial[b * kSparseColumns + thread % kSparseColumns];
    own[thread] = sum;
  });
  block.for_threads([&](std::uint32_t thread) {
    if (thread >= kSparseColumns) return;
    double sum = 0;
    for (std::uint32_t t = thread; t < block.threads; t += kSparseColumns) sum += own[t];
    total[thread] = sum;
  });
}

}  // namespace detail

/// Precision and shift of each pair, from its sites.
struct GatherSparsePair {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(std::uint64_t k) const {
    const auto p = static_cast<std::uint32_t>(s.pair0 + k);
    const PairSums sums = sum_sites(s.view, p);
    const float precision = static_cast<float>(sums.precision()) * s.stretch() * s.stretch();
    s.precision[k] = precision;
    s.shift[k] = static_cast<float>(sums.shift()) * s.stretch() - precision * prior_difference(s.view, p);
    s.pair_more[k] = 0;
  }
};

struct GatherSparseRow {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    float diagonal = 1;
    for (std::uint64_t e = s.row_begin[i]; e < s.row_begin[i + 1]; ++e) diagonal += s.precision[s.entries[e].pair];
    s.diagonal[i] = diagonal;
    s.slot_more[i] = 0;
  }
};

/// Kinds of right-hand sides. kSamples: noise for samples, except column 0 of block 0, which is for the mean. kSigns:
/// random signs times sqrt(diagonal), solved from 0, for log determinants. kCovariates: the columns of X.
enum class SparseSides { kSamples, kSigns, kCovariates };

/// Computes a block's right-hand sides and first residuals, and partial sums of the squared right-hand sides.
struct StartSparse {
  SparseArrays s;
  SparseSides sides;
  int block_index;
  VOXPOP_DEVICE void operator()(Block& block) const {
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      float side[kSparseColumns], moved[kSparseColumns];
      const std::size_t at = std::size_t{i} * kSparseColumns;
      if (sides == SparseSides::kSigns) {
        detail::signs_of(i, 0, side);
        const float root = sqrtf(s.diagonal[i]);
        for (int k = 0; k < kSparseColumns; ++k) {
          side[k] *= root;
          s.solution[at + k] = moved[k] = 0;
        }
      } else if (sides == SparseSides::kCovariates) {
        for (int k = 0; k < kSparseColumns; ++k)
          side[k] = k < s.view.covariate_count
                        ? s.view.covariates[std::size_t{s.slot0 + i} * s.view.covariate_count + k]
                        : 0.0f;
        detail::neighbours_sum(s, i, s.solution, moved);
      } else {
        float mean_side = 0;
        detail::signs_of(s.pairs + i, block_index, side);
        for (std::uint64_t e = s.row_begin[i]; e < s.row_begin[i + 1]; ++e) {
          const SparseEntry entry = s.entries[e];
          const float sign = i < entry.neighbour ? 1.0f : -1.0f, root = sign * sqrtf(s.precision[entry.pair]);
          float noise[kSparseColumns];
          detail::signs_of(entry.pair, block_index, noise);
          for (int k = 0; k < kSparseColumns; ++k) side[k] += root * noise[k];
          mean_side += sign * s.shift[entry.pair];
        }
        if (block_index == 0) side[0] = mean_side;
        detail::neighbours_sum(s, i, s.solution, moved);
      }
      const float diagonal = s.diagonal[i];
      for (int k = 0; k < kSparseColumns; ++k) {
        const float residual = side[k] - diagonal * s.solution[at + k] + moved[k];
        s.residual[at + k] = residual;
        s.direction[at + k] = 0;
        sums[k] = static_cast<double>(side[k]) * side[k] / diagonal;
      }
    });
  }
};

/// Sets the targets of the residuals and initialises the state. Run by one block.
struct BeginSparse {
  SparseArrays s;
  std::uint32_t blocks;
  bool mean_first;  ///< column 0 is the mean, which gets a smaller tolerance
  VOXPOP_DEVICE void operator()(Block& block) const {
    detail::total_partials(block, s.partial, blocks, s.state->target);
    block.for_threads([&](std::uint32_t thread) {
      if (thread >= kSparseColumns) return;
      const double tolerance = mean_first && thread == 0 ? 1e-5 : 1e-3;
      s.state->target[thread] = s.state->target[thread] * tolerance * tolerance + 1e-30;
      s.state->beta[thread] = s.state->alpha[thread] = s.state->square[thread] = 0;
      if (thread == 0) s.state->steps = s.state->done = 0;
    });
  }
};

/// Partial sums of the squared residuals.
struct SquareSparse {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(Block& block) const {
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      const float* r = s.residual + std::size_t{i} * kSparseColumns;
      for (int k = 0; k < kSparseColumns; ++k) sums[k] = static_cast<double>(r[k]) * r[k] / s.diagonal[i];
    });
  }
};

/// Computes beta from the squared residuals, and whether all columns have converged. Run by one block.
struct BetaSparse {
  SparseArrays s;
  std::uint32_t blocks;
  VOXPOP_DEVICE void operator()(Block& block) const {
    if (s.state->done != 0) return;
    double* total = reinterpret_cast<double*>(block.shared) + kSparseThreads;
    detail::total_partials(block, s.partial, blocks, total);
    block.for_threads([&](std::uint32_t thread) {
      if (thread >= kSparseColumns) return;
      SparseState& state = *s.state;
      const double before = state.square[thread];
      state.beta[thread] = before > 0 ? total[thread] / before : 0;
      state.square[thread] = total[thread];
      if (s.history != nullptr && state.steps > 0)
        s.history[((state.steps - 1) * 2 + 1) * kSparseColumns + thread] = state.beta[thread];
    });
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      int done = 1;
      for (int k = 0; k < kSparseColumns; ++k)
        if (s.state->square[k] > s.state->target[k]) done = 0;
      s.state->done = done;
    });
  }
};

struct TurnSparse {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    if (s.state->done != 0) return;
    const std::size_t at = i * kSparseColumns;
    const float inverse = 1 / s.diagonal[i];
    for (int k = 0; k < kSparseColumns; ++k)
      s.direction[at + k] = s.residual[at + k] * inverse + static_cast<float>(s.state->beta[k]) * s.direction[at + k];
  }
};

/// Multiplies H by the directions; partial sums of direction' H direction.
struct MultiplySparse {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(Block& block) const {
    if (s.state->done != 0) return;
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      float moved[kSparseColumns];
      detail::neighbours_sum(s, i, s.direction, moved);
      const std::size_t at = std::size_t{i} * kSparseColumns;
      for (int k = 0; k < kSparseColumns; ++k) {
        s.product[at + k] = s.diagonal[i] * s.direction[at + k] - moved[k];
        sums[k] = static_cast<double>(s.product[at + k]) * s.direction[at + k];
      }
    });
  }
};

struct AlphaSparse {
  SparseArrays s;
  std::uint32_t blocks;
  VOXPOP_DEVICE void operator()(Block& block) const {
    if (s.state->done != 0) return;
    double* total = reinterpret_cast<double*>(block.shared) + kSparseThreads;
    detail::total_partials(block, s.partial, blocks, total);
    block.for_threads([&](std::uint32_t thread) {
      if (thread >= kSparseColumns) return;
      SparseState& state = *s.state;
      // A column that has converged does not change: its direction is too short to divide by.
      state.alpha[thread] = state.square[thread] > 1e-3 * state.target[thread] && total[thread] > 0
                                ? state.square[thread] / total[thread]
                                : 0;
      if (s.history != nullptr) s.history[state.steps * 2 * kSparseColumns + thread] = state.alpha[thread];
    });
    block.for_threads([&](std::uint32_t thread) {
      if (thread == 0) ++s.state->steps;
    });
  }
};

/// Updates solutions and residuals; partial sums of the squared residuals.
struct StepSparse {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(Block& block) const {
    if (s.state->done != 0) return;
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      const std::size_t at = std::size_t{i} * kSparseColumns;
      for (int k = 0; k < kSparseColumns; ++k) {
        const auto alpha = static_cast<float>(s.state->alpha[k]);
        s.solution[at + k] += alpha * s.direction[at + k];
        const float residual = s.residual[at + k] - alpha * s.product[at + k];
        s.residual[at + k] = residual;
        sums[k] = static_cast<double>(residual) * residual / s.diagonal[i];
      }
    });
  }
};

/// For each sample, the neighbours' sum of each row, stored in `product`. The row's conditional mean varies with this
/// sum.
struct SampleSparseRow {
  SparseArrays s;
  int block_index;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    float* said = s.product + i * kSparseColumns;
    detail::neighbours_sum(s, static_cast<std::uint32_t>(i), s.solution, said);
    float more = 0;
    for (int k = block_index == 0 ? 1 : 0; k < kSparseColumns; ++k) more += said[k] * said[k];
    s.slot_more[i] += more / (s.diagonal[i] * s.diagonal[i]);
  }
};

/// For each sample, the conditional mean of a pair's difference: inverse of the pair's block of H, times the sum over
/// the other neighbours of its items.
struct SampleSparsePair {
  SparseArrays s;
  int block_index;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    const std::size_t i = s.view.pair_first[s.pair0 + p] - s.slot0, j = s.view.pair_second[s.pair0 + p] - s.slot0;
    const float precision = s.precision[p], hi = s.diagonal[i], hj = s.diagonal[j];
    const float determinant = hi * hj - precision * precision;
    float more = 0;
    for (int k = block_index == 0 ? 1 : 0; k < kSparseColumns; ++k) {
      const float said_i = s.product[i * kSparseColumns + k] - precision * s.solution[j * kSparseColumns + k];
      const float said_j = s.product[j * kSparseColumns + k] - precision * s.solution[i * kSparseColumns + k];
      const float d = ((hj - precision) * said_i - (hi - precision) * said_j) / determinant;
      more += d * d;
    }
    s.pair_more[p] += more;
  }
};

/// Partial sums of X'u for one column of X and eight solutions u.
struct ProjectSparse {
  SparseArrays s;
  int column;
  VOXPOP_DEVICE void operator()(Block& block) const {
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      const float x = s.view.covariates[std::size_t{s.slot0 + i} * s.view.covariate_count + column];
      for (int k = 0; k < kSparseColumns; ++k)
        sums[k] = static_cast<double>(x) * s.solution[std::size_t{i} * kSparseColumns + k];
    });
  }
};

/// Sets the pair moments; needs the block that contains the mean. `partial`: the largest change of a mean, in posterior
/// sds, and twice what prior means add to the log evidence.
struct FinishSparsePair {
  SparseArrays s;
  VOXPOP_DEVICE void operator()(Block& block) const {
    auto* own = reinterpret_cast<double*>(block.shared);  // [threads][2]
    block.for_threads([&](std::uint32_t thread) {
      own[2 * thread] = own[2 * thread + 1] = 0;
      const std::uint32_t k = block.index * block.threads + thread;
      if (k >= s.pairs) return;
      const std::uint32_t p = s.pair0 + k;
      const std::size_t i = s.view.pair_first[p] - s.slot0, j = s.view.pair_second[p] - s.slot0;
      const float precision = s.precision[k], hi = s.diagonal[i], hj = s.diagonal[j];
      const float local = (hi + hj - 2 * precision) / (hi * hj - precision * precision);
      // Without the pair's own votes, its variance is at most the prior's, 2.
      const float variance = smaller(local + s.pair_more[k] / kSparseSamples, 1 / (precision + 0.5f));
      const float offset = prior_difference(s.view, p);
      const float mean = s.solution[i * kSparseColumns] - s.solution[j * kSparseColumns] + offset;
      const float change = absolute(mean - s.view.pair_mean[p]) / sqrtf(variance);
      own[2 * thread] = change >= 0 ? change : INFINITY;
      own[2 * thread + 1] = offset * (2 * s.shift[k] + precision * offset);
      s.view.pair_mean[p] = mean;
      s.view.pair_variance[p] = variance;
    });
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      double largest = 0, quadratic = 0;
      for (std::uint32_t t = 0; t < block.threads; ++t) {
        largest = larger(largest, own[2 * t]);
        quadratic += own[2 * t + 1];
      }
      s.partial[block.index * kSparseColumns] = largest;
      s.partial[block.index * kSparseColumns + 1] = quadratic;
    });
  }
};

/// Totals over the pairs, by one block: the largest change into `solved`, and `quadratic` [1].
struct TotalSparsePairs {
  SparseArrays s;
  std::uint32_t blocks;
  SolveSums* solved;
  double* quadratic;
  VOXPOP_DEVICE void operator()(Block& block) const {
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      double largest = 0;
      *quadratic = 0;
      for (std::uint32_t b = 0; b < blocks; ++b) {
        largest = larger(largest, s.partial[b * kSparseColumns]);
        *quadratic += s.partial[b * kSparseColumns + 1];
      }
      raise_shared(&solved->change, static_cast<float>(largest));
    });
  }
};

/// Sets slot moments and adds to sources' sums (null: not wanted). Partial sums: squared scores plus variances; means
/// times shifts; logarithms of the diagonal.
struct FinishSparseRow {
  SparseArrays s;
  float *slot_mean, *slot_variance;  ///< or null
  SourceSums* sources;               ///< or null; see source_terms()
  VOXPOP_DEVICE void operator()(Block& block) const {
    detail::sum_rows(block, s.items, s.partial, [&](std::uint32_t i, double* sums) {
      const float mean = s.solution[std::size_t{i} * kSparseColumns];
      const float variance =
          larger(1 / s.diagonal[i] + s.slot_more[i] / kSparseSamples - 1 / static_cast<float>(s.items), 0.0f);
      sums[0] = mean * mean + variance;
      double shift = 0;
      for (std::uint64_t e = s.row_begin[i]; e < s.row_begin[i + 1]; ++e)
        shift += (i < s.entries[e].neighbour ? 1 : -1) * s.shift[s.entries[e].pair];
      sums[1] = shift * mean;
      sums[2] = log(static_cast<double>(s.diagonal[i]));
      if (sources != nullptr) {
        SourceSums& mine = sources[s.view.slot_source[s.slot0 + i]];
        add_shared(&mine.gradient, to_fixed(mean));
        add_shared(&mine.information, to_fixed(1 - 1 / static_cast<float>(s.items) - variance));
      }
      if (slot_mean == nullptr) return;
      slot_mean[s.slot0 + i] = mean + prior_mean(s.view, s.slot0 + i);
      slot_variance[s.slot0 + i] = variance;
    });
  }
};

/// Totals over the rows. Run by one block. `log_determinant`: log det of H divided by its diagonal; NaN if the log
/// evidence is not wanted.
struct TotalSparseRows {
  SparseArrays s;
  std::uint32_t blocks;
  SolveSums* solved;
  const double* quadratic;
  double log_determinant;
  VOXPOP_DEVICE void operator()(Block& block) const {
    double* total = reinterpret_cast<double*>(block.shared) + kSparseThreads;
    detail::total_partials(block, s.partial, blocks, total);
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      add_shared(&solved->squares, to_fixed(total[0]));
      add_shared(&solved->freedom, std::int64_t{s.items} - 1);
      if (log_determinant == log_determinant)
        add_shared(&solved->log_evidence, to_fixed(0.5 * (total[1] + *quadratic - (total[2] + log_determinant))));
    });
  }
};

/// Copies the totals of ProjectSparse to `projection` [8]. Run by one block.
struct KeepProjection {
  SparseArrays s;
  std::uint32_t blocks;
  double* projection;
  VOXPOP_DEVICE void operator()(Block& block) const { detail::total_partials(block, s.partial, blocks, projection); }
};

/// Adds what the component says about the coefficients: X' mean, and X'X - X'H^-1 X; see covariate_terms(). Run by one
/// block.
struct AddSparseCovariates {
  const double* projection;  ///< [covariates][2][8]: for the mean's block, and for H^-1 X
  const double* products;    ///< X'X, as a lower triangle
  int covariates;
  CovariateSums* sums;
  VOXPOP_DEVICE void operator()(Block& block) const {
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      for (int k = 0; k < covariates; ++k) {
        const double* mine = projection + k * 2 * kSparseColumns;
        add_shared(sums->gradient + k, to_fixed(mine[0]));
        for (int l = 0; l <= k; ++l)
          add_shared(sums->information + triangle(k, l), to_fixed(products[triangle(k, l)] - mine[kSparseColumns + l]));
      }
    });
  }
};

}  // namespace voxpop
