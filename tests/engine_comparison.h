#pragma once
// Any engine against the CPU engine: the same votes, the same passes, whole fits.

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "fit/fit.h"
#include "formulas/fixed_point.h"
#include "group/views.h"
#include "helpers.h"
#include "simulate/simulate.h"

namespace voxpop::test {

using MakeEngine = std::function<std::unique_ptr<Engine>(const Groups&)>;

/// Items and votes of components.
using Sizes = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

/// Prompts of 2 to 6 items.
inline Sizes prompts(std::uint32_t count) {
  Sizes sizes;
  for (std::uint32_t p = 0; p < count; ++p) sizes.push_back({2 + p % 5, 4 + p % 17});
  return sizes;
}

/// Components of 2 to 32 items, so many of each.
inline Sizes every_small_size(int of_each) {
  Sizes sizes;
  for (std::uint32_t items = 2; items <= kSmallItems; ++items)
    for (int repeat = 0; repeat < of_each; ++repeat) sizes.push_back({items, 3 * items});
  return sizes;
}

/// What votes say: one in ten of kHalfTies and kTies is a tie; kGrades are -3 to 3, and half as many ties.
enum class Said { kBinary, kHalfTies, kTies, kGrades };

/// Votes on random components, by the first `voters` of the annotators (0: by all).
inline Votes random_votes(const Sizes& components, std::uint32_t annotators, Said said, unsigned seed = 1,
                          std::uint32_t voters = 0) {
  if (voters == 0) voters = annotators;
  std::mt19937 random(seed);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  std::vector<Row> rows;
  std::uint32_t items = 0;
  for (const auto& [size, votes] : components) {
    for (std::uint32_t v = 0; v < votes; ++v) {
      const std::uint32_t left = v + 1 < size ? v : below(size);
      const std::uint32_t right = v + 1 < size ? v + 1 : (left + 1 + below(size - 1)) % size;
      const int strength = said == Said::kBinary   ? 1
                           : said == Said::kGrades ? (below(20) == 0 ? 0 : 1 + below(3))
                                                   : (below(10) == 0 ? 0 : 1);
      const int preference = below(5) < 3 ? strength : -strength;
      rows.push_back({items + left, items + right, below(voters), preference});
    }
    items += size;
  }
  return make_votes(items, annotators, rows);
}

inline Groups random_groups(const Sizes& components, std::uint32_t annotators, Said said, unsigned seed = 1,
                            std::uint32_t voters = 0) {
  Votes votes = random_votes(components, annotators, said, seed, voters);
  return group_votes(votes, said == Said::kHalfTies ? Ties::kHalf : Ties::kModel);
}

/// The same, with the blocks of votes that are of one annotator.
inline Groups groups_with_views(const Sizes& components, std::uint32_t annotators, Said said) {
  Votes votes = random_votes(components, annotators, said);
  Groups groups = group_votes(votes, Ties::kModel);
  groups.views = find_views(groups, votes);
  return groups;
}

/// One vote in five is not seen.
inline Groups with_unseen_votes(Groups groups) {
  for (std::size_t v = 0; v < groups.votes.size(); v += 5) groups.votes[v] = groups.votes[v].held_out();
  groups.all_seen = false;
  return groups;
}

/// Two features and a prior score, of random values.
inline Groups with_covariates(Groups groups) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  groups.covariates = {{}, {"length", "lists", "prior_score"}, {1, 1, 1}, 2};
  groups.covariates.value.resize(groups.slot_item.size() * 3);
  for (float& x : groups.covariates.value) x = normal(random);
  for (std::size_t c = 0; c < groups.components(); ++c)
    for (int k = 0; k < 3; ++k) {
      float sum = 0;
      const auto at = [&](std::uint32_t slot) -> float& { return groups.covariates.value[slot * 3 + k]; };
      for (std::uint32_t slot = groups.component_slots[c]; slot < groups.component_slots[c + 1]; ++slot)
        sum += at(slot);
      for (std::uint32_t slot = groups.component_slots[c]; slot < groups.component_slots[c + 1]; ++slot)
        at(slot) -= sum / static_cast<float>(groups.items_of(c));
    }
  return groups;
}

