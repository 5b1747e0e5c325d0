#include "evaluate/left_out.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/seeded_hash.h"
#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/elementary.h"
#include "formulas/hash.h"
#include "label/drift.h"

namespace voxpop {
namespace {

struct LeftOut {
  std::uint32_t vote, pair;
};

/// A component is solved again in at most this many turns. Each turn leaves out one vote or block, or a twentieth of
/// them if there are more than 20.
constexpr std::uint32_t kTurns = 20;
/// Budget for refitting, in vote units; one component may use a third of it.
constexpr double kMostWork = 600'000;

/// The units that are left out: votes or blocks.
struct Units {
  const Groups& groups;
  const ViewBlocks* blocks;  ///< null: each vote is a unit

  std::uint32_t of(std::uint32_t vote) const { return blocks != nullptr ? blocks->of[vote] : vote; }
  std::uint32_t count_in(std::uint32_t component) const {
    const ComponentRange range = groups.range(component, component + 1);
    if (blocks == nullptr) return range.vote_end - range.vote;
    return *std::max_element(blocks->of.begin() + range.vote, blocks->of.begin() + range.vote_end) + 1 - of(range.vote);
  }
  std::uint32_t turns_of(std::uint32_t component) const { return std::min(count_in(component), kTurns); }
  double work_of_turns(std::uint32_t component) const { return turns_of(component) * work_on(groups, component); }
  bool can_refit(std::uint32_t component) const {
    return groups.items_of(component) <= kDenseItems && work_of_turns(component) <= kMostWork / 3;
  }
};

/// One refit of a component without some of its votes.
struct Turn {
  std::uint32_t component;
  std::size_t first, end;  ///< range of the left-out votes in Chosen::votes
};

/// Votes to leave out: decided votes, or all votes of blocks. At most about `most` of them, chosen by a hash; fewer if
/// refits take long. First the votes of `turns`, then those of components without refits.
struct Chosen {
  std::vector<LeftOut> votes;
  std::vector<Turn> turns;
};

Chosen choose_left_out(const Groups& groups, const Units& units, std::size_t most) {
  using Range = oneapi::tbb::blocked_range<std::uint32_t>;
  constexpr std::uint32_t kComponents = 1 << 13, kPairs = 1 << 14;
  const auto components = static_cast<std::uint32_t>(groups.components());
  const double work = oneapi::tbb::parallel_deterministic_reduce(
      Range(0, components, kComponents), 0.0,
      [&](const Range& range, double sum) {
        for (std::uint32_t c = range.begin(); c < range.end(); ++c)
          if (units.can_refit(c)) sum += units.work_of_turns(c);
        return sum;
      },
      std::plus<>());
  const std::size_t step =
      std::max((groups.votes.size() + most - 1) / most, static_cast<std::size_t>(std::ceil(work / kMostWork)));
  // Blocks of components, which are joined in their order.
  struct Part {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> turns;  ///< component, turn
    std::vector<Range> pairs;                                    ///< of components without refits
  };
  std::vector<Part> parts((components + kComponents - 1) / kComponents);
  oneapi::tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t block) {
    const auto end = static_cast<std::uint32_t>(std::min<std::size_t>((block + 1) * kComponents, components));
    for (auto c = static_cast<std::uint32_t>(block * kComponents); c < end; ++c) {
      if (!units.can_refit(c)) {
        for (std::uint32_t p = groups.component_pairs[c], pair_end; p < groups.component_pairs[c + 1]; p = pair_end) {
          pair_end = std::min(p + kPairs, groups.component_pairs[c + 1]);
          parts[block].pairs.emplace_back(p, pair_end);
        }
        continue;
      }
      const std::uint32_t begin = groups.range(c, c + 1).vote, turns = units.turns_of(c);
      if (units.blocks != nullptr && turns == 1) continue;  // no other block has votes on its items
      for (std::uint32_t turn = 0; turn < turns; ++turn)
        if (mixed(begin + turn) % step == 0) parts[block].turns.emplace_back(c, turn);
    }
  });
  const auto choose = [&](const Range& pairs, std::vector<LeftOut>& out, const auto& wanted) {
    for (std::uint32_t p = pairs.begin(); p < pairs.end(); ++p)
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
        if ((units.blocks != nullptr ? groups.votes[v].seen() && !groups.is_gold(groups.votes[v])
                                     : groups.is_voted(v)) &&
            wanted(v))
          out.push_back({v, p});
  };
  Chosen chosen;
  for (const Part& part : parts)
    for (const auto& at : part.turns) {
      const std::uint32_t c = at.first, turn = at.second;
      const std::uint32_t begin = groups.range(c, c + 1).vote, turns = units.turns_of(c);
      const std::size_t first = chosen.votes.size();
      choose(Range(groups.component_pairs[c], groups.component_pairs[c + 1]), chosen.votes,
             [&](std::uint32_t v) { return (units.of(v) - units.of(begin)) % turns == turn; });
      if (chosen.votes.size() > first) chosen.turns.push_back({c, first, chosen.votes.size()});
    }
  if (units.blocks != nullptr) return chosen;
  std::vector<Range> rest;
  for (const Part& part : parts) rest.insert(rest.end(), part.pairs.begin(), part.pairs.end());
  std::vector<std::vector<LeftOut>> found(rest.size());
  oneapi::tbb::parallel_for(std::size_t{0}, rest.size(), [&](std::size_t i) {
    choose(rest[i], found[i], [&](std::uint32_t v) { return mixed(v) % step == 0; });
  });
  for (const std::vector<LeftOut>& some : found) chosen.votes.insert(chosen.votes.end(), some.begin(), some.end());
  return chosen;
}

