#include "fit/component_kernel.h"

#include "fit/pack.h"
#include "voxpop/label.h"

namespace voxpop::VOXPOP_TARGET {
namespace {

constexpr std::uint32_t kColumns = 256;          // 1 KiB a quantity: all in the first-level cache
constexpr std::uint32_t kStage = kColumns - 16;  // votes staged at a time

/// Votes of one stage as columns, so that packs load whole. One-sided votes, which cost half, come first, in packs of
/// their own. Columns between and behind hold harmless values.
struct alignas(64) Stage {
  float sign[kColumns], lower[kColumns], upper[kColumns], share[kColumns], click[kColumns];
  float winner[kColumns], side[kColumns], mean[kColumns], variance[kColumns];
  float weight[kColumns], part[kColumns];  // part_of() the weight
  float site_precision[kColumns], site_shift[kColumns];
  float gamma[kColumns], beta[kColumns], gamma_variance[kColumns], covariance[kColumns], beta_variance[kColumns];
  float spread[kColumns], slope[kColumns];
  float difference[kMaxCovariates][kColumns];             // of each feature, for tastes
  float terms[12][kColumns], grid[kGridNodes][kColumns];  // what comes out, a row a quantity
  std::uint16_t column[kStage];                           // of each vote
  std::uint32_t columns, one_sided;                       // in use, whole packs; those that begin with one-sided votes
};

/// Rows of Stage::terms.
enum {
  kGradient0,
  kGradient1,
  kInformation0,
  kInformationCross,
  kInformation1,
  kShare,
  kLower,
  kUpper,
  kLower2,
  kUpper2
};

VOXPOP_HD void add(std::int64_t& sum, std::int64_t value, bool shared) {
  if (shared)
    __atomic_fetch_add(&sum, value, __ATOMIC_RELAXED);
  else
    sum += value;
}

constexpr std::uint32_t whole_packs(std::uint32_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

void set_harmless(Stage& s, std::uint32_t begin, std::uint32_t end) {
  for (std::uint32_t c = begin; c < end; ++c) {
    s.sign[c] = s.winner[c] = s.side[c] = s.variance[c] = s.gamma[c] = 1.0f;
    s.mean[c] = s.site_precision[c] = s.site_shift[c] = s.beta[c] = s.lower[c] = 0.0f;
    s.gamma_variance[c] = s.covariance[c] = s.beta_variance[c] = s.spread[c] = s.slope[c] = 0.0f;
    s.upper[c] = kFar;
    s.share[c] = s.click[c] = 0.5f;
    s.weight[c] = s.part[c] = 1.0f;
  }
}

/// The column of each vote, and what the votes say.
template <Likelihood kKind>
void place_votes(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s) {
  if constexpr (kKind == Likelihood::kBinary) {
    for (std::uint32_t i = 0; i < count; ++i) {
      s.column[i] = static_cast<std::uint16_t>(i);
      s.winner[i] = s.sign[i] = votes[i].level() > 0 ? 1.0f : -1.0f;
    }
    s.columns = whole_packs(count);
    set_harmless(s, count, s.columns);
  } else {
    Statement<float> said[kStage];
    std::uint32_t open = 0, next_open = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      said[i] = statement_of(view, votes[i]);
      open += said[i].one_sided;
    }
    std::uint32_t next_bounded = s.one_sided = whole_packs(open);
    s.columns = whole_packs(next_bounded + count - open);
    set_harmless(s, open, next_bounded);
    set_harmless(s, next_bounded + count - open, s.columns);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t c = said[i].one_sided ? next_open++ : next_bounded++;
      s.column[i] = static_cast<std::uint16_t>(c);
      s.sign[c] = said[i].sign;
      s.lower[c] = said[i].lower;
      s.upper[c] = said[i].upper;
      s.share[c] = said[i].share;
      s.click[c] = said[i].click;
      s.winner[c] = static_cast<float>(votes[i].winner());
    }
  }
}

template <Likelihood kKind>
void stage_votes(const FitView& view, std::uint32_t begin, std::uint32_t count, std::uint32_t& pair, Stage& s,
                 const VotePass& pass) {
  // By the two low bits of a vote; looked up, not branched on: votes are as unpredictable as branches get.
  constexpr float kSide[4] = {0.0f, 0.0f, -1.0f, 1.0f};
  place_votes<kKind>(view, view.votes + begin, count, s);
  for (std::uint32_t i = 0; i < count; ++pair) {
    const float mean = view.pair_mean[pair], variance = view.pair_variance[pair];
    const std::uint32_t pair_end = view.pair_votes[pair + 1] - begin, stop = pair_end < count ? pair_end : count;
    float difference[kMaxCovariates];
    for (int k = 0; k < view.taste_count; ++k) difference[k] = feature_difference(view, pair, k);
    for (; i < stop; ++i) {
      const VoteCode code = view.votes[begin + i];
      const RaterRecord& rater = view.raters[code.annotator()];
      const float side = kSide[code.bits & 3u], weight = weight_of(view, begin + i);
      const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
      s.side[c] = side;
      s.weight[c] = weight;
      s.part[c] = part_of(weight);
      s.mean[c] = mean;
      s.variance[c] = variance;
      s.gamma[c] = rater.discrimination;
      s.beta[c] = rater.side_bias * side;
      if (pass.uncertain) {
        s.gamma_variance[c] = rater.discrimination_variance;
        s.covariance[c] = rater.covariance * side;
        s.beta_variance[c] = rater.side_bias_variance * side * side;
      }
      for (int k = 0; k < view.taste_count; ++k) {
        const Taste taste = view.tastes[std::size_t{code.annotator()} * view.taste_count + k];
        s.difference[k][c] = difference[k];
        s.beta[c] += taste.mean * difference[k];
        if (pass.uncertain) s.beta_variance[c] += taste.variance * difference[k] * difference[k];
      }
      if (pass.grid != nullptr) {
        s.spread[c] = rater.grid_spread;
        s.slope[c] = rater.grid_slope * side;
      }
      s.site_precision[c] = view.site_precision[begin + i] * view.stretch * view.stretch;
      s.site_shift[c] = view.site_shift[begin + i] * view.stretch;
    }
    if (i < pair_end) break;  // this pair goes on in the next stage
  }
}

template <Likelihood kKind>
VOXPOP_HD Statement<Pack> load_statement(const Stage& s, std::uint32_t c, bool mirrored) {
  Statement<Pack> said{Pack::load(s.sign + c), Pack(0), Pack(kFar)};
  if constexpr (kKind != Likelihood::kBinary) {
    said.lower = Pack::load(s.lower + c);
    said.upper = Pack::load(s.upper + c);
    said.one_sided = c < s.one_sided;
  }
  if constexpr (kKind == Likelihood::kMixture) {
    said.share = Pack::load(s.share + c);
    said.click = Pack::load(s.click + c);
    said.mirrored = mirrored;
  }
  return said;
}

VOXPOP_HD Rater<Pack> load_known_rater(const Stage& s, std::uint32_t i) {
  return {Pack::load(s.gamma + i), Pack::load(s.beta + i), Pack(0), Pack(0), Pack(0)};
}

VOXPOP_HD Rater<Pack> load_uncertain_rater(const Stage& s, std::uint32_t i) {
  return {Pack::load(s.gamma + i), Pack::load(s.beta + i), Pack::load(s.gamma_variance + i),
          Pack::load(s.covariance + i), Pack::load(s.beta_variance + i)};
}

VOXPOP_HD Cavity<Pack> load_cavity(const Stage& s, std::uint32_t i) {
  return cavity_without(Pack::load(s.mean + i), Pack::load(s.variance + i),
                        Site<Pack>{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)},
                        Pack::load(s.part + i));
}

