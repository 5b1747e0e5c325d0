#include "simulate/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <random>

#include "core/error.h"
#include "voxpop/vote.h"

namespace voxpop {
namespace {

/// Standard deviation of item quality within a prompt, in logits of the reference annotator.
constexpr double kItemSd = 2.0;
/// Pareto exponent of vote volumes: of 300 annotators the busiest gives some 5 % of the votes.
constexpr double kVolumeShape = 1.5;

/// Draws that are the same on every platform, which the standard library's distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : bits_(seed) {}
  double uniform() { return (static_cast<double>(bits_() >> 11) + 0.5) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }
  double logistic() {
    const double u = uniform();
    return std::log(u / (1 - u));
  }
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(uniform() * static_cast<double>(n)); }

 private:
  std::mt19937_64 bits_;
};

Truth draw_annotators(const SimulateOptions& options, Random& random) {
  Truth truth;
  const Mix& mix = options.mix;
  for (std::uint64_t a = 0; a < options.annotators; ++a) {
    // Kinds in exact shares, spread over the numbers, so that small simulations hold what was asked for.
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
  // The unit is the reference annotator, the median of all: stretch the good ones until that is 1.
  std::vector<double> sorted = truth.discrimination;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  const double median = sorted[sorted.size() / 2];
  if (median > 0.5)
    for (std::size_t a = 0; a < truth.discrimination.size(); ++a)
      if (truth.kind[a] == "good") truth.discrimination[a] /= median;
  return truth;
}

/// The tie threshold that makes the share of ties what was asked for (bisection on the votes' own logits).
double tie_threshold(double share, const std::vector<double>& logits) {
  double low = 0, high = 50;
  for (int i = 0; i < 60; ++i) {
    const double threshold = (low + high) / 2;
    double ties = 0;
    for (const double eta : logits) ties += 1 / (1 + std::exp(eta - threshold)) - 1 / (1 + std::exp(eta + threshold));
    (ties < share * static_cast<double>(logits.size()) ? low : high) = threshold;
  }
  return low;
}

void require(bool condition, const std::string& message) {
  if (!condition) throw usage_error("simulate: {}", message);
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
            "--mix entry '{}' is not KIND=SHARE with a kind of good, noisy, clicker, adversary and a share from 0 to 1",
            entry));
    at = comma + 1;
  }
  const double sum = mix.good + mix.noisy + mix.clicker + mix.adversary;
  require(std::abs(sum - 1) < 1e-6, fmt::format("--mix shares add up to {:.4g}; they must add up to 1", sum));
  return mix;
}

