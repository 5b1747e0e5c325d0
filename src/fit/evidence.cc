#include "fit/evidence.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <vector>

#include "core/scratch_memory.h"
#include "fit/group_view.h"
#include "formulas/views.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::uint32_t>;

FitView view_of(const Groups& groups, const Fit& fit, const Sites& sites, const Raters& raters) {
  FitView view = view_of(groups);
  view.site_precision = unwritten(sites.precision);
  view.site_shift = unwritten(sites.shift);
  view.pair_mean = unwritten(fit.posterior.pair_mean);
  view.pair_variance = unwritten(fit.posterior.pair_variance);
  view.raters = raters.records.data();
  view.blend = blend_of(fit.model);
  view.kind = likelihood_kind(groups, view.blend);
  view.scale = &fit.scale;
  view.habits = raters.habits.data();
  view.prompts = const_cast<TieHabit*>(fit.posterior.prompts.data());
  view.tastes = raters.tastes.data();
  view.taste_count = static_cast<int>(fit.taste_sd.size());
  if (fit.posterior.vote_mean.empty()) return view;
  view.view_variance = static_cast<float>(fit.view_variance);
  view.views.mean = unwritten(fit.posterior.vote_mean);
  view.views.variance = unwritten(fit.posterior.vote_variance);
  return view;
}

/// Averages over the annotator's views of a block's items. With L the information of the block's votes on what the
/// annotator saw and A = (I + w L)^-1, the information on the scores is L A. A vote between items i and j contributes
/// its curvature times (A_ii + A_jj - 2 A_ij) to the trace of L A, instead of twice its curvature (A = I).
void average_views(const FitView& view, std::uint32_t b, std::vector<double>& scratch, Column<float>& curvature) {
  const ViewBlock block = view_block(view, b);
  if (block.plain) return;
  const ViewWork<double> work(static_cast<int>(block.items), scratch.data());
  const int n = work.n;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) work.m[i * n + j] = i == j ? 1 : 0;
  for (std::uint32_t k = block.vote0; k < block.vote_end; ++k) {
    const std::uint32_t v = view.views.vote[k];
    const auto i = static_cast<int>(view.views.first[k]), j = static_cast<int>(view.views.second[k]);
    const double x = double{view.view_variance} * weight_of(view, v) * std::max(curvature[v], 0.0f);
    work.m[i * n + i] += x;
    work.m[j * n + j] += x;
    work.m[work.lower(i, j)] -= x;
  }
  invert_positive_definite(work.m, n);
  for (std::uint32_t k = block.vote0; k < block.vote_end; ++k) {
    const auto i = static_cast<int>(view.views.first[k]), j = static_cast<int>(view.views.second[k]);
    curvature[view.views.vote[k]] *=
        static_cast<float>(0.5 * (work.m[i * n + i] + work.m[j * n + j] - 2 * work.m[work.lower(i, j)]));
  }
}

}  // namespace

VoteEvidence find_evidence(const Groups& groups, const Fit& fit, const Sites& sites) {
  constexpr std::uint32_t kPairs = 1024, kBlocks = 64;
  const Raters raters(fit.annotators, fit.tastes, scores_of(fit.sources));
  const FitView view = view_of(groups, fit, sites, raters);
  const Kernels& kernels = *choose_kernels();
  VoteEvidence out;
  out.gradient.resize(groups.votes.size());
  out.curvature.resize(groups.votes.size());
  const VotePass pass{.update_sites = false,
                      .uncertain = has_discriminations(fit.model),
                      .gradient = out.gradient.data(),
                      .curvature = out.curvature.data()};
  oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(groups.pairs()), kPairs), [&](const Range& range) {
    const auto behind = std::ranges::upper_bound(groups.component_pairs, range.begin());
    kernels.votes(view, groups.pair_votes[range.begin()], groups.pair_votes[range.end()],
                  static_cast<std::uint32_t>(behind - groups.component_pairs.begin() - 1), range.begin(), pass);
    ScratchMemory::keep_within_limit();
  });
  if (view.view_variance > 0)
    oneapi::tbb::parallel_for(Range(0, static_cast<std::uint32_t>(groups.views.block_slots.size() - 1), kBlocks),
                              [&](const Range& range) {
                                std::vector<double> scratch(kViewScratch);
                                for (std::uint32_t b = range.begin(); b < range.end(); ++b)
                                  average_views(view, b, scratch, out.curvature);
                              });
  return out;
}

}  // namespace voxpop
