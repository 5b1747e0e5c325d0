#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "files/fit_file.h"
#include "hdf5/hdf5.h"
#include "helpers.h"

namespace voxpop {
namespace {

using Indices = Column<std::uint32_t>;

std::vector<std::string> as_vector(const Strings& strings) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < strings.size(); ++i) out.emplace_back(strings[i]);
  return out;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

class OutputFileTest : public test::FileTest {};

TEST_F(OutputFileTest, appears_only_when_committed) {
  {
    OutputFile output(path("new.h5"));
    write_text(output.temporary(), "half");
    EXPECT_FALSE(std::filesystem::exists(path("new.h5")));
  }
  EXPECT_EQ(files(), 0u);
  {
    OutputFile output(path("new.h5"));
    write_text(output.temporary(), "whole");
    output.commit();
  }
  EXPECT_EQ(text_of(path("new.h5")), "whole");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, keeps_an_old_file_until_then) {
  write_text(path("old.h5"), "old");
  {
    OutputFile output(path("old.h5"));
    write_text(output.temporary(), "half");
  }
  EXPECT_EQ(text_of(path("old.h5")), "old");
  EXPECT_EQ(files(), 1u);
  OutputFile output(path("old.h5"));
  write_text(output.temporary(), "new");
  output.commit();
  EXPECT_EQ(text_of(path("old.h5")), "new");
}

TEST_F(OutputFileTest, says_at_once_that_a_name_is_too_long) {
  EXPECT_THROW(OutputFile(path(std::string(252, 'x'))), Error);
  OutputFile output(path(std::string(240, 'x')));
  write_text(output.temporary(), "whole");
  output.commit();
}

TEST_F(OutputFileTest, says_at_once_where_it_cannot_write) {
  for (const std::string& target : {path("none/new.h5"), path("")}) {
    try {
      const OutputFile output(target);
      ADD_FAILURE() << target;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::kFileSystem);
      EXPECT_PRED2(test::contains, error.what(), target + ":");
    }
  }
  EXPECT_EQ(files(), 0u);
}

class VotesFile : public test::FileTest {
 protected:
  std::string write(const std::string& name, const Votes& votes, bool compress = true) const {
    OutputFile output(path(name));
    write_votes(output, votes, compress);
    return path(name);
  }
  /// The error of reading, without the folder.
  std::string error_of(const std::string& name) const {
    try {
      read_votes({path(name)}, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::kBadInput) << error.what();
      return std::string(error.what()).substr(path("").size());
    }
    return "no error";
  }
};

/// Votes with everything that a file can hold.
Votes full_votes() {
  Votes votes;
  for (const char* id : {"b\xc3\xa4r", "\xe7\x86\x8a", "a", "\xf0\x9f\x90\xbb"}) votes.item_ids.push_back(id);
  for (const char* id : {"eve",
                         "b\xc3\xb6"
                         "b"})
    votes.annotator_ids.push_back(id);
  for (const char* id : {"which?", "why?"}) votes.prompt_ids.push_back(id);
  votes.left = {0, 1, 3};
  votes.right = {1, 0, 2};
  votes.annotator = {0, 1, 1};
  votes.preference = {9, 0, -9};
  votes.timestamp = {1700000000, -1, 4102444800};
  votes.weight = {0.5f, 1e6f, 1e-6f};
  votes.judgement = {4, kNoJudgement, 4};
  votes.unknown_sides = votes.independent = {{0, 3}};
  votes.prompt = {1, 1, 0, 0};
  votes.prior_score = {5, -3.25f, 1e30f, 0};
  votes.features = {1, 2, 3, 4, 5, 6, 7, 8.5f};
  for (const char* name : {"l\xc3\xa4nge", "f1"}) votes.feature_names.push_back(name);
  votes.truth = Truth{.score = {0.5, -0.5, 1, 2},
                      .discrimination = {1, -0.8},
                      .side_bias = {0, 3},
                      .kind = {},
                      .thresholds = {0.5, 1.5},
                      .tie_habit = {0.3, 0.4},
                      .lapse_rate = {0.1, 0.2},
                      .feature_coefficients = {0.5, -0.25},
                      .taste = {0.1, 0.2, -0.3, 0},
                      .drifts = {1, 0},
                      .bursts = {0, 1}};
  votes.truth->kind.push_back("good");
  votes.truth->kind.push_back("adversary");
  return votes;
}

