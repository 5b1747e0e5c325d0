#include "fit/component_kernel.h"

#include "fit/pack.h"
#include "voxpop/label.h"

namespace voxpop::VOXPOP_TARGET {
namespace {

constexpr std::uint32_t kStage = 256;  // votes staged at a time: columns of 1 KiB, all in the first-level cache

/// Votes of one stage as columns, so that packs load whole. Rows behind the last vote repeat harmless values.
struct alignas(64) Stage {
  float winner[kStage], side[kStage], mean[kStage], variance[kStage], site_precision[kStage], site_shift[kStage];
  float gamma[kStage], beta[kStage], gamma_variance[kStage], covariance[kStage], beta_variance[kStage];
  float spread[kStage], slope[kStage];
  float terms[5][kStage], grid[kGridNodes][kStage];  // what comes out, a row a quantity
};

VOXPOP_HD void add(std::int64_t& sum, std::int64_t value, bool shared) {
  if (shared)
    __atomic_fetch_add(&sum, value, __ATOMIC_RELAXED);
  else
    sum += value;
}

void stage_votes(const FitView& view, std::uint32_t begin, std::uint32_t count, std::uint32_t& pair, Stage& s,
                 const VotePass& pass) {
  // Looked up, not branched on: votes are as unpredictable as branches get.
  constexpr float kWinner[4] = {-1.0f, 1.0f, 0.0f, 0.0f};
  static_assert(static_cast<int>(Outcome::kSecond) == 0 && static_cast<int>(Outcome::kFirst) == 1 &&
                static_cast<int>(Outcome::kTie) == 2);
  constexpr float kSide[2] = {-1.0f, 1.0f};
  for (std::uint32_t i = 0; i < count; ++pair) {
    const float mean = view.pair_mean[pair], variance = view.pair_variance[pair];
    const std::uint32_t pair_end = view.pair_votes[pair + 1] - begin, stop = pair_end < count ? pair_end : count;
    for (; i < stop; ++i) {
      const VoteCode code = view.votes[begin + i];
      const RaterRecord& rater = view.raters[code.annotator()];
      const float side = kSide[code.first_on_left()];
      s.winner[i] = kWinner[static_cast<int>(code.outcome())];
      s.side[i] = side;
      s.mean[i] = mean;
      s.variance[i] = variance;
      s.gamma[i] = rater.discrimination;
      s.beta[i] = rater.side_bias * side;
      if (pass.uncertain) {
        s.gamma_variance[i] = rater.discrimination_variance;
        s.covariance[i] = rater.covariance * side;
        s.beta_variance[i] = rater.side_bias_variance;
      }
      if (pass.grid != nullptr) {
        s.spread[i] = rater.grid_spread;
        s.slope[i] = rater.grid_slope * side;
      }
    }
    if (i < pair_end) break;  // this pair goes on in the next stage
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    s.site_precision[i] = view.site_precision[begin + i] * view.stretch * view.stretch;
    s.site_shift[i] = view.site_shift[begin + i] * view.stretch;
  }
  for (std::uint32_t i = count; i % kLanes != 0; ++i) {
    s.winner[i] = s.side[i] = s.variance[i] = s.gamma[i] = 1.0f;
    s.mean[i] = s.site_precision[i] = s.site_shift[i] = s.beta[i] = 0.0f;
    s.gamma_variance[i] = s.covariance[i] = s.beta_variance[i] = s.spread[i] = s.slope[i] = 0.0f;
  }
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
                        Site<Pack>{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)});
}