/// Each item of one of so many sources.
inline Groups with_sources(Groups groups, std::uint32_t sources) {
  std::mt19937 random(6);
  groups.sources = sources;
  for (std::size_t slot = 0; slot < groups.slot_item.size(); ++slot)
    groups.slot_source.push_back(static_cast<std::uint32_t>(random() % sources));
  for (std::uint32_t source = 0; source < sources; ++source) groups.source_row.push_back(source);
  return groups;
}

inline std::vector<float> random_source_scores(std::size_t sources) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> scores(sources);
  for (float& score : scores) score = normal(random);
  return scores;
}

inline std::vector<Taste> random_tastes(std::size_t count) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  std::vector<Taste> tastes(count);
  for (Taste& taste : tastes) taste = {0.5f * normal(random), 0.02f};
  return tastes;
}

inline std::vector<RaterRecord> random_raters(std::size_t annotators) {
  std::mt19937 random(12);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<RaterRecord> raters(annotators);
  for (RaterRecord& r : raters) {
    r.discrimination = 0.8f + 1.2f * uniform(random);
    r.side_bias = uniform(random);
    r.discrimination_variance = 0.05f;
    r.covariance = 0.01f * uniform(random);
    r.side_bias_variance = 0.03f;
    r.grid_spread = 0.3f;
    r.grid_slope = 0.2f;
    r.share = 0.7f + 0.25f * uniform(random);
  }
  return raters;
}

inline void expect_near(const Column<float>& a, const Column<float>& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::isfinite(a[i]) ? static_cast<double>(std::abs(a[i] - b[i])) : INFINITY);
  EXPECT_LE(worst, tolerance) << what;
}

/// Each sum may differ by this for each vote it adds, and by what rounding leaves in all.
template <class Sums>
void expect_sums_near(const std::vector<Sums>& a, const std::vector<Sums>& b, const std::vector<std::uint32_t>& votes,
                      double tolerance, const char* what, double more_for_first = 0) {
  ASSERT_EQ(a.size(), b.size()) << what;
  constexpr std::size_t kFields = sizeof(Sums) / sizeof(std::int64_t);
  const auto* x = reinterpret_cast<const std::int64_t*>(a.data());
  const auto* y = reinterpret_cast<const std::int64_t*>(b.data());
  for (std::size_t i = 0; i < a.size() * kFields; ++i)
    ASSERT_NEAR(from_fixed(x[i]), from_fixed(y[i]),
                tolerance * (votes[i / kFields] + 1) + (i % kFields == 0 ? more_for_first : 0))
        << what << " of annotator " << i / kFields << ", field " << i % kFields;
}

