#include "evaluate/left_out.h"

#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evaluate/answer_model.h"
#include "group/share.h"
#include "voxpop/hash.h"

namespace voxpop {
namespace {

struct LeftOut {
  std::uint32_t vote, pair;
};

/// A component's votes are left out in so many turns: one at a time, or of more votes a twentieth.
constexpr std::uint32_t kTurns = 20;
/// As much work, in votes, may copies be; and all turns of a component a third of it.
constexpr double kMostWork = 600'000;

std::uint32_t turns_of(const Groups& groups, std::uint32_t component) {
  return std::min(groups.votes_of(component), kTurns);
}

double work_of_turns(const Groups& groups, std::uint32_t component) {
  return turns_of(groups, component) * work_on(groups, component);
}

bool can_refit(const Groups& groups, std::uint32_t component) {
  return groups.items_of(component) <= kDenseItems && work_of_turns(groups, component) <= kMostWork / 3;
}

/// A component that is solved again, without some of its votes.
struct Turn {
  std::uint32_t component;
  std::size_t first, end;  ///< of the votes that are left out
};

/// Decided votes, some `most` of them by a hash, and fewer where solving again takes long: those by turns, then those
/// of components that are not solved again.
struct Chosen {
  std::vector<LeftOut> votes;
  std::vector<Turn> turns;
};

Chosen choose_left_out(const Groups& groups, std::size_t most) {
  double work = 0;
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    if (can_refit(groups, c)) work += work_of_turns(groups, c);
  const std::size_t step =
      std::max((groups.votes.size() + most - 1) / most, static_cast<std::size_t>(std::ceil(work / kMostWork)));
  Chosen chosen;
  const auto choose = [&](std::uint32_t c, const auto& wanted) {
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
        if (groups.votes[v].decided() && wanted(v)) chosen.votes.push_back({v, p});
  };
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    if (!can_refit(groups, c)) continue;
    const std::uint32_t begin = groups.range(c, c + 1).vote, turns = turns_of(groups, c);
    for (std::uint32_t turn = 0; turn < turns; ++turn) {
      if (mixed(begin + turn) % step != 0) continue;
      const std::size_t first = chosen.votes.size();
      choose(c, [&](std::uint32_t v) { return (v - begin) % turns == turn; });
      if (chosen.votes.size() > first) chosen.turns.push_back({c, first, chosen.votes.size()});
    }
  }
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    if (!can_refit(groups, c)) choose(c, [&](std::uint32_t v) { return mixed(v) % step == 0; });
  return chosen;
}

/// What is known of each vote's pair without the vote, where there are turns: by an EP of the component that starts
/// from the fit's sites; annotators stay as they are. The cavity is something else: votes that say the same hold back
/// each other's sites, and with one of them gone the others would say more. Cavities leave them as they are, and so err
/// to the side that the vote was against.
void refit_without(const Groups& groups, const Fit& fit, const Sites& sites, const Chosen& chosen,
                   std::vector<Cavity<double>>& known) {
  constexpr int kMostSweeps = 10;
  Share share;
  for (const Turn& turn : chosen.turns) share.push_back(groups.range(turn.component, turn.component + 1));
  Groups copies = take_share(groups, share);
  copies.all_seen = false;
  if (blend_of(fit.model) == Blend::kClick) copies.click_habits = find_click_habits(groups);
  EngineState state;
  std::vector<std::size_t> pair(chosen.votes.size());
  for (std::size_t t = 0; t < share.size(); ++t) {
    const std::size_t votes = state.sites.shift.size(), pairs = state.pair_mean.size();
    append(state.sites.precision, sites.precision, share[t].vote, share[t].vote_end);
    append(state.sites.shift, sites.shift, share[t].vote, share[t].vote_end);
    append(state.pair_mean, fit.posterior.pair_mean, share[t].pair, share[t].pair_end);
    append(state.pair_variance, fit.posterior.pair_variance, share[t].pair, share[t].pair_end);
    for (std::size_t i = chosen.turns[t].first; i < chosen.turns[t].end; ++i) {
      const std::size_t vote = votes + chosen.votes[i].vote - share[t].vote;
      pair[i] = pairs + chosen.votes[i].pair - share[t].pair;
      if (copies.weight_of(static_cast<std::uint32_t>(vote)) > 1) {  // the others of so many equal ones stay
        copies.weight[vote] -= 1;
        continue;
      }
      state.sites.precision[vote] = state.sites.shift[vote] = 0;
      copies.votes[vote] = copies.votes[vote].held_out();
    }
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
  for (const Turn& turn : chosen.turns)
    for (std::size_t i = turn.first; i < turn.end; ++i)
      known[i] = {state.pair_mean[pair[i]], state.pair_variance[pair[i]]};
}

}  // namespace

Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most) {
  const Chosen chosen = choose_left_out(groups, most);
  std::vector<Cavity<double>> known;
  for (const auto& [v, p] : chosen.votes)
    known.push_back(cavity_without<double>(fit.posterior.pair_mean[p], fit.posterior.pair_variance[p],
                                           {sites.precision[v], sites.shift[v]}, part_of(double{groups.weight_of(v)})));
  refit_without(groups, fit, sites, chosen, known);
  std::vector<std::size_t> in_order(chosen.votes.size());
  std::iota(in_order.begin(), in_order.end(), std::size_t{0});
  std::ranges::sort(in_order, {}, [&](std::size_t i) { return chosen.votes[i].vote; });
  const AnswerModel model(groups, fit);
  Trials trials;
  trials.predicted.resize(chosen.votes.size());
  trials.outcome.resize(chosen.votes.size());
  trials.cluster.resize(chosen.votes.size());
  if (!groups.weight.empty()) trials.weight.resize(chosen.votes.size());
  oneapi::tbb::parallel_for(std::size_t{0}, chosen.votes.size(), [&](std::size_t i) {
    const auto [v, p] = chosen.votes[in_order[i]];
    trials.predicted[i] = left_if_decided(
        model.of_left_out(groups.votes[v], p, known[in_order[i]], part_of(double{groups.weight_of(v)})));
    trials.outcome[i] = (groups.votes[v].winner() > 0) == groups.votes[v].first_on_left() ? 1 : 0;
    trials.cluster[i] = p;
    if (!groups.weight.empty()) trials.weight[i] = groups.weight[v];
  });
  return trials;
}

}  // namespace voxpop
