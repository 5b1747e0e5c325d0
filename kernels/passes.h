#pragma once
// The passes over votes as work for blocks of threads. The steps are those of the CPU engine: first one thread per
// small component, then one thread per vote. A block takes one chunk of neighbouring components at a time and does all
// its sweeps while its sites are in the cache.

#include <cstddef>

#include "formulas/block.h"
#include "formulas/component.h"
#include "formulas/label.h"

namespace voxpop {

/// Neighbouring small components, with their votes, that a block solves together. If `components` is 0: part of the
/// votes of a large component, which is solved elsewhere.
struct Chunk {
  std::uint32_t first_component, components;
  std::uint32_t first_vote, votes;
  std::uint32_t items;  ///< items of the largest component
};

inline constexpr std::uint32_t kBlockThreads = 256;

/// Floats of shared memory for the components of a chunk. Each component needs a matrix, a shift and a mean.
inline constexpr std::uint32_t kChunkFloats = 4096;
VOXPOP_DEVICE constexpr std::uint32_t component_floats(std::uint32_t items) { return items * items + 2 * items; }
static_assert(component_floats(kSmallItems) <= kChunkFloats);

/// Sums of one thread, so that threads do not write to the same place.
struct ThreadSums {
  SolveSums solved;
  std::int64_t log_scale;
};

struct VoteArrays : FitView {
  const std::uint32_t* vote_pair;       ///< [V]
  const std::uint32_t* pair_component;  ///< [P] with own ties
  HabitSums* prompt_sums;               ///< [C] with own ties
};

/// A table of sums to which all blocks add, with a row per annotator (or other unit). If it fits (`in_block`), each
/// block sums in its shared memory and adds the result to `all` in flush(). Only the first `fields` of each row are
/// kept in shared memory; other fields must not be added to.
template <class Sums>
struct SumTable {
  static constexpr std::uint32_t kFields = sizeof(Sums) / sizeof(std::int64_t);

  Sums* all;
  std::uint32_t rows;
  bool in_block;
  std::uint32_t fields = kFields;

  /// Number of 64-bit sums that a block keeps in shared memory.
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

/// There are few thresholds, and every vote adds to one. To avoid conflicts each lane of a warp has its own row.
inline constexpr std::uint32_t kThresholdCopies = 32, kThresholdRows = (kMaxLevels + 1) * kThresholdCopies;

/// Adds a vote's terms for the thresholds next to its level.
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

/// All threads of a block add to the sums of coefficients. A few copies reduce conflicts.
inline constexpr std::uint32_t kCovariateCopies = 8;

/// The annotator as this vote sees it. A side bias points to the left; the formulas need it towards the pair's first
/// item.
VOXPOP_HD Rater<float> rater_of(VoteCode vote, const RaterRecord& record, const TasteEffect& taste, bool uncertain) {
  const float side = vote.side();
  if (!uncertain) return {record.discrimination, record.side_bias * side + taste.mean, 0, 0, 0};
  return {record.discrimination, record.side_bias * side + taste.mean, record.discrimination_variance,
          record.covariance * side, record.side_bias_variance * side * side + taste.variance};
}

/// Solves one small component of a chunk in the block's shared memory. Returns the ridge, see assemble_component().
/// `slot_mean`, `slot_variance`, `sums`: may be null.
VOXPOP_HD float solve_in_block(const FitView& view, const Chunk& chunk, std::uint32_t index, float* floats,
                               float* slot_mean, float* slot_variance, SolveSums* sums) {
  const std::uint32_t size = chunk.items, stride = chunk.components, c = chunk.first_component + index;
  float* h = floats + index;  // the same element of all matrices is contiguous, so threads use different banks
  float* shift = h + size * size * stride;
  float* mean = shift + size * stride;
  const float ridge = assemble_component(view, c, size, h, shift, stride);
  const float log_determinant = invert_positive_definite(h, static_cast<int>(size), static_cast<int>(stride));
  multiply_component(h, shift, mean, size, stride);
  finish_component(view, c, size, h, shift, mean, ridge, log_determinant, stride, slot_mean, slot_variance, sums);
  return ridge;
}

/// Adds the terms of the coefficients from the component that solve_in_block() has just solved.
VOXPOP_HD void add_covariate_terms(const FitView& view, const Chunk& chunk, std::uint32_t index, const float* floats,
                                   std::uint32_t thread, const SumTable<CovariateSums>& table, std::int64_t* own) {
  const std::uint32_t size = chunk.items, stride = chunk.components;
  const float* h = floats + index;
  const float* mean = h + (size * size + size) * stride;
  covariate_terms(view, chunk.first_component + index, size, h, mean, stride,
                  [&](int field, float value) { table.add(own, thread % kCovariateCopies, field, value); });
}

/// Adds the terms of the items' sources from that component.
VOXPOP_HD void add_source_terms(const FitView& view, const Chunk& chunk, std::uint32_t index, const float* floats,
                                float ridge, const SumTable<SourceSums>& table, std::int64_t* own) {
  const std::uint32_t size = chunk.items, stride = chunk.components;
  const float* h = floats + index;
  const float* mean = h + (size * size + size) * stride;
  source_terms(view, chunk.first_component + index, size, h, mean, ridge, stride,
               [&](std::uint32_t source, int field, float value) { table.add(own, source, field, value); });
}

/// Numbers of leading fields of AnnotatorSums. Only own tie habits and mixtures add to fields after the first number,
/// and only mixtures to fields after the second.
inline constexpr std::uint32_t kFieldsWithoutHabit = offsetof(AnnotatorSums, gradient_habit) / sizeof(std::int64_t);
inline constexpr std::uint32_t kFieldsWithoutShare = offsetof(AnnotatorSums, gradient_share) / sizeof(std::int64_t);

/// The tables that an update adds to. OwnTables: a block's part of them in shared memory.
struct UpdateTables {
  SumTable<AnnotatorSums> annotators;
  SumTable<ThresholdSums> thresholds;  ///< no rows if votes have one level
  SumTable<CovariateSums> covariates;  ///< no rows without covariates
  SumTable<SourceSums> sources;        ///< no rows without sources
  SumTable<GridSums> grid;             ///< few passes use it, but with global atomics these take 3.5 times as long
  TasteSums* tastes;                   ///< [annotators][taste_count]