TEST_F(VotesFile, round_trip) {
  const Votes votes = full_votes();
  for (const bool compress : {true, false}) {
    const Votes read = read_votes({write("v.h5", votes, compress)}, {});
    EXPECT_EQ(as_vector(read.item_ids), as_vector(votes.item_ids));
    EXPECT_EQ(as_vector(read.annotator_ids), as_vector(votes.annotator_ids));
    EXPECT_EQ(as_vector(read.prompt_ids), as_vector(votes.prompt_ids));
    EXPECT_EQ(read.left, votes.left);
    EXPECT_EQ(read.right, votes.right);
    EXPECT_EQ(read.annotator, votes.annotator);
    EXPECT_EQ(read.preference, votes.preference);
    EXPECT_EQ(read.timestamp, votes.timestamp);
    EXPECT_EQ(read.weight, votes.weight);
    ASSERT_EQ(read.judgement.size(), 3u);
    EXPECT_NE(read.judgement[0], kNoJudgement);
    EXPECT_EQ(read.judgement[1], kNoJudgement);
    EXPECT_EQ(read.judgement[2], read.judgement[0]);
    EXPECT_EQ(count_rows(read.unknown_sides), 3u);
    EXPECT_EQ(count_rows(read.independent), 3u);
    EXPECT_EQ(count_rows(read.anonymous), 0u);
    EXPECT_EQ(read.prompt, votes.prompt);
    ASSERT_TRUE(read.truth.has_value());
    EXPECT_EQ(read.truth->score, votes.truth->score);
    EXPECT_EQ(read.truth->discrimination, votes.truth->discrimination);
    EXPECT_EQ(read.truth->side_bias, votes.truth->side_bias);
    EXPECT_EQ(as_vector(read.truth->kind), as_vector(votes.truth->kind));
    EXPECT_EQ(read.prior_score, votes.prior_score);
    EXPECT_EQ(read.features, votes.features);
    EXPECT_EQ(as_vector(read.feature_names), as_vector(votes.feature_names));
    EXPECT_EQ(read.truth->thresholds, votes.truth->thresholds);
    EXPECT_EQ(read.truth->tie_habit, votes.truth->tie_habit);
    EXPECT_EQ(read.truth->lapse_rate, votes.truth->lapse_rate);
    EXPECT_EQ(read.truth->feature_coefficients, votes.truth->feature_coefficients);
    EXPECT_EQ(read.truth->taste, votes.truth->taste);
    EXPECT_EQ(read.truth->drifts, votes.truth->drifts);
    EXPECT_EQ(read.truth->bursts, votes.truth->bursts);
    ASSERT_EQ(read.inputs.size(), 1u);
    EXPECT_EQ(read.inputs[0].bytes, std::filesystem::file_size(path("v.h5")));
    EXPECT_EQ(read.inputs[0].xxh3.size(), 16u);
  }
}

TEST_F(VotesFile, many_votes_cross_chunks) {
  Votes votes = test::make_votes(1000, 7, {});
  for (std::uint32_t i = 1000; i < 150000; ++i) votes.item_ids.push_back("i" + std::to_string(i));
  for (std::uint32_t i = 0; i < 3 * 150000; ++i) votes.features.push_back(static_cast<float>(i));
  for (const char* name : {"a", "b", "c"}) votes.feature_names.push_back(name);
  for (std::uint32_t v = 0; v < 200000; ++v) {
    votes.left.push_back(v % 1000);
    votes.right.push_back((v + 1 + v / 1000) % 1000);
    if (votes.left.back() == votes.right.back()) votes.right.back() = (votes.right.back() + 1) % 1000;
    votes.annotator.push_back(v % 7);
    votes.preference.push_back(static_cast<std::int8_t>(v % 3 - 1));
    votes.timestamp.push_back(1700000000 + std::int64_t{v} * v);
  }
  for (const bool compress : {true, false}) {
    const Votes read = read_votes({write("v.h5", votes, compress)}, {});
    EXPECT_EQ(read.left, votes.left);
    EXPECT_EQ(read.right, votes.right);
    EXPECT_EQ(read.preference, votes.preference);
    EXPECT_EQ(read.timestamp, votes.timestamp);
    EXPECT_EQ(read.features, votes.features);
  }
}