/// Posterior of each vote's pair without the vote, for components with turns: EP of the component, which starts from
/// the fit's sites; annotators stay as they are. A cavity would be less exact. Votes with the same answer reduce each
/// other's sites, so without one of them the others' sites would grow. A cavity keeps the other sites as they are, so
/// it errs to the side that the vote was against.
void refit_without(const Groups& groups, const Fit& fit, const Sites& sites, const Chosen& chosen, bool by_block,
                   std::vector<Cavity<double>>& known) {
  Share share;
  for (const Turn& turn : chosen.turns) share.push_back(groups.range(turn.component, turn.component + 1));
  Groups copies = take_share(groups, share);
  // Index of each vote and its pair in `copies`.
  std::vector<std::size_t> pair(chosen.votes.size()), copy(chosen.votes.size());
  std::size_t votes = 0, pairs = 0;
  for (std::size_t t = 0; t < share.size(); ++t) {
    for (std::size_t i = chosen.turns[t].first; i < chosen.turns[t].end; ++i) {
      const std::size_t vote = votes + chosen.votes[i].vote - share[t].vote;
      copy[i] = vote;
      pair[i] = pairs + chosen.votes[i].pair - share[t].pair;
      leave_out(copies, vote, by_block);
    }
    votes += share[t].vote_end - share[t].vote;
    pairs += share[t].pair_end - share[t].pair;
  }
  const Posterior rest = solve_again(copies, fit, state_of(fit, sites, share), prior_of(groups, fit, share));
  for (const Turn& turn : chosen.turns)
    for (std::size_t i = turn.first; i < turn.end; ++i)
      known[i] = rest.vote_mean.empty() ? Cavity<double>{rest.pair_mean[pair[i]], rest.pair_variance[pair[i]]}
                                        : Cavity<double>{rest.vote_mean[copy[i]], rest.vote_variance[copy[i]]};
}

/// Posterior of each vote's pair without the vote.
std::vector<Cavity<double>> know_without(const Groups& groups, const Fit& fit, const Sites& sites, const Chosen& chosen,
                                         bool by_block) {
  std::vector<Cavity<double>> known;
  for (const auto& [v, p] : chosen.votes) known.push_back(cavity_of_vote(groups, fit, sites, v, p));
  refit_without(groups, fit, sites, chosen, by_block, known);
  return known;
}

}  // namespace