  VOXPOP_HD std::uint32_t bytes() const {
    return thresholds.bytes() + covariates.bytes() + sources.bytes() + annotators.bytes() + grid.bytes();
  }
};
struct OwnTables {
  std::int64_t *thresholds, *covariates, *sources, *annotators, *grid;
  VOXPOP_HD static OwnTables of(char* memory, const UpdateTables& tables) {
    OwnTables own;
    own.thresholds = reinterpret_cast<std::int64_t*>(memory);
    own.covariates = own.thresholds + tables.thresholds.count();
    own.sources = own.covariates + tables.covariates.count();
    own.annotators = own.sources + tables.sources.count();
    own.grid = own.annotators + tables.annotators.count();
    return own;
  }
};

template <Likelihood kKind>
VOXPOP_HD Statement<float> said_by(const FitView& view, VoteCode vote) {
  if constexpr (kKind == Likelihood::kBinary) return {vote.level() > 0 ? 1.0f : -1.0f, 0, kFar};
  return statement_of(view, vote);
}

/// Computes a vote's new site and adds its terms for its annotator and the thresholds, all from the same cavity.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void update_vote(const VoteArrays& view, std::uint32_t v, const PassOptions& pass, bool last,
                           std::uint32_t thread, const UpdateTables& tables, const OwnTables& own) {
  const VoteCode vote = view.votes[v];
  const std::uint32_t pair = view.vote_pair[v];
  const RaterRecord record = view.raters[vote.annotator()];
  Statement<float> said = said_by<kKind>(view, vote);
  const bool own_ties = kKind != Likelihood::kBinary && said.own_ties;
  Habit<float> habit{0, 0, 0};
  if (own_ties) habit = habit_of(view, vote.annotator(), view.pair_component[pair]);
  said.habit = logistic(habit.mean);
  const Site<float> before{view.site_precision[v] * view.stretch * view.stretch, view.site_shift[v] * view.stretch};
  const float weight = weight_of(view, v), part = part_of(weight);
  const Impression seen = impression_of(view, v, pair);
  const Cavity<float> cavity = cavity_without(seen.mean, seen.variance, before, part, least_precision(view));
  const TasteEffect taste = taste_effect(view, vote.annotator(), pair);
  const Rater<float> known = rater_of(vote, record, taste, false);
  VoteLikelihood<float> likelihood = smoothed_vote<kTerms, kKind>(said, logit(known, cavity));
  const AnnotatorTerms<float> terms = annotator_terms(known, cavity, likelihood.z);
  const HabitTerms<float> habit_told = habit_terms(said.habit, likelihood.habit);
  if (last && pass.annotators) {
    const float side = vote.side();  // converts from "towards the first item" to "towards the left"
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
    if (own_ties) {
      const HabitsTold<float> told =
          habits_told(pass.uncertain ? habit : Habit<float>{habit.mean, 0, 0}, said.habit, likelihood.habit, part);
      add_weighted(kFieldsWithoutHabit, told.annotator.gradient);
      add_weighted(kFieldsWithoutHabit + 1, told.annotator.information);
      if (pass.prompt_variance > 0) {
        HabitSums& prompt = view.prompt_sums[view.pair_component[pair]];
        add_shared(&prompt.gradient, to_fixed(weight * told.prompt.gradient));
        add_shared(&prompt.information, to_fixed(weight * told.prompt.information));
      }
    }
    if constexpr (kKind == Likelihood::kMixture) {
      if (said.mirrored) {
        const ShareTerms share = share_terms(said.share, likelihood.share);
        add_weighted(kFieldsWithoutShare, share.gradient);
        add_weighted(kFieldsWithoutShare + 1, share.information);
      }
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
    if (own_ties) said.habit = habit_without(habit, scaled(habit_told, part));
    likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
  }
  const Site<float> site = damped(whole, rater, before, matched_site(rater, cavity, likelihood.z), pass.site_step);
  view.site_precision[v] = site.precision;
  view.site_shift[v] = site.shift;
}

VOXPOP_HD bool moves_prompts(const VoteArrays& view, const PassOptions& pass) {
  return view.prompt_sums != nullptr && pass.annotators && pass.prompt_variance > 0;
}

/// Updates the prompt's part of the tie habit. Called once all votes of the component have been visited.
VOXPOP_HD void move_prompt(const VoteArrays& view, std::uint32_t c, const PassOptions& pass, PromptTotals* all) {
  PromptTotals totals;
  step_prompt(view.prompts[c], view.prompt_sums[c], pass, totals);
  view.prompt_sums[c] = HabitSums{0, 0};
  add_shared(&all->prompts, totals.prompts);
  add_shared(&all->mean, totals.mean);
  add_shared(&all->square, totals.square);
  add_shared(&all->told, totals.told);
}

/// The same for large components, after their last sweep. Does nothing for small ones.
struct MoveLargePrompt {
  VoteArrays view;
  std::uint32_t first;  ///< component at index 0
  const PassOptions* pass;
  PromptTotals* all;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    const std::uint32_t c = first + static_cast<std::uint32_t>(i);
    const std::uint32_t votes = view.pair_votes[view.component_pairs[c + 1]] - view.pair_votes[view.component_pairs[c]];
    const bool small = view.component_slots[c + 1] - view.component_slots[c] <= kSmallItems && votes <= kSmallVotes;
    if (!small && pass->sweeps > 0 && moves_prompts(view, *pass)) move_prompt(view, c, *pass, all);
  }
};

/// Layout of a block's shared memory.
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

/// Only kernels for mixtures, the most general, handle covariates, tastes and sources. For the others these are
/// switched off at compile time, so that these kernels keep everything in registers.
template <Likelihood kKind>
VOXPOP_HD VoteArrays as_compiled(VoteArrays view) {
  if constexpr (kKind != Likelihood::kMixture) {
    view.covariate_count = view.taste_count = 0;
    view.slot_source = nullptr;
  }
  return view;
}

/// The chunks of all data or of a slab. In a sample only every `stride`-th chunk is visited (PassOptions::stride).
struct Chunks {
  const Chunk* first;
  std::uint32_t count;
};

/// One pass of EP sweeps with the options `*pass`. Does nothing if the options ask for the other approximation of the
/// logistic function (kFast or kExact).
template <int kTerms, Likelihood kKind>
struct UpdatePass {
  VoteArrays view;
  Chunks chunks;
  const PassOptions* pass;
  /// If components are solved by separate launches: number of this sweep, and number of all sweeps. Otherwise 0, 0.
  std::uint32_t sweep, sweeps;
  UpdateTables tables;
  SolveSums* solved;
  PromptTotals* prompt_totals;

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
      tables.sources.clear(block, own.sources);
    }
    if (options.grid) tables.grid.clear(block, own.grid);
    const int total = sweeps == 0 ? options.sweeps : static_cast<int>(sweeps);
    const int begin = sweeps == 0 ? 0 : static_cast<int>(sweep), end = sweeps == 0 ? options.sweeps : begin + 1;
    // A sample has at least 64 chunks if there are that many; with fewer it would only hold small components.
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
        now.prompt_shift = options.prompt_shift;
        now.view_variance = options.view_variance;
        if (chunk.components > 0 && sweeps == 0)
          block.for_threads([&](std::uint32_t thread) {
            for (std::uint32_t i = thread; i < chunk.components; i += block.threads) {
              const float ridge = solve_in_block(now, chunk, i, memory.floats, nullptr, nullptr,
                                                 last ? &memory.threads[thread].solved : nullptr);
              if (!last || !options.annotators) continue;
              add_covariate_terms(now, chunk, i, memory.floats, thread, tables.covariates, own.covariates);
              if (now.slot_source != nullptr)
                add_source_terms(now, chunk, i, memory.floats, ridge, tables.sources, own.sources);
            }
          });
        block.for_threads([&](std::uint32_t thread) {
          for (std::uint32_t i = thread; i < chunk.votes; i += block.threads)
            update_vote<kTerms, kKind>(now, chunk.first_vote + i, options, last, thread, tables, own);
        });
        if (kKind != Likelihood::kBinary && last && moves_prompts(now, options))
          block.for_threads([&](std::uint32_t thread) {
            for (std::uint32_t i = thread; i < chunk.components; i += block.threads)
              move_prompt(now, chunk.first_component + i, options, prompt_totals);
          });
      }
    }
    if (options.annotators) {
      tables.annotators.flush(block, own.annotators);
      tables.thresholds.flush(block, own.thresholds);
      tables.covariates.flush(block, own.covariates);
      tables.sources.flush(block, own.sources);
    }
    if (options.grid) tables.grid.flush(block, own.grid);
    flush_thread_sums(block, memory.threads, solved, nullptr);
  }
};

