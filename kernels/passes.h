#pragma once
// The passes over votes as work of blocks: the same steps as the CPU engine's, a thread a small component, then a
// thread a vote. A block takes a chunk of neighbouring components at a time and does all its sweeps, while its sites
// are in the cache.

#include <cstddef>

#include "voxpop/block.h"
#include "voxpop/component.h"
#include "voxpop/label.h"

namespace voxpop {

/// Neighbouring small components that a block solves together, with their votes; or, where `components` is 0, a part of
/// the votes of a large component, which is solved elsewhere.
struct Chunk {
  std::uint32_t first_component, components;
  std::uint32_t first_vote, votes;
  std::uint32_t items;  ///< of the largest component
};

inline constexpr std::uint32_t kBlockThreads = 256;

/// Floats of shared memory for the components of a chunk: matrix, shift and mean of each.
inline constexpr std::uint32_t kChunkFloats = 4096;
constexpr std::uint32_t component_floats(std::uint32_t items) { return items * items + 2 * items; }
static_assert(component_floats(kSmallItems) <= kChunkFloats);

/// What a thread of a block adds up, so that no two threads meet.
struct ThreadSums {
  SolveSums solved;
  std::int64_t log_scale;
};

struct VoteArrays : FitView {
  const std::uint32_t* vote_pair;  ///< [V]
};

/// Sums, a row an annotator, as the blocks add them: in the block's shared memory where that has room for all
/// (`in_block`), of each row the first `fields`, which are those that will be added to.
template <class Sums>
struct SumTable {
  static constexpr std::uint32_t kFields = sizeof(Sums) / sizeof(std::int64_t);

  Sums* all;
  std::uint32_t rows;
  bool in_block;
  std::uint32_t fields = kFields;

  /// Sums that the block keeps of its own.
  VOXPOP_HD std::uint32_t count() const { return in_block ? rows * fields : 0; }
  VOXPOP_HD std::uint32_t bytes() const { return count() * static_cast<std::uint32_t>(sizeof(std::int64_t)); }

