// Fits of small graphs with whatever files may hold: votes that all agree or all contradict each other, extreme prior
// scores and features, priors from an earlier fit that makes no sense. Labels must be numbers all the same.

#include <fuzzer/FuzzedDataProvider.h>

#include <cmath>
#include <limits>

#include "harness.h"

namespace voxpop {
namespace {

bool odd(FuzzedDataProvider& in) { return (in.ConsumeIntegral<std::uint8_t>() & 7) == 7; }

/// Any number that a file may hold there.
float number(FuzzedDataProvider& in, float low, float high) {
  const double usual = in.ConsumeFloatingPointInRange(-3.0, 3.0);
  const double x = odd(in) ? in.PickValueInArray({0.0, 1e-30, -1e-30, 1e-6, 40.0, -1e4, 1e30, -3e38, 3.4e38}) : usual;
  return static_cast<float>(std::clamp(odd(in) ? -x : x, double{low}, double{high}));
}
constexpr float kAny = std::numeric_limits<float>::max(), kPositive = std::numeric_limits<float>::min();

Votes make_votes(FuzzedDataProvider& in) {
  Votes votes;
  const auto below = [&](std::uint32_t count) { return in.ConsumeIntegralInRange<std::uint32_t>(0, count - 1); };
  const std::uint32_t items = 2 + below(11), annotators = 1 + below(6), features = odd(in) ? 1 + below(4) : 0;
  for (std::uint32_t i = 0; i < items; ++i) votes.item_ids.push_back("i" + std::to_string(i));
  for (std::uint32_t a = 0; a < annotators; ++a) votes.annotator_ids.push_back("a" + std::to_string(a));
  const int strongest = odd(in) ? 9 : 1;
  const bool timed = odd(in), scored = odd(in);
  if (scored)
    for (std::uint32_t i = 0; i < items; ++i) votes.prior_score.push_back(number(in, -kAny, kAny));
  for (std::uint32_t f = 0; f < features; ++f) votes.feature_names.push_back("f" + std::to_string(f));
  for (std::uint32_t i = 0; i < items * features; ++i) votes.features.push_back(number(in, -kAny, kAny));
  while (in.remaining_bytes() > 0 && votes.size() < 3000) {
    const std::uint32_t left = below(items), right = (left + 1 + below(items - 1)) % items,
                        annotator = below(annotators);
    const auto preference = static_cast<std::int8_t>(in.ConsumeIntegralInRange(-strongest, strongest));
    const std::uint32_t times = odd(in) ? below(300) + 1 : 1;
    for (std::uint32_t i = 0; i < times; ++i) {
      votes.left.push_back(left);
      votes.right.push_back(right);
      votes.annotator.push_back(annotator);
      votes.preference.push_back(preference);
      if (timed) votes.timestamp.push_back(in.ConsumeIntegralInRange(-kMostSeconds, kMostSeconds));
    }
  }
  votes.inputs.push_back({"votes.h5", 0, ""});
  if (odd(in)) {
    for (std::uint32_t i = 0; i < items; ++i) votes.source.push_back(odd(in) ? kNoSource : below(3));
    for (const char* id : {"m0", "m1", "m2"}) votes.source_ids.push_back(id);
  }
  return votes;
}

/// Whatever read_earlier_fit() lets pass.
EarlierFit make_earlier(FuzzedDataProvider& in, const Votes& votes, Model model, Ties ties) {
  EarlierFit earlier;
  const std::size_t annotators = votes.annotator_ids.size(),
                    covariates = votes.feature_names.size() + !votes.prior_score.empty();
  earlier.model = model == Model::kCrowdBt ? "crowd-bt" : "";
  earlier.annotator_ids = votes.annotator_ids;
  const auto any = [&] { return number(in, -kAny, kAny); };
  const auto positive = [&] { return number(in, kPositive, kAny); };
  const auto share = [&] { return odd(in) ? in.PickValueInArray({0.0f, 1.0f, 0.5f}) : in.ConsumeProbability<float>(); };
  Population& population = earlier.population;
  population.mean = any();
  if (has_discriminations(model)) {
    population.variance = std::pow(double{positive()}, 2);
    population.side_bias_variance = std::pow(double{positive()}, 2);
  }
  population.habit_mean = number(in, -30, 30);
  population.habit_variance = std::pow(double{positive()}, 2);
  if (model == Model::kCrowdBt) {
    population.share_mean = number(in, -30, 30);
    population.share_variance = std::pow(double{positive()}, 2);
  }
  earlier.reference_discrimination = positive();
  if (model == Model::kCrowdBt) earlier.reference_share = odd(in) ? any() : 0.9;
  AnnotatorLabels& known = earlier.annotators;
  for (std::size_t a = 0; a < annotators; ++a) {
    known.votes.push_back(in.ConsumeIntegral<std::uint8_t>());
    for (Column<float>* column :
         {&known.discrimination, &known.discrimination_se, &known.side_bias, &known.side_bias_se})
      column->push_back(odd(in) ? std::numeric_limits<float>::quiet_NaN() : any());
    if (ties == Ties::kModel) {
      known.tie_habit.push_back(share());
      known.tie_habit_se.push_back(number(in, 0, kAny));
    }
    if (model == Model::kCrowdBt) {
      known.eta.push_back(share());
      known.eta_se.push_back(number(in, 0, kAny));
    }
  }
  const Answers answers = find_answers(votes.preference, ties);
  earlier.strengths = answers.strengths;
  if (!odd(in))
    for (int k = 0; k < answers.levels(); ++k)
      earlier.thresholds.push_back(odd(in) ? any() : static_cast<float>(k + 1));
  if (!votes.source.empty() && odd(in))
    for (const char* id : {"m1", "m3"}) {
      earlier.source_ids.push_back(id);
      earlier.sources.score.push_back(any());
      earlier.sources.std_error.push_back(positive());
    }
  if (odd(in)) return earlier;
  for (const std::string_view name : {"f0", "f1", "f2", "f3"})
    if (earlier.covariates.names.size() < votes.feature_names.size()) earlier.covariates.names.push_back(name);
  if (!votes.prior_score.empty()) earlier.covariates.names.push_back("prior_score");
  for (std::size_t k = 0; k < covariates; ++k) {
    earlier.covariates.coefficient.push_back(any());
    earlier.covariates.coefficient_se.push_back(positive());
  }
  for (std::size_t k = 0; k < votes.feature_names.size(); ++k) earlier.covariates.taste_sd.push_back(positive());
  for (std::size_t i = 0; i < annotators * votes.feature_names.size(); ++i) {
    known.taste.push_back(any());
    known.taste_se.push_back(any());
  }
  return earlier;
}

/// What is left is right: the same votes.
Votes mirrored(Votes votes) {
  votes.left.swap(votes.right);
  for (std::int8_t& preference : votes.preference) preference = static_cast<std::int8_t>(-preference);
  return votes;
}

}  // namespace
}  // namespace voxpop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  FuzzedDataProvider in(data, size);
  FitRequest choice;
  choice.model = in.PickValueInArray({Model::kRater, Model::kBradleyTerry, Model::kCrowdBt});
  choice.ties = in.PickValueInArray({Ties::kModel, Ties::kHalf, Ties::kDrop});
  choice.adversaries = !odd(in);
  choice.force = true;  // an error otherwise, if two camps contradict each other
  if (odd(in)) choice.use_prior_score = choice.use_features = false;
  choice.max_iterations = odd(in) ? in.ConsumeIntegralInRange(1, 200) : 30;
  const bool warm = odd(in), mirror = odd(in);
  const std::string priors = warm ? in.ConsumeBytesAsString(in.ConsumeIntegralInRange(0, 300)) : "";
  const Votes votes = make_votes(in);
  if (votes.size() == 0) return 0;
  fuzz::ends_well([&] {
    if (warm) {
      FuzzedDataProvider prior_bytes(reinterpret_cast<const std::uint8_t*>(priors.data()), priors.size());
      const EarlierFit earlier = make_earlier(prior_bytes, votes, choice.model, choice.ties);
      if (!improper_part(earlier).empty()) return;  // read_earlier_fit() refuses it
      fuzz::check_fit(votes, choice, &earlier);
      return;
    }
    const Labels labels = fuzz::check_fit(votes, choice);
    if (!mirror) return;
    choice.max_iterations = 200;
    const Labels one = fuzz::check_fit(votes, choice), other = fuzz::check_fit(mirrored(votes), choice);
    for (std::size_t p = 0; p < one.pairs.left.size(); ++p)
      VOXPOP_REQUIRE(std::abs(one.pairs.probability_better[p] - other.pairs.probability_better[p]) < 0.02f);
  });
  return 0;
}
