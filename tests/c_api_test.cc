// libvoxpop from C. What it gives back must be what voxpop.h gives.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "helpers.h"
#include "simulate/simulate.h"
#include "voxpop/voxpop.h"
#include "voxpop/voxpop_c.h"

namespace voxpop {
namespace {

using VotesPointer = std::unique_ptr<voxpop_votes, decltype(&voxpop_votes_free)>;
using FitPointer = std::unique_ptr<voxpop_fit, decltype(&voxpop_fit_free)>;

template <class T>
voxpop_column numbers(voxpop_type type, const T& column, std::uint64_t width = 1) {
  return {type, column.size() / width, width, column.data(), nullptr};
}

struct Texts {
  explicit Texts(const Strings& ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      bytes += ids[i];
      offsets.push_back(static_cast<std::int64_t>(bytes.size()));
    }
  }
  voxpop_column column() const { return {VOXPOP_TEXT, offsets.size() - 1, 1, bytes.data(), offsets.data()}; }
  std::string bytes;
  std::vector<std::int64_t> offsets = {0};
};

Votes simulated() {
  SimulateOptions options;
  options.prompts = 60;
  options.annotators = 12;
  options.seed = 5;
  return simulate_votes(options);
}

int set(voxpop_votes* votes, const char* name, const voxpop_column& column) {
  return voxpop_votes_set(votes, name, &column);
}

VotesPointer given(const Votes& votes) {
  VotesPointer out(voxpop_votes_new(), voxpop_votes_free);
  EXPECT_EQ(set(out.get(), "comparisons/left", numbers(VOXPOP_UINT32, votes.left)), 0) << voxpop_error();
  const std::vector<std::int64_t> right(votes.right.begin(), votes.right.end());  // of another type
  EXPECT_EQ(set(out.get(), "comparisons/right", numbers(VOXPOP_INT64, right)), 0) << voxpop_error();
  EXPECT_EQ(set(out.get(), "comparisons/annotator", numbers(VOXPOP_UINT32, votes.annotator)), 0);
  EXPECT_EQ(set(out.get(), "comparisons/preference", numbers(VOXPOP_INT8, votes.preference)), 0);
  EXPECT_EQ(set(out.get(), "items/prompt", numbers(VOXPOP_UINT32, votes.prompt)), 0);
  EXPECT_EQ(set(out.get(), "items/id", Texts(votes.item_ids).column()), 0) << voxpop_error();
  EXPECT_EQ(set(out.get(), "annotators/id", Texts(votes.annotator_ids).column()), 0);
  EXPECT_EQ(set(out.get(), "prompts/id", Texts(votes.prompt_ids).column()), 0);
  return out;
}

FitPointer fitted(const voxpop_votes* votes, const char* request = nullptr) {
  voxpop_fit* fit = nullptr;
  EXPECT_EQ(voxpop_fit_votes(votes, request, nullptr, &fit), 0) << voxpop_error();
  return {fit, voxpop_fit_free};
}

template <class T>
std::vector<T> column_of(const voxpop_fit* fit, const char* name, voxpop_type type) {
  voxpop_column column{};
  EXPECT_EQ(voxpop_fit_column(fit, name, &column), 0) << voxpop_error();
  EXPECT_EQ(column.type, type);
  const auto* const data = static_cast<const T*>(column.data);
  return {data, data + column.rows * column.columns};
}

TEST(CApi, gives_what_the_library_gives) {
  Votes votes = simulated();
  const VotesPointer ours = given(votes);
  const FitPointer fit = fitted(ours.get(), R"({"ties": "half", "ignore": ["features"]})");
  ASSERT_NE(fit, nullptr);
  FitRequest request;
  request.ties = Ties::kHalf;
  votes.timestamp.clear();
  votes.truth.reset();
  const FitResult expected = voxpop::fit(votes, request);
  const auto probability = column_of<float>(fit.get(), "pairs/probability", VOXPOP_FLOAT32);
  EXPECT_TRUE(std::ranges::equal(probability, expected.labels.pairs.probability));
  const auto left = column_of<std::uint32_t>(fit.get(), "pairs/left", VOXPOP_UINT32);
  EXPECT_TRUE(std::ranges::equal(left, expected.labels.pairs.left));
  const auto flag = column_of<std::int8_t>(fit.get(), "annotators/flag", VOXPOP_INT8);
  EXPECT_TRUE(std::ranges::equal(flag, expected.labels.annotators.flag));
  voxpop_column ids{};
  ASSERT_EQ(voxpop_fit_column(fit.get(), "items/id", &ids), 0);
  ASSERT_EQ(ids.rows, expected.item_ids.size());
  for (std::uint64_t i = 0; i < ids.rows; ++i)
    EXPECT_EQ(std::string_view(static_cast<const char*>(ids.data) + ids.offsets[i],
                               static_cast<std::size_t>(ids.offsets[i + 1] - ids.offsets[i])),
              expected.item_ids[i]);
  for (const char* name : {"items/score\n", "votes/target\n", "annotators/flag.names\n", "reliability/observed\n"})
    EXPECT_NE(std::strstr(voxpop_fit_names(fit.get()), name), nullptr) << name;
  EXPECT_NE(std::strstr(voxpop_fit_json(fit.get()), R"("ties":"half")"), nullptr);
}

class CApiFiles : public test::FileTest {};

TEST_F(CApiFiles, are_written_and_read) {
  const Votes votes = simulated();
  const VotesPointer ours = given(votes);
  ASSERT_EQ(voxpop_votes_write(ours.get(), path("votes.h5").c_str(), nullptr), 0) << voxpop_error();
  const VotesPointer read(voxpop_votes_new(), voxpop_votes_free);
  const std::string file = path("votes.h5");
  const char* const paths[] = {file.c_str()};
  ASSERT_EQ(voxpop_votes_read(read.get(), paths, 1, nullptr), 0) << voxpop_error();
  EXPECT_NE(std::strstr(voxpop_votes_json(read.get()), "\"xxh3\":\""), nullptr);
  const FitPointer first = fitted(ours.get()), second = fitted(read.get());
  EXPECT_EQ(column_of<float>(first.get(), "items/score", VOXPOP_FLOAT32),
            column_of<float>(second.get(), "items/score", VOXPOP_FLOAT32));
  ASSERT_EQ(voxpop_fit_write(first.get(), path("fit.h5").c_str(), nullptr), 0) << voxpop_error();
  voxpop_fit* again = nullptr;
  ASSERT_EQ(voxpop_fit_read(path("fit.h5").c_str(), nullptr, &again), 0) << voxpop_error();
  const FitPointer kept(again, voxpop_fit_free);
  EXPECT_EQ(column_of<float>(first.get(), "pairs/margin", VOXPOP_FLOAT32),
            column_of<float>(kept.get(), "pairs/margin", VOXPOP_FLOAT32));
  const char* html = nullptr;
  ASSERT_EQ(voxpop_fit_report(kept.get(), &html), 0) << voxpop_error();
  EXPECT_NE(std::strstr(html, "<html"), nullptr);
  std::string rows;
  const auto use = [](void* user, const char* text, std::uint64_t bytes) {
    static_cast<std::string*>(user)->append(text, bytes);
  };
  ASSERT_EQ(voxpop_fit_rows(first.get(), R"({"format": "jsonl"})", nullptr, use, &rows), 0) << voxpop_error();
  EXPECT_TRUE(rows.starts_with("{\"")) << rows.substr(0, 100);
  EXPECT_EQ(voxpop_fit_rows(first.get(), R"({"format": "xml"})", nullptr, use, &rows), 2);
}

TEST(CApi, refuses_what_would_be_wrong) {
  Votes votes = simulated();
  const auto refused = [](const voxpop_votes* those, const char* request, int expected, const char* text) {
    voxpop_fit* fit = nullptr;
    EXPECT_EQ(voxpop_fit_votes(those, request, nullptr, &fit), expected) << voxpop_error();
    EXPECT_EQ(fit, nullptr);
    EXPECT_NE(std::strstr(voxpop_error(), text), nullptr) << voxpop_error();
  };
  const VotesPointer good = given(votes), empty(voxpop_votes_new(), voxpop_votes_free);
  refused(empty.get(), nullptr, 3, "no votes");
  refused(good.get(), "[]", 2, "not a JSON object");
  refused(good.get(), R"({"tie": "half"})", 2, "no member 'tie'");
  refused(good.get(), R"({"ties": 3})", 2, "'ties' has the wrong type");
  refused(good.get(), R"({"ties": "maybe"})", 2, "'maybe' is not one of model, half, drop");
  refused(good.get(), R"({"model": "bt", "views": "on"})", 2, "views");
  refused(good.get(), R"({"warm_start": "/nowhere/fit.h5"})", 4, "/nowhere/fit.h5");
  EXPECT_EQ(set(good.get(), "comparisons/who", numbers(VOXPOP_UINT32, votes.left)), 2);
  EXPECT_EQ(set(good.get(), "comparisons/left", numbers(VOXPOP_FLOAT32, votes.left)), 2);  // never read
  const std::vector<std::int32_t> negative = {-1};
  EXPECT_EQ(set(good.get(), "comparisons/left", numbers(VOXPOP_INT32, negative)), 3);
  EXPECT_EQ(voxpop_votes_mark(good.get(), "odd"), 2);

  const auto spoiled = [&](const std::function<void(Votes&)>& spoil, const char* text) {
    Votes changed = votes;
    spoil(changed);
    refused(given(changed).get(), nullptr, 3, text);
  };
  spoiled([](Votes& v) { v.left[7] = 1'000'000; }, "'left' row 7 is 1000000");
  spoiled([](Votes& v) { v.left[7] = v.right[7]; }, "'right' row 7");
  spoiled([](Votes& v) { v.annotator[3] = 12; }, "'annotator' row 3 is 12");
  spoiled([](Votes& v) { v.preference.pop_back(); }, "rows; it must have");
  spoiled([](Votes& v) { v.prompt[v.left[0]] ^= 1; }, "answers prompt");
  spoiled(
      [](Votes& v) {
        Strings ids;
        for (std::size_t i = 0; i < v.item_ids.size(); ++i) ids.push_back(v.item_ids[i == 4 ? 2 : i]);
        v.item_ids = ids;
      },
      "'item_ids' row 4");
  spoiled(
      [](Votes& v) {
        Strings ids;
        for (std::size_t i = 0; i < v.annotator_ids.size(); ++i) ids.push_back(i == 1 ? "\xff" : v.annotator_ids[i]);
        v.annotator_ids = ids;
      },
      "not UTF-8");
}

TEST(CApi, compares_models) {
  const VotesPointer votes = given(simulated());
  const char* json = nullptr;
  ASSERT_EQ(voxpop_evaluate(votes.get(), R"({"models": ["bt"], "folds": 2, "seed": 3})", nullptr, &json), 0);
  EvaluateRequest request;
  request.models = {Model::kBradleyTerry};
  request.folds = 2;
  request.seed = 3;
  Votes same = simulated();
  same.timestamp.clear();
  const EvaluateResult expected = evaluate(same, request);
  const auto parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed["models"]["bt"]["log_loss"]["value"], expected.comparisons[0].models[1].score.log_loss.value);
  EXPECT_EQ(parsed["folds"], 2);
  EXPECT_EQ(voxpop_evaluate(votes.get(), R"({"models": ["elo"]})", nullptr, &json), 2);
  EXPECT_EQ(voxpop_evaluate(votes.get(), R"({"fold": 2})", nullptr, &json), 2);
}