TEST_F(VotesFile, any_rows_of_a_column_can_be_read) {
  constexpr std::uint32_t kVotes = 200000;  // a chunk holds 65,536
  Votes votes = full_votes();
  votes.truth.reset();
  votes.timestamp.clear();
  votes.left.assign(kVotes, 0);
  votes.right.assign(kVotes, 1);
  votes.preference.assign(kVotes, 1);
  votes.annotator.clear();
  for (std::uint32_t v = 0; v < kVotes; ++v) votes.annotator.push_back(v * 2654435761u >> 31);
  for (const bool compress : {true, false}) {
    const InputHdf5 input(write("v.h5", votes, compress));
    for (const Rows some : {Rows{0, 1}, Rows{65535, 65537}, Rows{65536, 131072}, Rows{7, kVotes}, Rows{9, 9}}) {
      const auto begin = votes.annotator.begin();
      EXPECT_EQ(input.read_indices("comparisons/annotator", some, 2, "annotators"),
                Indices(begin + static_cast<std::ptrdiff_t>(some.begin), begin + static_cast<std::ptrdiff_t>(some.end)))
          << some.begin << " to " << some.end;
    }
  }
}

TEST_F(VotesFile, of_many_bad_rows_the_first_is_named) {
  Votes votes = full_votes();
  votes.truth.reset();
  votes.timestamp.clear();
  votes.weight.clear();
  votes.judgement.clear();
  votes.unknown_sides = votes.independent = {{0, 300000}};
  votes.left.assign(300000, 0);
  votes.right.assign(300000, 1);
  votes.preference.assign(300000, 1);
  votes.annotator.assign(300000, 0);
  for (std::size_t row = 70000; row < 300000; ++row) votes.annotator[row] = 2;
  for (const bool compress : {true, false}) {
    write("v.h5", votes, compress);
    EXPECT_EQ(error_of("v.h5"), "v.h5: 'comparisons/annotator' row 70000 is 2; annotator indices run from 0 to 1");
  }
}

