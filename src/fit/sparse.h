#pragma once
// Controls the solution of a sparse component. formulas/sparse.h has the single steps. Host and device use the same
// code; `Backend` runs the steps, as in kernels/parallel_engine.h.

#include <algorithm>
#include <limits>
#include <vector>

#include "formulas/sparse.h"
#include "group/group.h"

namespace voxpop {

/// [items + 1] offsets: where the pairs of each item begin, and the end of the last. `pairs_of`: number of pairs per
/// item.
std::vector<std::uint64_t> row_offsets(const std::vector<std::uint32_t>& pairs_of);

/// The pairs of a component as seen from each of its items.
struct SparseGraph {
  std::vector<std::uint64_t> row_begin;  ///< [items + 1] 64-bit, because 2 x pairs may exceed 2^32
  std::vector<SparseEntry> entries;      ///< [2 pairs], sorted by item, then by pair
  std::vector<double> products;          ///< X'X of the component's covariates, as a lower triangle
  SparseGraph(const Groups& groups, std::uint32_t component);
};

/// Bytes that solving a component needs, in addition to votes and pairs.
constexpr std::size_t sparse_bytes(std::size_t items, std::size_t pairs) {
  return items * ((kSparseBlocks + 3) * kSparseColumns * sizeof(float) + 2 * sizeof(float) + sizeof(std::uint64_t)) +
         pairs * (2 * sizeof(SparseEntry) + 3 * sizeof(float));
}

/// Number of floats that a solver keeps between solutions.
constexpr std::size_t sparse_kept_floats(std::size_t items, bool covariates) {
  return items * kSparseColumns * (kSparseBlocks + (covariates ? 1 : 0));
}

/// log det of H divided by its diagonal (D^-1/2 H D^-1/2), by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017)
/// from the coefficients of conjugate gradients with eight random sign vectors. Error: about sqrt(items) / 2.
/// `history`: SparseArrays::history.
double lanczos_log_determinant(const std::vector<double>& history, int steps, std::uint32_t items);

template <class Backend>
class SparseSolver {
 public:
  SparseSolver(Backend& backend, const Groups& groups, std::uint32_t component)
      : backend_(backend),
        component_(component),
        slot0_(groups.component_slots[component]),
        items_(groups.items_of(component)),
        pair0_(groups.component_pairs[component]),
        pairs_(groups.component_pairs[component + 1] - pair0_) {
    const SparseGraph graph(groups, component);
    row_begin_ = filled(graph.row_begin);
    entries_ = filled(graph.entries);
    products_ = filled(graph.products);
    for (auto* column : {&precision_, &shift_, &pair_more_}) *column = backend.template allocate<float>(pairs_);
    for (auto* column : {&diagonal_, &slot_more_}) *column = backend.template allocate<float>(items_);
    const std::size_t matrix = std::size_t{items_} * kSparseColumns;
    kept_ = sparse_kept_floats(items_, groups.covariates.count() > 0);
    solutions_ = backend.template allocate<float>(kept_);
    backend.clear(solutions_.data(), kept_);
    for (auto* column : {&residual_, &direction_, &product_}) *column = backend.template allocate<float>(matrix);
    partial_ = backend.template allocate<double>(std::size_t{std::max(row_blocks(), pair_blocks())} * kSparseColumns);
    history_ = backend.template allocate<double>(2 * kSparseSteps * kSparseColumns);
    projection_ = backend.template allocate<double>(2 * kMaxCovariates * kSparseColumns + 1);
    state_ = backend.template allocate<SparseState>(1);
  }

  /// Solves the component from its sites. Sets the pair moments in `view`. Optional (null: not wanted): slot moments,
  /// with which the log evidence is computed too, and what the component adds to `solved`, `covariates` and `sources`.
  /// These pointers are to memory of the backend.
  void solve(const FitView& view, const PassOptions* pass, float* slot_mean, float* slot_variance, SolveSums* solved,
             CovariateSums* covariates, SourceSums* sources) {
    SparseArrays s{view,
                   pass,
                   component_,
                   slot0_,
                   items_,
                   pair0_,
                   pairs_,
                   row_begin_.data(),
                   entries_.data(),
                   precision_.data(),
                   shift_.data(),
                   diagonal_.data(),
                   nullptr,
                   residual_.data(),
                   direction_.data(),
                   product_.data(),
                   slot_more_.data(),
                   pair_more_.data(),
                   partial_.data(),
                   state_.data(),
                   nullptr};
    double log_determinant = std::numeric_limits<double>::quiet_NaN();
    double* quadratic = projection_.data() + 2 * kMaxCovariates * kSparseColumns;
    const bool project = covariates != nullptr && view.covariate_count > 0;
    backend_.for_each(pairs_, GatherSparsePair{s});
    backend_.for_each(items_, GatherSparseRow{s});
    if (slot_mean != nullptr) log_determinant = find_log_determinant(s);
    if (project) {
      s.solution = solutions_.data() + std::size_t{kSparseBlocks} * items_ * kSparseColumns;
      descend(s, SparseSides::kCovariates, 0);
      project_columns(s, 1);
    }
    for (int block = kSparseBlocks - 1; block >= 0; --block) {  // the block with the mean is the last
      s.solution = solutions_.data() + std::size_t(block) * items_ * kSparseColumns;
      descend(s, SparseSides::kSamples, block);
      backend_.for_each(items_, SampleSparseRow{s, block});
      backend_.for_each(pairs_, SampleSparsePair{s, block});
    }
    if (project) project_columns(s, 0);
    backend_.launch(pair_blocks(), kSparseThreads, kBytes, FinishSparsePair{s});
    alone(TotalSparsePairs{s, pair_blocks(), solved, quadratic});
    over_rows(FinishSparseRow{s, slot_mean, slot_variance, sources});
    alone(TotalSparseRows{s, row_blocks(), solved, quadratic, log_determinant});
    if (project) alone(AddSparseCovariates{projection_.data(), products_.data(), view.covariate_count, covariates});
  }