  VOXPOP_DEVICE void clear(Block& block, std::int64_t* own) const {
    if (!in_block) return;
    block.for_threads([&](std::uint32_t thread) {
      for (std::uint32_t i = thread; i < count(); i += block.threads) own[i] = 0;
    });
  }
  VOXPOP_HD void add(std::int64_t* own, std::uint32_t row, int field, float value) const {
    add(own, row, field, to_fixed(value));
  }
  VOXPOP_HD void add(std::int64_t* own, std::uint32_t row, int field, std::int64_t value) const {
    if (value == 0) return;
    if (in_block)
      add_in_block(own + row * fields + static_cast<std::uint32_t>(field), value);
    else
      add_shared(reinterpret_cast<std::int64_t*>(all + row) + field, value);
  }
  VOXPOP_DEVICE void flush(Block& block, const std::int64_t* own) const {
    if (!in_block) return;
    block.for_threads([&](std::uint32_t thread) {
      for (std::uint32_t i = thread; i < count(); i += block.threads)
        if (own[i] != 0) add_shared(reinterpret_cast<std::int64_t*>(all + i / fields) + i % fields, own[i]);
    });
  }
};

/// Sums of thresholds have few rows, and every vote adds to one: so each lane of a warp has a row of its own.
inline constexpr std::uint32_t kThresholdCopies = 32, kThresholdRows = (kMaxLevels + 1) * kThresholdCopies;

/// What one vote says of the thresholds beside it.
VOXPOP_HD void add_threshold_terms(const SumTable<ThresholdSums>& table, std::int64_t* own, std::uint32_t thread,
                                   const ThresholdTerms& terms, float weight) {
  const auto row = [&](int threshold) {
    return static_cast<std::uint32_t>(threshold) * kThresholdCopies + thread % kThresholdCopies;
  };
  table.add(own, row(terms.lower), 0, weight * terms.lower_gradient);
  table.add(own, row(terms.lower), 1, weight * terms.lower_information);
  if (terms.upper == 0) return;
  table.add(own, row(terms.upper), 0, weight * terms.upper_gradient);
  table.add(own, row(terms.upper), 1, weight * terms.upper_information);
}

/// Sums for coefficients have one row, to which a block's threads all add: a few more keep them apart.
inline constexpr std::uint32_t kCovariateCopies = 8;

/// The annotator as this vote sees it: side bias points to the left, formulas want it towards the pair's first item.
VOXPOP_HD Rater<float> rater_of(VoteCode vote, const RaterRecord& record, const TasteEffect& taste, bool uncertain) {
  const float side = vote.side();
  if (!uncertain) return {record.discrimination, record.side_bias * side + taste.mean, 0, 0, 0};
  return {record.discrimination, record.side_bias * side + taste.mean, record.discrimination_variance,
          record.covariance * side, record.side_bias_variance * side * side + taste.variance};
}

/// Solves one small component of a chunk in the block's shared memory.
VOXPOP_HD void solve_in_block(const FitView& view, const Chunk& chunk, std::uint32_t index, float* floats,
                              float* slot_mean, float* slot_variance, SolveSums* sums) {
  const std::uint32_t size = chunk.items, stride = chunk.components, c = chunk.first_component + index;
  float* h = floats + index;  // element e of all matrices side by side: no two threads share a bank
  float* shift = h + size * size * stride;
  float* mean = shift + size * stride;
  const float ridge = assemble_component(view, c, size, h, shift, stride);
  const float log_determinant = invert_positive_definite(h, static_cast<int>(size), static_cast<int>(stride));
  multiply_component(h, shift, mean, size, stride);
  finish_component(view, c, size, h, shift, mean, ridge, log_determinant, stride, slot_mean, slot_variance, sums);
}

/// What the component that solve_in_block() has just solved says of the coefficients.
VOXPOP_HD void add_covariate_terms(const FitView& view, const Chunk& chunk, std::uint32_t index, const float* floats,
                                   std::uint32_t thread, const SumTable<CovariateSums>& table, std::int64_t* own) {
  const std::uint32_t size = chunk.items, stride = chunk.components;
  const float* h = floats + index;
  const float* mean = h + (size * size + size) * stride;
  covariate_terms(view, chunk.first_component + index, size, h, mean, stride,
                  [&](int field, float value) { table.add(own, thread % kCovariateCopies, field, value); });
}

/// What annotators' sums have beside these first fields, only mixtures add to.
inline constexpr std::uint32_t kFieldsWithoutShare = offsetof(AnnotatorSums, gradient_share) / sizeof(std::int64_t);

/// The tables that an update adds to, and a block's own part of them.
struct UpdateTables {
  SumTable<AnnotatorSums> annotators;
  SumTable<ThresholdSums> thresholds;  ///< no rows for binary votes
  SumTable<CovariateSums> covariates;  ///< no rows without covariates
  SumTable<GridSums> grid;  ///< few passes want it, but those wait for atomics in global memory: 3.5 times as long
  TasteSums* tastes;        ///< [annotators][taste_count]

