#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "core/scratch_memory.h"
#include "fit/dense.h"
#include "fit/engine.h"
#include "fit/sparse.h"
#include "fit/tbb_backend.h"
#include "formulas/fixed_point.h"
#include "formulas/views.h"
#include "group/by_annotator.h"

namespace voxpop {
namespace {

static_assert(kMostItemsWithViews == kDenseItems);

constexpr std::uint32_t kVotesPerTask = 4096;

/// Limits of a dense component that one thread solves alone. Larger ones are shared by all threads.
constexpr std::uint32_t kTaskItems = 512, kTaskVotes = 1 << 15;

struct alignas(64) Scratch {
  float floats[solve_scratch_floats()];
};

/// Sums of one thread.
struct Partial {
  std::vector<AnnotatorSums> annotators;
  std::vector<GridSums> grid;
  std::vector<ReportSums> report;
  std::vector<TasteSums> tastes;
  CovariateSums covariates{};
  std::vector<SourceSums> sources;
  Thresholds thresholds{};
  std::int64_t log_scale = 0;
  PromptTotals prompts;
  ViewTotals views;
  SolveSums solved;
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
};

template <class Sums>
void add_sums(std::vector<Sums>& total, const std::vector<Sums>& part) {
  if (part.empty()) return;
  auto* out = reinterpret_cast<std::int64_t*>(total.data());
  const auto* in = reinterpret_cast<const std::int64_t*>(part.data());
  for (std::size_t i = 0; i < part.size() * sizeof(Sums) / sizeof(std::int64_t); ++i) add_fixed(out[i], in[i]);
}

void add_solved(SolveSums& total, const SolveSums& part) {
  total.change = std::max(total.change, part.change);
  add_fixed(total.squares, part.squares);
  total.freedom += part.freedom;
  add_fixed(total.log_evidence, part.log_evidence);
}

/// For structs that consist of 64-bit integers only.
template <class Sums>
void add_fields(Sums& total, const Sums& part) {
  auto* out = reinterpret_cast<std::int64_t*>(&total);
  const auto* in = reinterpret_cast<const std::int64_t*>(&part);
  for (std::size_t k = 0; k < sizeof(Sums) / sizeof(std::int64_t); ++k) add_fixed(out[k], in[k]);
}

class CpuEngine : public Engine {
 public:
  CpuEngine(const Groups& groups, const Kernels& kernels, std::uint32_t dense_items)
      : groups_(groups),
        kernels_(kernels),
        sites_{Column<float>(groups.votes.size(), 0.0f), Column<float>(groups.votes.size(), 0.0f)},
        pair_mean_(groups.pairs(), 0.0f),
        pair_variance_(groups.pairs(), 2.0f),
        prompts_(groups.answers.own_ties() ? groups.components() : 0),
        prompt_sums_(prompts_.size()),
        vote_mean_(groups.views.empty() ? 0 : groups.votes.size()),
        vote_variance_(vote_mean_.size()) {
    // Small components come first in the groups' order, except those with very many votes, which are large components.
    std::uint32_t small = 0;
    for (std::uint32_t c = 0; c < groups.components(); ++c) {
      if (is_small(groups, c)) {
        // A batch: neighbours of similar size, one component per lane.
        const std::uint32_t unit = small++ / kSampleUnit;
        const bool joins = !batches_.empty() && batches_.back().count < static_cast<std::uint32_t>(kernels.lanes) &&
                           batches_.back().begin + batches_.back().count == c && batches_.back().unit == unit;
        if (joins)
          ++batches_.back().count;
        else
          batches_.push_back({c, 1, unit});
      } else {
        large_.push_back({c, {}});
        if (groups.items_of(c) > dense_items)
          large_.back().sparse = std::make_unique<SparseSolver<TbbBackend>>(backend_, groups, c);
      }
    }
  }

