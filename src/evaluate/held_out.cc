#include "evaluate/held_out.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "fit/answer_model.h"
#include "formulas/elementary.h"
#include "formulas/hash.h"

namespace voxpop {
namespace {

template <class Work>
void for_pairs(const Groups& groups, const Context& context, const Work& work) {
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::size_t>(0, groups.pairs(), 64), [&](const auto& some) {
    context.check_stop();
    for (std::size_t p = some.begin(); p < some.end(); ++p) work(p);
  });
}

/// Counts the answers on one pair, by fold. One object serves many pairs. clear() visits only what was counted, so that
/// a pair with few votes takes few steps even if there are many folds.
class FoldCounts {
 public:
  struct Counts {
    std::array<std::uint32_t, kAnswers> level{};  ///< by level for the pair's first item, from strongest against
    std::uint32_t seen = 0, decided = 0, first = 0;
  };

  explicit FoldCounts(int folds) : of_(static_cast<std::size_t>(folds)) {}

  void count(const Groups& groups, const std::vector<std::uint8_t>& folds, std::uint32_t begin, std::uint32_t end) {
    for (std::uint32_t v = begin; v < end; ++v) {
      const VoteCode vote = groups.votes[v];
      for (Counts* counts : {&of_[folds[v]], &all_}) {
        ++counts->level[vote.level() + kMaxLevels];
        ++counts->seen;
        counts->decided += vote.decided();
        counts->first += vote.winner() > 0;
      }
    }
  }
  void clear(const std::vector<std::uint8_t>& folds, std::uint32_t begin, std::uint32_t end) {
    for (std::uint32_t v = begin; v < end; ++v) of_[folds[v]] = {};
    all_ = {};
  }
  /// Counts in all folds except `fold`.
  double seen(int fold) const { return all_.seen - of_[fold].seen; }
  double decided(int fold) const { return all_.decided - of_[fold].decided; }
  double for_first(int fold) const { return all_.first - of_[fold].first; }
  double same(int fold, int level) const {
    return all_.level[level + kMaxLevels] - of_[fold].level[level + kMaxLevels];
  }

 private:
  std::vector<Counts> of_;
  Counts all_;
};

/// Logistic regression of decided votes on one difference and a constant, by Newton's method. Returns {constant,
/// slope}.
template <class Use>
std::array<double, 2> regress(std::size_t votes, const std::vector<float>& x, const std::vector<std::int8_t>& left,
                              const Use& use, const Context& context) {
  std::array<double, 2> at{};
  for (int iteration = 0; iteration < 30; ++iteration) {
    context.check_stop();
    double g0 = 0, g1 = 0, h00 = 1e-6, h01 = 0, h11 = 1e-6;
    for (std::size_t v = 0; v < votes; ++v) {
      if (!use(v)) continue;
      const double p = sigmoid(at[0] + at[1] * x[v]), off = (left[v] > 0) - p, weight = p * (1 - p);
      g0 += off;
      g1 += off * x[v];
      h00 += weight;
      h01 += weight * x[v];
      h11 += weight * x[v] * x[v];
    }
    const double determinant = h00 * h11 - h01 * h01;
    const double step0 = (h11 * g0 - h01 * g1) / determinant, step1 = (h00 * g1 - h01 * g0) / determinant;
    at[0] += step0;
    at[1] += step1;
    if (std::abs(step0) + std::abs(step1) < 1e-9) break;
  }
  return at;
}

}  // namespace

FoldsBy best_folds(const ViewBlocks& blocks) {
  return 10 * blocks.divided > 3 * blocks.of.size() ? FoldsBy::kBlock : FoldsBy::kVote;
}

std::vector<std::uint8_t> draw_folds(const Groups& groups, int folds, std::uint64_t seed,
                                     const Column<std::uint32_t>& judgement) {
  std::vector<std::uint8_t> fold(groups.votes.size());
  for_pairs(groups, {}, [&](std::size_t p) {
    std::uint64_t next = mixed(mixed(seed) + p);
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
      fold[v] = static_cast<std::uint8_t>(next++ % static_cast<unsigned>(folds));
    if (judgement.empty()) return;
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
      if (groups.is_gold(groups.votes[v]))
        continue;
      else if (const std::uint32_t act = judgement[groups.vote_row[v]]; act != kNoJudgement)
        fold[v] = static_cast<std::uint8_t>(mixed(mixed(seed) + act) % static_cast<unsigned>(folds));
  });
  return fold;
}