/// New sites, and what the votes say of their annotators, all from the same cavities.
template <int kTerms, bool kTies>
VOXPOP_HD void update_stage(const VoteCode* votes, std::uint32_t count, Stage& s, const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; i += kLanes) {
    const Cavity<Pack> cavity = load_cavity(s, i);
    const Pack winner = Pack::load(s.winner + i);
    Rater<Pack> rater = load_known_rater(s, i);
    Smoothed<Pack> z;
    if (pass.sums != nullptr || !pass.uncertain) z = smoothed_vote<kTerms, kTies>(winner, logit(rater, cavity));
    if (pass.sums != nullptr) {
      const auto terms = annotator_terms(rater, cavity, z);
      const Pack side = Pack::load(s.side + i);
      terms.gradient_gamma.store(s.terms[0] + i);
      (terms.gradient_beta * side).store(s.terms[1] + i);
      terms.information_gamma.store(s.terms[2] + i);
      (terms.information_cross * side).store(s.terms[3] + i);
      terms.information_beta.store(s.terms[4] + i);
    }
    if (pass.grid != nullptr) {
      const Pack spread = Pack::load(s.spread + i), slope = Pack::load(s.slope + i);
      Rater<Pack> moved = rater;
      for (int g = 0; g < kGridNodes; ++g) {
        if (g == kGridNodes / 2) continue;  // the middle node, to which the others are relative
        const Pack move = spread * grid_at(g);
        moved.discrimination = rater.discrimination + move;
        moved.side_bias = rater.side_bias + slope * move;
        (smoothed_vote<kTerms, kTies>(winner, logit(moved, cavity)).log_value - z.log_value).store(s.grid[g] + i);
      }
    }
    if (pass.update_sites) {
      if (pass.uncertain) {
        rater = load_uncertain_rater(s, i);
        z = smoothed_vote<kTerms, kTies>(winner, logit(rater, cavity));
      }
      const Site<Pack> before{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
      const Site<Pack> site = damped(rater, before, matched_site(rater, cavity, z));
      site.precision.store(s.site_precision + i);
      site.shift.store(s.site_shift + i);
    }
  }
  if (pass.sums != nullptr)
    for (std::uint32_t i = 0; i < count; ++i) {
      AnnotatorSums& sums = pass.sums[votes[i].annotator()];
      add(sums.gradient_gamma, to_fixed(s.terms[0][i]), pass.shared);
      add(sums.gradient_beta, to_fixed(s.terms[1][i]), pass.shared);
      add(sums.information_gamma, to_fixed(s.terms[2][i]), pass.shared);
      add(sums.information_cross, to_fixed(s.terms[3][i]), pass.shared);
      add(sums.information_beta, to_fixed(s.terms[4][i]), pass.shared);
    }
  if (pass.grid != nullptr)
    for (std::uint32_t i = 0; i < count; ++i) {
      GridSums& sums = pass.grid[votes[i].annotator()];
      for (int g = 0; g < kGridNodes; ++g)
        if (g != kGridNodes / 2) add(sums.log_z[g], to_fixed(s.grid[g][i]), pass.shared);
    }
}

/// What is said of annotators at the end, and the sites' part of the log evidence.
template <int kTerms, bool kTies>
VOXPOP_HD void report_stage(const VoteCode* votes, std::uint32_t count, Stage& s, const VotePass& pass) {
  for (std::uint32_t i = 0; i < count; i += kLanes) {
    const Rater<Pack> rater = pass.uncertain ? load_uncertain_rater(s, i) : load_known_rater(s, i);
    const Site<Pack> site{Pack::load(s.site_precision + i), Pack::load(s.site_shift + i)};
    const auto report = report_vote<kTerms, kTies>(Pack::load(s.winner + i), rater, Pack::load(s.mean + i),
                                                   Pack::load(s.variance + i), site);
    report.agreement.store(s.terms[0] + i);
    report.better.store(s.terms[1] + i);
    report.bits.store(s.terms[2] + i);
    report.log_scale.store(s.terms[3] + i);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    *pass.log_scale += to_fixed(s.terms[3][i]);
    ReportSums& sums = pass.report[votes[i].annotator()];
    add(sums.bits, to_fixed(s.terms[2][i]), pass.shared);
    if (votes[i].outcome() == Outcome::kTie) continue;
    add(sums.agreement, to_fixed(s.terms[0][i]), pass.shared);
    add(sums.better, to_fixed(s.terms[1][i]), pass.shared);
    add(sums.decided, 1, pass.shared);
  }
}

void process_votes(const FitView& view, std::uint32_t begin, std::uint32_t end, std::uint32_t pair,
                   const VotePass& pass) {
  Stage stage;
  for (std::uint32_t at = begin; at < end; at += kStage) {
    const std::uint32_t count = end - at < kStage ? end - at : kStage;
    stage_votes(view, at, count, pair, stage, pass);
    const VoteCode* votes = view.votes + at;
    if (pass.report != nullptr)
      view.ties ? report_stage<kExact, true>(votes, count, stage, pass)
                : report_stage<kExact, false>(votes, count, stage, pass);
    else if (view.ties)
      pass.exact ? update_stage<kExact, true>(votes, count, stage, pass)
                 : update_stage<kFast, true>(votes, count, stage, pass);
    else
      pass.exact ? update_stage<kExact, false>(votes, count, stage, pass)
                 : update_stage<kFast, false>(votes, count, stage, pass);
    if (pass.update_sites) {
      __builtin_memcpy(view.site_precision + at, stage.site_precision, count * sizeof(float));
      __builtin_memcpy(view.site_shift + at, stage.site_shift, count * sizeof(float));
    }
  }
}

void solve_components(const FitView& view, std::uint32_t begin, std::uint32_t n, float* scratch, float* slot_mean,
                      float* slot_variance, SolveSums& sums) {
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

#define VOXPOP_TEXT_OF(x) #x
#define VOXPOP_TEXT(x) VOXPOP_TEXT_OF(x)

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {VOXPOP_TEXT(VOXPOP_TARGET), kLanes, process_votes, solve_components, label_pairs};

}  // namespace voxpop::VOXPOP_TARGET
