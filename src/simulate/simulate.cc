#include "simulate/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>
#include <span>

#include "core/error.h"
#include "formulas/elementary.h"
#include "formulas/likelihood.h"
#include "formulas/vote.h"

namespace voxpop {
namespace {

/// Standard deviation of item quality within a prompt, in logits of the reference annotator.
constexpr double kItemSd = 2.0;
/// Pareto exponent of the annotators' numbers of votes. The busiest of 300 annotators gives about 5 % of the votes.
constexpr double kVolumeShape = 1.5;
constexpr double kLapseSd = 0.7;  // standard deviation of the logits of lapse rates
constexpr double kHabitSd = 0.7;  // standard deviation of the logits of tie habits
/// Shape mix: every kHubEvery-th prompt has a hub, which is compared with kHubPairs items.
constexpr std::uint64_t kHubEvery = 100, kHubPairs = 100;
constexpr std::int64_t kFirstSecond = 1767571200;  // 2026-01-05 00:00 UTC
constexpr std::size_t kSessionVotes = 50;
constexpr double kDriftTo = 0.25;  // factor of the discrimination after drift
/// Minimum number of votes for an annotator with drift or bursts: fewer votes cannot show either.
constexpr std::size_t kTimedVotes = 10;

/// Separate random streams of one seed, so that an option does not change the draws of other options.
enum class Stream : std::uint64_t { kVotes, kLapses, kFeatures, kTaste, kPriorScore, kTimes, kTies };

/// Random draws that are identical on every platform. The distributions of the standard library are not.
class Random {
 public:
  explicit Random(std::uint64_t seed, Stream stream = Stream::kVotes)
      : bits_(seed + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(stream)) {}
  double uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }
  double logistic() { return logit(uniform()); }
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(uniform() * static_cast<double>(n)); }