std::vector<std::uint8_t> draw_block_folds(const Groups& groups, const ViewBlocks& blocks, int folds,
                                           std::uint64_t seed) {
  std::vector<std::uint8_t> fold(groups.votes.size());
  oneapi::tbb::parallel_for(std::size_t{0}, groups.components(), [&](std::size_t c) {
    const std::uint64_t first = mixed(mixed(seed) + c) % static_cast<unsigned>(folds);
    const ComponentRange range = groups.range(static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(c + 1));
    for (std::uint32_t v = range.vote; v < range.vote_end; ++v)
      fold[v] = static_cast<std::uint8_t>((first + blocks.of[v]) % static_cast<unsigned>(folds));
  });
  return fold;
}

Predictions predict_held_out(const Groups& groups, const std::vector<std::uint8_t>& folds, const FitOptions& options,
                             const std::function<std::unique_ptr<Engine>(const Groups&)>& make,
                             const std::function<void(int, int)>& report, const Context& context) {
  Predictions out;
  out.left.resize(groups.votes.size());
  const bool all_answers = !groups.answers.half_ties;
  if (all_answers) out.log_probability.resize(groups.votes.size());
  Groups seen = groups;
  seen.on_device.reset();  // the copy there has no held-out votes
  seen.all_seen = false;
  const int count = 1 + *std::max_element(folds.begin(), folds.end());
  for (int fold = 0; fold < count; ++fold) {
    if (std::ranges::find(folds, fold) == folds.end()) continue;
    for (std::size_t v = 0; v < folds.size(); ++v) {
      const VoteCode vote = groups.votes[v];
      seen.votes[v] = folds[v] == fold && !groups.is_gold(vote) ? vote.held_out() : vote;
    }
    context.check_stop();
    const auto engine = make(seen);
    Fit fit;
    try {
      fit = fit_model(*engine, count_votes(seen), options, [&](int iteration, double) { report(fold, iteration); });
    } catch (const Error& error) {
      if (error.exit() != Exit::kNotConverged) throw;
      throw Error(error.exit(), fmt::format("fold {} of {}: {}", fold + 1, count, error.what()));
    }
    out.converged = out.converged && fit.converged;
    out.at_caps = warnings_at_caps(fit);
    const AnswerModel model(seen, fit);
    const Posterior& posterior = fit.posterior;
    for_pairs(groups, context, [&](std::size_t p) {
      for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
        if (folds[v] != fold) continue;
        const Cavity<double> known = posterior.vote_mean.empty()
                                         ? Cavity<double>{posterior.pair_mean[p], posterior.pair_variance[p]}
                                         : Cavity<double>{posterior.vote_mean[v], posterior.vote_variance[v]};
        const Answer answer = model.of(groups.votes[v], static_cast<std::uint32_t>(p), known);
        out.left[v] = left_if_decided(answer);
        if (all_answers) out.log_probability[v] = static_cast<float>(std::log(answer[answer_of(groups.votes[v])]));
      }
    });
  }
  return out;
}