  /// Appends the solutions, which are the starting points of the next solutions.
  void save(Column<float>& to) const {
    to.resize(to.size() + kept_);
    backend_.copy_out(to.data() + to.size() - kept_, solutions_.data(), kept_);
  }
  /// Reads the solutions from `from`; returns the position behind them.
  const float* load(const float* from) {
    backend_.copy_in(solutions_.data(), from, kept_);
    return from + kept_;
  }

 private:
  template <class T>
  using Array = typename Backend::template Array<T>;
  static constexpr std::uint32_t kBytes = kSparseThreads * kSparseColumns * sizeof(double);

  template <class T>
  Array<T> filled(const std::vector<T>& from) {
    Array<T> array = backend_.template allocate<T>(from.size());
    backend_.copy_in(array.data(), from.data(), from.size());
    return array;
  }
  std::uint32_t row_blocks() const { return (items_ + kSparseThreads - 1) / kSparseThreads; }
  std::uint32_t pair_blocks() const { return (pairs_ + kSparseThreads - 1) / kSparseThreads; }
  template <class Work>
  void over_rows(const Work& work) {
    backend_.launch(row_blocks(), kSparseThreads, kBytes, work);
  }
  template <class Work>
  void alone(const Work& work) {
    backend_.launch(1, kSparseThreads, kBytes, work);
  }

  /// Preconditioned conjugate gradients (Hestenes and Stiefel 1952). Starts from the block's last solution.
  void descend(const SparseArrays& s, SparseSides sides, int block) {
    over_rows(StartSparse{s, sides, block});
    alone(BeginSparse{s, row_blocks(), sides == SparseSides::kSamples && block == 0});
    over_rows(SquareSparse{s});
    alone(BetaSparse{s, row_blocks()});
    for (int step = 0; step < kSparseSteps && !backend_.is_set(&s.state->done); ++step) {
      backend_.for_each(items_, TurnSparse{s});
      over_rows(MultiplySparse{s});
      alone(AlphaSparse{s, row_blocks()});
      over_rows(StepSparse{s});
      alone(BetaSparse{s, row_blocks()});
    }
  }

  void project_columns(const SparseArrays& s, int which) {
    for (int k = 0; k < s.view.covariate_count; ++k) {
      over_rows(ProjectSparse{s, k});
      alone(KeepProjection{s, row_blocks(), projection_.data() + (2 * k + which) * kSparseColumns});
    }
  }

  /// Uses the solution of block 1 as workspace. Block 1 then starts from 0.
  double find_log_determinant(SparseArrays s) {
    s.solution = solutions_.data() + std::size_t{items_} * kSparseColumns;
    s.history = history_.data();
    backend_.clear(history_.data(), 2 * kSparseSteps * kSparseColumns);
    descend(s, SparseSides::kSigns, 0);
    std::vector<double> history(2 * kSparseSteps * kSparseColumns);
    SparseState state;
    backend_.copy_out(history.data(), history_.data(), history.size());
    backend_.copy_out(&state, state_.data(), 1);
    return lanczos_log_determinant(history, state.steps, items_);
  }

  Backend& backend_;
  std::uint32_t component_, slot0_, items_, pair0_, pairs_;
  Array<std::uint64_t> row_begin_;
  Array<SparseEntry> entries_;
  Array<float> precision_, shift_, pair_more_, diagonal_, slot_more_, residual_, direction_, product_;
  Array<float> solutions_;  ///< [kSparseBlocks][items][8]; with covariates followed by [items][8] of H^-1 X
  std::size_t kept_;
  Array<double> partial_, history_, projection_, products_;
  Array<SparseState> state_;
};

}  // namespace voxpop