TEST_F(VotesFile, features_without_names_are_numbered) {
  write("v.h5", full_votes());
  {
    const Handle file(H5Fopen(path("v.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    ASSERT_GE(H5Adelete_by_name(file, "items/features", "names", H5P_DEFAULT), 0);
  }
  const Votes read = read_votes({path("v.h5")}, {});
  EXPECT_EQ(as_vector(read.feature_names), (std::vector<std::string>{"f0", "f1"}));
  EXPECT_EQ(read.features, full_votes().features);
}

bool is_variable_length(const std::string& path, const char* dataset) {
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const Handle set(H5Dopen2(file, dataset, H5P_DEFAULT), H5Dclose);
  const Handle type(H5Dget_type(set), H5Tclose);
  return H5Tis_variable_str(type) > 0;
}

TEST_F(VotesFile, a_few_long_ids_do_not_pad_the_others) {
  Votes votes = test::make_votes(100, 1, {{0, 99, 0, 1}});
  Strings ids;
  for (int i = 0; i < 99; ++i) ids.push_back("i" + std::to_string(i));
  ids.push_back(std::string(5000, 'x') + "\xc3\xa9");
  votes.item_ids = ids;
  const std::string file = write("v.h5", votes);
  EXPECT_TRUE(is_variable_length(file, "items/id"));
  EXPECT_FALSE(is_variable_length(file, "annotators/id"));
  EXPECT_EQ(as_vector(read_votes({file}, {}).item_ids), as_vector(ids));
}

TEST_F(VotesFile, several_files_are_joined_by_id) {
  // Prompt p has items a and b, q has c, d and e; the second file numbers everything in another way.
  Votes first, second;
  for (const char* id : {"a", "b", "c", "e"}) first.item_ids.push_back(id);
  for (const char* id : {"d", "c", "a", "b"}) second.item_ids.push_back(id);
  for (const char* id : {"eve", "bob"}) first.annotator_ids.push_back(id);
  for (const char* id : {"ann", "eve"}) second.annotator_ids.push_back(id);
  for (const char* id : {"p", "q"}) first.prompt_ids.push_back(id);
  for (const char* id : {"q", "p"}) second.prompt_ids.push_back(id);
  first.prompt = second.prompt = {0, 0, 1, 1};
  first.left = {0, 1}, first.right = {1, 0}, first.annotator = {0, 1}, first.preference = {1, -1};
  second.left = {0, 2}, second.right = {1, 3}, second.annotator = {0, 1}, second.preference = {0, 1};
  first.judgement = {0, 0};
  second.weight = {3, 0.25f};
  second.judgement = {0, kNoJudgement};  // another than the first file's
  second.unknown_sides = {{0, 2}};
  const Votes votes = read_votes({write("1.h5", first), write("2.h5", second)}, {});
  EXPECT_EQ(votes.weight, (Column<float>{1, 1, 3, 0.25f}));
  ASSERT_EQ(votes.judgement.size(), 4u);
  EXPECT_EQ(votes.judgement[0], votes.judgement[1]);
  EXPECT_NE(votes.judgement[0], votes.judgement[2]);
  EXPECT_EQ(votes.judgement[3], kNoJudgement);
  EXPECT_FALSE(contains(votes.unknown_sides, 1));
  EXPECT_TRUE(contains(votes.unknown_sides, 2) && contains(votes.unknown_sides, 3));
  EXPECT_EQ(as_vector(votes.item_ids), (std::vector<std::string>{"a", "b", "c", "e", "d"}));
  EXPECT_EQ(as_vector(votes.annotator_ids), (std::vector<std::string>{"eve", "bob", "ann"}));
  EXPECT_EQ(as_vector(votes.prompt_ids), (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(votes.left, (Indices{0, 1, 4, 0}));
  EXPECT_EQ(votes.right, (Indices{1, 0, 2, 1}));
  EXPECT_EQ(votes.annotator, (Indices{0, 1, 2, 0}));
  EXPECT_EQ(votes.preference, (Column<std::int8_t>{1, -1, 0, 1}));
  EXPECT_EQ(votes.prompt, (Indices{0, 0, 1, 1, 1}));
  EXPECT_EQ(votes.inputs.size(), 2u);
}

/// Items a, b, c and b, c, d with a prior score and two features each: what b and c have is the same in both.
std::pair<Votes, Votes> overlapping_votes() {
  Votes first = test::make_votes(0, 1, {{0, 1, 0, 1}}), second = test::make_votes(0, 1, {{2, 0, 0, -1}});
  for (const char* id : {"a", "b", "c"}) first.item_ids.push_back(id);
  for (const char* id : {"c", "d", "b"}) second.item_ids.push_back(id);
  first.prior_score = {1, 2, 3};
  second.prior_score = {3, 4, 2};
  first.features = {10, 11, 20, 21, 30, 31};
  second.features = {30, 31, 40, 41, 20, 21};
  for (Votes* votes : {&first, &second})
    for (const char* name : {"length", "lists"}) votes->feature_names.push_back(name);
  return {first, second};
}

TEST_F(VotesFile, items_of_several_files_keep_their_scores_and_features) {
  const auto [first, second] = overlapping_votes();
  const Votes votes = read_votes({write("1.h5", first), write("2.h5", second)}, {});
  EXPECT_EQ(as_vector(votes.item_ids), (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(votes.prior_score, (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(votes.features, (std::vector<float>{10, 11, 20, 21, 30, 31, 40, 41}));
  EXPECT_EQ(as_vector(votes.feature_names), (std::vector<std::string>{"length", "lists"}));
}

TEST_F(VotesFile, scores_and_features_that_not_all_files_have_are_left_out) {
  const auto [first, second] = overlapping_votes();
  const auto joined = [&](const std::function<void(Votes&)>& change) {
    Votes changed = second;
    change(changed);
    write("1.h5", first);
    write("2.h5", changed);
    std::string notes;
    const Votes there =
        read_votes({path("1.h5"), path("2.h5")}, {.note = [&](const std::string& text) { notes += text; }});
    EXPECT_PRED2(test::contains, notes, "is not used, because not all files have it");
    const Votes back = read_votes({path("2.h5"), path("1.h5")}, {});
    EXPECT_EQ(there.prior_score.size(), back.prior_score.size());
    EXPECT_EQ(there.features.size(), back.features.size());
    EXPECT_EQ(there.features.empty(), there.feature_names.empty());
    return std::pair(there.prior_score.size(), there.features.size());
  };
  EXPECT_EQ(joined([](Votes& v) { v.prior_score.clear(); }), std::pair(std::size_t{0}, std::size_t{8}));
  EXPECT_EQ(joined([](Votes& v) { v.features.clear(); }), std::pair(std::size_t{4}, std::size_t{0}));
  EXPECT_EQ(joined([](Votes& v) {
              v.feature_names = Strings();
              for (const char* name : {"lists", "length"}) v.feature_names.push_back(name);
            }),
            std::pair(std::size_t{4}, std::size_t{0}));
}

TEST_F(VotesFile, an_item_with_two_values_names_both_files) {
  const auto [first, second] = overlapping_votes();
  const auto error = [&](const std::function<void(Votes&)>& damage) {
    Votes third = second;
    damage(third);
    try {
      read_votes({write("1.h5", first), write("2.h5", second), write("3.h5", third)}, {});
    } catch (const Error& e) {
      EXPECT_EQ(e.exit(), Exit::kBadInput);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error([](Votes&) {}), "no error");
  EXPECT_EQ(error([](Votes& v) { v.prior_score[1] = 7; }), path("3.h5") +
                                                               ": 'items/prior_score' row 1 is 7, but item 'd' has 4 "
                                                               "in " +
                                                               path("2.h5") + "; keep one of them");
  EXPECT_EQ(error([](Votes& v) { v.features[5] = 7; }), path("3.h5") +
                                                            ": 'items/features' row 2 column 'lists' is 7, but item "
                                                            "'b' has 21 in " +
                                                            path("1.h5") + "; keep one of them");
}

TEST_F(VotesFile, errors_name_dataset_row_and_value) {
  const auto error = [&](const std::function<void(Votes&)>& damage) {
    Votes votes = full_votes();
    damage(votes);
    write("v.h5", votes);
    return error_of("v.h5");
  };
  EXPECT_EQ(error([](Votes&) {}), "no error");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.left[2] = 9; }),
               "v.h5: 'comparisons/left' row 2 is 9; item indices run from 0 to 3");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.annotator[1] = 2; }),
               "v.h5: 'comparisons/annotator' row 1 is 2; annotator indices run");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.preference[0] = -10; }),
               "v.h5: 'comparisons/preference' row 0 is -10; it must be");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.prior_score[2] = NAN; }),
               "v.h5: 'items/prior_score' row 2 is nan; it must be a finite number");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.prior_score.pop_back(); }),
               "v.h5: 'items/prior_score' has 3 rows, but 'items/id' has 4");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.features[5] = -INFINITY; }),
               "v.h5: 'items/features' row 2 column 'f1' is -inf; it must be a finite number");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.features.resize(6); }),
               "v.h5: 'items/features' has 3 rows, but 'items/id' has 4");
  EXPECT_PRED2(test::contains, error([](Votes& v) {
                 v.feature_names = Strings();
                 for (int i = 0; i < 2; ++i) v.feature_names.push_back("f1");
               }),
               "v.h5: 'items/features.names' row 1 is 'f1', and so is row 0");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.truth->lapse_rate.pop_back(); }),
               "v.h5: 'truth/lapse_rate' has 1 rows, but 'annotators/id' has 2");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.truth->taste.resize(2); }),
               "v.h5: 'truth/taste' has 1 rows, but 'annotators/id' has 2");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.truth->feature_coefficients.resize(1); }),
               "v.h5: 'truth/feature_coefficients' has 1 numbers; with 2 features it must have 2");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.truth->feature_coefficients.resize(3); }),
               "v.h5: 'truth/feature_coefficients' has 3 numbers; it must have at most 2");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.truth->drifts[1] = 2; }),
               "v.h5: 'truth/drifts' row 1 is 2; marks run from 0 to 1");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.preference[0] = 50; }),
               "v.h5: 'comparisons/preference' row 0 is 50; it must be");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.right[1] = 1; }), "v.h5: 'comparisons/right' row 1 is 1 (");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.right[0] = 2; }),
               "v.h5: 'comparisons/right' row 0 is 2 ('a', prompt 0)");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.right.pop_back(); }),
               "v.h5: 'comparisons/right' has 2 rows, but 'comparisons/left' has 3");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.timestamp.pop_back(); }),
               "v.h5: 'comparisons/timestamp' has 2 rows");
  EXPECT_PRED2(test::contains, error([](Votes& v) {
                 v.annotator_ids.push_back("eve");
                 v.truth.reset();
               }),
               "v.h5: 'annotators/id' row 2 is 'eve', and so is row 0");
  EXPECT_PRED2(test::contains, error([](Votes& v) { v.prompt_ids.push_back("\xff"); }),
               "v.h5: 'prompts/id' row 2 is not UTF-8: \\xff");
  EXPECT_PRED2(test::contains, error([](Votes& v) {
                 v.left.clear(), v.right.clear(), v.annotator.clear(), v.preference.clear(), v.timestamp.clear();
               }),
               "v.h5: 'comparisons/left' has no rows");
}

