#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/strings.h"
#include "files/fit_columns.h"
#include "files/fit_file.h"
#include "job/evaluation_json.h"
#include "report/report.h"
#include "voxpop/version.h"
#include "voxpop/voxpop.h"
#include "voxpop/voxpop_c.h"

struct voxpop_votes {
  voxpop::Votes votes;
  bool sides_unknown = false, independent = false;
  std::string json;
};

namespace voxpop {
namespace {

thread_local std::string last_error, last_json;

/// Calls act(). Returns 0, or the exit code of the error; the message is kept in last_error of this thread.
template <class Act>
int guarded(const Act& act) {
  try {
    last_error.clear();
    act();
    return 0;
  } catch (const Error& error) {
    last_error = error.what();
    return static_cast<int>(error.exit());
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";
  } catch (const std::exception& error) {
    last_error = fmt::format("internal error: {}; please report it", error.what());
  }
  return static_cast<int>(Exit::kInternal);
}

Context context_of(const voxpop_context* c) {
  Context context;
  if (c == nullptr) return context;
  void* const user = c->user;
  if (const auto note = c->note) context.note = [=](const std::string& text) { note(user, text.c_str()); };
  if (const auto progress = c->progress)
    context.progress = [=](const ProgressReport& report) {
      progress(user, report.phase.c_str(), report.done, report.total, report.detail.c_str());
    };
  const auto stop = c->stop;
  if (const std::int32_t* const flag = c->stop_flag; flag != nullptr || stop != nullptr)
    context.stop = [=] {
      return (flag != nullptr && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0) || (stop != nullptr && stop(user) != 0);
    };
  context.threads = c->threads;
  if (c->device != nullptr) context.device = c->device;
  context.memory_limit = c->memory_limit;
  return context;
}

/// A column that a caller passes in.
class Given {
 public:
  Given(std::string name, const voxpop_column& column) : name_(std::move(name)), column_(column) {
    if (column.rows > 0 && column.data == nullptr && column.type != VOXPOP_TEXT)
      throw usage_error("'{}' has no data", name_);
    if (column.rows > std::numeric_limits<std::uint32_t>::max() ||
        column.columns > std::numeric_limits<std::uint32_t>::max())
      throw usage_error("'{}' has {} rows of {} numbers; that is too many", name_, column.rows, column.columns);
  }

  std::uint64_t rows() const { return column_.rows; }
  std::uint64_t width() const { return column_.columns; }

  Strings texts() const {
    if (column_.type != VOXPOP_TEXT || column_.offsets == nullptr) throw usage_error("'{}' must be strings", name_);
    const std::int64_t* const at = column_.offsets;
    const auto* const bytes = static_cast<const char*>(column_.data);
    Strings out;
    out.reserve(column_.rows, static_cast<std::size_t>(std::max<std::int64_t>(0, at[column_.rows] - at[0])));
    for (std::uint64_t row = 0; row < column_.rows; ++row) {
      if (at[row] < 0 || at[row + 1] < at[row]) throw usage_error("'{}': offsets must ascend from 0", name_);
      const auto length = static_cast<std::size_t>(at[row + 1] - at[row]);
      out.push_back(length == 0 ? std::string_view() : std::string_view(bytes + at[row], length));
    }
    return out;
  }

  /// The column as another integer type. Throws Error(kBadInput) if a value is not from `low` to `high`, and a usage
  /// error if the column is not of integers.
  template <class To>
  Column<To> integers(std::int64_t low, std::int64_t high) const {
    require_one();
    Column<To> out(column_.rows);
    with_numbers([&](const auto* from) {
      using From = std::remove_cvref_t<decltype(*from)>;
      if constexpr (std::is_floating_point_v<From>) {
        throw usage_error("'{}' must be integers", name_);
      } else {
        for (std::uint64_t row = 0; row < column_.rows; ++row) {
          const auto value = static_cast<std::int64_t>(from[row]);
          if (value < low || value > high)
            throw bad_input("'{}' row {} is {}; it must be from {} to {}", name_, row, value, low, high);
          out[row] = static_cast<To>(value);
        }
      }
    });
    return out;
  }
  Column<std::uint32_t> indices() const { return integers<std::uint32_t>(0, kNoSource - 1); }
  /// Indices with -1 replaced by `none`.
  Column<std::uint32_t> indices_or(std::uint32_t none) const {
    const Column<std::int64_t> given = integers<std::int64_t>(-1, kNoSource - 1);
    Column<std::uint32_t> out(given.size());
    std::transform(given.begin(), given.end(), out.begin(),
                   [&](std::int64_t i) { return i < 0 ? none : static_cast<std::uint32_t>(i); });
    return out;
  }