  VOXPOP_HD std::uint32_t bytes() const {
    return thresholds.bytes() + covariates.bytes() + annotators.bytes() + grid.bytes();
  }
};
struct OwnTables {
  std::int64_t *thresholds, *covariates, *annotators, *grid;
  VOXPOP_HD static OwnTables of(char* memory, const UpdateTables& tables) {
    OwnTables own;
    own.thresholds = reinterpret_cast<std::int64_t*>(memory);
    own.covariates = own.thresholds + tables.thresholds.count();
    own.annotators = own.covariates + tables.covariates.count();
    own.grid = own.annotators + tables.annotators.count();
    return own;
  }
};

template <Likelihood kKind>
VOXPOP_HD Statement<float> said_by(const FitView& view, VoteCode vote) {
  if constexpr (kKind == Likelihood::kBinary) return {vote.level() > 0 ? 1.0f : -1.0f, 0, kFar};
  return statement_of(view, vote);
}

/// A vote's new site, and what it says of its annotator and of the thresholds, all from the same cavity.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void update_vote(const VoteArrays& view, std::uint32_t v, const PassOptions& pass, bool last,
                           std::uint32_t thread, const UpdateTables& tables, const OwnTables& own) {
  const VoteCode vote = view.votes[v];
  const std::uint32_t pair = view.vote_pair[v];
  const RaterRecord record = view.raters[vote.annotator()];
  const Statement<float> said = said_by<kKind>(view, vote);
  const Site<float> before{view.site_precision[v] * view.stretch * view.stretch, view.site_shift[v] * view.stretch};
  const float weight = weight_of(view, v), part = part_of(weight);
  const Cavity<float> cavity = cavity_without(view.pair_mean[pair], view.pair_variance[pair], before, part);
  const TasteEffect taste = taste_effect(view, vote.annotator(), pair);
  const Rater<float> known = rater_of(vote, record, taste, false);
  VoteLikelihood<float> likelihood = smoothed_vote<kTerms, kKind>(said, logit(known, cavity));
  const AnnotatorTerms<float> terms = annotator_terms(known, cavity, likelihood.z);
  if (last && pass.annotators) {
    const float side = vote.side();  // back from "first" to "left"
    const std::uint32_t a = vote.annotator();
    const auto add_weighted = [&](int field, float term) {
      tables.annotators.add(own.annotators, a, field, weight * term);
    };
    add_weighted(0, terms.gradient_gamma);
    add_weighted(1, terms.gradient_beta * side);
    add_weighted(2, terms.information_gamma);
    add_weighted(3, terms.information_cross * side);
    add_weighted(4, terms.information_beta * side * side);
    for (int k = 0; k < view.taste_count; ++k) {
      const float difference = feature_difference(view, pair, k);
      TasteSums& mine = tables.tastes[std::size_t{a} * view.taste_count + k];
      add_shared(&mine.gradient, to_fixed(weight * terms.gradient_beta * difference));
      add_shared(&mine.information, to_fixed(weight * terms.information_beta * difference * difference));
    }
    if constexpr (kKind == Likelihood::kMixture) {
      const ShareTerms share =
          share_terms(said.share, likelihood.share, terms.gradient_gamma, terms.gradient_beta * side);
      add_weighted(5, share.gradient);
      add_weighted(6, share.information);
      add_weighted(7, share.cross_gamma);
      add_weighted(8, share.cross_beta);
    }
    if constexpr (kKind != Likelihood::kBinary)
      if (tables.thresholds.rows > 0)
        add_threshold_terms(tables.thresholds, own.thresholds, thread,
                            threshold_terms(vote.level(), said, likelihood.edges), weight);
    if (pass.grid) {
      const float slope = side * record.grid_slope;
      for (int g = 0; g < kGridNodes; ++g) {
        if (g == kGridNodes / 2) continue;
        const float move = record.grid_spread * grid_at(g);
        Rater<float> moved = known;
        moved.discrimination += move;
        moved.side_bias += slope * move;
        const float log_z = smoothed_vote<kTerms, kKind>(said, logit(moved, cavity)).z.log_value;
        tables.grid.add(own.grid, a, g, weight * (log_z - likelihood.z.log_value));
      }
    }
  }
  Rater<float> whole = known, rater = known;
  if (pass.uncertain) {
    whole = rater_of(vote, record, taste, true);
    rater = rater_without(whole, scaled(terms, part));
    likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
  }
  const Site<float> site = damped(whole, rater, before, matched_site(rater, cavity, likelihood.z));
  view.site_precision[v] = site.precision;
  view.site_shift[v] = site.shift;
}

/// The parts of a block's shared memory.
struct BlockMemory {
  ThreadSums* threads;
  float* floats;  ///< kChunkFloats
  char* tables;
  VOXPOP_HD static BlockMemory of(const Block& block) {
    auto* threads = reinterpret_cast<ThreadSums*>(block.shared);
    auto* floats = reinterpret_cast<float*>(threads + block.threads);
    return {threads, floats, reinterpret_cast<char*>(floats + kChunkFloats)};
  }
};
constexpr std::uint32_t block_memory_bytes(std::uint32_t tables) {
  return kBlockThreads * sizeof(ThreadSums) + kChunkFloats * sizeof(float) + tables;
}

