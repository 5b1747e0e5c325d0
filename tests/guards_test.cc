// What is said of votes that are suspicious, and that nothing is said of sound ones.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include <random>

#include "guards/findings.h"
#include "helpers.h"

namespace voxpop {
namespace {

using test::Row;

constexpr std::int64_t kNow = 1'790'000'000;  // 2026-09-21

std::vector<Finding> look_at(Votes votes) {
  const Groups groups = group_votes(votes, Ties::kModel);
  return find_findings(votes, find_limits(groups, votes), kNow);
}

const Finding* find(const std::vector<Finding>& findings, const std::string& kind) {
  const auto at = std::ranges::find(findings, kind, &Finding::kind);
  return at == findings.end() ? nullptr : &*at;
}

/// Votes of three annotators on four items, sides drawn, so that `code_of` alone decides what is odd: it is told
/// whether the left item was found better, and how strongly (1 or 2).
template <class CodeOf>
std::vector<Row> draw(int count, const CodeOf& code_of, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<Row> rows;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t left = random() % 4, right = (left + 1 + random() % 3) % 4;
    const bool left_better = (left > right) == (random() % 4 > 0);
    rows.push_back(
        {left, right, static_cast<std::uint32_t>(random() % 3), code_of(left_better, 1 + int(random() % 2))});
  }
  return rows;
}

const auto sound = [](bool left, int) { return left ? 1 : -1; };

std::vector<Finding> of(const std::vector<Row>& rows) { return look_at(test::make_votes(4, 3, rows)); }

TEST(Guards, sound_codes_are_left_alone) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed)
    for (const int count : {1, 3, 9, 10, 30, 300}) {
      const auto signs = of(draw(count, sound, seed));
      const auto grades = of(draw(
          count, [](bool left, int strength) { return left ? strength : -strength; }, seed));
      const auto ties = of(draw(
          count, [](bool left, int strength) { return strength == 1 ? 0
                                                      : left        ? 1
                                                                    : -1; }, seed));
      for (const auto& findings : {signs, grades, ties})
        for (const char* kind : {"foreign_codes", "one_sided", "one_sided_strength"}) {
          const Finding* const finding = find(findings, kind);
          EXPECT_TRUE(finding == nullptr || (count < 30 && finding->level < Level::kDoNotTrain))
              << kind << " seed " << seed << " votes " << count << ": " << finding->text;
        }
    }
}

/// The same votes in codes of other tools, none of which may pass.
TEST(Guards, foreign_codes) {
  struct Coding {
    int left1, left2, right1, right2;
    const char *listed, *remedy, *rewrite;
  };
  for (const auto& [left1, left2, right1, right2, listed, remedy, rewrite] :
       {Coding{0, 0, 1, 1, "0 (", "--map \"0=left,1=right\"", "= 1 - 2 * p"},
        Coding{1, 1, 0, 0, "0 (", "--map \"0=left,1=right\"", "= 1 - 2 * p"},
        Coding{1, 1, 2, 2, "1 (", "--map \"1=left,2=right\"", "= 3 - 2 * p"},
        Coding{2, 1, 4, 5, "5 (", "--scale 1..5", "= 3 - p"}, Coding{3, 1, 5, 7, "7 (", "--scale 1..7", "= 4 - p"},
        Coding{2, 1, 3, 4, "4 (", "--scale 1..4", "= 5 - 2 * p"}, Coding{1, 0, 3, 4, "4 (", "--scale 0..4", "= 2 - p"},
        Coding{3, 2, 5, 6, "6 (", "--scale 2..6", "= 4 - p"}}) {
    const auto code = [&, l1 = left1, l2 = left2, r1 = right1, r2 = right2](bool left, int strength) {
      return left ? (strength == 1 ? l1 : l2) : (strength == 1 ? r1 : r2);
    };
    for (const int count : {40, 400}) {
      const auto findings = of(draw(count, code));
      const Finding* const finding = find(findings, "foreign_codes");
      ASSERT_NE(finding, nullptr) << remedy;
      EXPECT_EQ(finding->level, Level::kDoNotTrain);
      EXPECT_EQ(findings.front().level, Level::kDoNotTrain);
      EXPECT_TRUE(test::contains(finding->text, "no vote prefers the right item"));
      EXPECT_TRUE(test::contains(finding->text, listed)) << finding->text;
      EXPECT_TRUE(test::contains(finding->remedy, remedy)) << finding->remedy;
      EXPECT_TRUE(test::contains(finding->remedy, rewrite)) << finding->remedy;
      EXPECT_TRUE(test::contains(finding->remedy, "--winner COLUMN --loser COLUMN"));
    }
  }
  const auto few = of(draw(8, [](bool left, int) { return left ? 1 : 2; }));
  ASSERT_NE(find(few, "foreign_codes"), nullptr);
  EXPECT_EQ(find(few, "foreign_codes")->level, Level::kCare);
}