  template <class Out>
  Out floats() const {
    Out out(column_.rows * column_.columns);
    with_numbers([&](const auto* from) {
      std::transform(from, from + out.size(), out.begin(), [](auto x) { return static_cast<float>(x); });
    });
    return out;
  }
  void require_one() const {
    if (column_.columns != 1) throw usage_error("'{}' has {} numbers per row; it must have 1", name_, column_.columns);
  }

 private:
  template <class Use>
  void with_numbers(const Use& use) const {
    switch (column_.type) {
      case VOXPOP_INT8:
        return use(static_cast<const std::int8_t*>(column_.data));
      case VOXPOP_INT32:
        return use(static_cast<const std::int32_t*>(column_.data));
      case VOXPOP_UINT32:
        return use(static_cast<const std::uint32_t*>(column_.data));
      case VOXPOP_INT64:
        return use(static_cast<const std::int64_t*>(column_.data));
      case VOXPOP_FLOAT32:
        return use(static_cast<const float*>(column_.data));
      case VOXPOP_FLOAT64:
        return use(static_cast<const double*>(column_.data));
      case VOXPOP_TEXT:
        break;
    }
    throw usage_error("'{}' must be numbers", name_);
  }

  std::string name_;
  voxpop_column column_;
};

void set_column(Votes& votes, const std::string& name, const Given& given) {
  using Set = std::function<void(Votes&, const Given&)>;
  static const std::map<std::string, Set> known = {
      {"comparisons/left", [](Votes& v, const Given& g) { v.left = g.indices(); }},
      {"comparisons/right", [](Votes& v, const Given& g) { v.right = g.indices(); }},
      {"comparisons/annotator", [](Votes& v, const Given& g) { v.annotator = g.indices(); }},
      {"comparisons/preference", [](Votes& v, const Given& g) { v.preference = g.integers<std::int8_t>(-9, 9); }},
      {"comparisons/weight", [](Votes& v, const Given& g) { g.require_one(), v.weight = g.floats<Column<float>>(); }},
      {"comparisons/judgement", [](Votes& v, const Given& g) { v.judgement = g.indices_or(kNoJudgement); }},
      {"comparisons/timestamp",
       [](Votes& v, const Given& g) { v.timestamp = g.integers<std::int64_t>(-kMostSeconds, kMostSeconds); }},
      {"items/id", [](Votes& v, const Given& g) { v.item_ids = g.texts(); }},
      {"annotators/id", [](Votes& v, const Given& g) { v.annotator_ids = g.texts(); }},
      {"prompts/id", [](Votes& v, const Given& g) { v.prompt_ids = g.texts(); }},
      {"sources/id", [](Votes& v, const Given& g) { v.source_ids = g.texts(); }},
      {"items/prompt", [](Votes& v, const Given& g) { v.prompt = g.indices(); }},
      {"items/source", [](Votes& v, const Given& g) { v.source = g.indices_or(kNoSource); }},
      {"items/prior_score",
       [](Votes& v, const Given& g) { g.require_one(), v.prior_score = g.floats<std::vector<float>>(); }},
      {"items/features.names", [](Votes& v, const Given& g) { v.feature_names = g.texts(); }},
      {"items/features",
       [](Votes& v, const Given& g) {
         v.features = g.floats<std::vector<float>>();
         if (!v.feature_names.empty()) return;
         for (std::uint64_t f = 0; f < g.width(); ++f) v.feature_names.push_back(fmt::format("f{}", f));
       }},
      {"items/embedding",
       [](Votes& v, const Given& g) {
         auto all = std::make_shared<Embeddings>();
         all->source = "items/embedding";
         all->items = g.rows();
         all->dimensions = g.width();
         all->full = g.floats<Column<float>>();
         v.embeddings = std::move(all);
       }},
      {"gold/left", [](Votes& v, const Given& g) { v.gold.left = g.indices(); }},
      {"gold/right", [](Votes& v, const Given& g) { v.gold.right = g.indices(); }},
      {"gold/probability",
       [](Votes& v, const Given& g) { g.require_one(), v.gold.probability = g.floats<Column<float>>(); }},
      {"trusted",
       [](Votes& v, const Given& g) {
         const Column<std::uint32_t> rows = g.indices();
         v.trusted.assign(rows.begin(), rows.end());
       }},
  };
  const auto found = known.find(name);
  if (found == known.end()) throw usage_error("'{}' is not a column of votes", shown(name));
  found->second(votes, given);
}

/// The votes to fit: applies settings that hold for all votes, and adds one anonymous annotator if the caller gave
/// none.
Votes ready(const voxpop_votes& given) {
  Votes votes = given.votes;
  if (votes.annotator.empty() && votes.annotator_ids.empty()) {
    votes.annotator_ids.push_back("anonymous");
    votes.annotator.assign(votes.size(), 0);
    if (votes.size() > 0) votes.anonymous = {{0, votes.size()}};
  }
  if (votes.inputs.empty() && votes.annotator_ids.size() == 1 && votes.annotator_ids[0] == "anonymous" &&
      votes.size() > 0)
    votes.anonymous = {{0, votes.size()}};  // as in files
  if (votes.size() > 0 && given.sides_unknown) votes.unknown_sides = {{0, votes.size()}};
  if (votes.size() > 0 && given.independent) votes.independent = {{0, votes.size()}};
  return votes;
}

/// Members of a JSON request. An unknown member is an error, because an ignored setting would change the meaning of
/// labels.
class Members {
 public:
  explicit Members(const char* text) {
    if (text == nullptr) return;
    json_ = parse_json(text);
    if (!json_.is_object()) throw usage_error("the request is not a JSON object");
  }
  template <class Value>
  void take(const char* name, Value& value) {
    const auto found = json_.find(name);
    if (found == json_.end()) return;
    try {
      value = found->get<Value>();
    } catch (const nlohmann::json::exception&) {
      throw usage_error("request: '{}' has the wrong type", name);
    }
    json_.erase(found);
  }
  template <class Choice>
  void choose(const char* name, Choice& choice, Choice (*named)(std::string_view)) {
    std::string text;
    take(name, text);
    if (!text.empty()) choice = named(text);
  }
  void finish() const {
    if (!json_.empty()) throw usage_error("request: there is no member '{}'", shown(json_.begin().key()));
  }

