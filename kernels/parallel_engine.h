#pragma once
// The engine for many threads with little shared memory. Votes are in chunks of components; one block of threads works
// on a chunk. `Backend` is where the engine runs: a CUDA device (cuda_backend.h), or one host thread in tests of the
// engine's logic (tests/host_backend.h).
//
// Votes that do not fit in device memory go through it in slabs of whole components. Two slabs are there at a time, so
// that copies and work overlap.

#include <algorithm>
#include <map>
#include <memory>

#include "fit/engine.h"
#include "fit/sparse.h"
#include "passes.h"
#include "voxpop/error.h"

namespace voxpop {

/// Neighbouring components that are on the device at the same time.
struct Slab : ComponentRange {
  std::vector<Chunk> small, large;
  std::vector<std::uint32_t> alone;  ///< large components, each solved by separate launches
};

/// Bytes on the device per vote, pair, component and slot of a slab.
inline constexpr std::size_t kVoteBytes = 16, kPairBytes = 20, kComponentBytes = 8, kSlotBytes = 8;
inline constexpr std::size_t kCovariateBytes = 4;  ///< per item and covariate
/// Per vote with views: its moments, its place in its block, and at most two slots of the block.
inline constexpr std::size_t kViewBytes = 36;
/// With views: per thread that works on blocks of votes.
inline constexpr std::size_t kViewThreadBytes =
    kViewScratch * sizeof(double) + component_floats(kSmallItems) * sizeof(float);
/// With own tie habits: per component and per pair.
inline constexpr std::size_t kPromptBytes = sizeof(TieHabit) + sizeof(HabitSums), kPairComponentBytes = 4;
inline constexpr std::size_t kSourceBytes = 4;  ///< per item, with sources
/// Up to this number of sources, a block of threads sums them in its shared memory (4 KiB).
inline constexpr std::size_t kBlockSources = 256;

inline std::size_t slab_bytes(const Groups& groups, std::uint32_t component, std::uint32_t end) {
  const std::size_t pairs = groups.component_pairs[end] - groups.component_pairs[component];
  const std::size_t votes =
      groups.pair_votes[groups.component_pairs[end]] - groups.pair_votes[groups.component_pairs[component]];
  const std::size_t slots = groups.component_slots[end] - groups.component_slots[component];
  const bool own_ties = groups.answers.own_ties();
  return votes * (kVoteBytes + (groups.views.empty() ? 0 : kViewBytes) + (groups.weight.empty() ? 0 : sizeof(float))) +
         pairs * (kPairBytes + (own_ties ? kPairComponentBytes : 0)) +
         (end - component) * (kComponentBytes + (own_ties ? kPromptBytes : 0)) +
         slots * (kSlotBytes + groups.covariates.count() * kCovariateBytes + (groups.sources > 0 ? kSourceBytes : 0));
}

/// Cuts the components into slabs of at most `bytes` each. A component that is larger gets a slab of its own.
inline std::vector<Slab> cut_slabs(const Groups& groups, std::size_t bytes) {
  std::vector<Slab> slabs;
  const auto components = static_cast<std::uint32_t>(groups.components());
  for (std::uint32_t begin = 0; begin < components;) {
    std::uint32_t low = begin + 1, high = components;  // search the last end that fits
    while (low < high) {
      const std::uint32_t middle = low + (high - low + 1) / 2;
      if (slab_bytes(groups, begin, middle) <= bytes)
        low = middle;
      else
        high = middle - 1;
    }
    slabs.push_back({groups.range(begin, low), {}, {}, {}});
    begin = low;
  }
  return slabs;
}

/// Cuts a slab into chunks: as many small components as fit in a block's shared memory, or a part of the votes of a
/// large component.
inline void cut_chunks(const Groups& groups, Slab& slab) {
  constexpr std::uint32_t kPart = 16 * kBlockThreads;
  for (std::uint32_t c = slab.component; c < slab.component_end; ++c) {
    const std::uint32_t items = groups.items_of(c), votes = groups.votes_of(c);
    const std::uint32_t first_vote = groups.pair_votes[groups.component_pairs[c]];
    if (!is_small(groups, c)) {
      slab.alone.push_back(c);
      for (std::uint32_t v = 0; v < votes; v += kPart)
        slab.large.push_back({c, 0, first_vote + v, std::min(kPart, votes - v), items});
      continue;
    }
    const bool joins =
        !slab.small.empty() && slab.small.back().first_component + slab.small.back().components == c &&
        slab.small.back().components < kBlockThreads &&
        (slab.small.back().components + 1) * component_floats(std::max(slab.small.back().items, items)) <= kChunkFloats;
    if (!joins) slab.small.push_back({c, 0, first_vote, 0, 0});
    Chunk& chunk = slab.small.back();
    ++chunk.components;
    chunk.votes += votes;
    chunk.items = std::max(chunk.items, items);
  }
}

template <class Backend>
class ParallelEngine : public Engine {
 public:
  /// `memory_limit`: bytes of device memory that may be used; 0: 90 % of the free memory. Throws Error(kDevice) if the
  /// largest component does not fit.
  ParallelEngine(const Groups& groups, std::unique_ptr<Backend> backend, std::size_t memory_limit)
      : groups_(groups), backend_(std::move(backend)) {
    const auto annotators = static_cast<std::uint32_t>(groups.annotators);
    std::uint32_t largest = 0;  // items of the largest dense component
    std::size_t sparse = 0;
    for (std::uint32_t c = 0; c < groups.components(); ++c) {
      const std::uint32_t items = groups.items_of(c);
      if (items > kDenseItems)
        sparse += sparse_bytes(items, groups.component_pairs[c + 1] - groups.component_pairs[c]);
      else if (!is_small(groups, c))
        largest = std::max(largest, items);
    }
    const std::size_t limit = memory_limit > 0 ? memory_limit : backend_->free_memory() / 10 * 9;
    const std::size_t fixed =
        annotators * (sizeof(AnnotatorSums) + sizeof(GridSums) + sizeof(ReportSums) + sizeof(RaterRecord) +
                      sizeof(AnnotatorPosterior) + sizeof(Population) + sizeof(TieHabit) + 4 +
                      groups.covariates.features * (2 * sizeof(Taste) + sizeof(TasteSums))) +
        (groups.views.empty() ? 0 : kViewThreads * kViewThreadBytes) +
        groups.sources * (sizeof(Source) + sizeof(SourceSums) + sizeof(float)) +
        std::size_t{3} * largest * largest * sizeof(double) + sparse + 5 * kLabelPairs * sizeof(float) + (1 << 20);
    const auto all = static_cast<std::uint32_t>(groups.components());
    const std::size_t needed = slab_bytes(groups, 0, all);
    slabs_ = cut_slabs(groups, fixed + needed <= limit ? needed : (limit - std::min(limit, fixed)) / 2);
    std::size_t chunk_count = 0;
    std::size_t votes = 0, pairs = 0, components = 0, slots = 0, bytes = 0;
    for (Slab& slab : slabs_) {
      cut_chunks(groups, slab);
      chunk_count += slab.small.size() + slab.large.size();
      votes = std::max<std::size_t>(votes, slab.vote_end - slab.vote);
      pairs = std::max<std::size_t>(pairs, slab.pair_end - slab.pair);
      components = std::max<std::size_t>(components, slab.component_end - slab.component);
      slots = std::max<std::size_t>(slots, slab.slot_end - slab.slot);
      bytes = std::max(bytes, slab_bytes(groups, slab.component, slab.component_end));
    }
    const std::size_t buffers = slabs_.size() > 1 ? 2 : 1;
    if (fixed + buffers * bytes > limit)
      throw Error(Exit::kDevice,
                  backend_->name() + ": the largest component needs " +
                      std::to_string((fixed + buffers * bytes + (1 << 20) - 1) >> 20) + " MiB of memory, and " +
                      std::to_string(limit >> 20) +
                      " MiB may be used; raise memory_limit (--memory-limit), or set device to 'cpu' (--device cpu)");

    state_ = backend_->template allocate<FitState>(1);
    pass_ = backend_->template allocate<PassOptions>(1);
    solved_ = backend_->template allocate<SolveSums>(2);  // [1]: of all sweeps except the last; not used
    log_scale_ = backend_->template allocate<std::int64_t>(1);
    sums_ = backend_->template allocate<AnnotatorSums>(annotators);
    grid_ = backend_->template allocate<GridSums>(annotators);
    thresholds_ = backend_->template allocate<ThresholdSums>(kThresholdRows);
    covariates_ = backend_->template allocate<CovariateSums>(kCovariateCopies);
    tastes_ = backend_->template allocate<Taste>(std::size_t{annotators} * groups.covariates.features);
    taste_sums_ = backend_->template allocate<TasteSums>(std::size_t{annotators} * groups.covariates.features);
    report_ = backend_->template allocate<ReportSums>(annotators);
    raters_ = backend_->template allocate<RaterRecord>(annotators);
    habits_ = backend_->template allocate<TieHabit>(annotators);
    prompt_totals_ = backend_->template allocate<PromptTotals>(1);
    view_totals_ = backend_->template allocate<ViewTotals>(1);
    if (has_views()) {
      view_scratch_ = backend_->template allocate<double>(std::size_t{kViewThreads} * kViewScratch);
      view_floats_ = backend_->template allocate<float>(std::size_t{kViewThreads} * component_floats(kSmallItems));
    }
    posterior_ = backend_->template allocate<AnnotatorPosterior>(annotators);
    priors_ = backend_->template allocate<Population>(annotators);
    taste_priors_ = backend_->template allocate<Taste>(std::size_t{annotators} * groups.covariates.features);
    votes_of_ = backend_->template allocate<std::uint32_t>(annotators);
    source_state_ = backend_->template allocate<Source>(groups.sources);
    source_sums_ = backend_->template allocate<SourceSums>(groups.sources);
    source_score_ = backend_->template allocate<float>(groups.sources);
    chunks_ = backend_->template allocate<Chunk>(chunk_count);
    std::size_t at = 0;
    for (const Slab& slab : slabs_)
      for (const auto* part : {&slab.small, &slab.large}) {
        backend_->copy_in(chunks_.data() + at, part->data(), part->size());
        at += part->size();
      }
    label_columns_ = backend_->template allocate<float>(5 * kLabelPairs);
    if (largest > 0) {
      h_ = backend_->template allocate<double>(std::size_t{largest} * largest);
      dense_ = backend_->template allocate<double>(2 * std::size_t{largest} + 2);
      dense_sums_ = backend_->template allocate<std::int64_t>(2 * std::size_t{largest});
      backend_->prepare_dense(h_.data(), largest);
    }
    for (std::uint32_t c = 0; sparse > 0 && c < groups.components(); ++c)
      if (groups.items_of(c) > kDenseItems)
        sparse_.emplace(c, std::make_unique<SparseSolver<Backend>>(*backend_, groups, c));
    buffers_.resize(buffers);
    for (Buffer& buffer : buffers_) buffer.allocate(*backend_, components, slots, pairs, votes, groups);
    if (resident()) {
      load_groups(slabs_[0], buffers_[0], groups.on_device ? *groups.on_device : groups.arrays());
      load_start(buffers_[0], components, pairs, votes);
    } else {
      backend_->use_two_streams();
      for (const auto* column : {&groups.component_slots, &groups.component_pairs, &groups.pair_first,
                                 &groups.pair_second, &groups.pair_votes})
        backend_->pin(column->data(), column->size() * sizeof(std::uint32_t));
      backend_->pin(groups.votes.data(), groups.votes.size() * sizeof(VoteCode));
      if (!groups.weight.empty()) backend_->pin(groups.weight.data(), groups.weight.size() * sizeof(float));
      site_precision_ = backend_->template allocate_host<float>(groups.votes.size());
      site_shift_ = backend_->template allocate_host<float>(groups.votes.size());
      pair_mean_ = backend_->template allocate_host<float>(groups.pairs());
      pair_variance_ = backend_->template allocate_host<float>(groups.pairs());
      if (groups.answers.own_ties()) {
        prompts_ = backend_->template allocate_host<TieHabit>(groups.components());
        std::fill_n(prompts_.data(), groups.components(), TieHabit{});
      }
      std::fill_n(site_precision_.data(), groups.votes.size(), 0.0f);
      std::fill_n(site_shift_.data(), groups.votes.size(), 0.0f);
      std::fill_n(pair_mean_.data(), groups.pairs(), 0.0f);
      std::fill_n(pair_variance_.data(), groups.pairs(), 2.0f);
    }
  }