/// These kernels need more registers, or they would spill: ordinal votes and mixtures evaluate two likelihoods at once,
/// and the last sweeps (kExact) use twice as many terms of the logistic function's approximation.
template <int kTerms, Likelihood kKind>
inline constexpr int kBlocksAtOnce<UpdatePass<kTerms, kKind>> = 3 - (kKind == Likelihood::kBinary ? 0 : 1) -
                                                                (kTerms == kExact ? 1 : 0);

/// Final posterior of small components, and the final sums of all votes for the report on annotators.
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
    now.prompt_shift = pass->prompt_shift;
    now.view_variance = pass->view_variance;
    clear_thread_sums(block, memory.threads);
    report.clear(block, own);
    for (std::uint32_t k = block.index; k < chunks.count; k += block.count) {
      const Chunk chunk = chunks.first[k];
      if (chunk.components > 0 && now.views.mean == nullptr)
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
          Statement<float> statement = said_by<kKind>(now, vote);
          Habit<float> habit{0, 0, 0};
          if (kKind != Likelihood::kBinary && statement.own_ties)
            habit = habit_of(now, vote.annotator(), now.pair_component[pair]);
          statement.habit = logistic(habit.mean);
          const Site<float> site{now.site_precision[v], now.site_shift[v]};
          const Impression seen = impression_of(now, v, pair);
          const VoteReport<float> said = report_vote<kExact, kKind>(
              static_cast<float>(vote.winner()), statement, rater, habit,
              Cavity<float>{now.pair_mean[pair], now.pair_variance[pair]},
              cavity_without(seen.mean, seen.variance, site, part_of(weight), least_precision(now)), site,
              part_of(weight));
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
inline constexpr int kBlocksAtOnce<ReportPass<Likelihood::kOrdinal>> = 2;
template <>
inline constexpr int kBlocksAtOnce<ReportPass<Likelihood::kMixture>> = 2;

/// Computes the labels of a pair, for the reference annotator.
struct LabelPair {
  const float *pair_mean, *pair_variance;
  float discrimination, view_variance;
  float *probability, *better, *information;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    const PairLabel<float> label = label_pair(pair_mean[p], pair_variance[p], discrimination, view_variance);
    probability[p] = label.probability;
    better[p] = label.better;
    information[p] = label.information;
  }
};