 private:
  nlohmann::ordered_json json_ = nlohmann::ordered_json::object();
};

void take_wishes(Members& members, ModelWishes& out) {
  members.choose("ties", out.ties, ties_named);
  members.choose("views", out.views, views_named);
  std::string repeats;
  members.take("repeats", repeats);
  if (!repeats.empty()) out.repeats = repeats_named(repeats);
  members.take("side_bias", out.side_bias);
  members.take("adversaries", out.adversaries);
  members.take("max_iterations", out.max_iterations);
  std::vector<std::string> ignore;
  members.take("ignore", ignore);
  for (const std::string& name : ignore) {
    bool* const used = name == "prior_score" ? &out.use_prior_score
                       : name == "features"  ? &out.use_features
                       : name == "sources"   ? &out.use_sources
                       : name == "embedding" ? &out.use_embeddings
                                             : nullptr;
    if (used == nullptr)
      throw usage_error("ignore: '{}' is not one of prior_score, features, sources, embedding", shown(name));
    *used = false;
  }
}

FitRequest fit_request(const char* text) {
  FitRequest out;
  Members members(text);
  members.choose("model", out.model, model_named);
  take_wishes(members, out);
  members.take("warm_start", out.warm_start);
  members.take("calibrate", out.calibrate);
  members.take("seed", out.seed);
  members.take("force", out.force);
  members.take("strict", out.strict);
  members.take("checkpoint", out.checkpoint);
  members.take("checkpoint_every", out.checkpoint_every);
  members.take("asked_by", out.asked_by);
  members.finish();
  return out;
}

EvaluateRequest evaluate_request(const char* text) {
  EvaluateRequest out;
  Members members(text);
  take_wishes(members, out);
  std::vector<std::string> models;
  members.take("models", models);
  if (!models.empty()) out.models.clear();
  for (const std::string& model : models) out.models.push_back(model_named(model));
  members.take("folds", out.folds);
  std::string folds_by;
  members.take("folds_by", folds_by);
  if (!folds_by.empty()) out.folds_by = folds_by_named(folds_by);
  members.take("seed", out.seed);
  members.take("calibrate", out.calibrate);
  members.finish();
  return out;
}

RowsRequest rows_request(const char* text) {
  RowsRequest out;
  Members members(text);
  members.take("format", out.format);
  members.take("min_probability", out.min_probability);
  members.take("max_flagged", out.max_flagged);
  members.take("margin_scale", out.margin_scale);
  members.take("keep_ties", out.keep_ties);
  members.take("texts", out.texts);
  members.take("prompt_texts", out.prompt_texts);
  members.finish();
  return out;
}

/// The columns of a fit. A Column points into the fit; other columns are copied.
class Columns {
 public:
  template <class T>
  void write(const std::string& name, const Column<T>& column) {
    add(name, column.data(), column.size(), 1);
  }
  template <class T>
  void write(const std::string& name, const std::vector<T>& column) {
    const auto kept = std::make_shared<std::vector<T>>(column);
    owned_.push_back(kept);
    add(name, kept->data(), kept->size(), 1);
  }
  template <class T>
  void write_matrix(const std::string& name, const Column<T>& column, std::size_t width) {
    add(name, column.data(), column.size() / std::max<std::size_t>(width, 1), width);
  }
  void write_enum(const std::string& name, const Column<std::int8_t>& column, const std::vector<std::string>& names) {
    write(name, column);
    Strings texts;
    for (const std::string& one : names) texts.push_back(one);
    write(name + ".names", texts);
  }
  void write(const std::string& name, const Strings& texts) {
    const auto bytes = std::make_shared<std::string>();
    const auto offsets = std::make_shared<std::vector<std::int64_t>>(1, 0);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      *bytes += texts[i];
      offsets->push_back(static_cast<std::int64_t>(bytes->size()));
    }
    owned_.push_back(bytes);
    owned_.push_back(offsets);
    columns_[name] = {VOXPOP_TEXT, texts.size(), 1, bytes->data(), offsets->data()};
    names_ += name + '\n';
  }