  std::string device() const override { return backend_->name(); }
  std::size_t slabs() const { return slabs_.size(); }

  void iterate(FitRun& run) override {
    if (!started_) start(run);
    const Shape shape{blend_of(run.state.model), run.state.tastes};
    // Iterations are queued ahead, so that the device does not wait for the host. Iterations queued after the last one
    // do nothing.
    while (backend_->states_in_flight() < kAhead) {
      // Only the device knows whether a later pass has more than one sweep. Such passes are for small components that
      // the sample left out, so large components need one sweep.
      const int dense_sweeps = first_ ? run.state.sweeps : 1;
      const auto enqueue = [&] {
        update_slabs(dense_sweeps, shape);
        backend_->launch(1, kStepThreads, kStepBytes,
                         StepAnnotators{static_cast<std::uint32_t>(groups_.annotators),
                                        state_.data(),
                                        pass_.data(),
                                        posterior_.data(),
                                        priors_.data(),
                                        taste_priors_.data(),
                                        raters_.data(),
                                        habits_.data(),
                                        votes_of_.data(),
                                        sums_.data(),
                                        grid_.data(),
                                        thresholds_.data(),
                                        covariates_.data(),
                                        tastes_.data(),
                                        taste_sums_.data(),
                                        source_state_.data(),
                                        source_sums_.data(),
                                        source_score_.data(),
                                        prompt_totals_.data(),
                                        view_totals_.data(),
                                        solved_.data()});
      };
      // The launches are the same each time, so they can be recorded. Exceptions: the first iteration, and components
      // that use a library or other launches of their own.
      if (first_ || !resident() || !slabs_[0].alone.empty())
        enqueue();
      else
        backend_->repeat(enqueue);
      first_ = false;
      backend_->push_state(state_.data());
    }
    run.state = backend_->pop_state();
    if (run.state.phase == Phase::kDone) finish_queue(run);
  }