VOXPOP_DEVICE inline void clear_thread_sums(Block& block, ThreadSums* own) {
  block.for_threads([&](std::uint32_t thread) { own[thread] = ThreadSums{}; });
}

VOXPOP_DEVICE inline void flush_thread_sums(Block& block, const ThreadSums* own, SolveSums* solved,
                                            std::int64_t* log_scale) {
  block.for_threads([&](std::uint32_t thread) {
    if (thread != 0) return;
    ThreadSums total{};
    for (std::uint32_t t = 0; t < block.threads; ++t) {
      total.solved.change = larger(total.solved.change, own[t].solved.change);
      total.solved.squares += own[t].solved.squares;
      total.solved.freedom += own[t].solved.freedom;
      total.solved.log_evidence += own[t].solved.log_evidence;
      total.log_scale += own[t].log_scale;
    }
    raise_shared(&solved->change, total.solved.change);
    add_shared(&solved->squares, total.solved.squares);
    add_shared(&solved->freedom, total.solved.freedom);
    add_shared(&solved->log_evidence, total.solved.log_evidence);
    if (log_scale != nullptr) add_shared(log_scale, total.log_scale);
  });
}

/// Mixtures, the most general kernels, alone know covariates and tastes: the others are to keep all in registers.
template <Likelihood kKind>
VOXPOP_HD VoteArrays as_compiled(VoteArrays view) {
  if constexpr (kKind != Likelihood::kMixture) view.covariate_count = view.taste_count = 0;
  return view;
}

/// A range of chunks: the whole data, or a slab of it. `stride` of the pass takes every so-manieth.
struct Chunks {
  const Chunk* first;
  std::uint32_t count;
};

/// One pass of EP sweeps, as `*pass` says. Runs only where that asks for this mixture.
template <int kTerms, Likelihood kKind>
struct UpdatePass {
  VoteArrays view;
  Chunks chunks;
  const PassOptions* pass;
  std::uint32_t sweep, sweeps;  ///< of large components, whose sweeps are launches of their own; small ones: 0, 0
  UpdateTables tables;
  SolveSums* solved;

  VOXPOP_DEVICE void operator()(Block& block) const {
    const PassOptions options = *pass;
    if (options.sweeps == 0 || options.exact != (kTerms == kExact)) return;
    const BlockMemory memory = BlockMemory::of(block);
    const OwnTables own = OwnTables::of(memory.tables, tables);
    clear_thread_sums(block, memory.threads);
    if (options.annotators) {
      tables.annotators.clear(block, own.annotators);
      tables.thresholds.clear(block, own.thresholds);
      tables.covariates.clear(block, own.covariates);
    }
    if (options.grid) tables.grid.clear(block, own.grid);
    const int total = sweeps == 0 ? options.sweeps : static_cast<int>(sweeps);
    const int begin = sweeps == 0 ? 0 : static_cast<int>(sweep), end = sweeps == 0 ? options.sweeps : begin + 1;
    // A sample is at least 64 chunks, where there are so many: fewer would be of small components alone.
    const std::uint32_t most = chunks.count < 64 ? 1 : chunks.count / 64;
    const std::uint32_t stride = sweeps > 0 ? 1 : options.stride < most ? options.stride : most;
    for (std::uint32_t k = block.index * stride; k < chunks.count; k += block.count * stride) {
      const Chunk chunk = chunks.first[k];
      for (int s = begin; s < end; ++s) {
        const bool last = s + 1 == total;
        VoteArrays now = as_compiled<kKind>(view);
        now.scale = &pass->scale;
        now.blend = options.blend;
        now.stretch = s == 0 ? options.stretch : 1.0f;
        if (chunk.components > 0)
          block.for_threads([&](std::uint32_t thread) {
            for (std::uint32_t i = thread; i < chunk.components; i += block.threads) {
              solve_in_block(now, chunk, i, memory.floats, nullptr, nullptr,
                             last ? &memory.threads[thread].solved : nullptr);
              if (last && options.annotators)
                add_covariate_terms(now, chunk, i, memory.floats, thread, tables.covariates, own.covariates);
            }
          });
        block.for_threads([&](std::uint32_t thread) {
          for (std::uint32_t i = thread; i < chunk.votes; i += block.threads)
            update_vote<kTerms, kKind>(now, chunk.first_vote + i, options, last, thread, tables, own);
        });
      }
    }
    if (options.annotators) {
      tables.annotators.flush(block, own.annotators);
      tables.thresholds.flush(block, own.thresholds);
      tables.covariates.flush(block, own.covariates);
    }
    if (options.grid) tables.grid.flush(block, own.grid);
    flush_thread_sums(block, memory.threads, solved, nullptr);
  }
};