/// A taste moves the logit as a side bias does, times the difference between the pair's items.
template <Likelihood kKind>
void add_taste_terms(const FitView& view, const VoteCode* votes, std::uint32_t count, const Stage& s,
                     const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    TasteSums* sums = pass.tastes + std::size_t{votes[i].annotator()} * view.taste_count;
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    const float gradient = s.weight[c] * s.terms[kGradient1][c], information = s.weight[c] * s.terms[kInformation1][c];
    for (int k = 0; k < view.taste_count; ++k) {
      const float difference = s.difference[k][c];
      add(sums[k].gradient, to_fixed(gradient * difference), pass.shared);
      add(sums[k].information, to_fixed(information * difference * difference), pass.shared);
    }
  }
}

/// What the votes of a stage say of their annotators, added up.
template <Likelihood kKind>
void add_annotator_terms(const FitView& view, const VoteCode* votes, std::uint32_t count, const Stage& s,
                         const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    AnnotatorSums& sums = pass.sums[votes[i].annotator()];
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    const float side = s.side[c], weight = s.weight[c];  // back from "first" to "left"
    const auto add_weighted = [&](std::int64_t& sum, float term) { add(sum, to_fixed(weight * term), pass.shared); };
    add_weighted(sums.gradient_gamma, s.terms[kGradient0][c]);
    add_weighted(sums.gradient_beta, s.terms[kGradient1][c] * side);
    add_weighted(sums.information_gamma, s.terms[kInformation0][c]);
    add_weighted(sums.information_cross, s.terms[kInformationCross][c] * side);
    add_weighted(sums.information_beta, s.terms[kInformation1][c] * side * side);
    if constexpr (kKind == Likelihood::kMixture) {
      const ShareTerms share =
          share_terms(s.share[c], s.terms[kShare][c], s.terms[kGradient0][c], s.terms[kGradient1][c] * side);
      add_weighted(sums.gradient_share, share.gradient);
      add_weighted(sums.information_share, share.information);
      add_weighted(sums.cross_share_gamma, share.cross_gamma);
      add_weighted(sums.cross_share_beta, share.cross_beta);
    }
  }
  if (pass.tastes != nullptr) add_taste_terms<kKind>(view, votes, count, s, pass);
  if (pass.grid == nullptr) return;
  for (std::uint32_t i = 0; i < count; ++i) {
    GridSums& sums = pass.grid[votes[i].annotator()];
    const std::uint32_t c = kKind == Likelihood::kBinary ? i : s.column[i];
    for (int g = 0; g < kGridNodes; ++g)
      if (g != kGridNodes / 2) add(sums.log_z[g], to_fixed(s.weight[c] * s.grid[g][c]), pass.shared);
  }
}