Votes simulate_votes(const SimulateOptions& o) {
  require(o.ties >= 0 && o.ties <= 0.95, "--ties must be a share from 0 to 0.95");
  require(o.responses >= 2, "--responses must be at least 2");
  require(o.annotators >= o.votes_per_pair,
          "--annotators must be at least --votes-per-pair: a pair's votes are by different annotators");
  require(o.annotators < VoteCode::kMaxAnnotators, "--annotators is too large");
  const std::uint64_t possible = o.responses * (o.responses - 1) / 2;
  if (o.shape == Shape::kRlhf)
    require(o.pairs_per_prompt <= possible,
            fmt::format("--pairs-per-prompt {} of {} responses: there are only {} pairs", o.pairs_per_prompt,
                        o.responses, possible));
  const std::uint64_t items = o.shape == Shape::kArena ? o.responses : o.prompts * o.responses;
  const std::uint64_t pairs = o.shape == Shape::kChain ? items - 1 : o.prompts * o.pairs_per_prompt;
  require(items < 0xfffffff0u && pairs < kMaxVotes / o.votes_per_pair,
          "more votes or items than one file can hold (4 billion)");

  Random random(o.seed);
  Votes votes;
  votes.truth = draw_annotators(o, random);
  Truth& truth = *votes.truth;
  for (std::uint64_t i = 0; i < items; ++i) truth.score.push_back(kItemSd * random.normal());
  std::vector<double> volume;  // running sums of the annotators' weights
  for (std::uint64_t a = 0; a < o.annotators; ++a)
    volume.push_back((volume.empty() ? 0 : volume.back()) + std::pow(random.uniform(), -1 / kVolumeShape));
  const auto draw_annotator = [&] {
    const double at = random.uniform() * volume.back();
    return static_cast<std::uint32_t>(std::lower_bound(volume.begin(), volume.end(), at) - volume.begin());
  };

  std::vector<double> logits;  // of each vote, to the left
  const std::uint64_t total = pairs * o.votes_per_pair;
  for (auto* column : {&votes.left, &votes.right, &votes.annotator}) column->reserve(total);
  logits.reserve(total);
  std::vector<std::uint32_t> voters;
  const auto vote_on = [&](std::uint32_t a, std::uint32_t b) {
    voters.clear();
    while (voters.size() < o.votes_per_pair) {
      std::uint32_t annotator = draw_annotator();
      for (int tries = 0; std::find(voters.begin(), voters.end(), annotator) != voters.end(); ++tries)
        annotator = tries < 100 ? draw_annotator() : (annotator + 1) % static_cast<std::uint32_t>(o.annotators);
      voters.push_back(annotator);
      const bool swap = random.uniform() < 0.5;
      const std::uint32_t left = swap ? b : a, right = swap ? a : b;
      votes.left.push_back(left);
      votes.right.push_back(right);
      votes.annotator.push_back(annotator);
      logits.push_back(truth.discrimination[annotator] * (truth.score[left] - truth.score[right]) +
                       truth.side_bias[annotator]);
    }
  };
  if (o.shape == Shape::kChain) {
    for (std::uint32_t i = 0; i + 1 < items; ++i) vote_on(i, i + 1);
  } else if (o.shape == Shape::kArena) {
    for (std::uint64_t p = 0; p < pairs; ++p) {
      const std::uint32_t a = random.below(items),
                          b = (a + 1 + random.below(items - 1)) % static_cast<std::uint32_t>(items);
      vote_on(a, b);
    }
  } else {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> choice;
    for (std::uint32_t i = 0; i < o.responses; ++i)
      for (std::uint32_t j = i + 1; j < o.responses; ++j) choice.emplace_back(i, j);
    for (std::uint64_t prompt = 0; prompt < o.prompts; ++prompt) {
      const auto base = static_cast<std::uint32_t>(prompt * o.responses);
      for (std::uint64_t k = 0; k < o.pairs_per_prompt; ++k) {  // a partial Fisher-Yates shuffle
        std::swap(choice[k], choice[k + random.below(choice.size() - k)]);
        vote_on(base + choice[k].first, base + choice[k].second);
      }
    }
  }
  const double threshold = o.ties > 0 ? tie_threshold(o.ties, logits) : 0;
  votes.preference.reserve(total);
  for (const double eta : logits) {
    const double latent = eta + random.logistic();
    votes.preference.push_back(latent > threshold ? 1 : latent < -threshold ? -1 : 0);
  }
  for (std::uint64_t i = 0; i < items; ++i) {
    if (o.shape == Shape::kRlhf) {
      votes.item_ids.push_back(fmt::format("p{}/r{}", i / o.responses, i % o.responses));
      votes.prompt.push_back(static_cast<std::uint32_t>(i / o.responses));
    } else {
      votes.item_ids.push_back(fmt::format("item{}", i));
    }
  }
  if (o.shape == Shape::kRlhf)
    for (std::uint64_t p = 0; p < o.prompts; ++p) votes.prompt_ids.push_back(fmt::format("p{}", p));
  for (std::uint64_t a = 0; a < o.annotators; ++a) votes.annotator_ids.push_back(fmt::format("a{}", a));
  return votes;
}

}  // namespace voxpop
