// The hot parts of a fit, one thread, votes a second: each pass of the engine over 360,000 RLHF votes, and the steps
// around. Run on an idle machine: build/release/bench/voxpop_bench

#include <benchmark/benchmark.h>
#include <oneapi/tbb/global_control.h>

#include <cmath>

#include "fit/engine.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

Votes some_votes(Shape shape) {
  SimulateOptions options;
  options.shape = shape;
  options.prompts = shape == Shape::kRlhf ? 18000 : 360000;
  if (shape == Shape::kArena) {
    options.responses = 100;
    options.pairs_per_prompt = options.votes_per_pair = 1;
  }
  return simulate_votes(options);
}

const Groups& groups_of(Shape shape) {
  static const auto make = [](Shape s) {
    Votes votes = some_votes(s);
    return group_votes(votes, Ties::kHalf);
  };
  static const Groups rlhf = make(Shape::kRlhf), arena = make(Shape::kArena);
  return shape == Shape::kRlhf ? rlhf : arena;
}

/// One pass; `shape` and `pass` select what. Every vote's site is checked to be finite by the change the engine
/// reports.
void update(benchmark::State& state, Shape shape, PassOptions pass) {
  const oneapi::tbb::global_control one(oneapi::tbb::global_control::max_allowed_parallelism, 1);
  const Groups& groups = groups_of(shape);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  AnnotatorPosterior usual;
  usual.discrimination = 1.5;
  usual.discrimination_variance = usual.side_bias_variance = 0.02;
  const std::vector<RaterRecord> raters(groups.annotators, record_of(usual));
  engine->update_components(raters, {.sweeps = 8});
  float change = 0;
  for (auto _ : state) change = engine->update_components(raters, pass).solved.change;
  if (!(change < 0.1f)) state.SkipWithError(("EP does not settle: " + std::to_string(change)).c_str());
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(groups.votes.size()));
}

/// What no pass can beat. Sites and newton evaluate derivatives once a vote, newton_uncertain twice, quadrature twice
/// and four log-likelihoods more.
void floor_of(benchmark::State& state, float (*Kernels::*evaluate)(std::uint64_t)) {
  constexpr std::uint64_t kVotes = 1 << 20;
  float sum = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sum += (choose_kernels()->*evaluate)(kVotes));
  if (!std::isfinite(sum)) state.SkipWithError("the likelihoods are not finite");
  state.SetItemsProcessed(state.iterations() * kVotes);
}

BENCHMARK_CAPTURE(floor_of, derivatives, &Kernels::derivatives);
BENCHMARK_CAPTURE(floor_of, log_likelihoods, &Kernels::log_likelihoods);
BENCHMARK_CAPTURE(update, rlhf_sites, Shape::kRlhf, {});
BENCHMARK_CAPTURE(update, rlhf_newton, Shape::kRlhf, {.annotators = true});
BENCHMARK_CAPTURE(update, rlhf_newton_uncertain, Shape::kRlhf, {.annotators = true, .uncertain = true});
BENCHMARK_CAPTURE(update, rlhf_quadrature, Shape::kRlhf, {.annotators = true, .grid = true, .uncertain = true});
BENCHMARK_CAPTURE(update, rlhf_exact, Shape::kRlhf, {.uncertain = true, .exact = true});
BENCHMARK_CAPTURE(update, arena_newton, Shape::kArena, {.annotators = true});

void posterior(benchmark::State& state) {
  const oneapi::tbb::global_control one(oneapi::tbb::global_control::max_allowed_parallelism, 1);
  const Groups& groups = groups_of(Shape::kRlhf);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const std::vector<RaterRecord> raters(groups.annotators);
  engine->update_components(raters, {.sweeps = 8});
  double log_evidence = 0;
  for (auto _ : state) log_evidence = engine->posterior(raters, {.uncertain = true}).log_evidence;
  if (!std::isfinite(log_evidence)) state.SkipWithError("the log evidence is not finite");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(groups.votes.size()));
}
BENCHMARK(posterior);

void group(benchmark::State& state) {
  const oneapi::tbb::global_control one(oneapi::tbb::global_control::max_allowed_parallelism, 1);
  const Votes votes = some_votes(Shape::kRlhf);
  std::size_t pairs = 0;
  for (auto _ : state) {
    state.PauseTiming();
    Votes copy = votes;
    state.ResumeTiming();
    pairs = group_votes(copy, Ties::kHalf).pairs();
  }
  if (pairs != 90000) state.SkipWithError("18,000 prompts of 5 pairs are 90,000 pairs");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(votes.size()));
}
BENCHMARK(group)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace voxpop
