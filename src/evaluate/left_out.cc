#include "evaluate/left_out.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>

#include "evaluate/answer_model.h"
#include "group/share.h"
#include "voxpop/hash.h"

namespace voxpop {
namespace {

struct LeftOut {
  std::uint32_t vote, pair, component;
};

/// So many votes are copied at most, and of components of so many at most: in larger ones each says little.
constexpr std::size_t kCopiedVotes = 600'000;
constexpr std::uint32_t kCopiedAtOnce = 64;

bool can_refit(const Groups& groups, std::uint32_t component) {
  return is_small(groups, component) && groups.votes_of(component) <= kCopiedAtOnce;
}

/// Decided votes, chosen by a hash: some `most` of them, and fewer where refitting them would take long.
std::vector<LeftOut> choose_left_out(const Groups& groups, std::size_t most) {
  std::size_t copied = 0;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    if (can_refit(groups, c)) copied += std::size_t{groups.votes_of(c)} * groups.votes_of(c);
  const std::size_t step =
      std::max((groups.votes.size() + most - 1) / most, (copied + kCopiedVotes - 1) / kCopiedVotes);
  std::vector<LeftOut> chosen;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
        if (mixed(v) % step == 0 && groups.votes[v].decided()) chosen.push_back({v, p, c});
  return chosen;
}

/// What is known of each vote's pair without the vote, in components where can_refit(): by an EP of the component that
/// starts from the fit's sites; annotators stay as they are. In a small component the cavity is something else: votes
/// that say the same hold back each other's sites, and with one of them gone the others would say more. Cavities leave
/// them as they are, and so err to the side that the vote was against.
void refit_without(const Groups& groups, const Fit& fit, const Sites& sites, const std::vector<LeftOut>& chosen,
                   std::vector<Cavity<double>>& known) {
  constexpr int kMostSweeps = 10;
  std::vector<std::size_t> refitted;
  Share share;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!can_refit(groups, chosen[i].component)) continue;
    refitted.push_back(i);
    share.push_back(groups.range(chosen[i].component, chosen[i].component + 1));
  }
  Groups copies = take_share(groups, share);
  copies.all_seen = false;
  if (blend_of(fit.model) == Blend::kClick) copies.click_habits = find_click_habits(groups);
  EngineState state;
  std::vector<std::size_t> pair(refitted.size());
  for (std::size_t i = 0; i < refitted.size(); ++i) {
    const LeftOut& one = chosen[refitted[i]];
    const std::size_t vote = state.sites.shift.size() + one.vote - share[i].vote;
    pair[i] = state.pair_mean.size() + one.pair - share[i].pair;
    append(state.sites.precision, sites.precision, share[i].vote, share[i].vote_end);
    append(state.sites.shift, sites.shift, share[i].vote, share[i].vote_end);
    append(state.pair_mean, fit.posterior.pair_mean, share[i].pair, share[i].pair_end);
    append(state.pair_variance, fit.posterior.pair_variance, share[i].pair, share[i].pair_end);
    state.sites.precision[vote] = state.sites.shift[vote] = 0;
    copies.votes[vote] = VoteCode::make(copies.votes[vote].annotator(), kUnseen, copies.votes[vote].first_on_left());
  }
  const auto engine = make_cpu_engine(copies, *choose_kernels());
  engine->load(state);
  const Raters raters(records_of(fit.annotators), fit.tastes);
  PassOptions pass;
  pass.exact = true;
  pass.uncertain = has_discriminations(fit.model);
  pass.blend = blend_of(fit.model);
  pass.scale = fit.scale;
  std::ranges::copy(fit.coefficient, pass.coefficient);
  for (int sweep = 0; sweep < kMostSweeps; ++sweep)
    if (engine->update_components(raters, pass).solved.change <= kSettled) break;
  FitRun none;
  state = engine->save(none);
  for (std::size_t i = 0; i < refitted.size(); ++i)
    known[refitted[i]] = {state.pair_mean[pair[i]], state.pair_variance[pair[i]]};
}

}  // namespace

Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most) {
  const std::vector<LeftOut> chosen = choose_left_out(groups, most);
  std::vector<Cavity<double>> known;
  Trials trials;
  for (const auto& [v, p, c] : chosen) {
    known.push_back(cavity_without<double>(fit.posterior.pair_mean[p], fit.posterior.pair_variance[p],
                                           {sites.precision[v], sites.shift[v]}));
    trials.outcome.push_back((groups.votes[v].winner() > 0) == groups.votes[v].first_on_left() ? 1 : 0);
    trials.cluster.push_back(p);
  }
  refit_without(groups, fit, sites, chosen, known);
  const AnswerModel model(groups, fit);
  trials.predicted.resize(chosen.size());
  oneapi::tbb::parallel_for(std::size_t{0}, chosen.size(), [&](std::size_t i) {
    trials.predicted[i] = left_if_decided(model.of_left_out(groups.votes[chosen[i].vote], chosen[i].pair, known[i]));
  });
  return trials;
}

}  // namespace voxpop