/// The same passes on both: a pass from scratch of several sweeps, one with everything, the exact mixture, the report.
inline void expect_same_passes(const Groups& groups, const MakeEngine& make, Blend blend = Blend::kNone) {
  const VoteScale scale = starting_scale(groups.answers.levels(), groups.answers.own_ties());
  Raters raters(random_raters(groups.annotators), random_tastes(groups.annotators * groups.covariates.features),
                random_source_scores(groups.sources));
  for (std::size_t a = 0; a < raters.habits.size(); ++a)
    raters.habits[a] = {0.3f * static_cast<float>(a % 5) - 1, 0.1f};
  const std::vector<std::uint32_t> votes = count_votes(groups);
  const auto cpu = make_cpu_engine(groups, *choose_kernels());
  const auto other = make(groups);
  const auto set_shape = [&](PassOptions& pass) {
    pass.blend = blend;
    pass.scale = scale;
    if (groups.answers.own_ties()) pass.prompt_variance = 0.3f;
    if (!groups.views.empty()) pass.view_variance = 0.4f;
    for (int k = 0; k < groups.covariates.count(); ++k) pass.coefficient[k] = 0.4f - 0.3f * static_cast<float>(k);
  };
  const PassOptions passes[] = {{.sweeps = 3, .annotators = true},
                                {.sweeps = 2, .uncertain = true},
                                {.stretch = 1.1f, .annotators = true, .grid = true, .uncertain = true},
                                {.sweeps = 2, .annotators = true, .grid = true, .uncertain = true, .exact = true}};
  for (PassOptions pass : passes) {
    set_shape(pass);
    const PassResult a = cpu->update_components(raters, pass), b = other->update_components(raters, pass);
    expect_sums_near(a.annotators, b.annotators, votes, 5e-5, "sums");
    expect_sums_near(a.grid, b.grid, votes, 5e-5, "grid");
    for (std::size_t k = 0; k < a.thresholds.size(); ++k) {
      const double tolerance = 5e-5 * static_cast<double>(groups.votes.size() + 1);
      EXPECT_NEAR(from_fixed(a.thresholds[k].gradient), from_fixed(b.thresholds[k].gradient), tolerance) << k;
      EXPECT_NEAR(from_fixed(a.thresholds[k].information), from_fixed(b.thresholds[k].information), tolerance) << k;
    }
    const double all = static_cast<double>(groups.votes.size()) + 1;
    EXPECT_EQ(a.prompts.prompts, b.prompts.prompts);
    EXPECT_NEAR(from_fixed(a.prompts.mean), from_fixed(b.prompts.mean), 5e-5 * all);
    EXPECT_NEAR(from_fixed(a.prompts.square), from_fixed(b.prompts.square), 5e-5 * all);
    EXPECT_NEAR(from_fixed(a.prompts.told), from_fixed(b.prompts.told), 5e-5 * all);
    EXPECT_NEAR(from_fixed(a.views.score), from_fixed(b.views.score), 5e-5 * all);
    EXPECT_NEAR(from_fixed(a.views.information), from_fixed(b.views.information), 5e-5 * all);
    std::vector<std::uint32_t> votes_by_taste;
    for (const std::uint32_t n : votes) votes_by_taste.insert(votes_by_taste.end(), groups.covariates.features, 4 * n);
    expect_sums_near(a.tastes, b.tastes, votes_by_taste, 5e-5, "tastes");
    expect_sums_near(std::vector{a.covariates}, std::vector{b.covariates},
                     {static_cast<std::uint32_t>(4 * groups.slot_item.size())}, 2e-5, "covariates");
    const std::vector<std::uint32_t> items_by_source(groups.sources,
                                                     static_cast<std::uint32_t>(groups.slot_item.size()));
    expect_sums_near(a.sources, b.sources, items_by_source, 2e-5, "sources");
    EXPECT_NEAR(a.solved.change, b.solved.change, 1e-3 * (1 + a.solved.change));
    EXPECT_EQ(a.solved.freedom, b.solved.freedom);
    EXPECT_NEAR(from_fixed(a.solved.squares), from_fixed(b.solved.squares),
                1e-5 * static_cast<double>(a.solved.freedom) + 1e-4);
  }
  PassOptions last{.uncertain = true};
  set_shape(last);
  const Posterior a = cpu->posterior(raters, last), b = other->posterior(raters, last);
  expect_near(a.slot_mean, b.slot_mean, 1e-4, "slot_mean");
  expect_near(a.slot_variance, b.slot_variance, 1e-4, "slot_variance");
  expect_near(a.pair_mean, b.pair_mean, 1e-4, "pair_mean");
  expect_near(a.pair_variance, b.pair_variance, 1e-4, "pair_variance");
  expect_near(a.vote_mean, b.vote_mean, 1e-4, "vote_mean");
  expect_near(a.vote_variance, b.vote_variance, 1e-4, "vote_variance");
  ASSERT_EQ(a.prompts.size(), b.prompts.size());
  for (std::size_t c = 0; c < a.prompts.size(); ++c) {
    EXPECT_NEAR(a.prompts[c].mean, b.prompts[c].mean, 1e-4) << c;
    EXPECT_NEAR(a.prompts[c].variance, b.prompts[c].variance, 1e-4) << c;
  }
  // Agreement is a count: where the rest of the evidence is all but even, rounding moves it by a half.
  expect_sums_near(a.annotators, b.annotators, votes, 1e-4, "report", 1);
  EXPECT_NEAR(a.log_evidence, b.log_evidence, 1e-5 * static_cast<double>(groups.votes.size()) + 1e-3);
  expect_near(cpu->sites().precision, other->sites().precision, 2e-4, "site precision");
  expect_near(cpu->sites().shift, other->sites().shift, 5e-4, "site shift");
  const PairLabels c = cpu->label_pairs(1.1f, 0.2f), d = other->label_pairs(1.1f, 0.2f);
  expect_near(c.probability, d.probability, 1e-4, "probability");
  expect_near(c.better, d.better, 1e-4, "better");
  expect_near(c.information, d.information, 1e-4, "information");
}

