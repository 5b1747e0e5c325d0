#include "files/checkpoint.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "core/output_file.h"
#include "files/kept_fit.h"
#include "hdf5/checksum.h"
#include "hdf5/hdf5.h"
#include "voxpop/version.h"

namespace voxpop {
namespace {

constexpr const char* kSchema = "checkpoint/1";
/// Format number. Increase it if the saved data change, or if a fit continues differently from them.
constexpr int kFormat = 4;

// Data are saved as raw memory in 32-bit words, so that a resumed fit is bit-identical. Only this version reads them.
template <class T>
std::span<const std::int32_t> words(const T* data, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::int32_t) == 0);
  return {reinterpret_cast<const std::int32_t*>(data), count * sizeof(T) / sizeof(std::int32_t)};
}

template <class T>
void read_words(const InputHdf5& file, const std::string& name, T* to, std::size_t count) {
  const std::size_t expected = words(to, count).size();
  if (file.rows(name) != expected)
    throw bad_input("{}: '{}' has {} rows, but this fit needs {}; remove the file to start again", file.path(), name,
                    file.rows(name), expected);
  using Limits = std::numeric_limits<std::int32_t>;
  const auto refuse = [&](std::uint64_t row, const std::string& value) {
    return bad_input("{}: '{}' row {} is {}, which does not fit into 32 bits; remove the file to start again",
                     file.path(), name, row, value);
  };
  const auto column = file.read_integers<std::int32_t>(name, {0, expected}, Limits::min(), Limits::max(), refuse);
  if (count > 0) std::memcpy(static_cast<void*>(to), column.data(), count * sizeof(T));
}

/// Identity of the file at `path`: device, inode and time of change. Each write creates a new file. "": no file.
std::string identity_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{}:{}:{}.{:09}", status.st_dev, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

/// Calls act(name, data, count) for each column of the file.
template <class Act>
void for_columns(FitRun& run, EngineState& state, const Act& act) {
  act("state", &run.state, 1);
  act("annotators", run.annotators.data(), run.annotators.size());
  act("tastes", run.tastes.data(), run.tastes.size());
  act("sources", run.sources.data(), run.sources.size());
  act("site_precision", state.sites.precision.data(), state.sites.precision.size());
  act("site_shift", state.sites.shift.data(), state.sites.shift.size());
  act("pair_mean", state.pair_mean.data(), state.pair_mean.size());
  act("pair_variance", state.pair_variance.data(), state.pair_variance.size());
  act("prompts", state.prompts.data(), state.prompts.size());
  act("solutions", state.solutions.data(), state.solutions.size());
}

}  // namespace

Checkpoint::Checkpoint(std::string path, nlohmann::ordered_json of, double every, const Context& context)
    : path_(std::move(path)), of_(std::move(of)), every_(every), context_(context) {
  const OutputFile writable(path_);
  of_["version"] = kVersion;
  of_["format"] = kFormat;
  if (!std::filesystem::exists(path_)) return;
  seen_ = identity_of(path_);
  const InputHdf5 file(path_, context_);
  if (file.attribute("voxpop_schema") != kSchema)
    throw bad_input("{}: not a checkpoint (schema '{}'); choose another file for checkpoint (--checkpoint)", path_,
                    shown(file.attribute("voxpop_schema")));
  const auto kept = parse_json(file.attribute("of"));
  for (const auto& [name, value] : of_.items())
    if (!kept.is_object() || !kept.contains(name) || kept[name] != value)
      throw bad_input(
          "{}: this is the checkpoint of another fit ({} differs); choose another file, or remove this one to start "
          "again",
          path_, name);
}

void Checkpoint::resume(FitRun& run, Engine& engine) {
  if (!std::filesystem::exists(path_)) return;
  const InputHdf5 file(path_, context_);
  EngineState state = engine.save(run);  // gives columns of the right sizes
  const FitRun start = run;
  Checksum sum;
  for_columns(run, state, [&](const char* name, auto* data, std::size_t count) {
    read_words(file, name, data, count);
    sum.add(data, count);
  });
  if (file.attribute("xxh3") != sum.digits())
    throw bad_input("{}: its checksum is not {}: the file is damaged; remove it to start again", path_, sum.digits());
  if (const std::string part = improper_part(start, run, state); !part.empty())
    throw bad_input("{}: its {} cannot belong to this fit: the file is damaged; remove it to start again", path_, part);
  engine.load(state);
  iterations_ = run.state.iterations;
  context_.tell(fmt::format("{}: the fit continues after {} iterations", path_, run.state.iterations));
}

void Checkpoint::keep(FitRun& run, Engine& engine) {
  // A finished fit is saved sooner, because calibration, labels and writing may also take long.
  const double due = run.state.phase == Phase::kDone ? std::min(every_, 0.25) : every_;
  if (!context_.stopped() && since_.seconds() < due) return;
  try {
    write(run, engine);
  } catch (const Error& error) {
    if (context_.stopped()) throw;
    if (!told_) context_.tell(fmt::format("{}; the fit continues without a checkpoint", error.what()));
    told_ = true;
  }
  since_ = Stopwatch();
  if (context_.stopped()) throw interruption();
}

void Checkpoint::write(FitRun& run, Engine& engine) {
  const std::string found = identity_of(path_);
  if (!found.empty() && found != seen_)
    throw file_error("{}: another fit has written its checkpoint here; use a different file for each fit", path_);
  EngineState state = engine.save(run);
  OutputFile output(path_);
  OutputHdf5 file(output, false);  // without the context, so that an interrupted run can still write
  Checksum sum;
  file.write_attribute("voxpop_schema", kSchema);
  file.write_attribute("of", of_.dump());
  for_columns(run, state, [&](const char* name, const auto* data, std::size_t count) {
    file.write(name, words(data, count));
    sum.add(data, count);
  });
  file.write_attribute("xxh3", sum.digits());
  file.finish();
  seen_ = identity_of(path_);
  iterations_ = run.state.iterations;
}

void Checkpoint::remove() {
  if (identity_of(path_) == seen_) unlink(path_.c_str());
  iterations_ = -1;
}

Error Checkpoint::interruption() const {
  if (iterations_ < 0) return Error(Exit::kInterrupted, "interrupted; nothing was written");
  return Error(
      Exit::kInterrupted,
      fmt::format("interrupted; {} has the fit after {} iterations; start the same fit again to continue from there",
                  path_, iterations_));
}

}  // namespace voxpop