void add_threshold_terms(const VoteCode* votes, std::uint32_t count, const Stage& s, const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t c = s.column[i];
    const EdgeTerms<float> edges{s.terms[kLower][c], s.terms[kUpper][c], s.terms[kLower2][c], s.terms[kUpper2][c]};
    const ThresholdTerms terms = threshold_terms(votes[i].level(), {s.sign[c], s.lower[c], s.upper[c]}, edges);
    const float weight = s.weight[c];
    pass.thresholds[terms.lower].gradient += to_fixed(weight * terms.lower_gradient);
    pass.thresholds[terms.lower].information += to_fixed(weight * terms.lower_information);
    if (terms.upper == 0) continue;
    pass.thresholds[terms.upper].gradient += to_fixed(weight * terms.upper_gradient);
    pass.thresholds[terms.upper].information += to_fixed(weight * terms.upper_information);
  }
}

/// New sites, and what the votes say of their annotators, all from the same cavities.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void update_stage(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s,
                            const VotePass& pass) {
  const bool mirrored = view.blend == Blend::kMirror;
  for (std::uint32_t i = 0; i < s.columns; i += kLanes) {
    const Cavity<Pack> cavity = load_cavity(s, i);
    const Statement<Pack> said = load_statement<kKind>(s, i, mirrored);
    Rater<Pack> rater = load_known_rater(s, i);
    auto likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
    const auto terms = annotator_terms(rater, cavity, likelihood.z);
    if (pass.sums != nullptr) {
      terms.gradient_gamma.store(s.terms[kGradient0] + i);
      terms.gradient_beta.store(s.terms[kGradient1] + i);
      terms.information_gamma.store(s.terms[kInformation0] + i);
      terms.information_cross.store(s.terms[kInformationCross] + i);
      terms.information_beta.store(s.terms[kInformation1] + i);
      if constexpr (kKind != Likelihood::kBinary) {
        likelihood.edges.lower.store(s.terms[kLower] + i);
        likelihood.edges.upper.store(s.terms[kUpper] + i);
        likelihood.edges.lower2.store(s.terms[kLower2] + i);
        likelihood.edges.upper2.store(s.terms[kUpper2] + i);
      }
      if constexpr (kKind == Likelihood::kMixture) likelihood.share.store(s.terms[kShare] + i);
    }
    if (pass.grid != nullptr) {
      const Pack spread = Pack::load(s.spread + i), slope = Pack::load(s.slope + i);
      Rater<Pack> moved = rater;
      for (int g = 0; g < kGridNodes; ++g) {
        if (g == kGridNodes / 2) continue;  // the middle node, to which the others are relative
        const Pack move = spread * grid_at(g);
        moved.discrimination = rater.discrimination + move;
        moved.side_bias = rater.side_bias + slope * move;
        const Pack log_value = smoothed_vote<kTerms, kKind>(said, logit(moved, cavity)).z.log_value;
        (log_value - likelihood.z.log_value).store(s.grid[g] + i);
      }
    }
    if (pass.update_sites) {
      Rater<Pack> whole = rater;
      if (pass.uncertain) {
        whole = load_uncertain_rater(s, i);
        rater = rater_without(whole, scaled(terms, Pack::load(s.part + i)));
        likelihood = smoothed_vote<kTerms, kKind>(said, logit(rater, cavity));
      }
      const Site<Pack> before{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
      const Site<Pack> site = damped(whole, rater, before, matched_site(rater, cavity, likelihood.z));
      site.precision.store(s.site_precision + i);
      site.shift.store(s.site_shift + i);
    }
  }
  if (pass.sums != nullptr) add_annotator_terms<kKind>(view, votes, count, s, pass);
  if (kKind != Likelihood::kBinary && pass.thresholds != nullptr) add_threshold_terms(votes, count, s, pass);
}

/// What is said of annotators at the end, and the sites' part of the log evidence.
template <int kTerms, Likelihood kKind>
VOXPOP_HD void report_stage(const FitView& view, const VoteCode* votes, std::uint32_t count, Stage& s,
                            const VotePass& pass) {
  for (std::uint32_t i = 0; i < s.columns; i += kLanes) {
    const Rater<Pack> rater = pass.uncertain ? load_uncertain_rater(s, i) : load_known_rater(s, i);
    const Site<Pack> site{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
    const auto report = report_vote<kTerms, kKind>(
        Pack::load(s.winner + i), load_statement<kKind>(s, i, view.blend == Blend::kMirror), rater,
        Pack::load(s.mean + i), Pack::load(s.variance + i), site, Pack::load(s.part + i));
    report.agreement.store(s.terms[0] + i);
    report.better.store(s.terms[1] + i);
    report.bits.store(s.terms[2] + i);
    report.log_scale.store(s.terms[3] + i);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!votes[i].seen()) continue;
    const std::uint32_t c = s.column[i];
    const float weight = s.weight[c];
    *pass.log_scale += to_fixed(weight * s.terms[3][c]);
    ReportSums& sums = pass.report[votes[i].annotator()];
    add(sums.bits, to_fixed(weight * s.terms[2][c]), pass.shared);
    if (!votes[i].decided()) continue;
    add(sums.agreement, to_fixed(weight * s.terms[0][c]), pass.shared);
    add(sums.better, to_fixed(weight * s.terms[1][c]), pass.shared);
    add(sums.decided, to_fixed(weight), pass.shared);
  }
}

template <Likelihood kKind>
void process(const FitView& view, std::uint32_t begin, std::uint32_t end, std::uint32_t pair, const VotePass& pass) {
  Stage stage;
  for (std::uint32_t at = begin; at < end; at += kStage) {
    const std::uint32_t count = end - at < kStage ? end - at : kStage;
    stage_votes<kKind>(view, at, count, pair, stage, pass);
    const VoteCode* votes = view.votes + at;
    if (pass.report != nullptr)
      report_stage<kExact, kKind>(view, votes, count, stage, pass);
    else if (pass.exact)
      update_stage<kExact, kKind>(view, votes, count, stage, pass);
    else
      update_stage<kFast, kKind>(view, votes, count, stage, pass);
    if (!pass.update_sites) continue;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t c = kKind == Likelihood::kBinary ? i : stage.column[i];
      view.site_precision[at + i] = stage.site_precision[c];
      view.site_shift[at + i] = stage.site_shift[c];
    }
  }
}