 private:
  std::mt19937_64 bits_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void require(bool condition, const std::string& message) {
  if (!condition) throw usage_error("simulate: {}", message);
}

Truth draw_annotators(const SimulateOptions& options, Random& random) {
  Truth truth;
  const Mix& mix = options.mix;
  for (std::uint64_t a = 0; a < options.annotators; ++a) {
    // A low-discrepancy sequence (multiples of the golden ratio) instead of random draws: the kinds are spread evenly
    // over the annotators, and also small simulations have nearly the requested shares.
    const double place = std::fmod((static_cast<double>(a) + 0.5) * std::numbers::phi, 1.0);
    const char* kind = "good";
    double discrimination = 1 + 0.2 * random.normal(), side_bias = 0.2 * random.normal();
    if (place < mix.noisy) {
      kind = "noisy";
      discrimination = 0.35 + 0.05 * random.normal();
    } else if (place < mix.noisy + mix.clicker) {
      kind = "clicker";
      discrimination = 0.05 * random.normal();
      side_bias = random.uniform() < 0.5 ? -3 : 3;
    } else if (place < mix.noisy + mix.clicker + mix.adversary) {
      kind = "adversary";
      discrimination = -0.8 + 0.1 * random.normal();
    }
    truth.discrimination.push_back(discrimination);
    truth.side_bias.push_back(side_bias);
    truth.kind.push_back(kind);
  }
  // The unit is defined by the reference annotator, the median of all: scale the good ones so that the median is 1.
  const double unit = median(truth.discrimination);
  if (unit > 0.5)
    for (std::size_t a = 0; a < truth.discrimination.size(); ++a)
      if (truth.kind[a] == "good") truth.discrimination[a] /= unit;
  return truth;
}

/// Probability of a tie at logit `eta`. `habit`: the annotator's tie habit, which is the probability at eta = 0.
double tie_chance(double habit, double eta) { return 4 * habit * sigmoid(eta) * sigmoid(-eta); }

/// Finds the annotators' tie habits that give the requested share of ties, by bisection over the centre of their
/// logits. `own`: each annotator's distance from the centre, in logits. `clicks`: votes that cannot be ties; empty:
/// none.
std::vector<double> tie_habits(double share, const std::vector<double>& own, const std::vector<double>& logits,
                               const Column<std::uint32_t>& annotator, const std::vector<bool>& clicks) {
  std::vector<double> most(own.size(), 0);  // per annotator: expected number of ties with a habit of 1
  double votes = 0, all = 0;
  for (std::size_t v = 0; v < logits.size(); ++v) {
    votes += 1;
    if (!clicks.empty() && clicks[v]) continue;
    most[annotator[v]] += tie_chance(1, logits[v]);
    all += tie_chance(1, logits[v]);
  }
  require(share * votes <= 0.98 * all, fmt::format("--ties {}: at most {:.2g} of these votes can be ties, even if "
                                                   "every annotator who sees no difference says so",
                                                   share, 0.98 * all / votes));
  double low = -50, high = 50;
  std::vector<double> habits(own.size());
  for (int i = 0; i < 60; ++i) {
    const double centre = (low + high) / 2;
    double ties = 0;
    for (std::size_t a = 0; a < own.size(); ++a) ties += most[a] * (habits[a] = sigmoid(centre + own[a]));
    (ties < share * votes ? low : high) = centre;
  }
  return habits;
}

struct Sizes {
  std::uint64_t items, pairs;
};

std::uint64_t hubs(const SimulateOptions& o) { return (o.prompts + kHubEvery - 1) / kHubEvery; }

Sizes sizes_of(const SimulateOptions& o) {
  const std::uint64_t items = o.prompts * o.responses, pairs = o.prompts * o.pairs_per_prompt;
  if (o.shape == Shape::kArena) return {o.responses, pairs};
  if (o.shape == Shape::kChain) return {items, items - 1};
  if (o.shape == Shape::kMix) return {items, pairs + o.prompts - 1 + hubs(o) * kHubPairs};
  return {items, pairs};
}

std::vector<double> feature_coefficients(const SimulateOptions& o) {
  std::vector<double> coefficients;
  for (std::uint64_t f = 0; f < o.features; ++f)
    coefficients.push_back(o.feature_effect * std::pow(-0.5, static_cast<double>(f)));
  return coefficients;
}

double sum_of_squares(const std::vector<double>& values) {
  return std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
}

void check(const SimulateOptions& o) {
  require(o.ties >= 0 && o.ties <= 0.95, "--ties must be a share from 0 to 0.95");
  require(o.grades <= kMaxLevels, fmt::format("--grades must be from 0 to {}", kMaxLevels));
  require(o.lapse_rate >= 0 && o.lapse_rate <= 0.9, "--lapse-rate must be from 0 to 0.9");
  require(o.features <= 64, "--features must be from 0 to 64");
  require(o.features == 0 || sum_of_squares(feature_coefficients(o)) <= 0.9 * kItemSd * kItemSd,
          fmt::format("--feature-effect {}: the features would explain more than 90 % of the variance of scores; the "
                      "largest possible value is about 1.6",
                      o.feature_effect));
  require(o.taste_sd >= 0 && o.taste_sd <= 10, "--taste-sd must be from 0 to 10");
  require(o.taste_sd == 0 || o.features > 0, "--taste-sd needs --features");
  require(!o.prior_score || (*o.prior_score >= 0 && *o.prior_score < 1),
          "--prior-score must be a correlation from 0 to below 1");
  require(o.days <= 36500, "--days must be from 0 to 36500");
  require(o.drift >= 0 && o.drift <= 1, "--drift must be a share from 0 to 1");
  require(o.bursts >= 0 && o.bursts <= 1, "--bursts must be a share from 0 to 1");
  require(o.days > 0 || (o.drift == 0 && o.bursts == 0), "--drift and --bursts need --days");
  require(o.responses >= 2, "--responses must be at least 2");
  require(o.annotators >= o.votes_per_pair,
          "--annotators must be at least --votes-per-pair: a pair's votes are by different annotators");
  require(o.annotators < VoteCode::kMaxAnnotators, "--annotators is too large");
  const std::uint64_t possible = o.responses * (o.responses - 1) / 2;
  if (o.shape == Shape::kRlhf)
    require(o.pairs_per_prompt <= possible,
            fmt::format("--pairs-per-prompt {} of {} responses: there are only {} pairs", o.pairs_per_prompt,
                        o.responses, possible));
  const Sizes sizes = sizes_of(o);
  require(sizes.items < 0xfffffff0u && sizes.pairs < kMaxVotes / o.votes_per_pair,
          "more votes or items than fit into one file (4 billion)");
  if (o.shape == Shape::kGraph)
    require(sizes.pairs >= sizes.items - 1,
            fmt::format("--shape graph: {} pairs cannot connect {} items; raise --pairs-per-prompt", sizes.pairs,
                        sizes.items));
  if (o.shape == Shape::kMix)
    require(o.pairs_per_prompt >= o.responses - 1,
            fmt::format("--shape mix: --pairs-per-prompt {} cannot connect {} responses; raise it", o.pairs_per_prompt,
                        o.responses));
}

/// Calls compare(a, b) for each pair of items that gets votes.
template <class Compare>
void draw_pairs(const SimulateOptions& o, const Sizes& sizes, Random& random, const Compare& compare) {
  const auto another = [&](std::uint32_t item, std::uint32_t base, std::uint64_t n) {
    return base + static_cast<std::uint32_t>((item - base + 1 + std::uint64_t{random.below(n - 1)}) % n);
  };
  const auto any_pair = [&](std::uint32_t base, std::uint64_t n) {
    const std::uint32_t a = base + random.below(n), b = another(a, base, n);
    compare(a, b);
  };
  const auto joined_pairs = [&](std::uint32_t base, std::uint64_t n, std::uint64_t pairs) {
    for (std::uint32_t i = 1; i < n; ++i) compare(base + i, base + random.below(i));
    for (std::uint64_t p = n - 1; p < pairs; ++p) any_pair(base, n);
  };
  if (o.shape == Shape::kChain) {
    for (std::uint32_t i = 0; i + 1 < sizes.items; ++i) compare(i, i + 1);
  } else if (o.shape == Shape::kArena) {
    for (std::uint64_t p = 0; p < sizes.pairs; ++p) any_pair(0, sizes.items);
  } else if (o.shape == Shape::kGraph) {
    joined_pairs(0, sizes.items, sizes.pairs);
  } else if (o.shape == Shape::kMix) {
    for (std::uint64_t prompt = 0; prompt < o.prompts; ++prompt) {
      const auto first = static_cast<std::uint32_t>(prompt * o.responses);
      joined_pairs(first, o.responses, o.pairs_per_prompt);
      if (prompt > 0) compare(first, static_cast<std::uint32_t>(random.below(prompt) * o.responses));
      if (prompt % kHubEvery == 0)
        for (std::uint64_t p = 0; p < kHubPairs; ++p) compare(first, another(first, 0, sizes.items));
    }
  } else {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> choice;
    for (std::uint32_t i = 0; i < o.responses; ++i)
      for (std::uint32_t j = i + 1; j < o.responses; ++j) choice.emplace_back(i, j);
    for (std::uint64_t prompt = 0; prompt < o.prompts; ++prompt) {
      const auto base = static_cast<std::uint32_t>(prompt * o.responses);
      for (std::uint64_t k = 0; k < o.pairs_per_prompt; ++k) {  // a partial Fisher-Yates shuffle
        std::swap(choice[k], choice[k + random.below(choice.size() - k)]);
        compare(base + choice[k].first, base + choice[k].second);
      }
    }
  }
}

/// Draws features and tastes, and adds the features' effects to the scores.
void draw_features(const SimulateOptions& o, Votes& votes) {
  Truth& truth = *votes.truth;
  truth.feature_coefficients = feature_coefficients(o);
  Random random(o.seed, Stream::kFeatures);
  for (std::uint64_t f = 0; f < o.features; ++f)
    votes.feature_names.push_back(f == 0 ? "length" : fmt::format("f{}", f));
  votes.features.reserve(truth.score.size() * o.features);
  for (double& score : truth.score)
    for (const double coefficient : truth.feature_coefficients) {
      votes.features.push_back(static_cast<float>(random.normal()));
      score += coefficient * votes.features.back();
    }
  if (o.taste_sd == 0) return;
  Random tastes(o.seed, Stream::kTaste);
  for (std::uint64_t i = 0; i < o.annotators * o.features; ++i) truth.taste.push_back(o.taste_sd * tastes.normal());
}

/// For each vote, the logit of the probability that the left item wins.
std::vector<double> find_logits(const Votes& votes) {
  const Truth& truth = *votes.truth;
  std::vector<double> logits(votes.left.size());
  for (std::size_t v = 0; v < logits.size(); ++v) {
    const std::uint32_t left = votes.left[v], right = votes.right[v], annotator = votes.annotator[v];
    logits[v] = truth.discrimination[annotator] * (truth.score[left] - truth.score[right]) + truth.side_bias[annotator];
    if (truth.taste.empty()) continue;
    const std::size_t features = votes.feature_names.size();
    for (std::size_t f = 0; f < features; ++f)
      logits[v] += truth.taste[annotator * features + f] *
                   (votes.features[left * features + f] - votes.features[right * features + f]);
  }
  return logits;
}

/// Each annotator's rows in the order in which it voted. This order is random, not the row order, so that time is
/// independent of the items.
struct Work {
  std::vector<std::uint64_t> begin;  ///< [annotators + 1]
  std::vector<std::uint32_t> rows;