/// Writes the index of a pair to each of its votes. Index 0 is the pair `first_pair`.
struct SpreadPair {
  const std::uint32_t* pair_votes;
  std::uint32_t first_pair;
  std::uint32_t* vote_pair;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    for (std::uint32_t v = pair_votes[p]; v < pair_votes[p + 1]; ++v)
      vote_pair[v] = first_pair + static_cast<std::uint32_t>(p);
  }
};

/// Writes the component of each pair. `p` and the arrays count from the slab's first pair and component; the written
/// index does not.
struct FindComponent {
  const std::uint32_t* component_pairs;
  std::uint32_t components, first_component, first_pair;
  std::uint32_t* pair_component;
  VOXPOP_DEVICE void operator()(std::uint64_t p) const {
    std::uint32_t low = 0, high = components;  // search the last component that begins at or before the pair
    while (high - low > 1) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (component_pairs[middle] - first_pair <= p)
        low = middle;
      else
        high = middle;
    }
    pair_component[p] = first_component + low;
  }
};

struct SetValue {
  float* column;
  float value;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const { column[i] = value; }
};

/// Number of threads for work on blocks of votes. Each has its own scratch memory.
inline constexpr std::uint32_t kViewThreads = 2048;

VOXPOP_HD void add_view_totals(ViewTotals* all, const ViewTotals& part) {
  if (all == nullptr) return;
  add_shared(&all->score, part.score);
  add_shared(&all->information, part.information);
}