Trials predict_left_out(const Groups& groups, const Fit& fit, const Sites& sites, std::size_t most,
                        const ViewBlocks* blocks) {
  const Chosen chosen = choose_left_out(groups, {groups, blocks}, most);
  const std::vector<Cavity<double>> known = know_without(groups, fit, sites, chosen, blocks != nullptr);
  const AnswerModel model(groups, fit);
  const auto part = [&](std::size_t i) {
    const double weight = groups.weight_of(chosen.votes[i].vote);
    return blocks != nullptr ? weight : part_of(weight);
  };
  // Information of a vote's block about its annotator, without the vote itself.
  std::vector<AnnotatorTerms<double>> own(blocks != nullptr ? chosen.votes.size() : 0);
  for (const Turn& turn : chosen.turns) {
    if (blocks == nullptr) break;
    std::unordered_map<std::uint32_t, AnnotatorTerms<double>, SeededHash> all;
    for (std::size_t i = turn.first; i < turn.end; ++i) {
      const auto [v, p] = chosen.votes[i];
      own[i] = model.terms(groups.votes[v], p, known[i], part(i), fit.annotators[groups.votes[v].annotator()]);
      AnnotatorTerms<double>& total = all[blocks->of[v]];
      total = sum(total, own[i]);
    }
    for (std::size_t i = turn.first; i < turn.end; ++i)
      own[i] = sum(all[blocks->of[chosen.votes[i].vote]], scaled(own[i], -1.0));
  }
  std::vector<std::size_t> in_order;
  for (std::size_t i = 0; i < chosen.votes.size(); ++i)
    if (groups.is_voted(chosen.votes[i].vote)) in_order.push_back(i);
  std::ranges::sort(in_order, {}, [&](std::size_t i) { return chosen.votes[i].vote; });
  std::vector<bool> is_repeat;  // a later vote of the same annotator on the same pair
  std::unordered_set<std::uint64_t, SeededHash> judged;
  for (const std::size_t i : in_order) {
    const auto [v, p] = chosen.votes[i];
    is_repeat.push_back(!judged.insert(std::uint64_t{p} << 32 | groups.votes[v].annotator()).second);
  }
  Trials trials;
  trials.predicted.resize(in_order.size());
  trials.blind.resize(in_order.size());
  trials.outcome.resize(in_order.size());
  trials.cluster.resize(in_order.size());
  trials.voter.resize(in_order.size());
  if (!groups.weight.empty()) trials.weight.resize(in_order.size());
  oneapi::tbb::parallel_for(std::size_t{0}, in_order.size(), [&](std::size_t i) {
    const std::size_t at = in_order[i];
    const auto [v, p] = chosen.votes[at];
    const auto predict = [&](const Cavity<double>& items) {
      return left_if_decided(
          model.of_left_out(groups.votes[v], p, items, part(at), own.empty() ? AnnotatorTerms<double>{} : own[at]));
    };
    trials.predicted[i] = predict(known[at]);
    trials.blind[i] = predict({0, 2});
    if (is_repeat[i]) trials.blind[i] = std::numeric_limits<float>::quiet_NaN();
    trials.outcome[i] = (groups.votes[v].winner() > 0) == groups.votes[v].first_on_left() ? 1 : 0;
    trials.cluster[i] = p;
    trials.voter[i] = groups.votes[v].annotator();
    if (!groups.weight.empty()) trials.weight[i] = groups.weight[v];
  });
  return trials;
}