  std::span<const std::uint32_t> of(std::size_t annotator) const {
    return std::span(rows).subspan(begin[annotator], begin[annotator + 1] - begin[annotator]);
  }
};

Work draw_work(const Column<std::uint32_t>& annotator, std::size_t annotators, Random& random) {
  Work work{std::vector<std::uint64_t>(annotators + 1), std::vector<std::uint32_t>(annotator.size())};
  for (const std::uint32_t a : annotator) ++work.begin[a + 1];
  std::partial_sum(work.begin.begin(), work.begin.end(), work.begin.begin());
  std::vector<std::uint64_t> next = work.begin;
  for (std::uint32_t row = 0; row < annotator.size(); ++row) {  // inside-out Fisher-Yates shuffle
    const std::uint64_t begin = work.begin[annotator[row]], end = next[annotator[row]]++;
    std::uint32_t& other = work.rows[begin + random.below(end - begin + 1)];
    work.rows[end] = other;
    other = row;
  }
  return work;
}

/// Marks a share of all annotators. The marks are spread evenly over the annotators for which can_be() is true.
template <class CanBe>
std::vector<std::int8_t> mark(double share, std::size_t annotators, const CanBe& can_be, const char* option,
                              const char* what) {
  std::vector<std::int8_t> marks(annotators, 0);
  std::size_t possible = 0, seen = 0;
  for (std::size_t a = 0; a < annotators; ++a) possible += can_be(a);
  const auto wanted = static_cast<std::size_t>(std::round(share * static_cast<double>(annotators)));
  require(wanted <= possible,
          fmt::format("{} {}: only {} of {} annotators {}", option, share, possible, annotators, what));
  for (std::size_t a = 0; a < annotators; ++a) {
    if (!can_be(a)) continue;
    marks[a] = (seen + 1) * wanted / possible > seen * wanted / possible;
    ++seen;
  }
  return marks;
}

/// Draws timestamps: sessions at random times; the sessions of an annotator do not overlap.
void draw_timestamps(const SimulateOptions& o, const Work& work, Random& random, Votes& votes) {
  const std::int64_t all = static_cast<std::int64_t>(o.days) * 86400;
  const std::vector<std::int8_t>& bursts = votes.truth->bursts;
  votes.timestamp.resize(votes.left.size());
  for (std::size_t a = 0; a < o.annotators; ++a) {
    const auto rows = work.of(a);
    const std::size_t sessions = std::max<std::size_t>(1, (rows.size() + kSessionVotes / 2) / kSessionVotes);
    const auto session_begin = [&](std::size_t session) { return session * rows.size() / sessions; };
    std::int64_t busy = 0;  // seconds of work before the vote
    for (std::size_t session = 0; session < sessions; ++session) {
      const bool burst = !bursts.empty() && bursts[a] != 0 && session == sessions / 2;
      for (std::size_t i = session_begin(session); i < session_begin(session + 1); ++i) {
        votes.timestamp[rows[i]] = kFirstSecond + busy;
        busy += burst ? 1 : 20 + random.below(71);
      }
    }
    require(busy <= all,
            fmt::format("--days {}: the {} votes of annotator a{} take {} days; give more days or annotators", o.days,
                        rows.size(), a, busy / 86400 + 1));
    std::vector<std::int64_t> idle(sessions);  // total seconds without work before each session
    for (std::int64_t& seconds : idle)
      seconds = static_cast<std::int64_t>(random.uniform() * static_cast<double>(all - busy));
    std::sort(idle.begin(), idle.end());
    for (std::size_t session = 0; session < sessions; ++session)
      for (std::size_t i = session_begin(session); i < session_begin(session + 1); ++i)
        votes.timestamp[rows[i]] += idle[session];
  }
}

/// Reduces the discrimination of drifting annotators in the second half of their votes. The truth becomes the mean over
/// each annotator's votes, rescaled so that the median of these means is 1: a fit without drift should find this.
void apply_drift(const Work& work, const Votes& votes, Truth& truth, std::vector<double>& logits) {
  for (std::size_t a = 0; a < truth.drifts.size(); ++a) {
    if (truth.drifts[a] == 0) continue;
    const auto rows = work.of(a);
    const auto later = rows.subspan(rows.size() - rows.size() / 2);
    for (const std::uint32_t row : later)
      logits[row] -=
          (1 - kDriftTo) * truth.discrimination[a] * (truth.score[votes.left[row]] - truth.score[votes.right[row]]);
    truth.discrimination[a] *=
        1 - (1 - kDriftTo) * static_cast<double>(later.size()) / static_cast<double>(rows.size());
  }
  const double unit = median(truth.discrimination);
  if (unit <= 0) return;
  for (double& discrimination : truth.discrimination) discrimination /= unit;
  for (double& score : truth.score) score *= unit;
  for (double& coefficient : truth.feature_coefficients) coefficient *= unit;
}

/// Draws timestamps, bursts and drift.
void draw_times(const SimulateOptions& o, Votes& votes, std::vector<double>& logits) {
  Truth& truth = *votes.truth;
  Random random(o.seed, Stream::kTimes);
  const Work work = draw_work(votes.annotator, o.annotators, random);
  const auto has_votes = [&](std::size_t a) { return work.of(a).size() >= kTimedVotes; };
  if (o.bursts > 0) truth.bursts = mark(o.bursts, o.annotators, has_votes, "--bursts", "have 10 votes or more");
  draw_timestamps(o, work, random, votes);
  if (o.drift == 0) return;
  truth.drifts = mark(
      o.drift, o.annotators, [&](std::size_t a) { return has_votes(a) && truth.kind[a] == "good"; }, "--drift",
      "are good ones with 10 votes or more");
  apply_drift(work, votes, truth, logits);
}

/// Draws the annotators' lapse rates, and returns which votes are clicks.
std::vector<bool> draw_lapses(const SimulateOptions& o, const Column<std::uint32_t>& annotator, Truth& truth,
                              Random& random) {
  const double centre = logit(o.lapse_rate);
  for (std::uint64_t a = 0; a < o.annotators; ++a)
    truth.lapse_rate.push_back(sigmoid(centre + kLapseSd * random.normal()));
  std::vector<bool> lapsed;
  lapsed.reserve(annotator.size());
  for (const std::uint32_t a : annotator) lapsed.push_back(random.uniform() < truth.lapse_rate[a]);
  return lapsed;
}

void draw_preferences(const SimulateOptions& o, const std::vector<double>& logits, Random& random, Votes& votes) {
  Truth& truth = *votes.truth;
  Random clicks(o.seed, Stream::kLapses);
  std::vector<bool> lapsed;
  if (o.lapse_rate > 0) lapsed = draw_lapses(o, votes.annotator, truth, clicks);
  Random habits(o.seed, Stream::kTies);
  if (o.ties > 0) {
    std::vector<double> own;
    for (std::uint64_t a = 0; a < o.annotators; ++a) own.push_back(kHabitSd * habits.normal());
    truth.tie_habit = tie_habits(o.ties, own, logits, votes.annotator, lapsed);
  }
  const int grades = std::max(1, static_cast<int>(o.grades));
  for (std::uint64_t k = 0; k < o.grades; ++k) truth.thresholds.push_back(static_cast<double>(k));
  votes.preference.reserve(logits.size());
  for (std::size_t v = 0; v < logits.size(); ++v) {
    const double latent = logits[v] + random.logistic();
    int strength = 1 + static_cast<int>(std::min(std::abs(latent), grades - 1.0));
    if (o.ties > 0 && habits.uniform() < tie_chance(truth.tie_habit[votes.annotator[v]], logits[v])) strength = 0;
    bool left = latent > 0;
    if (!lapsed.empty() && lapsed[v]) {
      left = clicks.uniform() < sigmoid(truth.side_bias[votes.annotator[v]]);
      strength = 1 + static_cast<int>(clicks.below(grades));
    }
    votes.preference.push_back(static_cast<std::int8_t>(left ? strength : -strength));
  }
}

}  // namespace