  std::string device() const override { return fmt::format("cpu ({})", kernels_.name); }

  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    PassResult result;
    if (options.annotators) result.annotators.assign(groups_.annotators, AnnotatorSums{});
    if (options.annotators) result.tastes.assign(raters.tastes.size(), TasteSums{});
    if (options.grid) result.grid.assign(groups_.annotators, GridSums{});
    if (options.annotators) result.sources.assign(groups_.sources, SourceSums{});
    Threads threads;
    SolveSums solved;
    const bool wants_covariates = options.annotators && groups_.covariates.count() > 0;
    const bool wants_sources = options.annotators && groups_.sources > 0;
    const auto prepare = [&](Partial& part, bool last) {
      VotePass pass{.exact = options.exact, .uncertain = options.uncertain, .shared = shared()};
      if (last && options.annotators) pass.sums = own(part.annotators, result.annotators);
      if (last && options.annotators && !raters.tastes.empty()) pass.tastes = own(part.tastes, result.tastes);
      if (last && options.grid) pass.grid = own(part.grid, result.grid);
      if (last && options.annotators && groups_.answers.levels() > 1) pass.thresholds = part.thresholds.data();
      if (last && moves_prompts(options)) pass.prompts = prompt_sums_.data();
      return pass;
    };
    // Very large components: all threads work on one component. All others do all their sweeps at once, while they are
    // in the cache.
    for (int sweep = 0; sweep < options.sweeps; ++sweep) {
      const FitView votes = view(raters, options, sweep == 0 ? options.stretch : 1);
      const bool last = sweep + 1 == options.sweeps;
      for (const Large& large : large_) {
        if (is_one_task(large)) continue;
        SolveSums earlier;
        solve_large(votes, large, nullptr, nullptr, last ? solved : earlier,
                    last && wants_covariates ? &result.covariates : nullptr,
                    last && wants_sources ? result.sources.data() : nullptr, last ? &result.views : nullptr);
        pass_over_votes(votes, large.component, threads, [&](Partial& part) { return prepare(part, last); });
        if (last && moves_prompts(options)) move_prompt(large.component, options, result.prompts);
      }
    }
    // All sweeps over `count` components from `first` on, in this thread. `solve(votes, part, outputs...)`: solves
    // them.
    const auto all_sweeps = [&](std::uint32_t first, std::uint32_t count, const auto& solve) {
      Partial& part = threads.local();
      if (wants_sources && part.sources.empty()) part.sources.assign(groups_.sources, SourceSums{});
      for (int sweep = 0; sweep < options.sweeps; ++sweep) {
        const FitView votes = view(raters, options, sweep == 0 ? options.stretch : 1);
        const bool last = sweep + 1 == options.sweeps;
        SolveSums earlier;
        solve(votes, part, last ? part.solved : earlier, last && wants_covariates ? &part.covariates : nullptr,
              last && wants_sources ? part.sources.data() : nullptr, last ? &part.views : nullptr);
        component_votes(votes, first, count, prepare(part, last));
      }
      for (std::uint32_t c = first; moves_prompts(options) && c < first + count; ++c)
        move_prompt(c, options, part.prompts);
    };
    over_tasks([&](std::uint32_t c) {
      all_sweeps(c, 1, [&](const FitView& votes, Partial&, SolveSums& sums, auto*... outputs) {
        solve_dense(votes, c, nullptr, nullptr, sums, outputs...);
      });
    });
    over_batches(options.stride, [&](const Batch& batch) {
      all_sweeps(batch.begin, batch.count, [&](const FitView& votes, Partial& part, SolveSums& sums, auto*... outputs) {
        kernels_.solve(votes, batch.begin, batch.count, part.scratch->floats, nullptr, nullptr, sums, outputs...);
      });
    });
    for (const Partial& part : threads) {
      add_sums(result.annotators, part.annotators);
      add_sums(result.grid, part.grid);
      add_sums(result.tastes, part.tastes);
      add_sums(result.sources, part.sources);
      add_fields(result.covariates, part.covariates);
      add_fields(result.prompts, part.prompts);
      add_fields(result.views, part.views);
      add_solved(solved, part.solved);
      for (std::size_t k = 0; k < part.thresholds.size(); ++k) {
        add_fixed(result.thresholds[k].gradient, part.thresholds[k].gradient);
        add_fixed(result.thresholds[k].information, part.thresholds[k].information);
      }
    }
    result.solved = solved;
    return result;
  }

  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    Posterior out;
    out.slot_mean.resize(groups_.slot_item.size());
    out.slot_variance.resize(groups_.slot_item.size());
    out.annotators.assign(groups_.annotators, ReportSums{});
    Threads threads;
    SolveSums solved;
    const FitView votes = view(raters, options);
    const auto prepare = [&](Partial& part) {
      return VotePass{.update_sites = false,
                      .exact = true,
                      .uncertain = options.uncertain,
                      .shared = shared(),
                      .report = own(part.report, out.annotators),
                      .log_scale = &part.log_scale};
    };
    for (const Large& large : large_) {
      if (is_one_task(large)) continue;
      solve_large(votes, large, out.slot_mean.data(), out.slot_variance.data(), solved, nullptr, nullptr, nullptr);
      pass_over_votes(votes, large.component, threads, prepare);
    }
    over_tasks([&](std::uint32_t c) {
      Partial& part = threads.local();
      solve_dense(votes, c, out.slot_mean.data(), out.slot_variance.data(), part.solved, nullptr, nullptr, nullptr);
      component_votes(votes, c, 1, prepare(part));
    });
    over_batches(1, [&](const Batch& batch) {
      Partial& part = threads.local();
      kernels_.solve(votes, batch.begin, batch.count, part.scratch->floats, out.slot_mean.data(),
                     out.slot_variance.data(), part.solved, nullptr, nullptr, nullptr);
      component_votes(votes, batch.begin, batch.count, prepare(part));
    });
    std::int64_t log_scale = 0;
    for (const Partial& part : threads) {
      add_sums(out.annotators, part.report);
      add_solved(solved, part.solved);
      add_fixed(log_scale, part.log_scale);
    }
    out.log_evidence = from_fixed(solved.log_evidence) + from_fixed(log_scale);
    out.pair_mean = pair_mean_;
    out.pair_variance = pair_variance_;
    if (options.view_variance > 0) {
      out.vote_mean = vote_mean_;
      out.vote_variance = vote_variance_;
    }
    out.prompts = prompts_;
    for (TieHabit& prompt : out.prompts) prompt.mean -= options.prompt_shift;
    return out;
  }