/// With fewer registers these would spill: ordinal votes and mixtures evaluate two likelihoods at once, and the last
/// sweeps twice the mixture's terms.
template <int kTerms, Likelihood kKind>
inline constexpr int kBlocksAtOnce<UpdatePass<kTerms, kKind>> = kKind == Likelihood::kMixture
                                                                    ? (kTerms == kExact ? 1 : 2)
                                                                : kKind == Likelihood::kOrdinal || kTerms == kExact ? 2
                                                                                                                    : 3;

/// The posterior of small components, and what all votes say of their annotators at the end.
template <Likelihood kKind>
struct ReportPass {
  VoteArrays view;
  Chunks chunks;
  const PassOptions* pass;
  SumTable<ReportSums> report;
  float *slot_mean, *slot_variance;
  SolveSums* solved;
  std::int64_t* log_scale;

  VOXPOP_DEVICE void operator()(Block& block) const {
    const BlockMemory memory = BlockMemory::of(block);
    auto* own = reinterpret_cast<std::int64_t*>(memory.tables);
    VoteArrays now = as_compiled<kKind>(view);
    now.scale = &pass->scale;
    now.blend = pass->blend;
    clear_thread_sums(block, memory.threads);
    report.clear(block, own);
    for (std::uint32_t k = block.index; k < chunks.count; k += block.count) {
      const Chunk chunk = chunks.first[k];
      if (chunk.components > 0)
        block.for_threads([&](std::uint32_t thread) {
          for (std::uint32_t i = thread; i < chunk.components; i += block.threads)
            solve_in_block(now, chunk, i, memory.floats, slot_mean, slot_variance, &memory.threads[thread].solved);
        });
      block.for_threads([&](std::uint32_t thread) {
        for (std::uint32_t i = thread; i < chunk.votes; i += block.threads) {
          const std::uint32_t v = chunk.first_vote + i, pair = now.vote_pair[v];
          const VoteCode vote = now.votes[v];
          if (!vote.seen()) continue;
          const float weight = weight_of(now, v);
          const Rater<float> rater =
              rater_of(vote, now.raters[vote.annotator()], taste_effect(now, vote.annotator(), pair), pass->uncertain);
          const VoteReport<float> said = report_vote<kExact, kKind>(
              static_cast<float>(vote.winner()), said_by<kKind>(now, vote), rater, now.pair_mean[pair],
              now.pair_variance[pair], Site<float>{now.site_precision[v], now.site_shift[v]}, part_of(weight));
          memory.threads[thread].log_scale += to_fixed(weight * said.log_scale);
          const std::uint32_t a = vote.annotator();
          report.add(own, a, 2, weight * said.bits);
          if (!vote.decided()) continue;
          report.add(own, a, 0, weight * said.agreement);
          report.add(own, a, 1, weight * said.better);
          report.add(own, a, 3, weight);
        }
      });
    }
    report.flush(block, own);
    flush_thread_sums(block, memory.threads, solved, log_scale);
  }
};

template <>
inline constexpr int kBlocksAtOnce<ReportPass<Likelihood::kMixture>> = 2;

