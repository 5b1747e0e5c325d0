// Reading and writing the columns of votes, on all cores; bench/io.py makes the files, and compares with h5py. The file
// is named by the environment: VOXPOP_BENCH_VOTES=votes.h5 build/release/bench/voxpop_bench --benchmark_filter=columns

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>

#include "hdf5/hdf5.h"
#include "votes/votes.h"

namespace voxpop {
namespace {

struct Columns {
  Column<std::uint32_t> left, right, annotator;
  Column<std::int8_t> preference;
};

Columns read(const std::string& path) {
  const InputHdf5 file(path);
  const Rows all{0, file.rows("comparisons/left")};
  const std::uint64_t items = file.rows("items/id"), annotators = file.rows("annotators/id");
  const auto refuse = [](std::uint64_t, const std::string& value) { return bad_input("{}", value); };
  return {file.read_indices("comparisons/left", all, items, "items"),
          file.read_indices("comparisons/right", all, items, "items"),
          file.read_indices("comparisons/annotator", all, annotators, "annotators"),
          file.read_integers<std::int8_t>("comparisons/preference", all, -9, 9, refuse)};
}

void read_columns(benchmark::State& state) {
  const char* path = std::getenv("VOXPOP_BENCH_VOTES");
  if (path == nullptr) return state.SkipWithError("VOXPOP_BENCH_VOTES names no file");
  std::size_t votes = 0;
  for (auto _ : state) votes += read(path).preference.size();
  state.SetItemsProcessed(static_cast<std::int64_t>(votes));
}
BENCHMARK(read_columns)->UseRealTime()->Unit(benchmark::kMillisecond);

void write_columns(benchmark::State& state, bool compress) {
  const char* path = std::getenv("VOXPOP_BENCH_VOTES");
  if (path == nullptr) return state.SkipWithError("VOXPOP_BENCH_VOTES names no file");
  const Columns columns = read(path);
  const std::string target = std::string(path) + ".written";
  for (auto _ : state) {
    OutputFile output(target);
    OutputHdf5 file(output, compress);
    file.write("comparisons/left", columns.left);
    file.write("comparisons/right", columns.right);
    file.write("comparisons/annotator", columns.annotator);
    file.write("comparisons/preference", columns.preference);
    file.finish();
  }
  std::filesystem::remove(target);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(columns.left.size()));
}
BENCHMARK_CAPTURE(write_columns, gzip, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(write_columns, plain, false)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace voxpop
