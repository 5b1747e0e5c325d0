#include "fit/refit.h"

#include <algorithm>
#include <ranges>

#include "fit/answer_model.h"
#include "fit/component_kernel.h"

namespace voxpop {

EngineState state_of(const Fit& fit, const Sites& sites, const Share& share) {
  EngineState state;
  for (const ComponentRange& run : share) {
    append(state.sites.precision, sites.precision, run.vote, run.vote_end);
    append(state.sites.shift, sites.shift, run.vote, run.vote_end);
    append(state.pair_mean, fit.posterior.pair_mean, run.pair, run.pair_end);
    append(state.pair_variance, fit.posterior.pair_variance, run.pair, run.pair_end);
    if (fit.scale.own_ties) append(state.prompts, fit.posterior.prompts, run.component, run.component_end);
  }
  return state;
}

std::shared_ptr<const ScorePrior> prior_of(const Groups& groups, const Fit& fit, const Share& share) {
  if (fit.prior == nullptr) return nullptr;
  const ScorePrior& all = *fit.prior;
  auto out = std::make_shared<ScorePrior>();
  out->least = all.least;
  for (const ComponentRange& run : share) {
    append(out->mean, all.mean, run.slot, run.slot_end);
    for (std::uint32_t c = run.component; c < run.component_end; ++c) {
      const std::uint64_t items = groups.items_of(c), begin = all.component[c];
      out->component.push_back(out->precision.size());
      append(out->precision, all.precision, begin, begin + items * (items + 1) / 2);
    }
  }
  return out;
}

void leave_out(Groups& groups, std::size_t vote, bool all_equal) {
  if (groups.weight.empty()) groups.weight.assign(groups.votes.size(), 1.0f);
  groups.weight[vote] = all_equal ? 0.0f : std::max(groups.weight[vote] - 1, 0.0f);
}

Posterior solve_again(const Groups& groups, const Fit& fit, const EngineState& start,
                      std::shared_ptr<const ScorePrior> prior) {
  constexpr int kMostSweeps = 10;
  const auto engine = make_cpu_engine(groups, *choose_kernels());
  engine->load(start);
  Raters raters(fit.annotators, fit.tastes, scores_of(fit.sources));
  raters.prior = std::move(prior);
  PassOptions pass;
  pass.prior_scale = static_cast<float>(fit.prior_scale);
  pass.exact = true;
  pass.uncertain = has_discriminations(fit.model);
  pass.blend = blend_of(fit.model);
  pass.scale = fit.scale;
  pass.view_variance = static_cast<float>(fit.view_variance);
  std::ranges::copy(fit.coefficient, pass.coefficient);
  for (int sweep = 0; sweep < kMostSweeps; ++sweep)
    if (engine->update_components(raters, pass).solved.change <= kSettled) break;
  return engine->posterior(raters, pass);
}

PairMoments solve_without(const Groups& groups, const Fit& fit, const Sites& sites,
                          const std::function<bool(std::uint32_t)>& is_left_out) {
  PairMoments out{fit.posterior.pair_mean, fit.posterior.pair_variance};
  Share share;
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    if (groups.items_of(c) > kDenseItems) continue;
    const ComponentRange range = groups.range(c, c + 1);
    if (std::ranges::any_of(std::views::iota(range.vote, range.vote_end), is_left_out)) share.push_back(range);
  }
  if (share.empty()) return out;
  Groups copies = take_share(groups, share);
  std::size_t copy = 0;
  for (const ComponentRange& run : share)
    for (std::uint32_t v = run.vote; v < run.vote_end; ++v, ++copy)
      if (is_left_out(v)) leave_out(copies, copy);
  const Posterior rest = solve_again(copies, fit, state_of(fit, sites, share), prior_of(groups, fit, share));
  std::size_t pair = 0;
  for (const ComponentRange& run : share)
    for (std::uint32_t p = run.pair; p < run.pair_end; ++p, ++pair) {
      out.mean[p] = rest.pair_mean[pair];
      out.variance[p] = rest.pair_variance[pair];
    }
  return out;
}

Cavity<double> cavity_of_vote(const Groups& groups, const Fit& fit, const Sites& sites, std::uint32_t vote,
                              std::uint32_t pair) {
  const Posterior& posterior = fit.posterior;
  const bool has_views = !posterior.vote_mean.empty();
  return cavity_without<double>(has_views ? posterior.vote_mean[vote] : posterior.pair_mean[pair],
                                has_views ? posterior.vote_variance[vote] : posterior.pair_variance[pair],
                                {sites.precision[vote], sites.shift[vote]}, part_of(double{groups.weight_of(vote)}),
                                double{least_precision(fit.prior.get(), fit.view_variance)});
}

}  // namespace voxpop