void process_votes(const FitView& view, std::uint32_t begin, std::uint32_t end, std::uint32_t pair,
                   const VotePass& pass) {
  switch (view.kind) {
    case Likelihood::kBinary:
      return process<Likelihood::kBinary>(view, begin, end, pair, pass);
    case Likelihood::kOrdinal:
      return process<Likelihood::kOrdinal>(view, begin, end, pair, pass);
    case Likelihood::kMixture:
      return process<Likelihood::kMixture>(view, begin, end, pair, pass);
  }
}

void solve_components(const FitView& view, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                      float* slot_variance, SolveSums& sums, CovariateSums* covariates) {
  std::uint32_t size = 0;  // the largest in the batch; smaller ones are padded with items that nothing touches
  for (std::uint32_t lane = 0; lane < n; ++lane) {
    const std::uint32_t items = view.component_slots[begin + lane + 1] - view.component_slots[begin + lane];
    if (items > size) size = items;
  }
  float* h = scratch;                       // [size][size][lanes], lower triangle
  float* shift = h + size * size * kLanes;  // [size][lanes]
  float* mean = shift + size * kLanes;      // [size][lanes]
  float ridge[kLanes];
  if (n < static_cast<std::uint32_t>(kLanes)) {  // empty lanes: identity
    for (std::uint32_t i = 0; i < size * size; ++i) Pack(i % (size + 1) == 0 ? 1 : 0).store(h + i * kLanes);
    for (std::uint32_t i = 0; i < size; ++i) Pack(0).store(shift + i * kLanes);
  }
  for (std::uint32_t lane = 0; lane < n; ++lane)
    ridge[lane] = assemble_component(view, begin + lane, size, h + lane, shift + lane, kLanes);
  Pack* matrix = reinterpret_cast<Pack*>(h);
  const Pack log_determinant = invert_positive_definite(matrix, static_cast<int>(size));
  multiply_component(matrix, reinterpret_cast<Pack*>(shift), reinterpret_cast<Pack*>(mean), size, 1);
  for (std::uint32_t lane = 0; lane < n; ++lane)
    finish_component(view, begin + lane, size, h + lane, shift + lane, mean + lane, ridge[lane],
                     log_determinant.v[lane], kLanes, slot_mean, slot_variance, &sums);
  if (covariates == nullptr) return;
  auto* fields = reinterpret_cast<std::int64_t*>(covariates);
  for (std::uint32_t lane = 0; lane < n; ++lane)
    covariate_terms(view, begin + lane, size, h + lane, mean + lane, kLanes,
                    [&](int field, float value) { fields[field] += to_fixed(value); });
}