/// Labels of a pair, for the reference annotator.
struct LabelPair {
  const float *pair_mean, *pair_variance;
  float discrimination;
  float *probability, *better, *information;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    const float mean = pair_mean[p], variance = pair_variance[p];
    const float logit_mean = mean * discrimination, logit_variance = variance * discrimination * discrimination;
    probability[p] = expf(smoothed_logistic<kExact>(logit_mean, logit_variance).log_value);
    better[p] = normal_cdf(mean / sqrtf(variance));
    information[p] = information_bits(logit_mean, logit_variance);
  }
};

/// Tells the votes of a pair which it is; pairs begin with `first_pair`.
struct SpreadPair {
  const std::uint32_t* pair_votes;
  std::uint32_t first_pair;
  std::uint32_t* vote_pair;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    for (std::uint32_t v = pair_votes[p]; v < pair_votes[p + 1]; ++v)
      vote_pair[v] = first_pair + static_cast<std::uint32_t>(p);
  }
};

struct SetValue {
  float* column;
  float value;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const { column[i] = value; }
};

/// A large component: H in double precision, column by column, lower triangle; see solve_dense() of the CPU engine.
struct DenseArrays {
  FitView view;
  const PassOptions* pass;  ///< whose stretch the first sweep reads sites with; or null
  std::uint32_t component, slot0, items, pair0, pairs;
  double *h, *shift, *mean;            ///< [items][items], [items], [items]
  std::int64_t *diagonal, *shift_sum;  ///< [items], fixed point: pairs add in any order
  double *ridge, *log_determinant;     ///< [1]
  SolveSums* solved;
  float *slot_mean, *slot_variance;  ///< or null

  VOXPOP_HD double stretch() const { return pass == nullptr ? 1.0 : pass->stretch; }
};

struct ClearDense {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t e) const {
    d.h[e] = 0;
    if (e < d.items) d.diagonal[e] = d.shift_sum[e] = 0;
  }
};
struct AssembleDensePair {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t k) const {
    const auto p = static_cast<std::uint32_t>(d.pair0 + k);
    const PairSums sums = sum_sites(d.view, p);
    const std::uint32_t i = d.view.pair_first[p] - d.slot0, j = d.view.pair_second[p] - d.slot0;  // i < j
    const double precision = sums.precision() * d.stretch() * d.stretch();
    d.h[std::uint64_t{i} * d.items + j] = -precision;
    add_shared(d.diagonal + i, sums.fixed_precision);
    add_shared(d.diagonal + j, sums.fixed_precision);
    const std::int64_t shift = to_fixed(sums.shift() * d.stretch() - precision * prior_difference(d.view, p));
    add_shared(d.shift_sum + i, shift);
    add_shared(d.shift_sum + j, -shift);
  }
};
/// Once a component: the ridge along the mean of all scores; see assemble_component().
struct SetDenseRidge {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t) const {
    std::int64_t trace = 0;
    for (std::uint32_t i = 0; i < d.items; ++i) trace += d.diagonal[i];
    *d.ridge = from_fixed(trace) * d.stretch() * d.stretch() / (static_cast<double>(d.items) * d.items);
  }
};
struct CompleteDense {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t e) const {
    const auto row = static_cast<std::uint32_t>(e % d.items), column = static_cast<std::uint32_t>(e / d.items);
    if (row < column) return;
    d.h[e] += *d.ridge;
    if (row != column) return;
    d.h[e] += 1 + from_fixed(d.diagonal[row]) * d.stretch() * d.stretch();
    d.shift[row] = from_fixed(d.shift_sum[row]);
  }
};
/// Once a component, with h factored.
struct SetLogDeterminant {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t) const {
    double sum = 0;
    for (std::uint64_t i = 0; i < d.items; ++i) sum += log(d.h[i * d.items + i]);
    *d.log_determinant = 2 * sum;
  }
};
/// With h inverted: the scores' means.
struct MultiplyDense {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    double sum = 0;
    for (std::uint64_t j = 0; j < d.items; ++j) sum += d.h[i >= j ? j * d.items + i : i * d.items + j] * d.shift[j];
    d.mean[i] = sum;
  }
};
struct FinishDensePair {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t k) const {
    const auto p = static_cast<std::uint32_t>(d.pair0 + k);
    const std::uint64_t i = d.view.pair_first[p] - d.slot0, j = d.view.pair_second[p] - d.slot0, n = d.items;
    const double variance = d.h[i * n + i] + d.h[j * n + j] - 2 * d.h[i * n + j];
    const double mean = d.mean[i] - d.mean[j] + prior_difference(d.view, p);
    const auto change = static_cast<float>(fabs(mean - d.view.pair_mean[p]) / sqrt(variance));
    raise_shared(&d.solved->change, change >= 0 ? change : INFINITY);
    d.view.pair_mean[p] = static_cast<float>(mean);
    d.view.pair_variance[p] = static_cast<float>(variance);
  }
};
/// Once a component: what it adds up, and its slots.
struct FinishDense {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t) const {
    const double count = d.items, along = 1 / (count * (1 + *d.ridge * count));
    double squares = 0, quadratic = 0;
    for (std::uint64_t i = 0; i < d.items; ++i) {
      const double variance = larger(d.h[i * d.items + i] - along, 0.0);
      squares += d.mean[i] * d.mean[i] + variance;
      quadratic += d.mean[i] * d.shift[i];
      if (d.slot_mean == nullptr) continue;
      const auto slot = static_cast<std::uint32_t>(d.slot0 + i);
      d.slot_mean[slot] = static_cast<float>(d.mean[i]) + prior_mean(d.view, slot);
      d.slot_variance[d.slot0 + i] = static_cast<float>(variance);
    }
    add_shared(&d.solved->squares, to_fixed(squares));
    add_shared(&d.solved->freedom, std::int64_t{d.items} - 1);
    if (d.slot_mean == nullptr) return;
    quadratic += prior_quadratic(d.view, d.component);
    add_shared(&d.solved->log_evidence, to_fixed(0.5 * (quadratic - (*d.log_determinant - log1p(*d.ridge * count)))));
  }
};