  const Sites& sites() override { return sites_; }

  EngineState save(FitRun&) override {
    EngineState out{sites_, pair_mean_, pair_variance_, prompts_, {}};
    for (const Large& large : large_)
      if (large.sparse != nullptr) large.sparse->save(out.solutions);
    return out;
  }

  void load(const EngineState& state) override {
    sites_ = state.sites;
    pair_mean_ = state.pair_mean;
    pair_variance_ = state.pair_variance;
    prompts_ = state.prompts;
    const float* solutions = state.solutions.data();
    for (const Large& large : large_)
      if (large.sparse != nullptr) solutions = large.sparse->load(solutions);
  }

  PairLabels label_pairs(float discrimination, float view_variance) override {
    PairLabels labels;
    const auto pairs = static_cast<std::uint32_t>(groups_.pairs());
    for (auto* column : {&labels.probability, &labels.better, &labels.information}) column->resize(pairs);
    const Raters none;
    constexpr std::uint32_t kPairsPerTask = 1 << 14;
    oneapi::tbb::parallel_for(std::uint32_t{0}, (pairs + kPairsPerTask - 1) / kPairsPerTask, [&](std::uint32_t task) {
      kernels_.labels(view(none, {}), task * kPairsPerTask, std::min(pairs, (task + 1) * kPairsPerTask), discrimination,
                      view_variance, labels.probability.data(), labels.better.data(), labels.information.data());
    });
    return labels;
  }

 private:
  using Threads = oneapi::tbb::enumerable_thread_specific<Partial>;
  struct Batch {
    std::uint32_t begin, count, unit;
  };

  /// A component that is not small. Sparse if `sparse` is set, else dense.
  struct Large {
    std::uint32_t component;
    std::unique_ptr<SparseSolver<TbbBackend>> sparse;
  };
  static void solve_large(const FitView& votes, const Large& large, float* slot_mean, float* slot_variance,
                          SolveSums& sums, CovariateSums* covariates, SourceSums* sources, ViewTotals* views) {
    if (large.sparse == nullptr) {
      solve_dense(votes, large.component, slot_mean, slot_variance, sums, covariates, sources, views);
      return;
    }
    large.sparse->solve(votes, nullptr, slot_mean, slot_variance, &sums, covariates, sources);
    if (votes.view_variance > 0)  // views are not modelled in sparse components
      for (std::uint32_t p = votes.component_pairs[large.component]; p < votes.component_pairs[large.component + 1];
           ++p)
        for (std::uint32_t v = votes.pair_votes[p]; v < votes.pair_votes[p + 1]; ++v) {
          votes.views.mean[v] = votes.pair_mean[p];
          votes.views.variance[v] = votes.pair_variance[p];
        }
  }

  bool moves_prompts(const PassOptions& options) const {
    return options.annotators && options.prompt_variance > 0 && !prompts_.empty();
  }
  void move_prompt(std::uint32_t component, const PassOptions& options, PromptTotals& totals) {
    step_prompt(prompts_[component], std::exchange(prompt_sums_[component], {}), options, totals);
  }

  bool shared() const { return groups_.annotators > kPrivateAnnotators; }

  /// The sums that this thread adds to: its own, or the shared array.
  template <class Sums>
  Sums* own(std::vector<Sums>& mine, std::vector<Sums>& everybodys) const {
    if (shared()) return everybodys.data();
    if (mine.empty()) mine.assign(everybodys.size(), Sums{});
    return mine.data();
  }

