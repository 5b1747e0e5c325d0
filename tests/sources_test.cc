// The models that wrote the items, as a random effect: derivatives, errors, simulated truth, and no harm.

#include "group/sources.h"

#include "engine_comparison.h"
#include "evaluate/held_out.h"
#include "helpers.h"
#include "host_backend.h"
#include "label/warm_start.h"

namespace voxpop {
namespace {

using test::random_groups;
using test::Said;

/// EP settled, with everything that a pass then adds up.
struct Settled {
  PassResult pass;
  Posterior posterior;
};
Settled settle(const Groups& groups, const Raters& raters) {
  PassOptions options{.sweeps = 80, .annotators = true, .exact = true};
  options.scale = starting_scale(groups.answers.levels(), groups.answers.ties);
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  Settled out;
  out.pass = engine->update_components(raters, options);
  out.posterior = engine->posterior(raters, options);
  return out;
}

/// One vote on two items of two sources: d ~ N(difference of the sources' scores, 2), by integration.
TEST(Sources, scores_lie_about_their_sources) {
  Votes votes = test::make_votes(2, 1, {{0, 1, 0, -1}});
  Groups groups = group_votes(votes, Ties::kModel);
  groups.sources = 2;
  groups.slot_source = {1, 0};
  RaterRecord rater;
  rater.discrimination = 1.5f;
  rater.side_bias = 0.3f;
  const Settled got = settle(groups, {{rater}, {}, {-0.7f, 0.5f}});
  const test::Density exact = test::tilted(-1, 1.5, 0.3, 1.2, 2);
  EXPECT_NEAR(got.posterior.pair_mean[0], exact.mean(), 1e-3);
  EXPECT_NEAR(got.posterior.pair_variance[0], exact.variance(), 1e-3);
  EXPECT_NEAR(got.posterior.log_evidence, exact.log_integral(), 1e-4);
  // E[s - c], and 1 - var s: half of var d / 2, and half of the prior's 1 for what votes do not tell.
  for (const int source : {0, 1}) {
    const double sign = source == 1 ? 0.5 : -0.5;
    EXPECT_NEAR(from_fixed(got.pass.sources[source].gradient), sign * (exact.mean() - 1.2), 1e-3);
    EXPECT_NEAR(from_fixed(got.pass.sources[source].information), 0.5 - 0.25 * exact.variance(), 1e-3);
  }
}

/// At EP's fixed point the evidence's derivatives are the explicit ones (Minka 2001); in small components and dense.
TEST(Sources, gradients_agree_with_differences_of_the_evidence) {
  for (const std::uint32_t items : {4u, 33u}) {
    const Groups groups = test::with_sources(random_groups({{items, 12 * items}}, 5, Said::kTies), 3);
    std::vector<RaterRecord> records = test::random_raters(groups.annotators);
    for (RaterRecord& r : records) r.discrimination_variance = r.covariance = r.side_bias_variance = 0;
    const Raters raters(records, {}, {0.3f, -0.2f, 0.5f});
    const Settled here = settle(groups, raters);
    constexpr float h = 0.05f;
    for (int g = 0; g < 3; ++g) {
      Raters low = raters, high = raters;
      low.source_score[g] -= h;
      high.source_score[g] += h;
      const double slope =
          (settle(groups, high).posterior.log_evidence - settle(groups, low).posterior.log_evidence) / (2 * h);
      EXPECT_NEAR(from_fixed(here.pass.sources[g].gradient), slope, 0.01 * (1 + std::abs(slope))) << items << " " << g;
    }
  }
}

Votes with_sources_of(Votes votes, const std::vector<std::uint32_t>& source, std::uint32_t sources) {
  votes.source.assign(source.begin(), source.end());
  for (std::uint32_t s = 0; s < sources; ++s) votes.source_ids.push_back("model " + std::to_string(s));
  return votes;
}

TEST(Sources, are_used_where_votes_tell_them_apart) {
  const std::vector<test::Row> rows = {{0, 1, 0, 1}, {2, 3, 0, 1}};
  const auto set = [&](const std::vector<std::uint32_t>& source, std::uint32_t sources) {
    Votes votes = with_sources_of(test::make_votes(5, 1, rows), source, sources);
    Groups groups = group_votes(votes, Ties::kModel);
    const std::string why_not = set_sources(groups, votes);
    EXPECT_EQ(why_not.empty(), groups.sources > 0) << why_not;
    return groups;
  };
  EXPECT_EQ(set({0, 1, 2, 3, 4}, 5).sources, 0u);  // an item each
  EXPECT_EQ(set({0, 0, 1, 1, 2}, 3).sources, 0u);  // never compared
  EXPECT_EQ(set({0, 0, 0, 0, 1}, 2).sources, 0u);
  const Groups two = set({2, 0, 2, 0, 1}, 3);  // 1 has no votes
  EXPECT_EQ(two.sources, 2u);
  EXPECT_EQ(two.source_row, (std::vector<std::uint32_t>{0, 2}));
  for (std::size_t slot = 0; slot < 4; ++slot)
    EXPECT_EQ(two.slot_source[slot], two.slot_item[slot] % 2 == 0 ? 1u : 0u) << slot;
  const Groups unknown = set({2, kNoSource, 2, 0, 1}, 3);  // those not known are as one more
  EXPECT_EQ(unknown.sources, 3u);
  EXPECT_EQ(unknown.source_row.size(), 2u);
}

/// Responses of sources whose scores vary by `sd`, voted on by annotators of discrimination N(1.2, 0.3^2). `chain`:
/// only neighbouring sources are ever compared.
struct Design {
  std::uint32_t prompts = 600, responses = 4, sources = 8, votes_per_pair = 2, annotators = 40;
  double sd = 0.7;
  bool chain = false;
};
struct Simulated {
  Votes votes;
  std::vector<double> source_score, discrimination;
};
Simulated simulate(const Design& design, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Simulated out;
  for (std::uint32_t g = 0; g < design.sources; ++g) out.source_score.push_back(design.sd * normal(random));
  for (std::uint32_t a = 0; a < design.annotators; ++a) out.discrimination.push_back(1.2 + 0.3 * normal(random));
  std::vector<std::uint32_t> source;
  std::vector<double> score;
  std::vector<test::Row> rows;
  for (std::uint32_t p = 0; p < design.prompts; ++p) {
    std::vector<std::uint32_t> of(design.sources);
    std::iota(of.begin(), of.end(), 0u);
    std::shuffle(of.begin(), of.end(), random);
    const std::uint32_t size = design.chain ? 2 : design.responses, first = p * size;
    if (design.chain) of = {p % (design.sources - 1), p % (design.sources - 1) + 1};
    for (std::uint32_t i = 0; i < size; ++i) {
      source.push_back(of[i]);
      score.push_back(out.source_score[of[i]] + normal(random));
    }
    for (std::uint32_t i = 0; i < size; ++i)
      for (std::uint32_t j = 0; j < i; ++j)
        for (std::uint32_t v = 0; v < design.votes_per_pair; ++v) {
          const auto a = static_cast<std::uint32_t>(random() % design.annotators);
          const double logit = out.discrimination[a] * (score[first + i] - score[first + j]);
          rows.push_back({first + i, first + j, a, uniform(random) < 1 / (1 + std::exp(-logit)) ? 1 : -1});
        }
  }
  out.votes = with_sources_of(test::make_votes(score.size(), design.annotators, rows), source, design.sources);
  return out;
}

struct Fitted {
  Groups groups;
  Fit fit;
  Labels labels;
};
Fitted fit_votes(Votes votes, const EarlierFit* earlier = nullptr, const test::MakeEngine& make = nullptr) {
  Fitted out;
  const std::size_t items = votes.item_ids.size(), rows = votes.size();
  out.groups = group_votes(votes, Ties::kModel);
  EXPECT_EQ(set_sources(out.groups, votes), "");
  FitOptions options{.sources = static_cast<int>(out.groups.sources)};
  if (earlier)
    options.warm_start = make_warm_start(*earlier, votes.annotator_ids, out.groups, Model::kRater, votes.source_ids);
  const auto engine = make ? make(out.groups) : make_cpu_engine(out.groups, *choose_kernels());
  out.fit = fit_model(*engine, count_votes(out.groups), options, [](int, double) {});
  EXPECT_TRUE(out.fit.converged);
  EXPECT_LT(out.fit.iterations, 60);
  out.labels = make_labels(out.groups, out.fit, find_pair_labels(*engine, out.fit), items, rows);
  return out;
}

/// The truth in the unit of the fit, centred as scores are.
std::vector<double> centred_truth(const Simulated& simulated, const Fitted& fitted) {
  const double unit = reference_median(simulated.discrimination, count_votes(fitted.groups));
  const double mean = std::accumulate(simulated.source_score.begin(), simulated.source_score.end(), 0.0) /
                      static_cast<double>(simulated.source_score.size());
  std::vector<double> truth;
  for (const double score : simulated.source_score) truth.push_back(unit * (score - mean));
  return truth;
}

/// Estimates lie within their errors of the truth: z has mean square 1, whether all sources meet or only neighbours.
TEST(Sources, scores_are_found_again_within_their_errors) {
  for (const bool chain : {false, true}) {
    double squares = 0, within = 0, count = 0;
    for (unsigned seed = 1; seed <= 8; ++seed) {
      const Simulated simulated = simulate({.chain = chain}, seed);
      const Fitted fitted = fit_votes(simulated.votes);
      const std::vector<double> truth = centred_truth(simulated, fitted);
      ASSERT_EQ(fitted.labels.sources.score.size(), truth.size());
      for (std::size_t g = 0; g < truth.size(); ++g) {
        const double z = (fitted.labels.sources.score[g] - truth[g]) / fitted.labels.sources.std_error[g];
        squares += z * z;
        within += std::abs(z) < 1.96;
        count += 1;
      }
      EXPECT_NEAR(fitted.fit.source_sd, 0.7, 0.5);
    }
    RecordProperty(chain ? "chain_mean_square" : "mean_square", std::to_string(squares / count));
    EXPECT_GT(squares / count, 0.5) << chain;
    EXPECT_LT(squares / count, 1.6) << chain;
    EXPECT_GT(within / count, 0.88) << chain;
  }
}

TEST(Sources, items_are_centred_in_their_component) {
  const Simulated simulated = simulate({.prompts = 200}, 3);
  const Fitted fitted = fit_votes(simulated.votes);
  for (std::uint32_t p = 0; p < 200; ++p) {
    double sum = 0;
    for (std::uint32_t i = 0; i < 4; ++i) sum += fitted.labels.items.score[4 * p + i];
    ASSERT_NEAR(sum, 0, 1e-5) << p;
  }
}

/// Log loss of held-out votes, with sources and without.
double gain_of_sources(const Simulated& simulated) {
  Votes votes = simulated.votes;
  Groups groups = group_votes(votes, Ties::kModel);
  const std::vector<std::uint8_t> folds = draw_folds(groups, 5, 1, votes.judgement);
  const auto log_loss = [&] {
    FitOptions options{.sources = static_cast<int>(groups.sources)};
    const Predictions predictions = predict_held_out(
        groups, folds, options, [](const Groups& some) { return make_cpu_engine(some, *choose_kernels()); },
        [](int, int) {});
    double loss = 0;
    for (std::size_t v = 0; v < groups.votes.size(); ++v) {
      const bool left = (groups.votes[v].winner() > 0) == groups.votes[v].first_on_left();
      loss -= std::log(left ? predictions.left[v] : 1 - predictions.left[v]);
    }
    return loss / static_cast<double>(groups.votes.size());
  };
  const double without = log_loss();
  EXPECT_EQ(set_sources(groups, votes), "");
  return without - log_loss();
}

TEST(Sources, help_where_they_differ_and_do_no_harm_where_they_do_not) {
  EXPECT_GT(gain_of_sources(simulate({.prompts = 400, .votes_per_pair = 1}, 5)), 0.01);
  for (const unsigned seed : {6u, 7u}) EXPECT_GT(gain_of_sources(simulate({.sd = 0}, seed)), -0.001) << seed;
}

/// Items whose source nobody says are as of one more, which is not published.
TEST(Sources, some_may_not_be_known) {
  Simulated simulated = simulate({}, 9);
  for (std::size_t i = 0; i < simulated.votes.source.size(); i += 5) simulated.votes.source[i] = kNoSource;
  const Fitted fitted = fit_votes(simulated.votes);
  const std::vector<double> truth = centred_truth(simulated, fitted);
  ASSERT_EQ(fitted.labels.sources.score.size(), 8u);
  for (std::size_t g = 0; g < 8; ++g)
    EXPECT_NEAR(fitted.labels.sources.score[g], truth[g], 4 * fitted.labels.sources.std_error[g]) << g;
}

/// A fit that starts from one of other prompts knows the sources: few votes say what all said together.
TEST(Sources, an_earlier_fit_knows_them) {
  const Simulated all = simulate({.prompts = 1000}, 11);
  const auto part = [&](bool today) {
    Votes some = all.votes;
    some.left.clear(), some.right.clear(), some.annotator.clear(), some.preference.clear();
    for (std::size_t v = 0; v < all.votes.size(); ++v) {
      if ((all.votes.left[v] / 4 % 10 == 0) != today) continue;
      some.left.push_back(all.votes.left[v]);
      some.right.push_back(all.votes.right[v]);
      some.annotator.push_back(all.votes.annotator[v]);
      some.preference.push_back(all.votes.preference[v]);
    }
    return some;
  };
  const Fitted yesterday = fit_votes(part(false)), whole = fit_votes(all.votes);
  EarlierFit earlier;
  earlier.annotator_ids = all.votes.annotator_ids;
  earlier.annotators = yesterday.labels.annotators;
  earlier.source_ids = all.votes.source_ids;
  earlier.sources = yesterday.labels.sources;
  earlier.population = yesterday.fit.population;
  earlier.reference_discrimination = yesterday.fit.reference_discrimination;
  earlier.score_unit = yesterday.fit.score_unit;
  earlier.strengths = {1};
  const test::MakeEngine host = [](const Groups& groups) { return test::make_host_engine(groups); };
  for (const test::MakeEngine& make : {test::MakeEngine(), host}) {
    const Fitted warm = fit_votes(part(true), &earlier, make);
    for (std::size_t g = 0; g < 8; ++g) {
      const double error = whole.labels.sources.std_error[g];
      EXPECT_NEAR(warm.labels.sources.score[g], whole.labels.sources.score[g], 0.5 * error) << g;
      EXPECT_NEAR(warm.labels.sources.std_error[g], error, 0.25 * error) << g;
    }
  }
}

}  // namespace
}  // namespace voxpop