/// The arrays with the view variance and stretch of the pass. `stretched`: an earlier sweep has already applied the
/// stretch to the sites.
VOXPOP_HD VoteArrays with_pass(VoteArrays view, const PassOptions* pass, bool stretched) {
  view.view_variance = pass->view_variance;
  if (!stretched) view.stretch = pass->stretch;
  return view;
}

/// Solves small components whose votes are in blocks (views): one thread per component, in memory of its own.
struct SolveViews {
  VoteArrays view;
  std::uint32_t first, count;  ///< range of components; large ones are skipped
  const PassOptions* pass;
  bool stretched;
  float* floats;    ///< [kViewThreads][component_floats(kSmallItems)]
  double* scratch;  ///< [kViewThreads][kViewScratch]
  SolveSums* solved;
  CovariateSums* covariates;  ///< [kCovariateCopies] or null
  SourceSums* sources;        ///< or null
  ViewTotals* view_totals;    ///< or null
  float *slot_mean, *slot_variance;

  VOXPOP_DEVICE void operator()(std::uint64_t thread) const {
    if (pass->sweeps == 0) return;
    const VoteArrays now = with_pass(view, pass, stretched);
    float* own = floats + thread * component_floats(kSmallItems);
    double* work = scratch + thread * kViewScratch;
    SolveSums sums;
    ViewTotals totals;
    for (std::uint64_t i = thread; i < count; i += kViewThreads) {
      const std::uint32_t c = first + static_cast<std::uint32_t>(i);
      const std::uint32_t items = now.component_slots[c + 1] - now.component_slots[c];
      const std::uint32_t votes = now.pair_votes[now.component_pairs[c + 1]] - now.pair_votes[now.component_pairs[c]];
      if (items > kSmallItems || votes > kSmallVotes) continue;
      float *shift = own + items * items, *mean = shift + items;
      const float ridge = assemble_component(now, c, items, own, shift, 1, work);
      const float log_determinant = invert_positive_definite(own, static_cast<int>(items));
      multiply_component(own, shift, mean, items, 1);
      finish_component(now, c, items, own, shift, mean, ridge, log_determinant, 1, slot_mean, slot_variance, &sums);
      finish_views(now, c, items, own, mean, 1, work, slot_mean == nullptr ? nullptr : &sums, &totals);
      if (covariates != nullptr)
        covariate_terms(now, c, items, own, mean, 1, [&](int field, float value) {
          add_shared(reinterpret_cast<std::int64_t*>(covariates + thread % kCovariateCopies) + field, to_fixed(value));
        });
      if (sources != nullptr)
        source_terms(now, c, items, own, mean, ridge, 1, [&](std::uint32_t source, int field, float value) {
          add_shared(reinterpret_cast<std::int64_t*>(sources + source) + field, to_fixed(value));
        });
    }
    raise_shared(&solved->change, sums.change);
    add_shared(&solved->squares, sums.squares);
    add_shared(&solved->freedom, sums.freedom);
    add_shared(&solved->log_evidence, sums.log_evidence);
    add_view_totals(view_totals, totals);
  }
};

