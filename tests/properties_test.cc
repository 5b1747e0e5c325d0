// What must hold of a fit whatever the votes say: symmetries, which change no bit, and inputs at the edge.

#include <array>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "fit/fit.h"
#include "formulas/fixed_point.h"
#include "helpers.h"
#include "label/labels.h"
#include "simulate/simulate.h"

namespace voxpop {
namespace {

/// What a number of an outcome belongs to.
enum class Of { kFit, kItem, kAnnotator, kPair, kVote };

struct Numbers {
  Of of;
  std::vector<double> value;
};

/// All that a fit says, by name. Pairs are told apart by their items, lower first.
struct Outcome {
  std::map<std::string, Numbers> columns;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  Fit fit;

  const std::vector<double>& operator[](const std::string& name) const { return columns.at(name).value; }
};

Outcome outcome_of(const Groups& groups, const Fit& fit, const Labels& labels) {
  Outcome out;
  const auto add = [&](const char* name, Of of, const auto& column) {
    out.columns[name] = {of, std::vector<double>(column.begin(), column.end())};
  };
  add("item score", Of::kItem, labels.items.score);
  add("item std_error", Of::kItem, labels.items.std_error);
  add("item votes", Of::kItem, labels.items.votes);
  add("item controlled_score", Of::kItem, labels.items.controlled_score);
  const AnnotatorLabels& a = labels.annotators;
  add("annotator votes", Of::kAnnotator, a.votes);
  add("annotator discrimination", Of::kAnnotator, a.discrimination);
  add("annotator discrimination_se", Of::kAnnotator, a.discrimination_se);
  add("annotator side_bias", Of::kAnnotator, a.side_bias);
  add("annotator side_bias_se", Of::kAnnotator, a.side_bias_se);
  add("annotator tie_habit", Of::kAnnotator, a.tie_habit);
  add("annotator tie_habit_se", Of::kAnnotator, a.tie_habit_se);
  add("annotator eta", Of::kAnnotator, a.eta);
  add("annotator eta_se", Of::kAnnotator, a.eta_se);
  add("annotator taste", Of::kAnnotator, a.taste);
  add("annotator taste_se", Of::kAnnotator, a.taste_se);
  add("annotator agreement", Of::kAnnotator, a.agreement);
  add("annotator expected_accuracy", Of::kAnnotator, a.expected_accuracy);
  add("annotator bits_per_vote", Of::kAnnotator, a.bits_per_vote);
  add("annotator flag", Of::kAnnotator, a.flag);
  add("annotator flag_probability", Of::kAnnotator, a.flag_probability);
  const PairColumns& p = labels.pairs;
  add("pair votes", Of::kPair, p.votes);
  add("pair ties", Of::kPair, p.ties);
  add("pair flagged_votes", Of::kPair, p.flagged_votes);
  add("pair wins_left", Of::kPair, p.wins_left);
  add("pair probability", Of::kPair, p.probability);
  add("pair probability_better", Of::kPair, p.probability_better);
  add("pair margin", Of::kPair, p.margin);
  add("pair margin_se", Of::kPair, p.margin_se);
  add("pair information_gain", Of::kPair, p.information_gain);
  add("vote probability_correct", Of::kVote, labels.vote_probability_correct);
  add("covariate sd", Of::kFit, groups.covariates.sd);
  add("covariate coefficient", Of::kFit, labels.covariates.coefficient);
  add("covariate coefficient_se", Of::kFit, labels.covariates.coefficient_se);
  add("covariate taste_sd", Of::kFit, labels.covariates.taste_sd);
  add("threshold", Of::kFit, std::vector<float>(std::begin(fit.scale.edge), std::end(fit.scale.edge)));
  add("log_evidence", Of::kFit, std::array{fit.posterior.log_evidence});
  add("iterations", Of::kFit, std::array{fit.iterations});
  add("population", Of::kFit,
      std::array{fit.population.mean, fit.population.variance, fit.population.side_bias_variance,
                 fit.population.share_mean, fit.population.share_variance});
  for (std::size_t i = 0; i < p.left.size(); ++i) out.pairs.emplace_back(p.left[i], p.right[i]);
  out.fit = fit;
  return out;
}

Outcome fit_votes(Votes votes, Model model, Ties ties = Ties::kModel, FitOptions options = {}) {
  const std::size_t items = votes.item_ids.size(), rows = votes.size();
  Groups groups = group_votes(votes, ties);
  groups.covariates = find_covariates(votes, groups, {});
  options.model = model;
  options.answers = groups.answers;
  options.covariates = groups.covariates.count();
  options.tastes = groups.covariates.features;
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  const Fit fit = fit_model(*engine, count_votes(groups), options, [](int, double) {});
  return outcome_of(groups, fit, make_labels(groups, fit, find_pair_labels(*engine, fit), items, rows));
}

using Places = std::vector<std::uint32_t>;

Places in_place(std::size_t size) {
  Places places(size);
  std::iota(places.begin(), places.end(), 0u);
  return places;
}

Places shuffled(std::size_t size) {
  Places places = in_place(size);
  std::shuffle(places.begin(), places.end(), std::mt19937(5));
  return places;
}

/// Where each item, annotator and row went; and which columns changed their sign on the way.
struct Change {
  Places item, annotator, row;
  std::set<std::string> negated = {};
  std::set<std::string> not_compared = {};
};

Change no_change(const Votes& votes) {
  return {in_place(votes.item_ids.size()), in_place(votes.annotator_ids.size()), in_place(votes.size())};
}

/// `after` is `before` but for `change`: within `tolerance`, of 0 bit for bit (but that 0 may be -0).
void expect_changed(const Outcome& before, const Outcome& after, const Change& change, double tolerance = 0) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::size_t> place_of_pair;
  for (std::size_t p = 0; p < after.pairs.size(); ++p) place_of_pair[after.pairs[p]] = p;
  Places pair;
  std::vector<bool> turned;
  for (const auto& [left, right] : before.pairs) {
    const auto [low, high] = std::minmax(change.item[left], change.item[right]);
    pair.push_back(static_cast<std::uint32_t>(place_of_pair.at({low, high})));
    turned.push_back(change.item[left] > change.item[right]);
  }
  const auto places = [&](Of of) -> const Places* {
    if (of == Of::kItem) return &change.item;
    if (of == Of::kAnnotator) return &change.annotator;
    if (of == Of::kPair) return &pair;
    return of == Of::kVote ? &change.row : nullptr;
  };
  for (const auto& [name, numbers] : before.columns) {
    if (change.not_compared.contains(name)) continue;
    const std::vector<double>& moved = after[name];
    ASSERT_LE(numbers.value.size(), moved.size()) << name;
    const Places* place = places(numbers.of);
    const std::size_t width = place == nullptr || moved.empty() ? 1 : numbers.value.size() / place->size();
    std::size_t unequal = 0;
    double worst = 0;
    for (std::size_t i = 0; i < numbers.value.size(); ++i) {
      const std::size_t row = i / width;
      double x = numbers.value[i], y = moved[place == nullptr ? i : (*place)[row] * width + i % width];
      if (std::isnan(x) && std::isnan(y)) continue;
      if (change.negated.contains(name)) x = -x;
      if (numbers.of == Of::kPair && turned[row]) {
        if (name == "pair margin") x = -x;
        if (name.starts_with("pair probability")) x = 1 - x;
        if (name == "pair wins_left") x = before["pair votes"][row] - x;
      }
      const double off = std::abs(x - y);
      worst = std::max(worst, std::isnan(off) ? INFINITY : off);
      unequal += !(off <= tolerance * std::max(1.0, std::abs(x)));
    }
    EXPECT_EQ(unequal, 0u) << name << " of " << moved.size() << ": off by up to " << worst;
  }
}

Votes with_rows(const Votes& votes, const Places& new_row) {
  Votes out = votes;
  for (std::size_t v = 0; v < votes.size(); ++v) {
    out.left[new_row[v]] = votes.left[v];
    out.right[new_row[v]] = votes.right[v];
    out.annotator[new_row[v]] = votes.annotator[v];
    out.preference[new_row[v]] = votes.preference[v];
  }
  return out;
}

Votes with_items(const Votes& votes, const Places& new_item) {
  Votes out = votes;
  for (std::uint32_t& item : out.left) item = new_item[item];
  for (std::uint32_t& item : out.right) item = new_item[item];
  const std::size_t features = votes.feature_names.size();
  for (std::size_t i = 0; i < new_item.size(); ++i) {
    if (!votes.prior_score.empty()) out.prior_score[new_item[i]] = votes.prior_score[i];
    for (std::size_t f = 0; f < features; ++f)
      out.features[new_item[i] * features + f] = votes.features[i * features + f];
  }
  return out;
}

/// Items renamed at random, each prompt's among themselves in the order they had.
Places shuffled_prompts(const Votes& votes) {
  std::map<std::uint32_t, Places> items_of;
  for (std::uint32_t item = 0; item < votes.prompt.size(); ++item) items_of[votes.prompt[item]].push_back(item);
  const Places at_random = shuffled(votes.item_ids.size());
  Places new_item(votes.item_ids.size());
  for (const auto& [prompt, items] : items_of) {
    Places names;
    for (const std::uint32_t item : items) names.push_back(at_random[item]);
    std::sort(names.begin(), names.end());
    for (std::size_t i = 0; i < items.size(); ++i) new_item[items[i]] = names[i];
  }
  return new_item;
}

/// One kind of votes and a model for them.
struct Case {
  std::string name;
  Model model;
  SimulateOptions votes;
  Ties ties = Ties::kModel;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

const SimulateOptions kPrompts{.prompts = 400, .pairs_per_prompt = 4, .votes_per_pair = 3, .annotators = 30, .mix = {}};
SimulateOptions all_that_votes_can_say() {
  SimulateOptions options = kPrompts;
  options.ties = 0.15;
  options.grades = 3;
  options.features = 2;
  options.taste_sd = 0.3;
  options.prior_score = 0.5;
  return options;
}
SimulateOptions with_ties() {
  SimulateOptions options = kPrompts;
  options.ties = 0.15;
  return options;
}

const std::vector<Case> kCases = {
    {"bt", Model::kBradleyTerry, kPrompts},
    {"crowd_bt", Model::kCrowdBt, kPrompts},
    {"rater", Model::kRater, kPrompts},
    {"bt_of_all_that_votes_can_say", Model::kBradleyTerry, all_that_votes_can_say()},
    {"crowd_bt_of_ties", Model::kCrowdBt, with_ties()},
    {"rater_of_all_that_votes_can_say", Model::kRater, all_that_votes_can_say()},
    {"rater_of_half_ties", Model::kRater, with_ties(), Ties::kHalf},
    {"dense_rater",
     Model::kRater,
     {.shape = Shape::kArena, .prompts = 1, .responses = 60, .pairs_per_prompt = 900, .annotators = 20, .mix = {}}},
    {"sparse_rater",
     Model::kRater,
     {.shape = Shape::kGraph, .prompts = 1100, .pairs_per_prompt = 4, .annotators = 20, .mix = {}}},
};

class Property : public testing::TestWithParam<Case> {
 protected:
  Property() : votes_(simulate_votes(GetParam().votes)), before_(fit(votes_)), change_(no_change(votes_)) {}
  Outcome fit(const Votes& votes) const { return fit_votes(votes, GetParam().model, GetParam().ties); }