class FitFile : public test::FileTest {};

/// A dataset as `memory_type`, by the HDF5 C library alone; `type_name`: what it is in the file.
template <class T>
Column<T> read_column(hid_t file, const char* name, hid_t memory_type, hid_t expected_type) {
  const Handle set(H5Dopen2(file, name, H5P_DEFAULT), H5Dclose);
  EXPECT_TRUE(static_cast<bool>(set)) << name;
  if (!set) return {};
  const Handle type(H5Dget_type(set), H5Tclose);
  if (expected_type >= 0) {
    EXPECT_GT(H5Tequal(type, expected_type), 0) << name;
  }
  const Handle space(H5Dget_space(set), H5Sclose);
  Column<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  EXPECT_GE(H5Dread(set, memory_type >= 0 ? memory_type : static_cast<hid_t>(type), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                    values.data()),
            0)
      << name;
  return values;
}

TEST_F(FitFile, holds_every_column_in_its_type) {
  Votes votes = test::make_votes(3, 2, {{0, 1, 0, 1}, {2, 1, 1, 0}});
  Labels labels;
  labels.items = {{1, 0.5f, -1.5f}, {0.1f, 0.2f, 0.3f}, {1, 2, 1}, {0, 0, 0}, {}};
  AnnotatorLabels& a = labels.annotators;
  a.votes = {1, 1};
  a.discrimination = {1, -0.5f};
  a.discrimination_se = {0.1f, 0.2f};
  a.side_bias = {0, 2};
  a.side_bias_se = {0.3f, 0.4f};
  a.agreement = {0.9f, NAN};
  a.expected_accuracy = {0.8f, 0.3f};
  a.bits_per_vote = {0.2f, 0.1f};
  a.flag = {static_cast<std::int8_t>(Flag::kOk), static_cast<std::int8_t>(Flag::kAdversarial)};
  a.flag_probability = {0.99f, 0.95f};
  a.copies = {-1, 0};
  labels.pairs = {.left = {0, 1},
                  .right = {1, 2},
                  .votes = {1, 1},
                  .ties = {0, 1},
                  .flagged_votes = {0, 1},
                  .wins_left = {1, 0.5f},
                  .probability = {0.6f, 0.7f},
                  .probability_better = {0.65f, 0.75f},
                  .margin = {0.5f, 2},
                  .margin_se = {0.3f, 0.4f},
                  .information_gain = {0.2f, 0.1f},
                  .target = {1, 0.4f},
                  .weight = {0.8f, 3}};
  labels.vote_probability_correct = {0.65f, NAN};
  Reliability told{"by hand", std::vector<ReliabilityBin>(kReliabilityBins)};
  told.bins[3] = {7, 0.22, 0.25};
  nlohmann::ordered_json provenance = {
      {"version", "x"}, {"reliability", {{"method", told.method}}}, {"seconds", {{"read", 1.0}, {"fit", 2.0}}}};
  for (const bool compress : {true, false}) {
    OutputFile output(path("fit.h5"));
    write_fit(output, votes, labels, told, provenance, compress);
    const Handle file(H5Fopen(path("fit.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    ASSERT_TRUE(static_cast<bool>(file));
    const auto floats = [&](const char* name) {
      return read_column<float>(file, name, H5T_NATIVE_FLOAT, H5T_IEEE_F32LE);
    };
    const auto counts = [&](const char* name) {
      return read_column<std::uint32_t>(file, name, H5T_NATIVE_UINT32, H5T_STD_U32LE);
    };
    EXPECT_EQ(floats("items/score"), labels.items.score);
    EXPECT_EQ(floats("items/std_error"), labels.items.std_error);
    EXPECT_EQ(counts("items/votes"), labels.items.votes);
    EXPECT_EQ(read_column<std::int32_t>(file, "items/component", H5T_NATIVE_INT32, H5T_STD_I32LE),
              labels.items.component);
    EXPECT_EQ(counts("annotators/votes"), a.votes);
    EXPECT_EQ(floats("annotators/discrimination"), a.discrimination);
    EXPECT_EQ(floats("annotators/discrimination_se"), a.discrimination_se);
    EXPECT_EQ(floats("annotators/side_bias"), a.side_bias);
    EXPECT_EQ(floats("annotators/side_bias_se"), a.side_bias_se);
    EXPECT_EQ(floats("annotators/agreement")[0], 0.9f);
    EXPECT_TRUE(std::isnan(floats("annotators/agreement")[1]));
    EXPECT_EQ(floats("annotators/expected_accuracy"), a.expected_accuracy);
    EXPECT_EQ(floats("annotators/bits_per_vote"), a.bits_per_vote);
    EXPECT_EQ(floats("annotators/flag_probability"), a.flag_probability);
    EXPECT_EQ(counts("pairs/left"), labels.pairs.left);
    EXPECT_EQ(counts("pairs/right"), labels.pairs.right);
    EXPECT_EQ(counts("pairs/votes"), labels.pairs.votes);
    EXPECT_EQ(counts("pairs/ties"), labels.pairs.ties);
    EXPECT_EQ(counts("pairs/flagged_votes"), labels.pairs.flagged_votes);
    EXPECT_EQ(floats("pairs/wins_left"), labels.pairs.wins_left);
    EXPECT_EQ(floats("pairs/probability"), labels.pairs.probability);
    EXPECT_EQ(floats("pairs/probability_better"), labels.pairs.probability_better);
    EXPECT_EQ(floats("pairs/margin"), labels.pairs.margin);
    EXPECT_EQ(floats("pairs/margin_se"), labels.pairs.margin_se);
    EXPECT_EQ(floats("pairs/information_gain"), labels.pairs.information_gain);
    EXPECT_EQ(floats("votes/probability_correct")[0], 0.65f);
    EXPECT_TRUE(std::isnan(floats("votes/probability_correct")[1]));

    EXPECT_EQ(read_column<std::int8_t>(file, "annotators/flag", -1, -1), a.flag);
    EXPECT_EQ(read_column<std::int32_t>(file, "annotators/copies", -1, -1), a.copies);
    const Handle flag(H5Dopen2(file, "annotators/flag", H5P_DEFAULT), H5Dclose);
    const Handle type(H5Dget_type(flag), H5Tclose);
    ASSERT_EQ(H5Tget_class(type), H5T_ENUM);
    char name[32];
    ASSERT_GE(H5Tenum_nameof(type, &a.flag[1], name, sizeof name), 0);
    EXPECT_STREQ(name, "adversarial");

    const InputHdf5 input(path("fit.h5"));
    EXPECT_EQ(input.attribute("voxpop_schema"), "fit/1");
    EXPECT_EQ(as_vector(input.read_strings("items/id")), (std::vector<std::string>{"i0", "i1", "i2"}));
    EXPECT_EQ(as_vector(input.read_strings("annotators/id")), (std::vector<std::string>{"a0", "a1"}));
    EXPECT_FALSE(input.has("items/prompt"));
    EXPECT_EQ(input.describe("pairs/margin"), compress ? "float32 [2], shuffle, gzip" : "float32 [2]");
    const auto json = nlohmann::json::parse(input.attribute("provenance"));
    EXPECT_EQ(json.at("version"), "x");
    EXPECT_GE(json.at("seconds").at("total"), 3.0);

    const voxpop::FitFile read = read_fit_file(path("fit.h5"));
    EXPECT_EQ(as_vector(read.item_ids), (std::vector<std::string>{"i0", "i1", "i2"}));
    EXPECT_TRUE(read.prompt.empty());
    EXPECT_EQ(read.labels.items.component, labels.items.component);
    EXPECT_EQ(read.labels.annotators.flag, a.flag);
    EXPECT_EQ(read.labels.annotators.side_bias_se, a.side_bias_se);
    EXPECT_TRUE(std::isnan(read.labels.annotators.agreement[1]));
    EXPECT_EQ(read.labels.pairs.right, labels.pairs.right);
    EXPECT_EQ(read.labels.pairs.ties, labels.pairs.ties);
    EXPECT_EQ(read.labels.pairs.margin, labels.pairs.margin);
    EXPECT_FALSE(read.labels.drift.has_value());
    EXPECT_EQ(read.reliability.method, "by hand");
    EXPECT_EQ(read.reliability.trials(), 7);
    EXPECT_FLOAT_EQ(static_cast<float>(read.reliability.bins[3].observed), 0.25f);
  }
}

}  // namespace
}  // namespace voxpop