/// Gives each vote the moments of its pair. For components whose annotators have no views of their own.
struct CopyPairMoments {
  VoteArrays view;
  std::uint32_t first_vote;
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    const std::uint64_t v = first_vote + i;
    view.views.mean[v] = view.pair_mean[view.vote_pair[v]];
    view.views.variance[v] = view.pair_variance[view.vote_pair[v]];
  }
};

/// A dense component: lower triangle of H in double precision, column-major. See solve_dense() of the CPU engine.
struct DenseArrays {
  VoteArrays view;
  const PassOptions* pass;
  bool stretched;  ///< an earlier sweep has already applied the pass's stretch to the sites
  std::uint32_t component, slot0, items, pair0, pairs;
  double *h, *shift, *mean;            ///< [items][items], [items], [items]
  std::int64_t *diagonal, *shift_sum;  ///< [items], fixed point, so that pairs can add in any order
  double *ridge, *log_determinant;     ///< [1]
  SolveSums* solved;
  float *slot_mean, *slot_variance;  ///< or null

  bool has_views;   ///< sites are summed by blocks, which apply the stretch themselves
  double* scratch;  ///< [kViewThreads][kViewScratch]
  ViewTotals* view_totals;

  VOXPOP_HD double stretch() const { return stretched || has_views ? 1.0 : pass->stretch; }
  VOXPOP_HD VoteArrays now() const { return with_pass(view, pass, stretched); }
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
/// Adds the messages of all blocks of votes (views). h holds fixed point here, so that blocks can add in any order.
struct AssembleDenseViews {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t thread) const {
    const VoteArrays view = d.now();
    auto* h = reinterpret_cast<std::int64_t*>(d.h);
    double* scratch = d.scratch + thread * kViewScratch;
    const std::uint32_t end = view.views.component_blocks[d.component + 1];
    for (std::uint64_t b = view.views.component_blocks[d.component] + thread; b < end; b += kViewThreads)
      add_view_message(
          view, static_cast<std::uint32_t>(b), scratch,
          [&](std::uint32_t row, std::uint32_t column, double x) {
            const std::uint32_t i = row - d.slot0, j = column - d.slot0;
            add_shared(i == j ? d.diagonal + i : h + std::uint64_t{j} * d.items + i, to_fixed(x));
          },
          [&](std::uint32_t slot, double x) { add_shared(d.shift_sum + slot - d.slot0, to_fixed(x)); });
  }
};
struct UnfixDense {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t e) const {
    d.h[e] = from_fixed(reinterpret_cast<const std::int64_t*>(d.h)[e]);
  }
};
/// After h was inverted: sets the moments of the votes.
struct FinishDenseViews {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t thread) const {
    const VoteArrays view = d.now();
    double* scratch = d.scratch + thread * kViewScratch;
    const std::uint64_t n = d.items;
    const auto mean = [&](std::uint32_t slot) { return d.mean[slot - d.slot0]; };
    const auto covariance = [&](std::uint32_t a, std::uint32_t b) {
      const std::uint64_t i = a - d.slot0, j = b - d.slot0;
      return d.h[i >= j ? j * n + i : i * n + j];
    };
    const std::uint32_t end = view.views.component_blocks[d.component + 1];
    ViewTotals totals;
    std::int64_t evidence = 0;
    for (std::uint64_t b = view.views.component_blocks[d.component] + thread; b < end; b += kViewThreads)
      evidence += to_fixed(set_view_moments(view, static_cast<std::uint32_t>(b), scratch, mean, covariance, &totals));
    add_view_totals(d.view_totals, totals);
    if (d.slot_mean != nullptr) add_shared(&d.solved->log_evidence, evidence);
  }
};

/// Once per component: sets the ridge along the mean of all scores; see assemble_component().
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
/// Once per component, after h was factored.
struct SetLogDeterminant {
  DenseArrays d;
  VOXPOP_DEVICE void operator()(std::uint64_t) const {
    double sum = 0;
    for (std::uint64_t i = 0; i < d.items; ++i) sum += log(d.h[i * d.items + i]);
    *d.log_determinant = 2 * sum;
  }
};
/// After h was inverted: sets the means of the scores.
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
/// Once per component: adds its sums and sets the moments of its slots.
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