  FitView view(const Raters& raters, const PassOptions& options, float stretch = 1) {
    return {groups_.component_slots.data(),
            groups_.component_pairs.data(),
            groups_.pair_first.data(),
            groups_.pair_second.data(),
            groups_.pair_votes.data(),
            groups_.votes.data(),
            groups_.weight.empty() ? nullptr : groups_.weight.data(),
            sites_.precision.data(),
            sites_.shift.data(),
            pair_mean_.data(),
            pair_variance_.data(),
            raters.records.data(),
            likelihood_kind(groups_, options.blend),
            options.blend,
            &options.scale,
            raters.habits.data(),
            prompts_.data(),
            groups_.covariates.value.data(),
            options.coefficient,
            raters.tastes.data(),
            groups_.covariates.count(),
            static_cast<int>(raters.tastes.size() / std::max<std::size_t>(groups_.annotators, 1)),
            stretch,
            groups_.slot_source.empty() ? nullptr : groups_.slot_source.data(),
            raters.source_score.data(),
            options.prompt_shift,
            vote_mean_.empty() ? 0.0f : options.view_variance,
            options.site_step,
            {groups_.views.component_blocks.data(), groups_.views.block_slots.data(), groups_.views.slot.data(),
             groups_.views.block_votes.data(), groups_.views.vote.data(), groups_.views.first.data(),
             groups_.views.second.data(), vote_mean_.data(), vote_variance_.data()},
            view_of(raters.prior.get(), options.prior_scale)};
  }

  template <class Work>
  void over_batches(std::uint32_t stride, const Work& work) {
    std::vector<Batch> sample;
    if (stride > 1)
      std::copy_if(batches_.begin(), batches_.end(), std::back_inserter(sample),
                   [&](const Batch& batch) { return batch.unit % stride == 0; });
    const std::vector<Batch>& batches = stride > 1 ? sample : batches_;
    oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(0, batches.size(), 16), [&](const auto& range) {
      for (std::size_t i = range.begin(); i != range.end(); ++i) work(batches[i]);
      ScratchMemory::keep_within_limit();
    });
  }

  /// Dense components that are so small, or have so few votes, that each is a task of one thread.
  bool is_one_task(const Large& large) const {
    return large.sparse == nullptr && groups_.items_of(large.component) <= kTaskItems &&
           groups_.votes_of(large.component) <= kTaskVotes;
  }

  /// Calls work(component) for these components in parallel.
  template <class Work>
  void over_tasks(const Work& work) {
    oneapi::tbb::parallel_for(std::size_t{0}, large_.size(), [&](std::size_t i) {
      if (!is_one_task(large_[i])) return;
      // Without isolation, a thread that waits inside solve_dense() might start another component.
      oneapi::tbb::this_task_arena::isolate([&] { work(large_[i].component); });
      ScratchMemory::keep_within_limit();
    });
  }

  /// Updates the votes of `count` components from `first_component` on, in this thread.
  void component_votes(const FitView& votes, std::uint32_t first_component, std::uint32_t count, const VotePass& pass) {
    const std::uint32_t first = groups_.component_pairs[first_component];
    const std::uint32_t last = groups_.component_pairs[first_component + count];
    kernels_.votes(votes, groups_.pair_votes[first], groups_.pair_votes[last], first_component, first, pass);
  }

  template <class Prepare>
  void pass_over_votes(const FitView& votes, std::uint32_t c, Threads& threads, const Prepare& prepare) {
    const auto first = groups_.pair_votes.begin() + groups_.component_pairs[c];
    const auto last = groups_.pair_votes.begin() + groups_.component_pairs[c + 1];
    const std::uint32_t tasks = (*last - *first + kVotesPerTask - 1) / kVotesPerTask;
    oneapi::tbb::parallel_for(std::uint32_t{0}, tasks, [&](std::uint32_t task) {
      const std::uint32_t begin = *first + task * kVotesPerTask, end = std::min(*last, begin + kVotesPerTask);
      const auto pair =
          static_cast<std::uint32_t>(std::upper_bound(first, last, begin) - groups_.pair_votes.begin() - 1);
      Partial& part = threads.local();
      kernels_.votes(votes, begin, end, c, pair, prepare(part));
    });
  }

  const Groups& groups_;
  const Kernels& kernels_;
  std::vector<Batch> batches_;
  TbbBackend backend_;
  std::vector<Large> large_;
  Sites sites_;
  Column<float> pair_mean_, pair_variance_;
  Column<TieHabit> prompts_;
  std::vector<HabitSums> prompt_sums_;
  Column<float> vote_mean_, vote_variance_;
};

}  // namespace

std::unique_ptr<Engine> make_cpu_engine(const Groups& groups, const Kernels& kernels, std::uint32_t dense_items) {
  return std::make_unique<CpuEngine>(groups, kernels, dense_items);
}

}  // namespace voxpop