  Votes votes_;
  Outcome before_;
  Change change_;
};

INSTANTIATE_TEST_SUITE_P(Of, Property, testing::ValuesIn(kCases), [](const auto& c) { return c.param.name; });

TEST_P(Property, swapping_the_sides_of_every_vote_negates_side_biases) {
  Votes swapped = votes_;
  std::swap(swapped.left, swapped.right);
  for (std::int8_t& preference : swapped.preference) preference = static_cast<std::int8_t>(-preference);
  change_.negated = {"annotator side_bias"};
  expect_changed(before_, fit(swapped), change_);
}

TEST_P(Property, the_order_of_votes_changes_no_bit) {
  change_.row = shuffled(votes_.size());
  expect_changed(before_, fit(with_rows(votes_, change_.row)), change_);
}

TEST_P(Property, names_of_annotators_change_no_bit) {
  change_.annotator = shuffled(votes_.annotator_ids.size());
  Votes renamed = votes_;
  for (std::uint32_t& annotator : renamed.annotator) annotator = change_.annotator[annotator];
  expect_changed(before_, fit(renamed), change_);
}

TEST_P(Property, the_order_of_prompts_changes_no_bit) {
  if (votes_.prompt.empty()) GTEST_SKIP() << "one component";
  change_.item = shuffled_prompts(votes_);
  expect_changed(before_, fit(with_items(votes_, change_.item)), change_);
}

/// Items of a component are eliminated in the order of their names: beyond what that rounds nothing depends on these.
TEST_P(Property, names_of_items_change_what_rounding_changes) {
  if (GetParam().name == "sparse_rater") GTEST_SKIP() << "variances come from random signs, which go by name";
  change_.item = shuffled(votes_.item_ids.size());
  expect_changed(before_, fit(with_items(votes_, change_.item)), change_, 1e-4);  // rounding decides some half steps
}

/// Every vote for the other item. Probabilities of two sides are one minus the other but for rounding.
TEST_P(Property, reversed_votes_negate_scores) {
  Votes reversed = votes_;
  for (std::int8_t& preference : reversed.preference) preference = static_cast<std::int8_t>(-preference);
  change_.negated = {"item score",          "item controlled_score", "pair margin",
                     "annotator side_bias", "annotator taste",       "covariate coefficient"};
  change_.not_compared = {"pair wins_left", "pair probability", "pair probability_better"};
  expect_changed(before_, fit(reversed), change_, 1e-5);
}

TEST_P(Property, items_and_annotators_without_votes_change_no_bit) {
  Votes more = votes_;
  for (int i = 0; i < 100; ++i) {
    more.item_ids.push_back("silent" + std::to_string(i));
    more.annotator_ids.push_back("silent" + std::to_string(i));
    if (!more.prior_score.empty()) more.prior_score.push_back(1);
    more.features.insert(more.features.end(), more.feature_names.size(), 2);
  }
  expect_changed(before_, fit(more), change_);
}

void add_vote(Votes& votes, std::uint32_t left, std::uint32_t right, std::uint32_t annotator, std::int8_t preference) {
  votes.left.push_back(left);
  votes.right.push_back(right);
  votes.annotator.push_back(annotator);
  votes.preference.push_back(preference);
}

double mean_ratio(const std::vector<double>& after, const std::vector<double>& before, double unit = 1) {
  double sum = 0;
  for (std::size_t i = 0; i < before.size(); ++i) sum += after[i] / before[i] / unit;
  return sum / static_cast<double>(before.size());
}

/// Against the spread of scores, which is the unit of a fit; a logit of the reference annotator is another one after
/// votes that agree with one another twice as often. Twice the votes alone would make it 0.71, the prior more.
TEST_P(Property, doubled_votes_narrow_intervals) {
  Votes doubled = votes_;
  for (std::size_t v = 0; v < votes_.size(); ++v)
    add_vote(doubled, votes_.left[v], votes_.right[v], votes_.annotator[v], votes_.preference[v]);
  const Outcome after = fit(doubled);
  const double unit = after.fit.reference_discrimination / before_.fit.reference_discrimination;
  std::size_t wider = 0;
  for (std::size_t p = 0; p < before_.pairs.size(); ++p)
    wider += after["pair margin_se"][p] / unit > before_["pair margin_se"][p];
  EXPECT_LE(wider, before_.pairs.size() / 1000);
  EXPECT_LT(mean_ratio(after["pair margin_se"], before_["pair margin_se"], unit), 0.75);
  EXPECT_LT(mean_ratio(after["item std_error"], before_["item std_error"], unit), 0.85);
  if (has_discriminations(GetParam().model)) {
    EXPECT_LT(mean_ratio(after["annotator discrimination_se"], before_["annotator discrimination_se"]), 1);
    EXPECT_LT(mean_ratio(after["annotator side_bias_se"], before_["annotator side_bias_se"]), 0.9);
  }
}

/// A second annotator with the votes of one that is there, on items of its own: they share nothing with anyone, but the
/// population that all annotators come from, of which they are a thirtieth. In standard errors; fits settle to 0.2.
TEST_P(Property, an_annotator_who_never_overlaps_hardly_moves_others) {
  Votes more = votes_;
  more.annotator_ids.push_back("hermit");
  std::map<std::uint32_t, std::uint32_t> own;
  const auto own_item = [&](std::uint32_t item) {
    const auto [place, is_new] = own.emplace(item, static_cast<std::uint32_t>(more.item_ids.size()));
    if (!is_new) return place->second;
    more.item_ids.push_back("own" + std::to_string(item));
    if (!votes_.prior_score.empty()) more.prior_score.push_back(votes_.prior_score[item]);
    const std::size_t features = votes_.feature_names.size();
    for (std::size_t f = 0; f < features; ++f) more.features.push_back(votes_.features[item * features + f]);
    return place->second;
  };
  const auto hermit = static_cast<std::uint32_t>(votes_.annotator_ids.size());
  for (std::size_t v = 0; v < votes_.size(); ++v)
    if (votes_.annotator[v] == 3)
      add_vote(more, own_item(votes_.left[v]), own_item(votes_.right[v]), hermit, votes_.preference[v]);
  const Outcome after = fit(more);
  const auto farthest = [&](const std::string& name, const std::string& error) {
    double worst = 0;
    for (std::size_t i = 0; i < before_[name].size(); ++i)
      worst = std::max(worst, std::abs(after[name][i] - before_[name][i]) / before_[error][i]);
    return worst;
  };
  EXPECT_LT(farthest("pair margin", "pair margin_se"), 0.3);
  if (has_discriminations(GetParam().model)) {
    // Where habits, thresholds, coefficients and tastes are the population's as well, all of these move the unit.
    EXPECT_LT(farthest("annotator discrimination", "annotator discrimination_se"), votes_.features.empty() ? 0.3 : 0.6);
    EXPECT_LT(farthest("annotator side_bias", "annotator side_bias_se"), 0.3);
  }
}

/// Given the annotators, what others say of other items is nothing to a pair: not in one bit.
TEST(Property, votes_elsewhere_change_no_bit_of_a_pair_given_the_annotators) {
  const Votes votes = simulate_votes(kPrompts);
  const auto posterior_of = [&](bool everyone) {
    Votes some = test::make_votes(votes.item_ids.size(), votes.annotator_ids.size(), {});
    for (std::size_t v = 0; v < votes.size(); ++v)
      if (everyone || votes.prompt[votes.left[v]] % 3 == 0)
        add_vote(some, votes.left[v], votes.right[v], votes.annotator[v], votes.preference[v]);
    const Groups groups = group_votes(some, Ties::kModel);
    std::vector<RaterRecord> raters(groups.annotators);
    for (std::size_t a = 0; a < raters.size(); ++a) raters[a].discrimination = 0.1f * static_cast<float>(a) - 0.5f;
    const auto engine = make_cpu_engine(groups, *choose_kernels());
    engine->update_components(raters, {.sweeps = 10});
    const Posterior posterior = engine->posterior(raters, {});
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<float, float>> moments;
    for (std::size_t p = 0; p < groups.pairs(); ++p)
      moments[{groups.slot_item[groups.pair_first[p]], groups.slot_item[groups.pair_second[p]]}] = {
          posterior.pair_mean[p], posterior.pair_variance[p]};
    return moments;
  };
  const auto all = posterior_of(true), third = posterior_of(false);
  EXPECT_GT(all.size(), 2 * third.size());
  for (const auto& [pair, moments] : third) EXPECT_EQ(all.at(pair), moments);
}

constexpr Model kModels[] = {Model::kBradleyTerry, Model::kCrowdBt, Model::kRater};

/// Whatever was voted: numbers, probabilities, errors above 0.
void expect_sane(const Outcome& outcome, bool settles = true) {
  if (settles) {
    EXPECT_TRUE(outcome.fit.converged);
  }
  for (const char* name : {"item score", "item std_error", "annotator discrimination", "annotator side_bias",
                           "pair margin", "pair margin_se", "pair probability", "pair probability_better",
                           "pair information_gain", "log_evidence", "population"})
    for (const double x : outcome[name]) ASSERT_TRUE(std::isfinite(x)) << name;
  for (const char* name : {"pair probability", "pair probability_better"})
    for (const double x : outcome[name]) ASSERT_TRUE(x >= 0 && x <= 1) << name << " " << x;
  for (const char* name : {"item std_error", "pair margin_se"})
    for (const double x : outcome[name]) ASSERT_GT(x, 0) << name;
}

/// Each pair of 10 items by each of 8 annotators, shown in turns either way; `preference` of a vote's number.
Votes round_robin(const std::function<int(int)>& preference, std::uint32_t annotators = 8, std::uint32_t items = 10) {
  std::vector<test::Row> rows;
  int vote = 0;
  for (std::uint32_t i = 0; i < items; ++i)
    for (std::uint32_t j = i + 1; j < items; ++j)
      for (std::uint32_t v = 0; v < 8; ++v, ++vote)
        rows.push_back({v % 2 == 0 ? i : j, v % 2 == 0 ? j : i, v % annotators, preference(vote)});
  return test::make_votes(items, annotators, rows);
}

TEST(Edge, nothing_but_ties) {
  for (const Model model : kModels)
    for (const Ties ties : {Ties::kModel, Ties::kHalf}) {
      SCOPED_TRACE(testing::Message() << "model " << static_cast<int>(model) << ", ties " << static_cast<int>(ties));
      const Outcome outcome = fit_votes(round_robin([](int) { return 0; }), model, ties);
      expect_sane(outcome);
      for (const double score : outcome["item score"]) EXPECT_NEAR(score, 0, 1e-4);
      for (const double p : outcome["pair probability"]) EXPECT_NEAR(p, 0.5, 1e-4);
      for (const double bias : outcome["annotator side_bias"]) EXPECT_NEAR(bias, 0, 1e-3);
    }
}

TEST(Edge, nothing_but_left) {
  for (const Model model : kModels) {
    SCOPED_TRACE(static_cast<int>(model));
    const Outcome outcome = fit_votes(round_robin([](int) { return 1; }), model);
    expect_sane(outcome, model != Model::kCrowdBt);  // whose etas have nothing to hold on to: it says so
    for (const double score : outcome["item score"]) EXPECT_NEAR(score, 0, 1e-3);
    if (has_discriminations(model)) {
      EXPECT_GT(std::ranges::min(outcome["annotator side_bias"]), 0);
    }
    // Always the first item on the left: then it is better, or who votes is biased.
    Votes one_way = round_robin([](int) { return 1; });
    for (std::size_t v = 0; v < one_way.size(); ++v)
      if (one_way.left[v] > one_way.right[v]) std::swap(one_way.left[v], one_way.right[v]);
    const Outcome ordered = fit_votes(one_way, model);
    expect_sane(ordered);
    for (const double margin : ordered["pair margin"]) EXPECT_GT(margin, 0);
  }
}

TEST(Edge, a_single_annotator) {
  for (const Model model : kModels) {
    SCOPED_TRACE(static_cast<int>(model));
    Votes votes = round_robin([](int vote) { return vote % 8 == 5 ? -1 : 1; }, 1);
    for (std::size_t v = 0; v < votes.size(); ++v)  // the lower item wins, seven times of eight
      if (votes.left[v] > votes.right[v]) votes.preference[v] = static_cast<std::int8_t>(-votes.preference[v]);
    const Outcome outcome = fit_votes(votes, model);
    expect_sane(outcome);
    EXPECT_TRUE(std::is_sorted(outcome["item score"].rbegin(), outcome["item score"].rend()));
    EXPECT_NEAR(outcome["annotator discrimination"][0], 1, 1e-6);  // its own reference
  }
}

TEST(Edge, a_single_pair) {
  for (const Model model : kModels) {
    SCOPED_TRACE(static_cast<int>(model));
    const Outcome one = fit_votes(test::make_votes(2, 1, {{1, 0, 0, 1}}), model);
    expect_sane(one);
    EXPECT_GT(one["item score"][1], one["item score"][0]);
    const Outcome split = fit_votes(test::make_votes(2, 2, {{1, 0, 0, 1}, {0, 1, 1, 1}}), model);
    expect_sane(split);
    EXPECT_NEAR(split["pair probability"][0], 0.5, 1e-6);
  }
}

/// Too little to say who is who, and beyond what each thread sums on its own: a few iterations tell that it works.
TEST(Edge, a_million_annotators_with_one_vote_each) {
  Votes votes = simulate_votes({.prompts = 50000, .mix = {}});
  ASSERT_EQ(votes.size(), 1000000u);
  votes.annotator_ids = {};
  for (std::uint32_t v = 0; v < votes.size(); ++v) {
    votes.annotator_ids.push_back(std::to_string(v));
    votes.annotator[v] = v;
  }
  const std::vector<double> score = votes.truth->score;
  const Outcome outcome = fit_votes(std::move(votes), Model::kRater, Ties::kModel, {.max_iterations = 8});
  expect_sane(outcome, false);
  std::size_t right_way = 0;
  for (std::size_t p = 0; p < outcome.pairs.size(); ++p)
    right_way += (score[outcome.pairs[p].first] > score[outcome.pairs[p].second]) == (outcome["pair margin"][p] > 0);
  EXPECT_GT(right_way, outcome.pairs.size() * 8 / 10);
}

TEST(Edge, more_votes_on_a_pair_than_a_float_can_count) {
  constexpr std::uint32_t kWins = 1 << 25, kLosses = 1002;
  Groups groups;
  groups.component_slots = {0, 2};
  groups.component_pairs = {0, 1};
  groups.slot_item = {0, 1};
  groups.pair_first = {0};
  groups.pair_second = {1};
  groups.pair_votes = {0, kWins + kLosses};
  groups.votes.assign(kWins, VoteCode::make(0, 1, true));
  groups.votes.resize(kWins + kLosses, VoteCode::make(0, -1, true));
  groups.vote_row.assign(kWins + kLosses, 0);
  groups.annotators = 1;
  Fit fit;
  fit.model = Model::kBradleyTerry;
  fit.annotators.resize(1);
  fit.posterior = {{0.5f, -0.5f}, {1, 1}, {1}, {1}, {}, {}, {}, {ReportSums{}}};
  EXPECT_EQ(make_labels(groups, fit, {{0.5f}, {0.5f}, {0}}, 2, 1).pairs.wins_left[0], kWins);
}

/// Votes as good as without noise, half of them by adversaries, and priors that say so.
TEST(Edge, discriminations_of_50) {
  {
    const Model model = Model::kRater;
    const auto preference = [](int vote) {
      return (vote % 2 == 0) == (vote % 8 < 4) ? 1 : -1;
    };  // 0 beats 1 beats 2 ..
    WarmStart known;
    known.population = {.mean = 50, .variance = 1};
    for (int a = 0; a < 8; ++a) known.annotators.push_back({.mean = a < 4 ? 50.0 : -50.0, .variance = 1});
    FitOptions options;
    options.warm_start = known;
    const Outcome outcome = fit_votes(round_robin(preference), model, Ties::kModel, options);
    expect_sane(outcome);
    EXPECT_TRUE(std::is_sorted(outcome["item score"].rbegin(), outcome["item score"].rend()));
    for (const double margin : outcome["pair margin"]) EXPECT_GT(margin, 0);
    for (const double p : outcome["pair probability_better"]) EXPECT_GT(p, 0.9);
    for (int a = 0; a < 8; ++a) EXPECT_NEAR(outcome["annotator discrimination"][a], a < 4 ? 50 : -50, 5);
  }
}

/// The most that any vote adds to a sum, times the most votes that a fit takes, is within the range of fixed point: as
/// long as discriminations are no larger than a population's can be. Scores are taken to lie within 8 sds.
TEST(Edge, as_many_votes_as_a_fit_takes_do_not_overflow) {
  double most = 0;
  for (double gamma = -kLargestMean; gamma <= kLargestMean; gamma += 0.5)
    for (double mean = -12; mean <= 12; mean += 0.25)
      for (const double variance : {1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.5, 1.0, 2.0})
        for (const double beta : {-10.0, -3.0, 0.0, 3.0, 10.0}) {
          const Rater<double> rater{gamma, beta, 0, 0, 0};
          const Cavity<double> cavity{mean, variance};
          const auto z =
              smoothed_vote<kExact, Likelihood::kBinary>(Statement<double>{1, 0, kFar}, logit(rater, cavity)).z;
          const AnnotatorTerms<double> terms = annotator_terms(rater, cavity, z);
          const Site<double> site = matched_site(rater, cavity, z);
          for (const double term : {terms.gradient_gamma, terms.gradient_beta, terms.information_gamma,
                                    terms.information_cross, terms.information_beta, site.precision, site.shift})
            most = std::max(most, std::abs(term));
        }
  EXPECT_LT(most * static_cast<double>(kMaxVotes), 0x1p63 / kFixedScale);
}

}  // namespace
}  // namespace voxpop