void label_pairs(const FitView& view, std::uint32_t begin, std::uint32_t end, float discrimination, float* probability,
                 float* better, float* information) {
  alignas(64) float mean[kLanes], variance[kLanes], out[3][kLanes];
  for (std::uint32_t at = begin; at < end; at += kLanes) {
    const std::uint32_t count =
        end - at < static_cast<std::uint32_t>(kLanes) ? end - at : static_cast<std::uint32_t>(kLanes);
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(kLanes); ++i) {
      mean[i] = i < count ? view.pair_mean[at + i] : 0;
      variance[i] = i < count ? view.pair_variance[at + i] : 1;
    }
    const Pack m = Pack::load(mean), v = Pack::load(variance);
    const Pack logit_mean = m * discrimination, logit_variance = v * discrimination * discrimination;
    exponential(smoothed_logistic<kExact>(logit_mean, logit_variance).log_value).store(out[0]);
    normal_cdf(m / square_root(v)).store(out[1]);
    information_bits(logit_mean, logit_variance).store(out[2]);
    __builtin_memcpy(probability + at, out[0], count * sizeof(float));
    __builtin_memcpy(better + at, out[1], count * sizeof(float));
    __builtin_memcpy(information + at, out[2], count * sizeof(float));
  }
}

template <bool kDerivatives>
float evaluate_votes(std::uint64_t votes) {
  alignas(64) float starts[kLanes];
  for (int i = 0; i < kLanes; ++i) starts[i] = static_cast<float>(i) * 0.1f - 0.8f;
  Pack mean = Pack::load(starts), sum(0);
  for (std::uint64_t v = 0; v < votes; v += kLanes) {
    const Statement<Pack> said{Pack(1), Pack(0), Pack(kFar)};
    const auto z = smoothed_vote<kFast, Likelihood::kBinary>(said, Logit<Pack>{mean, Pack(0.8f)}).z;
    sum = sum + (kDerivatives ? z.first + z.second + z.third + z.fourth : z.log_value);
    mean = mean + Pack(1e-7f);  // no two are the same
  }
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += sum.v[i];
  return total;
}

#define VOXPOP_TEXT_OF(x) #x
#define VOXPOP_TEXT(x) VOXPOP_TEXT_OF(x)

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {VOXPOP_TEXT(VOXPOP_TARGET), kLanes,      process_votes,
                         solve_components,           label_pairs, evaluate_votes<true>,
                         evaluate_votes<false>};

}  // namespace voxpop::VOXPOP_TARGET