Predictions predict_by_majority(const Groups& groups, const std::vector<std::uint8_t>& folds, const Context& context) {
  const int count = 1 + *std::max_element(folds.begin(), folds.end());
  std::vector<Answer> totals(count);  // by fold
  Answer all{};
  for (std::size_t v = 0; v < folds.size(); ++v) {
    ++totals[folds[v]][answer_of(groups.votes[v])];
    ++all[answer_of(groups.votes[v])];
  }
  Predictions out;
  out.left.resize(folds.size());
  if (!groups.answers.half_ties) out.log_probability.resize(folds.size());
  oneapi::tbb::enumerable_thread_specific<FoldCounts> counts_of(count);
  for_pairs(groups, context, [&](std::size_t p) {
    const std::uint32_t begin = groups.pair_votes[p], end = groups.pair_votes[p + 1];
    FoldCounts& others = counts_of.local();
    others.count(groups, folds, begin, end);
    for (std::uint32_t v = begin; v < end; ++v) {
      const VoteCode vote = groups.votes[v];
      const int fold = folds[v];
      const double others_for_left =
          vote.first_on_left() ? others.for_first(fold) : others.decided(fold) - others.for_first(fold);
      const double left = 1 + others_for_left, decided = 2 + others.decided(fold);
      const double same = others.same(fold, vote.level()), seen = others.seen(fold);  // any position of the items
      out.left[v] = static_cast<float>(left / decided);
      if (out.log_probability.empty()) continue;
      const std::size_t answer = answer_of(vote), mirrored = 2 * kMaxLevels - answer;
      // Counts start above 0, so that no answer has probability 0.
      double given = 1, votes = 2 * groups.answers.levels() + (groups.answers.ties ? 1 : 0);
      for (int k = 0; k < kAnswers; ++k) votes += all[k] - totals[folds[v]][k];
      for (const std::size_t k : {answer, mirrored}) given += 0.5 * (all[k] - totals[folds[v]][k]);
      const double share = given / votes;  // of this answer, for either side, in the other folds
      out.log_probability[v] = static_cast<float>(std::log((same + 2 * share) / (seen + 2)));
    }
    others.clear(folds, begin, end);
  });
  return out;
}

Predictions predict_by_covariate(const Groups& groups, const std::vector<std::uint8_t>& folds, int column,
                                 const Context& context) {
  const std::size_t count = groups.votes.size(), columns = groups.covariates.count();
  std::vector<float> x(count);  // covariate of the left item minus that of the right item
  std::vector<std::int8_t> left(count);
  for_pairs(groups, context, [&](std::size_t p) {
    const float first = groups.covariates.value[groups.pair_first[p] * columns + column];
    const float second = groups.covariates.value[groups.pair_second[p] * columns + column];
    for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v) {
      const int side = groups.votes[v].first_on_left() ? 1 : -1;
      x[v] = static_cast<float>(side) * (first - second);
      left[v] = static_cast<std::int8_t>(side * groups.votes[v].winner());
    }
  });
  Predictions out;
  out.left.resize(count);
  const int fold_count = 1 + *std::max_element(folds.begin(), folds.end());
  for (int fold = 0; fold < fold_count; ++fold) {
    const auto fitted = regress(
        count, x, left, [&](std::size_t v) { return folds[v] != fold && left[v] != 0; }, context);
    for (std::size_t v = 0; v < count; ++v)
      if (folds[v] == fold) out.left[v] = static_cast<float>(sigmoid(fitted[0] + fitted[1] * x[v]));
  }
  return out;
}

Clusters find_clusters(const Groups& groups) {
  constexpr std::size_t kEnough = 100;
  const bool by_component = groups.components() >= kEnough;
  Clusters clusters{std::vector<std::uint32_t>(groups.votes.size()), by_component ? "components" : "pairs"};
  for (std::uint32_t c = 0; c < groups.components(); ++c)
    for (std::uint32_t p = groups.component_pairs[c]; p < groups.component_pairs[c + 1]; ++p)
      std::fill(clusters.of.begin() + groups.pair_votes[p], clusters.of.begin() + groups.pair_votes[p + 1],
                by_component ? c : p);
  return clusters;
}

Trials decided_trials(const Groups& groups, const std::vector<float>& left, const Clusters& clusters) {
  Trials trials;
  for (std::size_t v = 0; v < groups.votes.size(); ++v) {
    const VoteCode vote = groups.votes[v];
    if (!groups.is_voted(static_cast<std::uint32_t>(v))) continue;
    trials.predicted.push_back(left[v]);
    trials.outcome.push_back((vote.winner() > 0) == vote.first_on_left() ? 1 : 0);
    trials.cluster.push_back(clusters.of[v]);
    if (!groups.weight.empty()) trials.weight.push_back(groups.weight[v]);
  }
  return trials;
}

}  // namespace voxpop