TEST(Guards, the_counts_of_codes_are_listed) {
  std::vector<Row> rows = {{0, 1, 0, 0}, {1, 2, 0, 0}};
  for (std::uint32_t i = 0; i < 12; ++i) rows.push_back({i % 4, (i + 1) % 4, i % 3, 1});
  EXPECT_TRUE(test::contains(find(of(rows), "foreign_codes")->text,
                             "votes.h5: no vote prefers the right item; the codes are 0 (2 times), 1 (12 times)."));
}

TEST(Guards, votes_that_go_one_way) {
  const auto one_way = [](int code, int count, int against) {
    std::vector<Row> rows = draw(count, [&](bool, int) { return code; });
    for (int i = 0; i < against; ++i) rows[static_cast<std::size_t>(i)].preference = -code;
    return of(rows);
  };
  const auto level = [&](int code, int count, int against) {
    const auto findings = one_way(code, count, against);
    const Finding* const finding = find(findings, "one_sided");
    return finding == nullptr ? std::optional<Level>() : finding->level;
  };
  for (const int code : {1, -1}) {
    EXPECT_EQ(level(code, 1000, 0), Level::kDoNotTrain);
    EXPECT_EQ(level(code, 1000, 19), Level::kDoNotTrain);
    EXPECT_EQ(level(code, 1000, 60), Level::kCare);
    EXPECT_EQ(level(code, 1000, 150), std::nullopt);
    EXPECT_EQ(level(code, 30, 0), Level::kDoNotTrain);
    EXPECT_EQ(level(code, 12, 0), Level::kCare);
    EXPECT_EQ(level(code, 8, 0), std::nullopt);  // four wins of each of two items look so, too
  }
  EXPECT_TRUE(test::contains(find(one_way(1, 1000, 12), "one_sided")->text,
                             "988 of 1000 decided votes (98.8 %) prefer the left item"));
  EXPECT_TRUE(test::contains(find(one_way(-1, 1000, 0), "one_sided")->text, "prefer the right item"));
}

TEST(Guards, unknown_sides_may_all_be_won_by_the_left) {
  Votes votes = test::make_votes(4, 3, draw(200, [](bool, int strength) { return strength; }));
  votes.unknown_sides = {{0, 200}};
  for (const Finding& finding : look_at(votes)) EXPECT_NE(finding.level, Level::kDoNotTrain) << finding.text;
}

/// Of two vendors' files one is coded in another way, or says only who won: together they look less odd.
TEST(Guards, each_file_is_looked_at) {
  std::vector<Row> rows = draw(1000, sound);
  const std::vector<Row> more = draw(200, [](bool left, int) { return left ? 0 : 1; });
  rows.insert(rows.end(), more.begin(), more.end());
  Votes votes = test::make_votes(4, 3, rows);
  votes.inputs = {{"a.h5", 0, "", {0, 1000}}, {"b.h5", 0, "", {1000, 1200}}};
  const auto findings = look_at(votes);
  const Finding* const finding = find(findings, "foreign_codes");
  ASSERT_NE(finding, nullptr);
  EXPECT_TRUE(finding->text.starts_with("b.h5: no vote prefers the right item"));
  votes.unknown_sides = {{1000, 1200}};
  EXPECT_EQ(find(look_at(votes), "foreign_codes"), nullptr);

  // Too few votes in each file to say anything; together they are enough.
  votes = test::make_votes(4, 3, draw(40, [](bool, int) { return 1; }));
  votes.inputs.clear();
  for (std::uint64_t f = 0; f < 10; ++f) votes.inputs.push_back({"part.h5", 0, "", {4 * f, 4 * f + 4}});
  const auto together = look_at(votes);
  ASSERT_NE(find(together, "one_sided"), nullptr);
  EXPECT_TRUE(find(together, "one_sided")->text.starts_with("All files together: 40 of 40"));
}