Mix parse_mix(const std::string& text) {
  Mix mix{0, 0, 0, 0};
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string entry = text.substr(at, comma - at);
    const std::size_t equals = entry.find('=');
    const std::string kind = entry.substr(0, equals);
    double* share = kind == "good"        ? &mix.good
                    : kind == "noisy"     ? &mix.noisy
                    : kind == "clicker"   ? &mix.clicker
                    : kind == "adversary" ? &mix.adversary
                                          : nullptr;
    const char* number = equals == std::string::npos ? nullptr : entry.c_str() + equals + 1;
    const char* end = entry.c_str() + entry.size();
    require(share == nullptr || *share == 0, fmt::format("--mix names '{}' twice", kind));
    const bool parsed =
        share != nullptr && number != nullptr && std::from_chars(number, end, *share).ptr == end && number != end;
    require(
        parsed && *share >= 0 && *share <= 1,
        fmt::format(
            "--mix: '{}' is not KIND=SHARE; KIND is one of good, noisy, clicker and adversary, SHARE is from 0 to 1",
            entry));
    at = comma + 1;
  }
  const double sum = mix.good + mix.noisy + mix.clicker + mix.adversary;
  require(std::abs(sum - 1) < 1e-6, fmt::format("--mix: the shares add up to {:.4g}; they must add up to 1", sum));
  return mix;
}

