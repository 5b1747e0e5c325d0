// The CUDA engine on device 0, phase by phase and whole, beside what the device can do at best and beside the CPU
// engine on all cores of the same machine, whose labels the device's must match.
//   voxpop_gpu_bench --votes 1000000 --votes 10000000 --json results.json

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/stopwatch.h"
#include "core/threads.h"
#include "fit/cuda.h"
#include "fit/fit.h"
#include "kernels/ceilings.h"
#include "simulate/simulate.h"
#include "voxpop/version.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kRuns = 5;

double median(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

double time_median(int runs, const std::function<void()>& act) {
  std::vector<double> seconds;
  for (int run = 0; run < runs; ++run) {
    Stopwatch watch;
    act();
    seconds.push_back(watch.lap().wall);
  }
  return median(seconds);
}

Votes votes_of(const std::string& shape, std::uint64_t count) {
  SimulateOptions options;
  if (shape == "arena") {
    options.shape = Shape::kArena;
    options.prompts = 1;
    options.responses = 100;
    options.pairs_per_prompt = count;
    options.votes_per_pair = 1;
  } else {
    options.prompts = count / 20;  // 5 pairs x 4 votes
  }
  return simulate_votes(options);
}

/// What a pass evaluates and moves for each vote: likelihood evaluations, and bytes of votes, sites and pair indices
/// (pairs and annotators are few, or stay in the cache).
struct Cost {
  double evaluations, bytes;
};

class Bench {
 public:
  Bench(double copy, double logistic) : copy_(copy), logistic_(logistic) {}

  void run(const std::string& shape, std::uint64_t count, bool with_cpu) {
    shape_ = shape;
    Votes votes = votes_of(shape, count);
    votes_ = static_cast<double>(votes.size());
    {
      Votes copy = votes;
      fits_cuda_grouping(copy, 0, 0);  // starts the device
      Stopwatch watch;
      group_votes_cuda(copy, Ties::kHalf, 0, 0);
      add("group on device", watch.lap().wall, {});
    }
    Stopwatch watch;
    const Groups groups = group_votes(votes, Ties::kHalf);
    add("group on CPU", watch.lap().wall, {});
    const auto engine = make_cuda_engine(groups, 0, 0);
    add("copy in", watch.lap().wall, {});

    const std::vector<std::uint32_t> votes_by = count_votes(groups);
    fit_model(*engine, votes_by, {}, [](int, double) {});  // warms up
    AnnotatorPosterior usual;
    usual.discrimination = 1.5;
    usual.discrimination_variance = usual.side_bias_variance = 0.02;
    const std::vector<RaterRecord> raters(groups.annotators, record_of(usual));
    const auto pass = [&](const char* name, const PassOptions& options, Cost cost) {
      add(name, time_median(kRuns, [&] { engine->update_components(raters, options); }), cost);
    };
    constexpr double kBytes = 4 + 4 + 16 + 8;  // code, pair, site read and written; sites once more to sum them
    pass("sites", {.uncertain = true}, {1, kBytes});
    pass("newton", {.annotators = true, .uncertain = true}, {2, kBytes});
    pass("quadrature", {.annotators = true, .grid = true, .uncertain = true}, {6, kBytes});
    pass("exact sites", {.uncertain = true, .exact = true}, {2, kBytes});
    add("posterior", time_median(kRuns, [&] { engine->posterior(raters, {.uncertain = true}); }), {3, kBytes - 8});
    add("labels", time_median(kRuns, [&] { engine->label_pairs(1.5f); }), {});
    watch.lap();
    const auto whole = [&](Engine& with) { fit_model(with, votes_by, {}, [](int, double) {}); };
    std::vector<double> seconds;
    for (int i = 0; i < 3; ++i) {
      const auto fresh = make_cuda_engine(groups, 0, 0);
      watch.lap();
      whole(*fresh);
      seconds.push_back(watch.lap().wall);
    }
    const double device = median(seconds);
    add("whole fit", device, {});
    if (!with_cpu) return;
    const auto cpu = make_cpu_engine(groups, *choose_kernels());
    watch.lap();
    whole(*cpu);
    const double on_cpu = watch.lap().wall;
    add(fmt::format("whole fit, CPU, {} cores", available_cores()).c_str(), on_cpu, {});
    results_.back()["device_is_faster"] = on_cpu / device;
    // Each engine has its own sample to start from, and ends elsewhere within what counts as settled: so they are
    // compared without.
    const FitOptions no_sample{.sample_votes = ~std::size_t{0}};
    const auto a = make_cuda_engine(groups, 0, 0), b = make_cpu_engine(groups, *choose_kernels());
    const Posterior fit = fit_model(*a, votes_by, no_sample, [](int, double) {}).posterior;
    const Posterior reference = fit_model(*b, votes_by, no_sample, [](int, double) {}).posterior;
    double worst = 0;
    for (std::size_t p = 0; p < groups.pairs(); ++p) {
      const auto better = [&](const Posterior& of) {
        return std::erfc(-of.pair_mean[p] / std::sqrt(2 * of.pair_variance[p])) / 2;
      };
      worst = std::max(worst, static_cast<double>(std::abs(better(fit) - better(reference))));
    }
    results_.back()["largest_difference_in_probability"] = worst;
    if (!(worst < 1e-3)) throw Error(Exit::kInternal, fmt::format("device and CPU differ by {} in probability", worst));
    fmt::print("  device {:.1f} times as fast; probabilities differ by {:.1e} at most\n", on_cpu / device, worst);
  }

  const Json& results() const { return results_; }

 private:
  void add(const char* phase, double seconds, Cost cost) {
    Json row = {{"shape", shape_}, {"votes", votes_}, {"phase", phase}, {"seconds", seconds}};
    row["votes_per_second"] = votes_ / seconds;
    fmt::print("{:<6} {:>11.0f} {:<28} {:>10.4f} s {:>9.1f} M votes/s", shape_, votes_, phase, seconds,
               votes_ / seconds / 1e6);
    if (cost.evaluations > 0) {
      row["evaluations_share_of_ceiling"] = votes_ * cost.evaluations / seconds / logistic_;
      row["bytes_share_of_ceiling"] = votes_ * cost.bytes / seconds / copy_;
      fmt::print("  {:4.0f} % of evaluations, {:4.0f} % of bandwidth",
                 100 * votes_ * cost.evaluations / seconds / logistic_, 100 * votes_ * cost.bytes / seconds / copy_);
    }
    fmt::print("\n");
    std::fflush(stdout);
    results_.push_back(row);
  }

  double copy_, logistic_, votes_ = 0;
  std::string shape_;
  Json results_ = Json::array();
};

int bench(int argc, char** argv) {
  CLI::App app("Times the CUDA engine on device 0");
  std::vector<std::uint64_t> votes = {1000000, 10000000, 100000000};
  std::vector<std::string> shapes = {"rlhf", "arena"};
  std::string json;
  bool no_cpu = false;
  app.add_option("--votes", votes, "Sizes")->capture_default_str();
  app.add_option("--shape", shapes, "rlhf, arena")->check(CLI::IsMember({"rlhf", "arena"}))->capture_default_str();
  app.add_option("--json", json, "Results to write");
  app.add_flag("--no-cpu", no_cpu, "Leave the CPU engine out");
  CLI11_PARSE(app, argc, argv);

  const std::string problem = why_not_cuda(0);
  if (!problem.empty()) throw Error(Exit::kDevice, "no GPU to measure: " + problem);
  const Cuda found = find_cuda();
  const CudaDevice device = inspect_cuda_device(0);
  const double copy = measure_copy(std::size_t{1} << 30), logistic = measure_logistic();
  fmt::print("{}, driver {}, {} CPU cores\nceilings: copy {:.0f} GB/s, {:.1f} G logistic evaluations a second\n",
             device.name, found.driver, available_cores(), copy / 1e9, logistic / 1e9);
  Bench bench(copy, logistic);
  for (const std::uint64_t count : votes)
    for (const std::string& shape : shapes) bench.run(shape, count, !no_cpu);
  if (json.empty()) return 0;
  const Json all = {{"version", kVersion},
                    {"device", device.name},
                    {"compute_capability", device.compute_capability},
                    {"memory_bytes", device.memory},
                    {"driver", found.driver},
                    {"cpu_cores", available_cores()},
                    {"copy_bytes_per_second", copy},
                    {"logistic_evaluations_per_second", logistic},
                    {"results", bench.results()}};
  std::ofstream file(json);
  file << all.dump(1) << "\n";
  if (!file) throw file_error("{}: cannot write", json);
  return 0;
}

}  // namespace
}  // namespace voxpop

int main(int argc, char** argv) {
  try {
    return voxpop::bench(argc, argv);
  } catch (const voxpop::Error& error) {
    std::cerr << "voxpop_gpu_bench: " << error.what() << "\n";
    return static_cast<int>(error.exit());
  }
}