AgreementTest agreement_with_others(const Trials& left_out) {
  double score = 0, squares = 0, weights = 0;
  struct Own {
    double score = 0, weight = 0;
    bool votes = false;
  };
  std::vector<Own> voters;  // in order of annotator indices: the sums depend on the order
  for (std::size_t i = 0; i < left_out.predicted.size(); ++i) {
    if (std::isnan(left_out.blind[i])) continue;
    const double told = clamped_logit(left_out.predicted[i]) - clamped_logit(left_out.blind[i]),
                 weight = left_out.weight_of(i);
    const double term = weight * (left_out.outcome[i] - left_out.blind[i]) * told;
    score += term;
    squares += term * term;
    weights += weight;
    if (left_out.voter[i] >= voters.size()) voters.resize(left_out.voter[i] + std::size_t{1});
    Own& own = voters[left_out.voter[i]];
    own.votes = true;
    own.score += term;
    own.weight += weight;
  }
  if (squares <= 0) return {};
  // Variance between annotators about the mean: effects that an annotator has on all its votes.
  double apart = 0;
  std::size_t who_vote = 0;
  for (const Own& own : voters) {
    if (!own.votes) continue;
    ++who_vote;
    const double off = own.score - score * own.weight / weights;
    apart += off * off;
  }
  const auto count = static_cast<double>(who_vote);
  if (who_vote > 1) apart *= count / (count - 1);
  return {score / std::sqrt(2 * squares), score / std::sqrt(2 * std::max(squares, apart))};
}

std::vector<std::size_t> find_contradicted(const Groups& groups, const Fit& fit, const Sites& sites,
                                           const std::vector<Population>& priors) {
  if (!has_discriminations(fit.model)) return {};
  const Chosen chosen = choose_left_out(groups, {groups, nullptr}, 250'000);
  const std::vector<Cavity<double>> known = know_without(groups, fit, sites, chosen, false);
  const AnswerModel model(groups, fit);
  struct Sums {
    double g0 = 0, g1 = 0, j00 = 0, j01 = 0, j11 = 0;
  };
  std::vector<Sums> sums(priors.size());
  for (std::size_t i = 0; i < chosen.votes.size(); ++i) {
    const auto [v, p] = chosen.votes[i];
    const VoteCode vote = groups.votes[v];
    const Population& prior = priors[vote.annotator()];
    AnnotatorPosterior at;
    at.discrimination = prior.mean;
    at.side_bias = prior.side_bias_mean;
    const AnnotatorTerms<double> terms = model.terms(vote, p, known[i], part_of(double{groups.weight_of(v)}), at);
    const double x = terms.gradient_gamma, y = terms.gradient_beta;
    Sums& own = sums[vote.annotator()];
    own.g0 += x;
    own.g1 += y;
    own.j00 += x * x;
    own.j01 += x * y;
    own.j11 += y * y;
  }
  Column<float> p_value(priors.size(), std::numeric_limits<float>::quiet_NaN());
  for (std::size_t a = 0; a < priors.size(); ++a) {
    const Sums& s = sums[a];
    if (s.j00 <= 0) continue;
    const double v0 = priors[a].variance, v1 = priors[a].side_bias_variance;
    const double c00 = s.j00 + s.j00 * v0 * s.j00 + s.j01 * v1 * s.j01;
    const double c01 = s.j01 + s.j00 * v0 * s.j01 + s.j01 * v1 * s.j11;
    const double c11 = s.j11 + s.j01 * v0 * s.j01 + s.j11 * v1 * s.j11;
    const double determinant = c00 * c11 - c01 * c01;
    const double statistic = determinant > 1e-9 * c00 * c11  // else no side is known
                                 ? (c11 * s.g0 * s.g0 - 2 * c01 * s.g0 * s.g1 + c00 * s.g1 * s.g1) / determinant
                                 : s.g0 * s.g0 / c00;
    p_value[a] = static_cast<float>(chi_squared_tail(statistic, 2));
  }
  constexpr float kLevel = 0.001f;
  const Column<float> corrected = holm(p_value);
  std::vector<std::size_t> found;
  for (std::size_t a = 0; a < corrected.size(); ++a)
    if (corrected[a] < kLevel) found.push_back(a);
  return found;
}

}  // namespace voxpop