TEST(CApi, tells_and_stops) {
  const VotesPointer votes = given(simulated());
  struct Told {
    std::atomic<int> asked{0}, reports{0};
    int asked_before_fitting = 0;
    int most = 1 << 30;
  } told;
  voxpop_context context{};
  context.user = &told;
  context.threads = 1;
  context.progress = [](void* user, const char* phase, std::uint64_t done, std::uint64_t total, const char*) {
    EXPECT_LE(done, total);
    auto& mine = *static_cast<Told*>(user);
    ++mine.reports;
    if (mine.asked_before_fitting == 0 && std::strcmp(phase, "fitting") == 0) mine.asked_before_fitting = mine.asked;
  };
  context.stop = [](void* user) {
    return static_cast<int>(++static_cast<Told*>(user)->asked > static_cast<Told*>(user)->most);
  };
  voxpop_fit* fit = nullptr;
  ASSERT_EQ(voxpop_fit_votes(votes.get(), nullptr, &context, &fit), 0) << voxpop_error();
  voxpop_fit_free(fit);
  EXPECT_GT(told.asked_before_fitting, 5);  // grouping many votes takes as long as some iterations
  EXPECT_GT(told.asked, told.asked_before_fitting + 5);
  EXPECT_GT(told.reports, 2);
  std::int32_t flag = 1;
  context.stop_flag = &flag;
  EXPECT_EQ(voxpop_fit_votes(votes.get(), nullptr, &context, &fit), 130);
  context.stop_flag = nullptr;
  const int whole = told.asked;
  for (told.most = 0; told.most < whole; told.most += 3) {
    told.asked = 0;
    EXPECT_EQ(voxpop_fit_votes(votes.get(), nullptr, &context, &fit), 130) << told.most;
    EXPECT_LE(told.asked, told.most + 2);
  }
}