  const voxpop_column* find(const std::string& name) const {
    const auto found = columns_.find(name);
    return found == columns_.end() ? nullptr : &found->second;
  }
  const std::string& names() const { return names_; }

 private:
  static voxpop_type type_of(const std::int8_t*) { return VOXPOP_INT8; }
  static voxpop_type type_of(const std::int32_t*) { return VOXPOP_INT32; }
  static voxpop_type type_of(const std::uint32_t*) { return VOXPOP_UINT32; }
  static voxpop_type type_of(const std::int64_t*) { return VOXPOP_INT64; }
  static voxpop_type type_of(const float*) { return VOXPOP_FLOAT32; }
  static voxpop_type type_of(const double*) { return VOXPOP_FLOAT64; }
  template <class T>
  void add(const std::string& name, const T* data, std::size_t rows, std::size_t width) {
    columns_[name] = {type_of(data), rows, width, data, nullptr};
    names_ += name + '\n';
  }

  std::map<std::string, voxpop_column> columns_;
  std::list<std::shared_ptr<void>> owned_;
  std::string names_;
};

}  // namespace
}  // namespace voxpop

struct voxpop_fit {
  explicit voxpop_fit(voxpop::FitResult fitted) {
    static_cast<voxpop::FitResult&>(result) = std::move(fitted);
    result.json = nlohmann::ordered_json::parse(result.provenance);
    voxpop::write_columns(columns,
                          {result.item_ids, result.annotator_ids, result.prompt_ids, result.source_ids, result.prompt},
                          result.labels, result.reliability);
  }
  voxpop::FitFile result;
  voxpop::Columns columns;
  std::string page;
};

using voxpop::guarded;

const char* voxpop_version(void) { return voxpop::kVersion; }
const char* voxpop_error(void) { return voxpop::last_error.c_str(); }

voxpop_votes* voxpop_votes_new(void) { return new (std::nothrow) voxpop_votes; }
void voxpop_votes_free(voxpop_votes* votes) { delete votes; }

int voxpop_votes_set(voxpop_votes* votes, const char* name, const voxpop_column* column) {
  return guarded([&] { voxpop::set_column(votes->votes, name, {name, *column}); });
}