/// Row i's part of what a dense component says of the coefficients; see covariate_terms().
struct AddDenseCovariates {
  DenseArrays d;
  CovariateSums* sums;  ///< [kCovariateCopies]
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    auto* fields = reinterpret_cast<std::int64_t*>(sums + i % kCovariateCopies);
    const int count = d.view.covariate_count;
    const auto x = [&](std::uint64_t item, int k) { return d.view.covariates[(d.slot0 + item) * count + k]; };
    for (int l = 0; l < count; ++l) {
      add_shared(fields + l, to_fixed(x(i, l) * d.mean[i]));
      double moved = 0;
      for (std::uint64_t j = 0; j < d.items; ++j) moved += d.h[i >= j ? j * d.items + i : i * d.items + j] * x(j, l);
      for (int k = l; k < count; ++k)
        add_shared(fields + kMaxCovariates + triangle(k, l), to_fixed(x(i, k) * (x(i, l) - moved)));
    }
  }
};

/// What moves on a device between two passes: one block, all annotators.
struct StepAnnotators {
  std::uint32_t annotators;
  FitState* state;
  PassOptions* pass;  ///< of the next pass; 0 sweeps: the fit is done
  AnnotatorPosterior* posterior;
  const Population* priors;  ///< [annotators], where the state has own priors
  const Taste* taste_priors;
  RaterRecord* raters;
  const std::uint32_t* votes_of;
  AnnotatorSums* sums;
  GridSums* grid;
  ThresholdSums* thresholds;  ///< [kThresholdRows]
  CovariateSums* covariates;  ///< [kCovariateCopies]
  Taste* tastes;
  TasteSums* taste_sums;
  SolveSums* solved;