  EngineState save(FitRun& run) override {
    finish_queue(run);
    EngineState out{sites(), Column<float>(groups_.pairs()), Column<float>(groups_.pairs()), prompts(), {}};
    if (resident()) {
      backend_->copy_out(out.pair_mean.data(), buffers_[0].pair_mean.data(), groups_.pairs());
      backend_->copy_out(out.pair_variance.data(), buffers_[0].pair_variance.data(), groups_.pairs());
    } else {
      std::copy_n(pair_mean_.data(), groups_.pairs(), out.pair_mean.data());
      std::copy_n(pair_variance_.data(), groups_.pairs(), out.pair_variance.data());
    }
    for (const auto& [component, solver] : sparse_) solver->save(out.solutions);
    return out;
  }

  void load(const EngineState& state) override {
    const bool here = resident();
    const auto fill = [&](const auto& from, auto& device, auto& host) {
      if (here)
        backend_->copy_in(device.data(), from.data(), from.size());
      else
        std::copy_n(from.data(), from.size(), host.data());
    };
    fill(state.sites.precision, buffers_[0].site_precision, site_precision_);
    fill(state.sites.shift, buffers_[0].site_shift, site_shift_);
    fill(state.pair_mean, buffers_[0].pair_mean, pair_mean_);
    fill(state.pair_variance, buffers_[0].pair_variance, pair_variance_);
    fill(state.prompts, buffers_[0].prompts, prompts_);
    const float* solutions = state.solutions.data();
    for (const auto& [component, solver] : sparse_) solutions = solver->load(solutions);
  }

  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    const Shape shape = load_raters(raters, options.blend);
    backend_->copy_in(pass_.data(), &options, 1);
    clear_sums();
    update_slabs(options.sweeps, shape);
    PassResult out;
    backend_->copy_out(&out.solved, solved_.data(), 1);
    backend_->copy_out(&out.prompts, prompt_totals_.data(), 1);
    backend_->copy_out(&out.views, view_totals_.data(), 1);
    if (options.annotators) {
      out.annotators.resize(groups_.annotators);
      backend_->copy_out(out.annotators.data(), sums_.data(), out.annotators.size());
      std::vector<ThresholdSums> rows(kThresholdRows);
      backend_->copy_out(rows.data(), thresholds_.data(), rows.size());
      for (std::size_t row = 0; row < rows.size(); ++row) {
        out.thresholds[row / kThresholdCopies].gradient += rows[row].gradient;
        out.thresholds[row / kThresholdCopies].information += rows[row].information;
      }
      std::vector<CovariateSums> copies(kCovariateCopies);
      backend_->copy_out(copies.data(), covariates_.data(), copies.size());
      for (const CovariateSums& copy : copies)
        for (int k = 0; k < kCovariateFields; ++k)
          reinterpret_cast<std::int64_t*>(&out.covariates)[k] += reinterpret_cast<const std::int64_t*>(&copy)[k];
      out.tastes.resize(raters.tastes.size());
      backend_->copy_out(out.tastes.data(), taste_sums_.data(), out.tastes.size());
      out.sources.resize(groups_.sources);
      backend_->copy_out(out.sources.data(), source_sums_.data(), out.sources.size());
    }
    if (options.grid) {
      out.grid.resize(groups_.annotators);
      backend_->copy_out(out.grid.data(), grid_.data(), out.grid.size());
    }
    return out;
  }

  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    const Shape shape = load_raters(raters, options.blend);
    backend_->copy_in(pass_.data(), &options, 1);
    clear_sums();
    backend_->fork();
    Posterior out;
    out.slot_mean.resize(groups_.slot_item.size());
    out.slot_variance.resize(groups_.slot_item.size());
    out.pair_mean.resize(groups_.pairs());
    out.pair_variance.resize(groups_.pairs());
    out.annotators.resize(groups_.annotators);
    const SumTable<ReportSums> report{report_.data(), static_cast<std::uint32_t>(groups_.annotators),
                                      fits_block(SumTable<ReportSums>::kFields)};
    std::size_t at = 0;
    for (std::size_t s = 0; s < slabs_.size(); ++s) {
      const Slab& slab = slabs_[s];
      Buffer& buffer = use_buffer(s);
      const VoteArrays votes = view(slab, buffer, shape);
      float* slot_mean = buffer.slot_mean.data() - slab.slot;
      float* slot_variance = buffer.slot_variance.data() - slab.slot;
      if (!slab.alone.empty() || has_views()) backend_->wait_for_other_stream();
      if (has_views()) solve_views(slab, votes, true, solved_.data(), slot_mean, slot_variance, false);
      for (const std::uint32_t c : slab.alone)
        solve_alone(votes, c, true, solved_.data(), slot_mean, slot_variance, false);
      for (const auto* part : {&slab.large, &slab.small}) {
        const Chunks chunks = part == &slab.small ? small_chunks(slab, at) : large_chunks(slab, at);
        with_kind(options.blend, [&](auto kind) {
          launch_chunks(chunks, report.bytes(),
                        ReportPass<kind>{votes, chunks, pass_.data(), report, slot_mean, slot_variance, solved_.data(),
                                         log_scale_.data()});
        });
      }
      store_state(slab, buffer);
      if (options.view_variance > 0) {
        out.vote_mean.resize(groups_.votes.size());
        out.vote_variance.resize(groups_.votes.size());
        backend_->copy_out(out.vote_mean.data() + slab.vote, buffer.vote_mean.data(), slab.vote_end - slab.vote);
        backend_->copy_out(out.vote_variance.data() + slab.vote, buffer.vote_variance.data(),
                           slab.vote_end - slab.vote);
      }
      backend_->copy_out(out.slot_mean.data() + slab.slot, buffer.slot_mean.data(), slab.slot_end - slab.slot);
      backend_->copy_out(out.slot_variance.data() + slab.slot, buffer.slot_variance.data(), slab.slot_end - slab.slot);
      backend_->copy_out(out.pair_mean.data() + slab.pair, buffer.pair_mean.data(), slab.pair_end - slab.pair);
      backend_->copy_out(out.pair_variance.data() + slab.pair, buffer.pair_variance.data(), slab.pair_end - slab.pair);
      at += slab.small.size() + slab.large.size();
    }
    backend_->join();
    SolveSums solved;
    std::int64_t log_scale = 0;
    backend_->copy_out(&solved, solved_.data(), 1);
    backend_->copy_out(&log_scale, log_scale_.data(), 1);
    backend_->copy_out(out.annotators.data(), report_.data(), out.annotators.size());
    out.log_evidence = from_fixed(solved.log_evidence) + from_fixed(log_scale);
    out.prompts = prompts();
    for (TieHabit& prompt : out.prompts) prompt.mean -= options.prompt_shift;
    return out;
  }

  const Sites& sites() override {
    const std::size_t votes = groups_.votes.size();
    sites_ = {Column<float>(votes), Column<float>(votes)};
    if (resident()) {
      backend_->copy_out(sites_.precision.data(), buffers_[0].site_precision.data(), votes);
      backend_->copy_out(sites_.shift.data(), buffers_[0].site_shift.data(), votes);
    } else {  // between passes the sites are in host memory
      std::copy_n(site_precision_.data(), votes, sites_.precision.data());
      std::copy_n(site_shift_.data(), votes, sites_.shift.data());
    }
    return sites_;
  }

  PairLabels label_pairs(float discrimination, float view_variance) override {
    PairLabels out;
    const std::size_t pairs = groups_.pairs();
    for (auto* column : {&out.probability, &out.better, &out.information}) column->resize(pairs);
    for (std::size_t at = 0; at < pairs; at += kLabelPairs) {
      const std::size_t count = std::min(kLabelPairs, pairs - at);
      const auto column = [&](int k) { return label_columns_.data() + k * kLabelPairs; };
      const float *mean = column(3), *variance = column(4);
      if (resident()) {
        mean = buffers_[0].pair_mean.data() + at;
        variance = buffers_[0].pair_variance.data() + at;
      } else {
        backend_->copy_in(column(3), pair_mean_.data() + at, count);
        backend_->copy_in(column(4), pair_variance_.data() + at, count);
      }
      backend_->for_each(count,
                         LabelPair{mean, variance, discrimination, view_variance, column(0), column(1), column(2)});
      backend_->copy_out(out.probability.data() + at, column(0), count);
      backend_->copy_out(out.better.data() + at, column(1), count);
      backend_->copy_out(out.information.data() + at, column(2), count);
    }
    return out;
  }

 private:
  template <class T>
  using Array = typename Backend::template Array<T>;
  static constexpr std::size_t kAhead = 3;
  /// What a pass needs besides its options.
  struct Shape {
    Blend blend;
    int tastes;
  };
  static constexpr std::size_t kLabelPairs = 1 << 18;  ///< pairs that are labelled together

  /// Device memory of a slab.
  struct Buffer {
    Array<std::uint32_t> component_slots, component_pairs, pair_first, pair_second, pair_votes, vote_pair, slot_source;
    Array<VoteCode> votes;
    Array<float> site_precision, site_shift, pair_mean, pair_variance, slot_mean, slot_variance, covariates, weight;
    Array<std::uint32_t> pair_component;  ///< this and the next two: only with own tie habits
    Array<TieHabit> prompts;
    Array<HabitSums> prompt_sums;
    Array<std::uint32_t> component_blocks, block_slots, slot, block_votes, vote, first, second;  ///< see Views
    Array<float> vote_mean, vote_variance;
    void allocate(Backend& backend, std::size_t components, std::size_t slots, std::size_t pairs, std::size_t count,
                  const Groups& groups) {
      component_slots = backend.template allocate<std::uint32_t>(components + 1);
      component_pairs = backend.template allocate<std::uint32_t>(components + 1);
      pair_first = backend.template allocate<std::uint32_t>(pairs);
      pair_second = backend.template allocate<std::uint32_t>(pairs);
      pair_votes = backend.template allocate<std::uint32_t>(pairs + 1);
      vote_pair = backend.template allocate<std::uint32_t>(count);
      votes = backend.template allocate<VoteCode>(count);
      for (auto* column : {&site_precision, &site_shift}) *column = backend.template allocate<float>(count);
      for (auto* column : {&pair_mean, &pair_variance}) *column = backend.template allocate<float>(pairs);
      for (auto* column : {&slot_mean, &slot_variance}) *column = backend.template allocate<float>(slots);
      covariates = backend.template allocate<float>(slots * groups.covariates.count());
      if (!groups.weight.empty()) weight = backend.template allocate<float>(count);
      if (groups.sources > 0) slot_source = backend.template allocate<std::uint32_t>(slots);
      if (!groups.views.empty()) {
        component_blocks = backend.template allocate<std::uint32_t>(components + 1);
        for (auto* column : {&block_slots, &block_votes}) *column = backend.template allocate<std::uint32_t>(count + 1);
        for (auto* column : {&vote, &first, &second}) *column = backend.template allocate<std::uint32_t>(count);
        slot = backend.template allocate<std::uint32_t>(2 * count);
        for (auto* column : {&vote_mean, &vote_variance}) *column = backend.template allocate<float>(count);
      }
      if (!groups.answers.own_ties()) return;
      pair_component = backend.template allocate<std::uint32_t>(pairs);
      prompts = backend.template allocate<TieHabit>(components);
      prompt_sums = backend.template allocate<HabitSums>(components);
    }
  };

  bool resident() const { return slabs_.size() == 1; }
  bool has_views() const { return !groups_.views.empty(); }

  Column<TieHabit> prompts() {
    Column<TieHabit> out(groups_.answers.own_ties() ? groups_.components() : 0);
    if (resident())
      backend_->copy_out(out.data(), buffers_[0].prompts.data(), out.size());
    else
      std::copy_n(prompts_.data(), out.size(), out.data());
    return out;
  }

  /// Waits for the iterations that were queued ahead. Then `run` is complete.
  void finish_queue(FitRun& run) {
    if (!started_) return;
    while (backend_->states_in_flight() > 0) run.state = backend_->pop_state();
    backend_->copy_out(run.annotators.data(), posterior_.data(), run.annotators.size());
    backend_->copy_out(run.tastes.data(), tastes_.data(), run.tastes.size());
    backend_->copy_out(run.sources.data(), source_state_.data(), run.sources.size());
    started_ = false;
  }

  void start(const FitRun& run) {
    const PassOptions pass = next_pass(run.state);
    const Raters raters(run.annotators);
    backend_->copy_in(state_.data(), &run.state, 1);
    backend_->copy_in(pass_.data(), &pass, 1);
    backend_->copy_in(posterior_.data(), run.annotators.data(), run.annotators.size());
    backend_->copy_in(priors_.data(), run.priors.data(), run.priors.size());
    backend_->copy_in(taste_priors_.data(), run.taste_priors.data(), run.taste_priors.size());
    backend_->copy_in(raters_.data(), raters.records.data(), raters.records.size());
    backend_->copy_in(habits_.data(), raters.habits.data(), raters.habits.size());
    backend_->copy_in(tastes_.data(), run.tastes.data(), run.tastes.size());
    backend_->copy_in(votes_of_.data(), run.votes_of.data(), run.votes_of.size());
    const std::vector<float> scores = scores_of(run.sources);
    backend_->copy_in(source_state_.data(), run.sources.data(), run.sources.size());
    backend_->copy_in(source_score_.data(), scores.data(), scores.size());
    clear_sums();
    started_ = first_ = true;
  }

  Shape load_raters(const Raters& raters, Blend blend) {
    backend_->copy_in(raters_.data(), raters.records.data(), raters.records.size());
    backend_->copy_in(habits_.data(), raters.habits.data(), raters.habits.size());
    backend_->copy_in(tastes_.data(), raters.tastes.data(), raters.tastes.size());
    backend_->copy_in(source_score_.data(), raters.source_score.data(), raters.source_score.size());
    return {blend, static_cast<int>(raters.tastes.size() / groups_.annotators)};
  }

  void clear_sums() {
    backend_->clear(solved_.data(), 2);
    backend_->clear(log_scale_.data(), 1);
    backend_->clear(sums_.data(), groups_.annotators);
    backend_->clear(grid_.data(), groups_.annotators);
    backend_->clear(thresholds_.data(), kThresholdRows);
    backend_->clear(covariates_.data(), kCovariateCopies);
    backend_->clear(taste_sums_.data(), groups_.annotators * groups_.covariates.features);
    backend_->clear(source_sums_.data(), groups_.sources);
    backend_->clear(report_.data(), groups_.annotators);
    backend_->clear(prompt_totals_.data(), 1);
    backend_->clear(view_totals_.data(), 1);
  }

  void load_groups(const Slab& slab, Buffer& buffer, const GroupArrays& from) {
    const std::size_t components = slab.component_end - slab.component, pairs = slab.pair_end - slab.pair;
    backend_->copy_in(buffer.component_slots.data(), from.component_slots + slab.component, components + 1);
    backend_->copy_in(buffer.component_pairs.data(), from.component_pairs + slab.component, components + 1);
    backend_->copy_in(buffer.pair_first.data(), from.pair_first + slab.pair, pairs);
    backend_->copy_in(buffer.pair_second.data(), from.pair_second + slab.pair, pairs);
    backend_->copy_in(buffer.pair_votes.data(), from.pair_votes + slab.pair, pairs + 1);
    backend_->copy_in(buffer.votes.data(), from.votes + slab.vote, slab.vote_end - slab.vote);
    if (from.weight != nullptr)
      backend_->copy_in(buffer.weight.data(), from.weight + slab.vote, slab.vote_end - slab.vote);
    const std::size_t columns = groups_.covariates.count();
    backend_->copy_in(buffer.covariates.data(), groups_.covariates.value.data() + slab.slot * columns,
                      (slab.slot_end - slab.slot) * columns);
    if (has_views()) {
      const Views& views = groups_.views;
      const std::uint32_t block = views.component_blocks[slab.component];
      const std::uint32_t blocks = views.component_blocks[slab.component_end] - block;
      const std::uint32_t slots = views.block_slots[block + blocks] - views.block_slots[block];
      const auto load = [&](auto& to, const auto& column, std::size_t first, std::size_t count) {
        backend_->copy_in(to.data(), column.data() + first, count);
      };
      load(buffer.component_blocks, views.component_blocks, slab.component, components + 1);
      load(buffer.block_slots, views.block_slots, block, blocks + std::size_t{1});
      load(buffer.block_votes, views.block_votes, block, blocks + std::size_t{1});
      load(buffer.slot, views.slot, views.block_slots[block], slots);
      for (const auto& [to, column] : {std::pair{&buffer.vote, &views.vote}, std::pair{&buffer.first, &views.first},
                                       std::pair{&buffer.second, &views.second}})
        load(*to, *column, slab.vote, slab.vote_end - slab.vote);
    }
    if (groups_.answers.own_ties()) {
      backend_->for_each(pairs, FindComponent{buffer.component_pairs.data(), static_cast<std::uint32_t>(components),
                                              slab.component, slab.pair, buffer.pair_component.data()});
      backend_->clear(buffer.prompt_sums.data(), components);
    }
    if (groups_.sources > 0)
      backend_->copy_in(buffer.slot_source.data(), groups_.slot_source.data() + slab.slot, slab.slot_end - slab.slot);
    backend_->for_each(pairs, SpreadPair{buffer.pair_votes.data(), slab.pair, buffer.vote_pair.data() - slab.vote});
  }

  /// The state before the first sweep: no sites, and pairs with their prior moments (difference 0, variance 2).
  void load_start(Buffer& buffer, std::size_t components, std::size_t pairs, std::size_t votes) {
    if (groups_.answers.own_ties()) backend_->clear(buffer.prompts.data(), components);
    backend_->clear(buffer.site_precision.data(), votes);
    backend_->clear(buffer.site_shift.data(), votes);
    backend_->clear(buffer.pair_mean.data(), pairs);
    backend_->for_each(pairs, SetValue{buffer.pair_variance.data(), 2.0f});
  }

  /// The buffer of slab s. If there are several slabs, selects the buffer's stream and loads the slab.
  Buffer& use_buffer(std::size_t s) {
    Buffer& buffer = buffers_[s % buffers_.size()];
    if (resident()) return buffer;
    const Slab& slab = slabs_[s];
    backend_->use_stream(s % buffers_.size());
    load_groups(slab, buffer, groups_.arrays());
    const std::size_t votes = slab.vote_end - slab.vote, pairs = slab.pair_end - slab.pair;
    backend_->copy_in(buffer.site_precision.data(), site_precision_.data() + slab.vote, votes);
    backend_->copy_in(buffer.site_shift.data(), site_shift_.data() + slab.vote, votes);
    backend_->copy_in(buffer.pair_mean.data(), pair_mean_.data() + slab.pair, pairs);
    backend_->copy_in(buffer.pair_variance.data(), pair_variance_.data() + slab.pair, pairs);
    if (groups_.answers.own_ties())
      backend_->copy_in(buffer.prompts.data(), prompts_.data() + slab.component, slab.component_end - slab.component);
    return buffer;
  }

  void store_state(const Slab& slab, Buffer& buffer) {
    if (resident()) return;
    const std::size_t votes = slab.vote_end - slab.vote, pairs = slab.pair_end - slab.pair;
    backend_->copy_out_later(site_precision_.data() + slab.vote, buffer.site_precision.data(), votes);
    backend_->copy_out_later(site_shift_.data() + slab.vote, buffer.site_shift.data(), votes);
    backend_->copy_out_later(pair_mean_.data() + slab.pair, buffer.pair_mean.data(), pairs);
    backend_->copy_out_later(pair_variance_.data() + slab.pair, buffer.pair_variance.data(), pairs);
    if (groups_.answers.own_ties())
      backend_->copy_out_later(prompts_.data() + slab.component, buffer.prompts.data(),
                               slab.component_end - slab.component);
  }

  /// The slab's arrays, shifted so that they take the same indices as the groups' arrays.
  VoteArrays view(const Slab& slab, Buffer& buffer, const Shape& shape) {
    VoteArrays out{};
    out.component_slots = buffer.component_slots.data() - slab.component;
    out.component_pairs = buffer.component_pairs.data() - slab.component;
    out.pair_first = buffer.pair_first.data() - slab.pair;
    out.pair_second = buffer.pair_second.data() - slab.pair;
    out.pair_votes = buffer.pair_votes.data() - slab.pair;
    out.votes = buffer.votes.data() - slab.vote;
    out.weight = groups_.weight.empty() ? nullptr : buffer.weight.data() - slab.vote;
    out.site_precision = buffer.site_precision.data() - slab.vote;
    out.site_shift = buffer.site_shift.data() - slab.vote;
    out.pair_mean = buffer.pair_mean.data() - slab.pair;
    out.pair_variance = buffer.pair_variance.data() - slab.pair;
    out.raters = raters_.data();
    if (has_views()) {
      const std::uint32_t block = groups_.views.component_blocks[slab.component];
      out.views = {buffer.component_blocks.data() - slab.component,
                   buffer.block_slots.data() - block,
                   buffer.slot.data() - groups_.views.block_slots[block],
                   buffer.block_votes.data() - block,
                   buffer.vote.data() - slab.vote,
                   buffer.first.data() - slab.vote,
                   buffer.second.data() - slab.vote,
                   buffer.vote_mean.data() - slab.vote,
                   buffer.vote_variance.data() - slab.vote};
    }
    if (groups_.answers.own_ties()) {
      out.habits = habits_.data();
      out.prompts = buffer.prompts.data() - slab.component;
      out.prompt_sums = buffer.prompt_sums.data() - slab.component;
      out.pair_component = buffer.pair_component.data() - slab.pair;
    }
    out.covariate_count = groups_.covariates.count();
    out.covariates = buffer.covariates.data() - std::size_t{slab.slot} * out.covariate_count;
    out.coefficient = pass_.data()->coefficient;
    out.tastes = tastes_.data();
    out.taste_count = shape.tastes;
    out.vote_pair = buffer.vote_pair.data() - slab.vote;
    if (groups_.sources > 0) out.slot_source = buffer.slot_source.data() - slab.slot;
    out.source_score = source_score_.data();
    return out;
  }

  /// Which terms the votes have. With covariates or sources always kMixture, the most general.
  Likelihood kind_of(Blend blend) const {
    return groups_.covariates.count() > 0 || groups_.sources > 0 ? Likelihood::kMixture
                                                                 : likelihood_kind(groups_, blend);
  }

  /// Calls act(kind) with the kind as a compile-time constant.
  template <class Act>
  void with_kind(Blend blend, const Act& act) const {
    switch (kind_of(blend)) {
      case Likelihood::kBinary:
        return act(std::integral_constant<Likelihood, Likelihood::kBinary>{});
      case Likelihood::kOrdinal:
        return act(std::integral_constant<Likelihood, Likelihood::kOrdinal>{});
      case Likelihood::kMixture:
        return act(std::integral_constant<Likelihood, Likelihood::kMixture>{});
    }
  }

  Chunks small_chunks(const Slab& slab, std::size_t at) const {
    return {chunks_.data() + at, static_cast<std::uint32_t>(slab.small.size())};
  }
  Chunks large_chunks(const Slab& slab, std::size_t at) const {
    return {chunks_.data() + at + slab.small.size(), static_cast<std::uint32_t>(slab.large.size())};
  }

  /// Whether a table of `fields` sums per annotator fits in a block's shared memory. The limit lets several blocks
  /// share a multiprocessor.
  bool fits_block(std::size_t fields) const {
    const std::size_t others = kThresholdRows * sizeof(ThresholdSums) + kCovariateCopies * sizeof(CovariateSums) +
                               block_sources() * sizeof(SourceSums);
    return block_memory_bytes(0) + others + groups_.annotators * fields * sizeof(std::int64_t) <=
           backend_->block_memory();
  }

  /// Number of sources that a block sums in shared memory: all, or none if there are too many.
  std::uint32_t block_sources() const {
    return groups_.sources <= kBlockSources ? static_cast<std::uint32_t>(groups_.sources) : 0;
  }

  template <class Work>
  void launch_chunks(const Chunks& chunks, std::uint32_t table_bytes, const Work& work) {
    if (chunks.count == 0) return;
    const std::uint32_t bytes = block_memory_bytes(table_bytes);
    const std::uint32_t blocks = std::min(chunks.count, backend_->resident_blocks(work, kBlockThreads, bytes));
    backend_->launch(blocks, kBlockThreads, bytes, work);
  }

  /// One pass with the options in *pass_. `dense_sweeps`: sweeps of components that are solved by separate launches.
  void update_slabs(int dense_sweeps, const Shape& shape) {
    backend_->fork();
    std::size_t at = 0;
    for (std::size_t s = 0; s < slabs_.size(); ++s) {
      const Slab& slab = slabs_[s];
      Buffer& buffer = use_buffer(s);
      const VoteArrays votes = view(slab, buffer, shape);
      const bool by_launches = !slab.alone.empty() || has_views();
      if (by_launches) backend_->wait_for_other_stream();  // both streams share one matrix
      for (int sweep = 0; sweep < dense_sweeps && by_launches; ++sweep) {
        const bool last = sweep + 1 == dense_sweeps;
        if (has_views()) solve_views(slab, votes, sweep > 0, solved_.data() + (last ? 0 : 1), nullptr, nullptr, last);
        for (const std::uint32_t c : slab.alone)
          solve_alone(votes, c, sweep > 0, solved_.data() + (last ? 0 : 1), nullptr, nullptr, last);
        update_chunks(votes, large_chunks(slab, at), static_cast<std::uint32_t>(sweep),
                      static_cast<std::uint32_t>(dense_sweeps), shape.blend);
        if (has_views())
          update_chunks(votes, small_chunks(slab, at), static_cast<std::uint32_t>(sweep),
                        static_cast<std::uint32_t>(dense_sweeps), shape.blend);
        if (last && groups_.answers.own_ties())
          backend_->for_each(slab.component_end - slab.component,
                             MoveLargePrompt{votes, slab.component, pass_.data(), prompt_totals_.data()});
      }
      if (!has_views()) update_chunks(votes, small_chunks(slab, at), 0, 0, shape.blend);
      store_state(slab, buffer);
      at += slab.small.size() + slab.large.size();
    }
    backend_->join();
  }

  /// Launches both variants of the pass, kFast and kExact. The one that the options do not ask for returns at once.
  void update_chunks(const VoteArrays& votes, const Chunks& chunks, std::uint32_t sweep, std::uint32_t sweeps,
                     Blend blend) {
    const auto annotators = static_cast<std::uint32_t>(groups_.annotators);
    const std::uint32_t fields = kind_of(blend) == Likelihood::kMixture ? SumTable<AnnotatorSums>::kFields
                                 : groups_.answers.own_ties()           ? kFieldsWithoutShare
                                                                        : kFieldsWithoutHabit;
    const std::uint32_t threshold_rows = groups_.answers.levels() > 1 ? kThresholdRows : 0;
    const UpdateTables tables{{sums_.data(), annotators, fits_block(fields), fields},
                              {thresholds_.data(), threshold_rows, true},
                              {covariates_.data(), votes.covariate_count > 0 ? kCovariateCopies : 0, true},
                              {source_sums_.data(), static_cast<std::uint32_t>(groups_.sources), block_sources() > 0},
                              {grid_.data(), annotators, fits_block(fields + kGridNodes)},
                              taste_sums_.data()};
    const std::uint32_t bytes = tables.bytes();
    with_kind(blend, [&](auto kind) {
      launch_chunks(chunks, bytes,
                    UpdatePass<kFast, kind>{votes, chunks, pass_.data(), sweep, sweeps, tables, solved_.data(),
                                            prompt_totals_.data()});
      launch_chunks(chunks, bytes,
                    UpdatePass<kExact, kind>{votes, chunks, pass_.data(), sweep, sweeps, tables, solved_.data(),
                                             prompt_totals_.data()});
    });
  }

  /// Solves small components whose votes are in blocks (views). `stretched`: an earlier sweep has already applied the
  /// stretch to the sites. `updates`: also sum terms of coefficients, sources and views.
  void solve_views(const Slab& slab, const VoteArrays& votes, bool stretched, SolveSums* solved, float* slot_mean,
                   float* slot_variance, bool updates) {
    const bool covariates = updates && votes.covariate_count > 0, sources = updates && groups_.sources > 0;
    backend_->for_each(kViewThreads,
                       SolveViews{votes, slab.component, slab.component_end - slab.component, pass_.data(), stretched,
                                  view_floats_.data(), view_scratch_.data(), solved,
                                  covariates ? covariates_.data() : nullptr, sources ? source_sums_.data() : nullptr,
                                  updates ? view_totals_.data() : nullptr, slot_mean, slot_variance});
  }

  void solve_alone(const VoteArrays& votes, std::uint32_t c, bool stretched, SolveSums* solved, float* slot_mean,
                   float* slot_variance, bool updates) {
    if (groups_.items_of(c) <= kDenseItems)
      return solve_dense(votes, c, stretched, solved, slot_mean, slot_variance, updates);
    sparse_.at(c)->solve(votes, stretched ? nullptr : pass_.data(), slot_mean, slot_variance, solved,
                         updates ? covariates_.data() : nullptr,
                         updates && groups_.sources > 0 ? source_sums_.data() : nullptr);
    if (has_views())
      backend_->for_each(groups_.votes_of(c), CopyPairMoments{votes, groups_.pair_votes[groups_.component_pairs[c]]});
  }

  void solve_dense(const VoteArrays& votes, std::uint32_t c, bool stretched, SolveSums* solved, float* slot_mean,
                   float* slot_variance, bool updates) {
    const std::uint32_t items = groups_.items_of(c), pair0 = groups_.component_pairs[c];
    const std::uint32_t pairs = groups_.component_pairs[c + 1] - pair0;
    double* shift = dense_.data();
    DenseArrays d{votes,
                  pass_.data(),
                  stretched,
                  c,
                  groups_.component_slots[c],
                  items,
                  pair0,
                  pairs,
                  h_.data(),
                  shift,
                  shift + items,
                  dense_sums_.data(),
                  dense_sums_.data() + items,
                  shift + 2 * items,
                  shift + 2 * items + 1,
                  solved,
                  slot_mean,
                  slot_variance,
                  has_views(),
                  view_scratch_.data(),
                  updates ? view_totals_.data() : nullptr};
    const std::uint64_t elements = std::uint64_t{items} * items;
    backend_->for_each(elements, ClearDense{d});
    if (has_views()) {
      backend_->for_each(kViewThreads, AssembleDenseViews{d});
      backend_->for_each(elements, UnfixDense{d});
    } else {
      backend_->for_each(pairs, AssembleDensePair{d});
    }
    backend_->for_each(1, SetDenseRidge{d});
    backend_->for_each(elements, CompleteDense{d});
    backend_->factor(d.h, items);
    backend_->for_each(1, SetLogDeterminant{d});
    backend_->invert(d.h, items);
    backend_->for_each(items, MultiplyDense{d});
    backend_->for_each(pairs, FinishDensePair{d});
    if (has_views()) backend_->for_each(kViewThreads, FinishDenseViews{d});
    backend_->for_each(1, FinishDense{d});
    if (!updates) return;
    if (votes.covariate_count > 0) backend_->for_each(items, AddDenseCovariates{d, covariates_.data()});
    if (votes.slot_source != nullptr) backend_->for_each(items, AddDenseSource{d, source_sums_.data()});
  }

  const Groups& groups_;
  std::unique_ptr<Backend> backend_;
  std::vector<Slab> slabs_;
  std::vector<Buffer> buffers_;
  Array<FitState> state_;
  Array<PassOptions> pass_;
  Array<SolveSums> solved_;
  Array<std::int64_t> log_scale_, dense_sums_;
  Array<AnnotatorSums> sums_;
  Array<GridSums> grid_;
  Array<ThresholdSums> thresholds_;  ///< [kThresholdRows]
  Array<ReportSums> report_;
  Array<RaterRecord> raters_;
  Array<TieHabit> habits_;
  Array<PromptTotals> prompt_totals_;
  Array<ViewTotals> view_totals_;
  Array<double> view_scratch_;
  Array<float> view_floats_;
  Array<AnnotatorPosterior> posterior_;
  Array<Population> priors_;
  Array<std::uint32_t> votes_of_;
  Array<Chunk> chunks_;
  Array<CovariateSums> covariates_;     ///< [kCovariateCopies]
  Array<Taste> tastes_, taste_priors_;  ///< [annotators][features]
  Array<TasteSums> taste_sums_;
  Array<Source> source_state_;
  Array<SourceSums> source_sums_;
  Array<float> source_score_;
  Array<float> label_columns_;
  Array<double> h_, dense_;
  std::map<std::uint32_t, std::unique_ptr<SparseSolver<Backend>>> sparse_;  ///< key: component
  typename Backend::template HostArray<float> site_precision_, site_shift_, pair_mean_, pair_variance_;
  typename Backend::template HostArray<TieHabit> prompts_;
  Sites sites_;  ///< result of the last sites()
  bool started_ = false, first_ = true;
};

}  // namespace voxpop