Votes simulate_votes(const SimulateOptions& o) {
  check(o);
  const Sizes sizes = sizes_of(o);
  Random random(o.seed);
  Votes votes;
  votes.truth = draw_annotators(o, random);
  Truth& truth = *votes.truth;
  const double other_sd = std::sqrt(kItemSd * kItemSd - sum_of_squares(feature_coefficients(o)));
  for (std::uint64_t i = 0; i < sizes.items; ++i) truth.score.push_back(other_sd * random.normal());
  if (o.features > 0) draw_features(o, votes);
  std::vector<double> volume;  // cumulative sums of the annotators' relative numbers of votes
  for (std::uint64_t a = 0; a < o.annotators; ++a)
    volume.push_back((volume.empty() ? 0 : volume.back()) + std::pow(random.uniform(), -1 / kVolumeShape));
  const auto draw_annotator = [&] {
    const double at = random.uniform() * volume.back();
    return static_cast<std::uint32_t>(std::lower_bound(volume.begin(), volume.end(), at) - volume.begin());
  };

  for (auto* column : {&votes.left, &votes.right, &votes.annotator}) column->reserve(sizes.pairs * o.votes_per_pair);
  std::vector<std::uint32_t> voters;
  draw_pairs(o, sizes, random, [&](std::uint32_t a, std::uint32_t b) {
    voters.clear();
    while (voters.size() < o.votes_per_pair) {
      std::uint32_t annotator = draw_annotator();
      for (int tries = 0; std::find(voters.begin(), voters.end(), annotator) != voters.end(); ++tries)
        annotator = tries < 100 ? draw_annotator() : (annotator + 1) % static_cast<std::uint32_t>(o.annotators);
      voters.push_back(annotator);
      const bool swap = random.uniform() < 0.5;
      votes.left.push_back(swap ? b : a);
      votes.right.push_back(swap ? a : b);
      votes.annotator.push_back(annotator);
    }
  });
  if (o.prior_score) {
    Random noise(o.seed, Stream::kPriorScore);
    const double r = *o.prior_score;
    for (const double score : truth.score)
      votes.prior_score.push_back(
          static_cast<float>(5 + 0.3 * (r * score / kItemSd + std::sqrt(1 - r * r) * noise.normal())));
  }
  std::vector<double> logits = find_logits(votes);
  if (o.days > 0) draw_times(o, votes, logits);
  draw_preferences(o, logits, random, votes);

  for (std::uint64_t i = 0; i < sizes.items; ++i) {
    if (o.shape == Shape::kRlhf || o.shape == Shape::kMix)
      votes.item_ids.push_back(fmt::format("p{}/r{}", i / o.responses, i % o.responses));
    else
      votes.item_ids.push_back(fmt::format("item{}", i));
    if (o.shape == Shape::kRlhf) votes.prompt.push_back(static_cast<std::uint32_t>(i / o.responses));
  }
  if (o.shape == Shape::kRlhf)
    for (std::uint64_t p = 0; p < o.prompts; ++p) votes.prompt_ids.push_back(fmt::format("p{}", p));
  for (std::uint64_t a = 0; a < o.annotators; ++a) votes.annotator_ids.push_back(fmt::format("a{}", a));
  append_rows(votes.independent, {0, votes.size()});  // repeated votes are drawn independently
  return votes;
}

}  // namespace voxpop