int voxpop_votes_mark(voxpop_votes* votes, const char* what) {
  return guarded([&] {
    const std::string_view mark = what;
    if (mark == "sides_unknown")
      votes->sides_unknown = true;
    else if (mark == "independent")
      votes->independent = true;
    else
      throw voxpop::usage_error("'{}' is neither sides_unknown nor independent", voxpop::shown(mark));
  });
}

int voxpop_votes_read(voxpop_votes* votes, const char* const* paths, uint64_t count, const voxpop_context* context) {
  return guarded([&] {
    const voxpop::Context told = voxpop::context_of(context);
    const std::vector<std::string> files(paths, paths + count);
    votes->votes = voxpop::read_votes(files, told);
    voxpop::read_embeddings(votes->votes, "", told);
    votes->sides_unknown = votes->independent = false;
  });
}

const char* voxpop_votes_json(voxpop_votes* votes) {
  const int problem = guarded([&] {
    auto inputs = nlohmann::ordered_json::array();
    for (const voxpop::InputFile& input : votes->votes.inputs)
      inputs.push_back({{"path", input.path}, {"bytes", input.bytes}, {"xxh3", input.xxh3}});
    const nlohmann::ordered_json json = {{"votes", votes->votes.size()},
                                         {"items", votes->votes.item_ids.size()},
                                         {"annotators", votes->votes.annotator_ids.size()},
                                         {"inputs", inputs}};
    votes->json = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  });
  return problem == 0 ? votes->json.c_str() : nullptr;
}

int voxpop_votes_write(const voxpop_votes* votes, const char* path, const voxpop_context* context) {
  return guarded([&] { voxpop::write_votes(path, voxpop::ready(*votes), voxpop::context_of(context)); });
}

int voxpop_evaluate(const voxpop_votes* votes, const char* request, const voxpop_context* context, const char** json) {
  return guarded([&] {
    const voxpop::EvaluateRequest wishes = voxpop::evaluate_request(request);
    std::vector<std::string> inputs;
    for (const voxpop::InputFile& input : votes->votes.inputs) inputs.push_back(input.path);
    const voxpop::EvaluateResult result = voxpop::evaluate(voxpop::ready(*votes), wishes, voxpop::context_of(context));
    voxpop::last_json =
        voxpop::describe(wishes, result, inputs).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    *json = voxpop::last_json.c_str();
  });
}

int voxpop_fit_votes(const voxpop_votes* votes, const char* request, const voxpop_context* context, voxpop_fit** fit) {
  return guarded([&] {
    *fit = nullptr;
    *fit =
        new voxpop_fit(voxpop::fit(voxpop::ready(*votes), voxpop::fit_request(request), voxpop::context_of(context)));
  });
}

int voxpop_fit_read(const char* path, const voxpop_context* context, voxpop_fit** fit) {
  return guarded([&] {
    *fit = nullptr;
    *fit = new voxpop_fit(voxpop::read_fit(path, voxpop::context_of(context)));
  });
}

void voxpop_fit_free(voxpop_fit* fit) { delete fit; }

int voxpop_fit_column(const voxpop_fit* fit, const char* name, voxpop_column* column) {
  return guarded([&] {
    const voxpop_column* const found = fit->columns.find(name);
    if (found == nullptr) throw voxpop::usage_error("the fit has no column '{}'", voxpop::shown(name));
    *column = *found;
  });
}

const char* voxpop_fit_names(const voxpop_fit* fit) { return fit->columns.names().c_str(); }
const char* voxpop_fit_json(const voxpop_fit* fit) { return fit->result.provenance.c_str(); }

int voxpop_fit_write(const voxpop_fit* fit, const char* path, const voxpop_context* context) {
  return guarded([&] { voxpop::write_fit(path, fit->result, voxpop::context_of(context)); });
}

int voxpop_fit_report(voxpop_fit* fit, const char** html) {
  return guarded([&] {
    fit->page = voxpop::render_page(voxpop::summarize_fit(fit->result));
    *html = fit->page.c_str();
  });
}

int voxpop_fit_rows(const voxpop_fit* fit, const char* request, const voxpop_context* context,
                    void (*use)(void* user, const char* text, uint64_t bytes), void* user) {
  return guarded([&] {
    voxpop::export_rows(
        fit->result, voxpop::rows_request(request), [&](std::string_view text) { use(user, text.data(), text.size()); },
        voxpop::context_of(context));
  });
}