  VOXPOP_DEVICE static void add(AnnotatorTotals& total, const AnnotatorTotals& part) {
    total.gradient += part.gradient;
    total.information += part.information;
    total.discrimination += part.discrimination;
    total.gamma2 += part.gamma2;
    total.beta2 += part.beta2;
    total.share += part.share;
    total.share2 += part.share2;
    for (int k = 0; k < kMaxCovariates; ++k) {
      total.taste2[k] += part.taste2[k];
      total.gamma_taste[k] += part.gamma_taste[k];
    }
    total.gamma_square += part.gamma_square;
    total.longest_step = larger(total.longest_step, part.longest_step);
  }
  /// Each thread's totals, added by one.
  VOXPOP_DEVICE static void add_threads(Block& block, AnnotatorTotals* totals) {
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      for (std::uint32_t t = 1; t < block.threads; ++t) add(totals[0], totals[t]);
    });
  }
  VOXPOP_DEVICE void operator()(Block& block) const {
    if (state->phase == Phase::kDone) return;
    auto* totals = reinterpret_cast<AnnotatorTotals*>(block.shared);
    auto* centre = reinterpret_cast<Population*>(totals + block.threads);
    auto* threshold_sums = reinterpret_cast<ThresholdSums*>(centre + 1);
    auto* covariate_sums = reinterpret_cast<std::int64_t*>(threshold_sums + kMaxLevels + 1);
    const bool moves = state->phase != Phase::kSweeps;
    block.for_threads([&](std::uint32_t thread) {
      totals[thread] = AnnotatorTotals{};
      for (std::uint32_t a = thread; moves && a < annotators; a += block.threads) {
        update_annotator(*state, posterior[a], priors + a, sums[a], grid[a], totals[thread]);
        const std::size_t first = std::size_t{a} * state->tastes;
        update_tastes(*state, posterior[a], tastes + first, taste_priors + first, taste_sums + first, votes_of[a],
                      totals[thread]);
        if (votes_of[a] > 0) add_mean(posterior[a], totals[thread]);
      }
    });
    add_threads(block, totals);
    block.for_threads([&](std::uint32_t thread) {
      if (thread == 0) *centre = with_means(*state, totals[0]);
      if (thread < kCovariateFields) {
        covariate_sums[thread] = 0;
        for (std::uint32_t row = 0; row < kCovariateCopies; ++row) {
          std::int64_t& field = reinterpret_cast<std::int64_t*>(covariates + row)[thread];
          covariate_sums[thread] += field;
          field = 0;
        }
      }
      if (thread > kMaxLevels) return;
      ThresholdSums sum{};
      for (std::uint32_t row = thread * kThresholdCopies; row < (thread + 1) * kThresholdCopies; ++row) {
        sum.gradient += thresholds[row].gradient;
        sum.information += thresholds[row].information;
        thresholds[row] = ThresholdSums{};
      }
      threshold_sums[thread] = sum;
    });
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) totals[thread] = AnnotatorTotals{};
      for (std::uint32_t a = thread; moves && a < annotators; a += block.threads)
        if (votes_of[a] > 0) add_spread(*centre, posterior[a], totals[thread]);
    });
    add_threads(block, totals);
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      end_iteration(*state, *solved, totals[0], *centre, threshold_sums,
                    *reinterpret_cast<const CovariateSums*>(covariate_sums));
      *solved = SolveSums{};
      *pass = next_pass(*state);
      if (state->phase == Phase::kDone) pass->sweeps = 0;
    });
    block.for_threads([&](std::uint32_t thread) {
      for (std::uint32_t a = thread; moves && a < annotators; a += block.threads) {
        const std::size_t first = std::size_t{a} * state->tastes;
        finish_tastes(*state, posterior[a], tastes + first);
        for (int k = 0; k < state->tastes; ++k) taste_sums[first + k] = TasteSums{};
        finish_annotator(*state, posterior[a]);
        raters[a] = record_of(posterior[a]);
        sums[a] = AnnotatorSums{};
        grid[a] = GridSums{};
      }
    });
  }
};
inline constexpr std::uint32_t kStepThreads = 128;
inline constexpr std::uint32_t kStepBytes = kStepThreads * sizeof(AnnotatorTotals) + sizeof(Population) +
                                            (kMaxLevels + 1) * sizeof(ThresholdSums) + sizeof(CovariateSums);

}  // namespace voxpop