TEST(CApi, votes_without_annotators_are_anonymous) {
  const Votes votes = simulated();
  const VotesPointer ours(voxpop_votes_new(), voxpop_votes_free);
  set(ours.get(), "comparisons/left", numbers(VOXPOP_UINT32, votes.left));
  set(ours.get(), "comparisons/right", numbers(VOXPOP_UINT32, votes.right));
  set(ours.get(), "comparisons/preference", numbers(VOXPOP_INT8, votes.preference));
  set(ours.get(), "items/id", Texts(votes.item_ids).column());
  EXPECT_EQ(voxpop_votes_mark(ours.get(), "sides_unknown"), 0);
  const FitPointer fit = fitted(ours.get(), R"({"model": "bt"})");
  ASSERT_NE(fit, nullptr);
  voxpop_column ids{};
  ASSERT_EQ(voxpop_fit_column(fit.get(), "annotators/id", &ids), 0);
  EXPECT_EQ(ids.rows, 1u);
}

TEST(CApi, looks_at_codes_of_votes_in_memory) {
  Votes votes = simulated();
  for (std::int8_t& preference : votes.preference) preference = 1;
  FitRequest request;
  request.model = Model::kBradleyTerry;
  const FitResult all_left = fit(votes, request);
  EXPECT_TRUE(std::ranges::any_of(all_left.findings, [](const Finding& one) { return one.kind == "one_sided"; }));
}

