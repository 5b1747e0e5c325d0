#include "io/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/output_file.h"
#include "core/progress.h"
#include "io/hdf5.h"
#include "voxpop/version.h"

namespace voxpop {
namespace {

constexpr const char* kSchema = "checkpoint/1";

// Everything is kept as it lies in memory: every bit counts, and nobody else reads it.
template <class T>
std::span<const std::int32_t> words(const T* data, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::int32_t) == 0);
  return {reinterpret_cast<const std::int32_t*>(data), count * sizeof(T) / sizeof(std::int32_t)};
}

template <class T>
void read_words(const InputHdf5& file, const std::string& name, T* to, std::size_t count) {
  const std::size_t expected = words(to, count).size();
  if (file.rows(name) != expected)
    throw bad_input("{}: '{}' has {} rows; this fit needs {}: remove the file to start anew", file.path(), name,
                    file.rows(name), expected);
  using Limits = std::numeric_limits<std::int32_t>;
  const auto refuse = [&](std::uint64_t row, const std::string& value) {
    return bad_input("{}: '{}' row {} is {}, no 32 bits: remove the file to start anew", file.path(), name, row, value);
  };
  const auto column = file.read_integers<std::int32_t>(name, {0, expected}, Limits::min(), Limits::max(), refuse);
  std::memcpy(static_cast<void*>(to), column.data(), count * sizeof(T));
}

}  // namespace

Checkpoint::Checkpoint(std::string path, nlohmann::ordered_json of, double every, bool quiet)
    : path_(std::move(path)), of_(std::move(of)), every_(every), quiet_(quiet) {
  const OutputFile writable(path_);
  of_["version"] = kVersion;
  of_["state_bytes"] = sizeof(FitState) + sizeof(AnnotatorPosterior);
}

void Checkpoint::resume(FitRun& run, Engine& engine) {
  if (!std::filesystem::exists(path_)) return;
  const InputHdf5 file(path_);
  if (file.attribute("voxpop_schema") != kSchema)
    throw bad_input("{}: not a checkpoint (schema '{}'); name another file for --checkpoint", path_,
                    shown(file.attribute("voxpop_schema")));
  const auto kept = nlohmann::ordered_json::parse(file.attribute("of"), nullptr, false);
  for (const auto& [name, value] : of_.items())
    if (!kept.is_object() || !kept.contains(name) || kept[name] != value)
      throw bad_input("{}: the checkpoint of another fit: its {} differ; name another file, or remove it to start anew",
                      path_, name);
  EngineState state = engine.save(run);  // of the right sizes
  read_words(file, "state", &run.state, 1);
  read_words(file, "annotators", run.annotators.data(), run.annotators.size());
  read_words(file, "tastes", run.tastes.data(), run.tastes.size());
  read_words(file, "site_precision", state.sites.precision.data(), state.sites.precision.size());
  read_words(file, "site_shift", state.sites.shift.data(), state.sites.shift.size());
  read_words(file, "pair_mean", state.pair_mean.data(), state.pair_mean.size());
  read_words(file, "pair_variance", state.pair_variance.data(), state.pair_variance.size());
  read_words(file, "solutions", state.solutions.data(), state.solutions.size());
  engine.load(state);
  note(quiet_, fmt::format("{}: goes on after {} iterations", path_, run.state.iterations));
}

void Checkpoint::keep(FitRun& run, Engine& engine) {
  if (!interrupted() && since_.seconds() < every_) return;
  write(run, engine);
  if (interrupted())
    throw Error(Exit::kInterrupted, fmt::format("interrupted after {} iterations; {} keeps them, and the same command "
                                                "goes on from there",
                                                run.state.iterations, path_));
}

void Checkpoint::write(FitRun& run, Engine& engine) {
  const HoldInterrupts until_written;
  const EngineState state = engine.save(run);
  OutputFile output(path_);
  OutputHdf5 file(output, false);
  file.write_attribute("voxpop_schema", kSchema);
  file.write_attribute("of", of_.dump());
  file.write("state", words(&run.state, 1));
  file.write("annotators", words(run.annotators.data(), run.annotators.size()));
  file.write("tastes", words(run.tastes.data(), run.tastes.size()));
  file.write("site_precision", words(state.sites.precision.data(), state.sites.precision.size()));
  file.write("site_shift", words(state.sites.shift.data(), state.sites.shift.size()));
  file.write("pair_mean", words(state.pair_mean.data(), state.pair_mean.size()));
  file.write("pair_variance", words(state.pair_variance.data(), state.pair_variance.size()));
  file.write("solutions", words(state.solutions.data(), state.solutions.size()));
  file.finish();
  since_ = Stopwatch();
}

void Checkpoint::remove() { unlink(path_.c_str()); }

}  // namespace voxpop