/// One pass alone, where there are very many votes.
inline void expect_same_sums(const Groups& groups, const MakeEngine& make) {
  const std::vector<RaterRecord> raters = random_raters(groups.annotators);
  const PassOptions pass{.annotators = true};
  const PassResult a = make_cpu_engine(groups, *choose_kernels())->update_components(raters, pass);
  const PassResult b = make(groups)->update_components(raters, pass);
  expect_sums_near(a.annotators, b.annotators, count_votes(groups), 5e-5, "sums");
}

/// Whole fits, label for label.
inline void expect_same_fit(const Groups& groups, FitOptions options, const MakeEngine& make) {
  options.answers = groups.answers;
  options.covariates = groups.covariates.count();
  options.tastes = groups.covariates.features;
  options.sources = static_cast<int>(groups.sources);
  if (!groups.views.empty()) options.views = ViewUse::kAlways;
  const std::vector<std::uint32_t> votes_of = count_votes(groups);
  const auto cpu = make_cpu_engine(groups, *choose_kernels());
  const auto other = make(groups);
  const Fit a = fit_model(*cpu, votes_of, options, [](int, double) {});
  int reports = 0;
  const Fit b = fit_model(*other, votes_of, options, [&](int, double) { ++reports; });
  EXPECT_GE(reports, b.iterations);
  EXPECT_EQ(a.converged, b.converged);
  const bool same_start = groups.votes.size() < 2 * options.sample_votes;  // else samples differ
  if (same_start) {
    EXPECT_NEAR(a.iterations, b.iterations, 1);
  }
  EXPECT_NEAR(a.population.mean, b.population.mean, same_start ? 2e-3 : 1e-2);
  EXPECT_NEAR(a.reference_discrimination, b.reference_discrimination, same_start ? 2e-3 : 1e-2);
  for (std::size_t i = 0; i < a.annotators.size(); ++i) {
    // From samples of their own the two end where what still moves counts as settled: a fifth of a standard error.
    const double tolerance =
        same_start ? 5e-3 : std::max(5e-3, options.tolerance * std::sqrt(a.annotators[i].discrimination_variance));
    ASSERT_NEAR(a.annotators[i].discrimination, b.annotators[i].discrimination, tolerance) << i;
    ASSERT_NEAR(a.annotators[i].side_bias, b.annotators[i].side_bias, tolerance) << i;
    ASSERT_NEAR(a.annotators[i].habit_logit, b.annotators[i].habit_logit, 2e-2) << i;
    ASSERT_NEAR(a.annotators[i].share_logit, b.annotators[i].share_logit, 2e-2) << i;
  }
  EXPECT_NEAR(a.prompt_variance, b.prompt_variance, 1e-2);
  EXPECT_NEAR(a.view_variance, b.view_variance, 5e-3);
  for (int k = 0; k < groups.covariates.count(); ++k) EXPECT_NEAR(a.coefficient[k], b.coefficient[k], 2e-3) << k;
  for (std::size_t g = 0; g < a.sources.size(); ++g) {
    EXPECT_NEAR(a.sources[g].score, b.sources[g].score, same_start ? 2e-3 : 1e-2) << g;
    EXPECT_NEAR(a.sources[g].variance, b.sources[g].variance, 0.02 * a.sources[g].variance) << g;
  }
  for (std::size_t i = 0; i < a.tastes.size(); ++i) ASSERT_NEAR(a.tastes[i].mean, b.tastes[i].mean, 1e-2) << i;
  for (int k = 1; k <= groups.answers.levels(); ++k) EXPECT_NEAR(a.scale.edge[k], b.scale.edge[k], 2e-3) << k;
  const PairLabels c = cpu->label_pairs(static_cast<float>(a.reference_discrimination));
  const PairLabels d = other->label_pairs(static_cast<float>(b.reference_discrimination));
  expect_near(c.probability, d.probability, same_start ? 1e-3 : 1e-2, "probability");
  expect_near(c.better, d.better, same_start ? 1e-3 : 1e-2, "better");
}

}  // namespace voxpop::test