TEST(CApi, refuses_ties_alone_where_ties_are_dropped) {
  Votes votes = simulated();
  for (std::int8_t& preference : votes.preference) preference = 0;
  voxpop_fit* none = nullptr;
  EXPECT_EQ(voxpop_fit_votes(given(votes).get(), R"({"ties": "drop"})", nullptr, &none), 3);
  EXPECT_NE(std::strstr(voxpop_error(), "every vote is a tie"), nullptr) << voxpop_error();
  const char* json = nullptr;
  EXPECT_EQ(voxpop_evaluate(given(votes).get(), nullptr, nullptr, &json), 3) << voxpop_error();
}

TEST_F(CApiFiles, a_checkpoint_is_of_these_very_votes) {
  Votes votes = simulated();
  const std::string file = path("kept");
  const std::string request = R"({"checkpoint_every": 0, "checkpoint": ")" + file + "\"}";
  std::atomic<int> iterations{0};
  voxpop_context context{};
  context.user = &iterations;
  context.threads = 1;
  context.progress = [](void* user, const char* phase, std::uint64_t, std::uint64_t, const char*) {
    *static_cast<std::atomic<int>*>(user) += std::strcmp(phase, "fitting") == 0;
  };
  context.stop = [](void* user) { return static_cast<int>(*static_cast<std::atomic<int>*>(user) > 3); };
  voxpop_fit* none = nullptr;
  EXPECT_EQ(voxpop_fit_votes(given(votes).get(), request.c_str(), &context, &none), 130);
  ASSERT_TRUE(std::filesystem::exists(file)) << iterations;
  Votes others = votes;
  others.preference[5] = static_cast<std::int8_t>(-others.preference[5]);
  EXPECT_EQ(voxpop_fit_votes(given(others).get(), request.c_str(), nullptr, &none), 3);
  EXPECT_NE(std::strstr(voxpop_error(), "checkpoint of another fit"), nullptr) << voxpop_error();
  const VotesPointer with_gold = given(votes);
  const std::vector<std::int32_t> left = {static_cast<std::int32_t>(votes.left[0])};
  const std::vector<std::int32_t> right = {static_cast<std::int32_t>(votes.right[0])};
  const std::vector<float> chance = {1};
  EXPECT_EQ(set(with_gold.get(), "gold/left", numbers(VOXPOP_INT32, left)), 0);
  EXPECT_EQ(set(with_gold.get(), "gold/right", numbers(VOXPOP_INT32, right)), 0);
  EXPECT_EQ(set(with_gold.get(), "gold/probability", numbers(VOXPOP_FLOAT32, chance)), 0);
  EXPECT_EQ(voxpop_fit_votes(with_gold.get(), request.c_str(), nullptr, &none), 3) << voxpop_error();
  const FitPointer resumed = fitted(given(votes).get(), request.c_str()), whole = fitted(given(votes).get());
  EXPECT_EQ(column_of<float>(resumed.get(), "items/score", VOXPOP_FLOAT32),
            column_of<float>(whole.get(), "items/score", VOXPOP_FLOAT32));
}

}  // namespace
}  // namespace voxpop