TEST(Guards, a_strength_that_goes_one_way) {
  // 2 is a tie, 9 "not known": among signs that are as they should be.
  for (const int code : {2, 9, -9}) {
    std::vector<Row> rows = draw(400, sound);
    for (std::size_t i = 0; i < 60; ++i) rows[i].preference = code;
    const auto findings = of(rows);
    const Finding* const finding = find(findings, "one_sided_strength");
    ASSERT_NE(finding, nullptr);
    EXPECT_EQ(finding->level, Level::kDoNotTrain);
    EXPECT_TRUE(test::contains(finding->text, fmt::format("code {} occurs 60 times, but code {} only 0", code, -code)));
    EXPECT_TRUE(test::contains(finding->remedy, fmt::format("\"{}=tie\"", code)));
  }
}

TEST(Guards, times) {
  const auto with_times = [](const std::vector<std::int64_t>& times) {
    Votes votes = test::make_votes(4, 3, draw(static_cast<int>(times.size()), sound));
    votes.timestamp.assign(times.begin(), times.end());
    return look_at(votes);
  };
  EXPECT_EQ(find(with_times({kNow - 90, kNow, kNow + 3600}), "times_in_future"), nullptr);  // a clock that is fast
  const auto future = with_times({kNow, kNow + 90'000, kNow + 100'000'000});
  ASSERT_NE(find(future, "times_in_future"), nullptr);
  EXPECT_TRUE(
      test::contains(find(future, "times_in_future")->text, "2 of 3 timestamps are in the future. The latest is 20"));
  const auto milliseconds = with_times({1'700'000'000'000, 1'700'000'060'000, kNow});
  ASSERT_NE(find(milliseconds, "times_in_milliseconds"), nullptr);
  EXPECT_TRUE(
      test::contains(find(milliseconds, "times_in_milliseconds")->text,
                     "2 of 3 timestamps are after the year 9999. They look like milliseconds (then 1700000060000 is "
                     "2023-11-14 22:14 UTC)"));
  EXPECT_TRUE(test::contains(find(milliseconds, "times_in_milliseconds")->remedy, "= t // 1000"));
  EXPECT_EQ(find(milliseconds, "times_in_future"), nullptr);
  const auto old = with_times({0, kNow - 5, kNow});
  ASSERT_NE(find(old, "times_before_2000"), nullptr);
  EXPECT_TRUE(
      test::contains(find(old, "times_before_2000")->text, "1 of 3 timestamps are before 2000; the first is 1970"));
  const auto same = with_times({kNow, kNow, kNow});
  ASSERT_NE(find(same, "times_all_same"), nullptr);
  EXPECT_EQ(find(same, "times_all_same")->level, Level::kNote);
  // The furthest that a file may hold: still words.
  EXPECT_NE(find(with_times({-kMostSeconds, kMostSeconds, 0}), "times_in_milliseconds"), nullptr);
}

TEST(Guards, ids_that_differ_only_by_how_they_are_written) {
  const auto of_ids = [](const std::vector<std::string>& ids, bool annotators) {
    Votes votes = test::make_votes(4, 3, draw(60, sound));
    Strings& table = annotators ? votes.annotator_ids : votes.item_ids;
    const Strings before = table;
    table = Strings();
    for (const std::string& id : ids) table.push_back(id);
    for (std::size_t i = ids.size(); i < before.size(); ++i) table.push_back(before[i]);
    const auto findings = look_at(votes);
    const Finding* const finding = find(findings, annotators ? "similar_annotator_ids" : "similar_item_ids");
    return finding == nullptr ? "" : finding->text;
  };
  for (const bool annotators : {false, true}) {
    for (const auto& [one, other, how] : {std::tuple{"gpt-4", "GPT-4", "by case"},
                                          {"anna", "anna ", "by spaces"},
                                          {"\tanna", "anna", "by spaces"},
                                          {"Anna Karenina", "anna  karenina", "by case or spaces"},
                                          {"17", "17.0", "by \".0\""},
                                          {"Caf\u00e9", "Cafe\u0301", "Unicode"},  // composed, decomposed
                                          {"m\u00a01", "m 1", "Unicode"},          // a no-break space
                                          {"\ufeffm1", "m1", "Unicode"},           // a byte order mark
                                          {"\uff4d1", "m1", "Unicode"},            // a full-width letter
                                          {"STRASSE", "stra\u00dfe", "Unicode"}}) {
      const std::string text = of_ids({one, other}, annotators);
      EXPECT_TRUE(test::contains(text, annotators ? "1 annotator id differs" : "1 item id differs")) << one << text;
      EXPECT_TRUE(test::contains(text, how)) << text;
    }
    EXPECT_EQ(of_ids({"m1", "m2"}, annotators), "");
    EXPECT_EQ(of_ids({"A", "B"}, annotators), "");
    EXPECT_EQ(of_ids({"v2", "v2.0.0", "2.05"}, annotators), "");
    EXPECT_EQ(of_ids({"e", "\u00e9", "\u00ea"}, annotators), "");  // accents are no way of writing
    EXPECT_TRUE(test::contains(of_ids({"a", "A", "a "}, annotators), "2 "));
  }
}

TEST(Guards, many_ids) {
  Votes votes = test::make_votes(4, 3, draw(60, sound));
  Strings ids;
  for (int i = 0; i < 300'000; ++i) ids.push_back(fmt::format("Item {}", i));
  votes.item_ids = ids;
  EXPECT_EQ(find(look_at(votes), "similar_item_ids"), nullptr);
  votes.item_ids.push_back("item 123456");
  const auto findings = look_at(votes);
  ASSERT_NE(find(findings, "similar_item_ids"), nullptr);
  EXPECT_TRUE(
      test::contains(find(findings, "similar_item_ids")->text, "such as 'Item 123456' and 'item 123456' (by case"));
}

TEST(Guards, nobody_is_named) {
  Votes votes = test::make_votes(4, 1, draw(60, sound));
  for (auto& annotator : votes.annotator) annotator = 0;
  votes.annotator_ids = Strings();
  votes.annotator_ids.push_back("anonymous");
  votes.anonymous = {{0, 60}};
  const auto plain = look_at(votes);
  ASSERT_NE(find(plain, "no_annotator_named"), nullptr);
  EXPECT_TRUE(find(plain, "no_annotator_named")->text.starts_with("The annotators are not known"));
  EXPECT_EQ(find(plain, "one_annotator"), nullptr);
  for (const char* name : {"comparisons/judge", "comparisons/worker_id", "comparisons/WorkerId", "comparisons/user",
                           "rater", "votes/annotator_id", "comparisons/completed_by", "comparisons/labeler"}) {
    votes.unused = {"comparisons/comment", name};
    const auto findings = look_at(votes);
    EXPECT_TRUE(
        test::contains(find(findings, "no_annotator_named")->text, fmt::format("'{}' looks like annotators", name)));
  }
  for (const char* name :
       {"comparisons/comment", "comparisons/user_agent", "comparisons/judgement_text", "items/personality"}) {
    votes.unused = {name};
    EXPECT_FALSE(test::contains(find(look_at(votes), "no_annotator_named")->text, "looks like annotators")) << name;
  }
  votes.anonymous = {{0, 20}};
  EXPECT_TRUE(find(look_at(votes), "no_annotator_named")->text.starts_with("20 of 60 votes have no annotator"));
}

TEST(Guards, simulated_votes_of_all_shapes_are_sound) {
  for (const Shape shape : {Shape::kRlhf, Shape::kArena, Shape::kChain, Shape::kGraph, Shape::kMix})
    for (const std::uint64_t seed : {1, 2, 3}) {
      Votes votes = simulate_votes({.shape = shape,
                                    .prompts = 300,
                                    .responses = shape == Shape::kArena ? 20u : 4u,
                                    .annotators = 40,
                                    .mix = {},
                                    .ties = seed == 2 ? 0.2 : 0.0,
                                    .grades = seed == 3 ? 3u : 0u,
                                    .days = 30,
                                    .seed = seed});
      for (const Finding& finding : look_at(std::move(votes)))
        EXPECT_TRUE(finding.kind == "repeated_votes" && shape != Shape::kRlhf) << finding.kind << ": " << finding.text;
    }
}

TEST(Guards, most_annotators_against_quality) {
  const auto of_flags = [](int ok, int adversarial, int unknown) {
    Labels all;
    AnnotatorLabels& labels = all.annotators;
    for (const auto& [count, flag] :
         {std::pair{ok, Flag::kOk}, {adversarial, Flag::kAdversarial}, {unknown, Flag::kTooFewVotes}})
      for (int i = 0; i < count; ++i) {
        labels.flag.push_back(static_cast<std::int8_t>(flag));
        labels.votes.push_back(100);
      }
    std::vector<Finding> findings;
    Fit fit;
    fit.standing.agreement = static_cast<double>(ok - adversarial) / (ok + adversarial + unknown);
    add_fit_findings({}, all, fit, findings);
    return has_kind(findings, "mostly_adversarial");
  };
  EXPECT_TRUE(of_flags(6, 18, 0));
  EXPECT_TRUE(of_flags(3, 3, 20));
  EXPECT_FALSE(of_flags(18, 6, 0));
  EXPECT_FALSE(of_flags(1, 1, 0));  // two who disagree
  EXPECT_FALSE(of_flags(0, 0, 9));
}

/// Votes that agree no more than by chance: nothing that is said of annotators stays.
TEST(Guards, of_chance_nothing_is_known) {
  const auto flag_at = [](Agreement agreement) {
    Labels labels;
    labels.annotators.flag = {static_cast<std::int8_t>(Flag::kOk)};
    labels.annotators.flag_probability = labels.annotators.expected_accuracy = {0.9f};
    labels.annotators.votes = {200};
    labels.vote_probability_correct = {0.9f, 0.8f};
    std::vector<Finding> findings;
    add_fit_findings(agreement, labels, Fit(), findings);
    EXPECT_EQ(has_kind(findings, kReliabilityUnknown), std::isnan(flip_rate(labels)));
    return static_cast<Flag>(labels.annotators.flag[0]);
  };
  EXPECT_EQ(flag_at({2.5, 2.5, 200}), Flag::kUnknown);
  EXPECT_EQ(flag_at({-4, -3, 200}), Flag::kUnknown);
  EXPECT_EQ(flag_at({4, 2.5, 200}), Flag::kUnknown);  // annotators do not agree on that they agree
  EXPECT_EQ(flag_at({3.5, 3.2, 200}), Flag::kOk);
  EXPECT_EQ(flag_at({9, 1.5, 200}), Flag::kOk);
  EXPECT_EQ(flag_at({1, 1, 10}), Flag::kOk);  // too few votes to tell either way
}

TEST(Guards, findings_survive_a_file_and_strangers_files_are_tamed) {
  const std::vector<Finding> findings = {{"b", Level::kDoNotTrain, "worse", "do this"}, {"a", Level::kNote, "so", ""}};
  const auto back = findings_from(to_json(findings));
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].kind, "b");
  EXPECT_EQ(back[0].level, Level::kDoNotTrain);
  EXPECT_EQ(back[0].remedy, "do this");
  EXPECT_EQ(back[1].level, Level::kNote);
  EXPECT_EQ(warnings_of(findings, {"more"}), (std::vector<std::string>{"worse", "more"}));
  EXPECT_EQ(told(findings[0]), "DO NOT TRAIN: worse\n  do this");
  EXPECT_EQ(told(findings[1]), "NOTE: so");

  const auto odd = findings_from(nlohmann::ordered_json::parse(
      R"([3, {"text": 5}, {"level": "fine", "text": "a\u001b[2J\nb"}, {"level": "note", "text": "last"}, {"text": ""}])"));
  ASSERT_EQ(odd.size(), 2u);
  EXPECT_EQ(odd[0].level, Level::kCare);
  EXPECT_EQ(odd[0].text, "a?[2J?b");
  EXPECT_EQ(odd[1].text, "last");
  EXPECT_TRUE(findings_from("none").empty());
  const auto lengthy = findings_from({{{"text", std::string(100'000, 'w')}, {"level", "note"}}});
  EXPECT_LE(lengthy.at(0).text.size(), 1003u);
}

}  // namespace
}  // namespace voxpop