/// Adds row i's terms of a dense component for the coefficients; see covariate_terms().
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

/// Adds item i's terms for its source; see source_terms().
struct AddDenseSource {
  DenseArrays d;
  SourceSums* sums;  ///< [sources]
  VOXPOP_DEVICE void operator()(std::uint64_t i) const {
    const std::uint32_t source = d.view.slot_source[d.slot0 + i];
    const double count = d.items, known = 1 - 1 / count + 1 / (count * (1 + *d.ridge * count));
    add_shared(&sums[source].gradient, to_fixed(d.mean[i]));
    add_shared(&sums[source].information, to_fixed(known - d.h[i * d.items + i]));
  }
};

/// The step between two passes on the device: one block updates all annotators and sources, then the population, and
/// sets the options of the next pass. Twin of the CPU's Engine::iterate().
struct StepAnnotators {
  std::uint32_t annotators;
  FitState* state;
  PassOptions* pass;  ///< options of the next pass; 0 sweeps: the fit is finished
  AnnotatorPosterior* posterior;
  const Population* priors;  ///< [annotators], if the state has own priors
  const Taste* taste_priors;
  RaterRecord* raters;
  TieHabit* habits;
  const std::uint32_t* votes_of;
  AnnotatorSums* sums;
  GridSums* grid;
  ThresholdSums* thresholds;  ///< [kThresholdRows]
  CovariateSums* covariates;  ///< [kCovariateCopies]
  Taste* tastes;
  TasteSums* taste_sums;
  Source* sources;
  SourceSums* source_sums;
  float* source_score;
  PromptTotals* prompts;
  ViewTotals* views;
  SolveSums* solved;

  VOXPOP_DEVICE static void add(AnnotatorTotals& total, const AnnotatorTotals& part) {
    total.gradient += part.gradient;
    total.information += part.information;
    total.discrimination += part.discrimination;
    total.gamma2 += part.gamma2;
    total.beta2 += part.beta2;
    total.share += part.share;
    total.share2 += part.share2;
    total.habit += part.habit;
    total.habit2 += part.habit2;
    total.gradient_habit += part.gradient_habit;
    total.information_habit += part.information_habit;
    for (int k = 0; k < kMaxCovariates; ++k) {
      total.taste2[k] += part.taste2[k];
      total.gamma_taste[k] += part.gamma_taste[k];
    }
    total.gamma_square += part.gamma_square;
    total.longest_step = farther(total.longest_step, part.longest_step);
    total.source += part.source;
    total.source2 += part.source2;
    total.source_step = farther(total.source_step, part.source_step);
  }
  /// One thread adds the totals of all threads to totals[0].
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
      for (int g = static_cast<int>(thread); moves && g < state->sources; g += static_cast<int>(block.threads))
        update_source(*state, sources[g], source_sums[g], totals[thread]);
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
      for (int g = static_cast<int>(thread); moves && g < state->sources; g += static_cast<int>(block.threads))
        centre_source(*state, totals[0].source, sources[g], totals[thread]);
    });
    add_threads(block, totals);
    block.for_threads([&](std::uint32_t thread) {
      if (thread != 0) return;
      end_iteration(*state, *solved, totals[0], *centre, threshold_sums,
                    *reinterpret_cast<const CovariateSums*>(covariate_sums), *prompts, *views);
      *views = ViewTotals{};
      *solved = SolveSums{};
      *prompts = PromptTotals{};
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
        habits[a] = tie_habit_of(posterior[a]);
        sums[a] = AnnotatorSums{};
        grid[a] = GridSums{};
      }
      for (int g = static_cast<int>(thread); moves && g < state->sources; g += static_cast<int>(block.threads)) {
        finish_source(*state, sources[g]);
        source_score[g] = static_cast<float>(sources[g].score);
        source_sums[g] = SourceSums{};
      }
    });
  }
};
inline constexpr std::uint32_t kStepThreads = 128;
inline constexpr std::uint32_t kStepBytes = kStepThreads * sizeof(AnnotatorTotals) + sizeof(Population) +
                                            (kMaxLevels + 1) * sizeof(ThresholdSums) + sizeof(CovariateSums);

}  // namespace voxpop
