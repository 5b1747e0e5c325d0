#include "guards/copies.h"

#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <unsupported/Eigen/SpecialFunctions>

#include "core/strings.h"
#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/elementary.h"
#include "formulas/hash.h"
#include "group/weights.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::size_t>;

/// kStillCopies: the number of differing answers of copies is less than this share of the expected number.
/// kPredictionError: allowance for errors of the expected number, as a share of all comparisons.
constexpr double kStillCopies = 0.5, kPredictionError = 0.02;
/// Copies also differ in at most this share of their comparisons. People with the same strong taste agree, but not so
/// often.
constexpr double kMostDiffering = 0.1;
constexpr double kSignificant = 0.01;

/// Probability that a Poisson variable is `count` or less.
double poisson_below(double count, double mean) { return mean > 0 ? Eigen::numext::igammac(count + 1, mean) : 1; }

/// One decided vote of an annotator on a pair.
struct Voter {
  std::uint32_t bits;
  std::uint32_t annotator() const { return bits >> 1; }
  bool first() const { return bits & 1u; }
};

/// Decided votes by pair and by annotator, for comparing annotators.
struct Ballots {
  Column<std::uint32_t> begin{0};  ///< [pairs + 1] first voter of each pair; only pairs with at least three
  Column<std::uint32_t> voters;    ///< Voter::bits
  Column<std::uint32_t> firsts;    ///< [pairs] number of votes for the pair's first item
  Column<std::uint32_t> annotator_begin, pairs;  ///< offsets into `pairs`, and each annotator's pairs

  std::size_t size() const { return begin.size() - 1; }
};

/// One annotator's answer on a pair. It may consist of several votes: halves of a soft vote, or repeats.
struct Answered {
  std::uint32_t annotator, vote;  ///< `vote`: the first of these votes
  double net;  ///< weight of votes for the pair's first item minus weight against it, with the weights in the file
  int winner() const { return (net > 1e-6) - (net < -1e-6); }
};

/// All answers on a pair in order of annotators, without known answers.
void find_answers_on(const Groups& groups, std::uint32_t pair, std::vector<Answered>& out) {
  out.clear();
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    if (const VoteCode vote = groups.votes[v]; !groups.is_gold(vote))
      out.push_back({vote.annotator(), v, double{groups.given_weight_of(v)} * vote.winner()});
  std::ranges::sort(out, [](const Answered& a, const Answered& b) {
    return std::pair(a.annotator, a.vote) < std::pair(b.annotator, b.vote);
  });
  std::size_t kept = 0;
  for (const Answered& one : out) {
    if (kept > 0 && out[kept - 1].annotator == one.annotator)
      out[kept - 1].net += one.net;
    else
      out[kept++] = one;
  }
  out.resize(kept);
}

Ballots read_ballots(const Groups& groups) {
  constexpr std::size_t kMostVoters = 32;
  Ballots out;
  std::vector<Answered> answers;
  std::vector<std::uint32_t> found;
  for (std::uint32_t p = 0; p < groups.pairs(); ++p) {
    if (groups.pair_votes[p + 1] - groups.pair_votes[p] < 3) continue;
    find_answers_on(groups, p, answers);
    found.clear();
    for (const Answered& one : answers)
      if (one.winner() != 0) found.push_back(one.annotator << 1 | (one.winner() > 0));
    if (found.size() < 3) continue;
    if (found.size() > kMostVoters) {
      std::ranges::nth_element(found, found.begin() + kMostVoters, {},
                               [&](std::uint32_t bits) { return mixed(std::uint64_t{p} << 32 | bits >> 1); });
      found.resize(kMostVoters);
      std::ranges::sort(found);
    }
    out.voters.insert(out.voters.end(), found.begin(), found.end());
    out.begin.push_back(static_cast<std::uint32_t>(out.voters.size()));
    out.firsts.push_back(
        static_cast<std::uint32_t>(std::ranges::count_if(found, [](std::uint32_t bits) { return bits & 1u; })));
  }
  out.annotator_begin.assign(groups.annotators + 1, 0);
  for (const std::uint32_t bits : out.voters) ++out.annotator_begin[(bits >> 1) + 1];
  std::partial_sum(out.annotator_begin.begin(), out.annotator_begin.end(), out.annotator_begin.begin());
  out.pairs.resize(out.voters.size());
  Column<std::uint32_t> next(out.annotator_begin.begin(), out.annotator_begin.end() - 1);
  for (std::uint32_t p = 0; p < out.size(); ++p)
    for (std::uint32_t i = out.begin[p]; i < out.begin[p + 1]; ++i) out.pairs[next[out.voters[i] >> 1]++] = p;
  return out;
}

/// How much each annotator agrees with other voters on its pairs, divided by the mean of all voters. Before division,
/// agreement runs from -1 (always against) to 1 (always with).
std::vector<double> find_agreement(const Ballots& ballots, std::size_t annotators) {
  std::vector<double> agreement(annotators, 0.0);
  double all = 0;
  for (std::size_t p = 0; p < ballots.size(); ++p) {
    const double voters = ballots.begin[p + 1] - ballots.begin[p], firsts = ballots.firsts[p];
    for (std::uint32_t i = ballots.begin[p]; i < ballots.begin[p + 1]; ++i) {
      const Voter voter{ballots.voters[i]};
      const double with = (voter.first() ? firsts : voters - firsts) - 1, mean = 2 * with / (voters - 1) - 1;
      agreement[voter.annotator()] += mean;
      all += mean;
    }
  }
  all = std::max(all / static_cast<double>(std::max<std::size_t>(ballots.voters.size(), 1)), 0.02);
  for (std::size_t a = 0; a < annotators; ++a)
    if (const double votes = ballots.annotator_begin[a + 1] - ballots.annotator_begin[a]; votes > 0)
      agreement[a] /= votes * all;
  return agreement;
}

struct Edge {
  std::uint32_t a, b;
  double p_value;
};

/// Annotator pairs who differ too seldom. Adds to `tested` the number of annotator pairs with enough common pairs.
std::vector<Edge> compare_annotators(const Ballots& ballots, std::size_t annotators, std::uint64_t& tested) {
  // Among so many annotator pairs, one pair may look alike by chance. One annotator who looks like several others is
  // not due to chance.
  constexpr double kWorthALook = 1e-5;
  constexpr std::uint32_t kMany = 3;
  constexpr double kFewest = 10;  // expected differences; with fewer, copies look like people who agree
  const std::vector<double> agreement = find_agreement(ballots, annotators);
  struct Compared {
    float expected = 0, differing = 0;
  };
  struct Local {
    std::vector<Compared> with;
    std::vector<std::uint32_t> met;
    std::vector<Edge> edges;
    std::uint64_t tested = 0;
  };
  oneapi::tbb::enumerable_thread_specific<Local> locals;
  oneapi::tbb::parallel_for(Range(0, annotators), [&](const Range& range) {
    Local& local = locals.local();
    local.with.resize(annotators);
    for (std::size_t a = range.begin(); a < range.end(); ++a) {
      const std::uint32_t begin = ballots.annotator_begin[a], end = ballots.annotator_begin[a + 1];
      if (end - begin < kFewest) continue;
      for (std::uint32_t i = begin; i < end; ++i) {
        const std::uint32_t p = ballots.pairs[i], first = ballots.begin[p], last = ballots.begin[p + 1];
        const double voters = last - first, firsts = ballots.firsts[p];
        const double differing = firsts * (voters - firsts), couples = voters * (voters - 1) / 2 - 1;
        std::uint32_t v = first;
        while (ballots.voters[v] >> 1 != a) ++v;
        const bool mine = Voter{ballots.voters[v]}.first();
        for (++v; v < last; ++v) {  // voters of a pair are sorted
          const Voter other{ballots.voters[v]};
          const bool differs = other.first() != mine;
          const double others_agree = 1 - 2 * (differing - differs) / couples;
          const double agree = others_agree * agreement[a] * agreement[other.annotator()];
          Compared& with = local.with[other.annotator()];
          if (with.expected == 0) local.met.push_back(other.annotator());
          with.expected += static_cast<float>(0.5 - 0.5 * std::clamp(agree, -1.0, 0.99));
          with.differing += static_cast<float>(differs);
        }
      }
      for (const std::uint32_t b : local.met) {
        const Compared with = std::exchange(local.with[b], {});
        if (with.expected < kFewest) continue;
        ++local.tested;
        if (with.differing > kStillCopies * with.expected) continue;
        const double p_value = poisson_below(with.differing, 0.7 * with.expected);
        if (p_value < kWorthALook) local.edges.push_back({static_cast<std::uint32_t>(a), b, p_value});
      }
      local.met.clear();
    }
  });
  std::vector<Edge> edges;
  for (const Local& local : locals) {
    edges.insert(edges.end(), local.edges.begin(), local.edges.end());
    tested += local.tested;
  }
  std::vector<std::uint32_t> degree(annotators, 0);
  for (const Edge& edge : edges) ++degree[edge.a], ++degree[edge.b];
  std::erase_if(edges, [&](const Edge& edge) {
    return std::max(degree[edge.a], degree[edge.b]) < kMany && edge.p_value * static_cast<double>(tested) > 1e-3;
  });
  return edges;
}

/// Adds edges between annotators whose votes are all the same. If they are many, they dominate their pairs, so that
/// their agreement looks normal and compare_annotators() does not find them.
void find_twins(const Ballots& ballots, std::size_t annotators, std::vector<Edge>& edges) {
  constexpr std::uint32_t kFewest = 50;
  std::vector<std::uint64_t> print(annotators, 0);
  for (std::uint32_t p = 0; p < ballots.size(); ++p)
    for (std::uint32_t i = ballots.begin[p]; i < ballots.begin[p + 1]; ++i)
      print[ballots.voters[i] >> 1] += mixed(std::uint64_t{p} << 1 | (ballots.voters[i] & 1u));
  std::vector<std::uint32_t> order;
  for (std::uint32_t a = 0; a < annotators; ++a)
    if (ballots.annotator_begin[a + 1] - ballots.annotator_begin[a] >= kFewest) order.push_back(a);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t a) { return print[a]; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (print[order[i]] == print[order[i - 1]]) edges.push_back({order[i - 1], order[i], 0});
}

std::vector<CopyCluster> connect(const std::vector<Edge>& edges, std::size_t annotators) {
  std::vector<std::uint32_t> root(annotators);
  std::iota(root.begin(), root.end(), 0u);
  const auto find = [&](std::uint32_t a) {
    while (root[a] != a) a = root[a] = root[root[a]];
    return a;
  };
  for (const auto& [a, b, p] : edges) {
    const auto [low, high] = std::minmax({find(a), find(b)});
    root[high] = low;
  }
  std::vector<CopyCluster> clusters;
  std::vector<std::int32_t> number(annotators, -1);
  std::vector<bool> linked(annotators, false);
  for (const auto& [a, b, p] : edges) linked[a] = linked[b] = true;
  for (std::uint32_t a = 0; a < annotators; ++a) {
    if (!linked[a]) continue;
    std::int32_t& cluster = number[find(a)];
    if (cluster < 0) {
      cluster = static_cast<std::int32_t>(clusters.size());
      clusters.emplace_back();
    }
    clusters[cluster].members.push_back(a);
  }
  return clusters;
}

Column<std::int32_t> numbers_of(const std::vector<CopyCluster>& clusters, std::size_t annotators) {
  Column<std::int32_t> out(annotators, -1);
  for (std::size_t c = 0; c < clusters.size(); ++c)
    for (const std::uint32_t a : clusters[c].members) out[a] = static_cast<std::int32_t>(c);
  return out;
}

/// Cluster of a vote's annotator; -1 for none, and for known answers.
std::int32_t cluster_of_vote(const Groups& groups, const Column<std::int32_t>& number, std::uint32_t vote) {
  return groups.is_gold(groups.votes[vote]) ? -1 : number[groups.votes[vote].annotator()];
}

/// A cluster's votes on one pair, and what the votes of others say of the pair.
struct Seat {
  std::uint32_t member;
  bool first;
  double aside;  ///< logits towards the pair's first item, from side bias and tastes
};
struct Shared {
  Cavity<double> others;
  std::size_t begin, end;  ///< range of its seats
};
struct Meeting {
  std::vector<Seat> seats;
  std::vector<Shared> pairs;
};

/// `others`: what is known of a pair without a cluster's votes, given all answers on the pair. `aside`: logits by which
/// a vote's annotator prefers the pair's first item for other reasons than scores.
struct Known {
  std::function<Cavity<double>(std::uint32_t pair, std::int32_t cluster, const std::vector<Answered>& answers)> others;
  std::function<double(VoteCode vote, std::uint32_t pair)> aside;
};

/// For each cluster: its members' answers on pairs with votes of at least two members and of someone outside the
/// cluster. Of large clusters only a sample of pairs, chosen by a hash. `number`: [annotators] cluster, or -1.
std::vector<Meeting> gather(const Groups& groups, const Column<std::int32_t>& number, std::size_t clusters,
                            const Known& known) {
  constexpr std::size_t kMostSeats = 20'000;
  const auto cluster_of = [&](std::uint32_t v) { return cluster_of_vote(groups, number, v); };
  std::vector<std::size_t> votes(clusters, 0);
  for (std::uint32_t v = 0; v < groups.votes.size(); ++v)
    if (cluster_of(v) >= 0) ++votes[cluster_of(v)];
  std::vector<Meeting> out(clusters);
  std::vector<std::int32_t> here;
  std::vector<Answered> answers;
  for (std::uint32_t p = 0; p < groups.pairs(); ++p) {
    const std::uint32_t begin = groups.pair_votes[p], end = groups.pair_votes[p + 1];
    here.clear();
    for (std::uint32_t v = begin; v < end; ++v)
      if (const std::int32_t c = cluster_of(v); c >= 0) here.push_back(c);
    if (here.size() < 2) continue;
    std::ranges::sort(here);
    find_answers_on(groups, p, answers);
    for (std::size_t i = 0; i < here.size();) {
      const std::int32_t c = here[i];
      const std::size_t before = i;
      while (i < here.size() && here[i] == c) ++i;
      if (i - before < 2 || i - before == end - begin || mixed(p) % (votes[c] / kMostSeats + 1) != 0) continue;
      Meeting& meeting = out[c];
      Shared shared{{}, meeting.seats.size(), 0};
      for (const Answered& one : answers)
        if (number[one.annotator] == c && one.winner() != 0)
          meeting.seats.push_back({one.annotator, one.winner() > 0, known.aside(groups.votes[one.vote], p)});
      shared.end = meeting.seats.size();
      if (shared.end - shared.begin < 2) {
        meeting.seats.resize(shared.begin);
        continue;
      }
      shared.others = known.others(p, c, answers);
      meeting.pairs.push_back(shared);
    }
  }
  return out;
}

/// What independent members with one common discrimination would answer, given the scores.
struct Prediction {
  double log_likelihood = 0;  ///< of the answers; all members on a pair count as one voter
  /// [seats] Expected number of the pair's other members with a different answer.
  std::vector<double> differing;
};

Prediction predict(const Meeting& meeting, double discrimination) {
  constexpr int kNodes = 8;  // on each side of the mean, in steps of half an sd
  Prediction out;
  out.differing.assign(meeting.seats.size(), 0.0);
  std::vector<double> chance;
  for (const Shared& pair : meeting.pairs) {
    const std::size_t voters = pair.end - pair.begin;
    std::vector<double> answered(voters, 0.0);
    for (int node = -kNodes; node <= kNodes; ++node) {
      const double z = 0.5 * node, weight = std::exp(-0.5 * z * z) * 0.5 * 0.3989422804014327;
      const double difference = pair.others.mean + z * std::sqrt(pair.others.variance);
      double sum = 0;
      chance.clear();
      for (std::size_t i = pair.begin; i < pair.end; ++i) {
        chance.push_back(sigmoid(discrimination * difference + meeting.seats[i].aside));
        sum += chance.back();
      }
      for (std::size_t i = 0; i < voters; ++i) {
        const double p = chance[i], others = sum - p, n = static_cast<double>(voters - 1);
        answered[i] += weight * (meeting.seats[pair.begin + i].first ? p : 1 - p);
        out.differing[pair.begin + i] += weight * (p * (n - others) + (1 - p) * others);
      }
    }
    for (const double p : answered) out.log_likelihood += std::log(std::max(p, 1e-12)) / static_cast<double>(voters);
  }
  return out;
}

/// [seats] Expected differences if the members are as good as their agreement with others allows: of all
/// discriminations within three standard errors of the best fit, the one with the fewest differences.
std::vector<double> fewest_expected(const Meeting& meeting) {
  constexpr int kSteps = 16;
  constexpr double kThreeErrors = 4.5;
  std::vector<Prediction> predictions;
  double best = -INFINITY;
  for (int step = -kSteps; step <= kSteps; ++step) {
    const double size = step == 0 ? 0 : 0.1 * std::pow(1.5, std::abs(step) - 1);  // 0.1 to 44
    predictions.push_back(predict(meeting, step < 0 ? -size : size));
    best = std::max(best, predictions.back().log_likelihood);
  }
  const auto total = [](const Prediction& p) { return std::accumulate(p.differing.begin(), p.differing.end(), 0.0); };
  const Prediction* fewest = nullptr;
  for (const Prediction& p : predictions)
    if (p.log_likelihood >= best - kThreeErrors && (fewest == nullptr || total(p) < total(*fewest))) fewest = &p;
  return fewest->differing;
}

/// A cluster with its counts, and the members who differ from the others as seldom as copies do.
struct Judged {
  CopyCluster cluster;
  std::vector<std::uint32_t> staying;
};

/// `slack`: factor of the limit on differences.
Judged judge(const std::vector<std::uint32_t>& members, const Meeting& meeting, double slack) {
  Judged out;
  out.cluster.members = members;
  if (meeting.pairs.empty()) return out;
  const std::vector<double> expected = fewest_expected(meeting);
  struct Own {
    double comparisons = 0, differing = 0, expected = 0;
  };
  std::vector<Own> own(members.size());
  for (const Shared& pair : meeting.pairs) {
    const auto voters = static_cast<double>(pair.end - pair.begin);
    double firsts = 0;
    for (std::size_t i = pair.begin; i < pair.end; ++i) firsts += meeting.seats[i].first;
    for (std::size_t i = pair.begin; i < pair.end; ++i) {
      const Seat& seat = meeting.seats[i];
      Own& mine = own[static_cast<std::size_t>(std::ranges::lower_bound(members, seat.member) - members.begin())];
      mine.comparisons += (voters - 1) / voters;
      mine.differing += (seat.first ? voters - firsts : firsts) / voters;
      mine.expected += expected[i] / voters;
    }
  }
  for (std::size_t m = 0; m < members.size(); ++m) {
    out.cluster.comparisons += own[m].comparisons;
    out.cluster.differing += own[m].differing;
    out.cluster.expected += own[m].expected;
    if (own[m].differing < slack * std::min(kStillCopies * own[m].expected, kMostDiffering * own[m].comparisons))
      out.staying.push_back(members[m]);
  }
  return out;
}

/// Removes members who differ too often from the rest of their cluster, until no cluster changes. The result is sorted
/// by first member. `know(number)`: what is known without the clusters of these numbers. `slack`: see judge().
std::vector<CopyCluster> sift(const Groups& groups, std::vector<CopyCluster> open, double slack,
                              const std::function<Known(const Column<std::int32_t>&)>& know) {
  std::vector<CopyCluster> out;
  while (!open.empty()) {
    const Column<std::int32_t> number = numbers_of(open, groups.annotators);
    const std::vector<Meeting> meetings = gather(groups, number, open.size(), know(number));
    std::vector<CopyCluster> again;
    for (std::size_t c = 0; c < open.size(); ++c) {
      Judged judged = judge(open[c].members, meetings[c], slack);
      if (judged.staying.size() < 2) continue;
      if (judged.staying.size() < open[c].members.size())
        again.push_back({judged.staying});
      else
        out.push_back(std::move(judged.cluster));
    }
    open = std::move(again);
  }
  std::ranges::sort(out, {}, [](const CopyCluster& c) { return c.members.front(); });
  return out;
}

/// A model of the annotators outside clusters: all have one discrimination, which explains how often they agree. Score
/// differences are N(0, 1).
class Crowd {
 public:
  /// `number`: [annotators] cluster, or -1.
  Crowd(const Ballots& ballots, const Column<std::int32_t>& number) {
    double couples = 0, agreement = 0;
    for (std::size_t p = 0; p < ballots.size(); ++p) {
      double voters = 0, firsts = 0;
      for (std::uint32_t i = ballots.begin[p]; i < ballots.begin[p + 1]; ++i)
        if (const Voter voter{ballots.voters[i]}; number[voter.annotator()] < 0) ++voters, firsts += voter.first();
      couples += voters * (voters - 1) / 2;
      agreement += voters * (voters - 1) / 2 - 2 * firsts * (voters - firsts);
    }
    knows_ = agreement > kClear * std::sqrt(couples);
    while (knows_ && discrimination_ < 30 && mean_square() < agreement / couples) discrimination_ *= 1.1;
  }

  /// Whether the crowd agrees with itself more than by chance. If not, it cannot clear any suspect.
  bool knows() const { return knows_; }

  /// Posterior of a pair's score difference after this many answers for its first item and against it.
  Cavity<double> told(double firsts, double against) const {
    std::array<double, 2 * kNodes + 1> log_weight;
    double most = -INFINITY;
    // Nodes around an estimate of the mode; their spacing follows the posterior's width.
    const double votes = firsts + against, share = (firsts + 0.5) / (votes + 1);
    const double likeliest = logit(share) / discrimination_;
    const double precision = 1 + votes * share * (1 - share) * discrimination_ * discrimination_;
    const double center = likeliest * (precision - 1) / precision, width = kWidth / std::sqrt(precision);
    const auto place = [&](int node) { return center + width * (node - kNodes); };
    for (int node = 0; node <= 2 * kNodes; ++node) {
      const double z = place(node), logit = discrimination_ * z;
      const double log_chance = -std::log1p(std::exp(-std::abs(logit)));  // of the likelier answer
      log_weight[node] = -0.5 * z * z + votes * log_chance - std::abs(logit) * (logit > 0 ? against : firsts);
      most = std::max(most, log_weight[node]);
    }
    double sum = 0, mean = 0, square = 0;
    for (int node = 0; node <= 2 * kNodes; ++node) {
      const double weight = std::exp(log_weight[node] - most), away = place(node) - center;
      sum += weight;
      mean += weight * away;
      square += weight * away * away;
    }
    mean /= sum;
    return {center + mean, square / sum - mean * mean};
  }

 private:
  static constexpr int kNodes = 12;
  static constexpr double kWidth = 0.4, kClear = 3;

  /// Mean square of P(vote for the better item) - P(vote against it).
  double mean_square() const {
    double sum = 0, all = 0;
    for (int node = -kNodes; node <= kNodes; ++node) {
      const double z = kWidth * node, weight = std::exp(-0.5 * z * z);
      sum += weight * std::pow(std::tanh(discrimination_ * z / 2), 2);
      all += weight;
    }
    return sum / all;
  }

  double discrimination_ = 0.1;
  bool knows_;
};

/// The suspects whom the crowd's votes do not clear. A fit would know more, but costs more.
std::vector<CopyCluster> not_cleared(const Groups& groups, const Ballots& ballots, std::vector<CopyCluster> suspects) {
  if (suspects.empty()) return suspects;
  constexpr double kSlack = 1.5;
  const Crowd crowd(ballots, numbers_of(suspects, groups.annotators));
  if (!crowd.knows()) return suspects;
  return sift(groups, std::move(suspects), kSlack, [&](const Column<std::int32_t>& number) {
    const auto others = [&](std::uint32_t, std::int32_t cluster, const std::vector<Answered>& answers) {
      double firsts = 0, against = 0;
      for (const Answered& one : answers) {
        if (number[one.annotator] == cluster) continue;
        firsts += one.winner() > 0;
        against += one.winner() < 0;
      }
      return crowd.told(firsts, against);
    };
    return Known{others, [](VoteCode, std::uint32_t) { return 0.0; }};
  });
}

}  // namespace

Column<std::int32_t> Copies::numbers(std::size_t annotators) const { return numbers_of(clusters, annotators); }

Copies suspect_copies(const Groups& groups) {
  const Ballots ballots = read_ballots(groups);
  Copies out;
  std::vector<Edge> edges = compare_annotators(ballots, groups.annotators, out.tested);
  find_twins(ballots, groups.annotators, edges);
  out.clusters = not_cleared(groups, ballots, connect(edges, groups.annotators));
  return out;
}

Copies confirm_copies(const Groups& groups, const Fit& fit, const Sites& sites, const Copies& suspects) {
  const AnswerModel model(groups, fit);
  const auto aside = [&](VoteCode vote, std::uint32_t pair) {
    return fit.annotators[vote.annotator()].side_bias * vote.side() + model.taste(vote, pair);
  };
  std::optional<PairMoments> without;
  const auto know = [&](const Column<std::int32_t>& number) {
    // With views, sites belong to annotators' own views and not to the scores. Then all clusters are left out at once.
    if (fit.view_variance > 0)
      without =
          solve_without(groups, fit, sites, [&](std::uint32_t v) { return cluster_of_vote(groups, number, v) >= 0; });
    const auto others = [&](std::uint32_t pair, std::int32_t cluster, const std::vector<Answered>&) {
      if (without) return Cavity<double>{without->mean[pair], without->variance[pair] + 2 * fit.view_variance};
      Site<double> own{0, 0};
      for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v) {
        if (cluster_of_vote(groups, number, v) != cluster) continue;
        own.precision += groups.weight_of(v) * sites.precision[v];
        own.shift += groups.weight_of(v) * sites.shift[v];
      }
      return cavity_without<double>(fit.posterior.pair_mean[pair], fit.posterior.pair_variance[pair], own, 1.0,
                                    double{least_precision(fit.prior.get(), 0)});
    };
    return Known{others, aside};
  };
  Copies out{sift(groups, suspects.clusters, 1, know), suspects.tested};
  for (CopyCluster& cluster : out.clusters) {
    const double most = kStillCopies * cluster.expected - kPredictionError * cluster.comparisons;
    cluster.p_value = std::min(
        1.0, poisson_below(cluster.differing, most) * static_cast<double>(std::max<std::uint64_t>(out.tested, 1)));
  }
  std::erase_if(out.clusters, [](const CopyCluster& cluster) { return !(cluster.p_value < kSignificant); });
  return out;
}

void weigh_copies(Groups& groups, const Copies& copies) {
  if (copies.clusters.empty()) return;
  const Column<std::int32_t> number = copies.numbers(groups.annotators);
  if (groups.weight.empty()) groups.weight.assign(groups.votes.size(), 1.0f);
  groups.on_device.reset();
  oneapi::tbb::parallel_for(Range(0, groups.pairs(), 64), [&](const Range& range) {
    std::vector<Answered> answers;
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      find_answers_on(groups, static_cast<std::uint32_t>(p), answers);
      std::erase_if(answers, [&](const Answered& one) { return number[one.annotator] < 0; });
      const auto cluster = [&](const Answered& one) { return number[one.annotator]; };
      std::ranges::stable_sort(answers, {}, cluster);
      for (std::size_t begin = 0, end; begin < answers.size(); begin = end) {
        std::array<std::uint32_t, 3> given{};
        for (end = begin; end < answers.size() && cluster(answers[end]) == cluster(answers[begin]); ++end)
          ++given[answers[end].winner() + 1];
        const int most = static_cast<int>(std::ranges::max_element(given) - given.begin()) - 1;
        std::size_t kept = begin;
        while (answers[kept].winner() != most) ++kept;
        for (std::uint32_t v = groups.pair_votes[p]; v < groups.pair_votes[p + 1]; ++v)
          if (const VoteCode vote = groups.votes[v]; !groups.is_gold(vote) &&
                                                     vote.annotator() != answers[kept].annotator &&
                                                     number[vote.annotator()] == cluster(answers[begin]))
            groups.weight[v] *= kNextToNothing;
      }
    }
  });
}

void share_estimates(const Groups& groups, const Copies& copies, Fit& fit) {
  if (copies.clusters.empty()) return;
  const std::vector<double> weight = weigh_annotators(groups);
  for (const CopyCluster& cluster : copies.clusters) {
    const std::uint32_t voter =
        *std::ranges::max_element(cluster.members, {}, [&](std::uint32_t a) { return weight[a]; });
    for (const std::uint32_t a : cluster.members) {
      fit.annotators[a] = fit.annotators[voter];
      ReportSums& sums = fit.posterior.annotators[a];  // `bits` is not copied: it depends on the member's own weights
      const ReportSums& whole = fit.posterior.annotators[voter];
      sums.agreement = whole.agreement;
      sums.better = whole.better;
      sums.decided = whole.decided;
    }
  }
}

void add_copy_findings(const Copies& copies, const Strings& annotator_ids, std::vector<Finding>& findings) {
  constexpr std::size_t kShown = 6;
  for (const CopyCluster& cluster : copies.clusters) {
    std::string names;
    for (std::size_t m = 0; m < std::min(cluster.members.size(), kShown); ++m)
      names += (m == 0 ? "" : ", ") + shown(annotator_ids[cluster.members[m]]);
    if (cluster.members.size() > kShown) names += ", ...";
    findings.push_back(
        {"copies", Level::kCare,
         fmt::format("{} annotators ({}) give the same answers too often: in {:.0f} comparisons on pairs that others "
                     "also judged, they differ {:.0f} times; independent annotators who are as good would differ "
                     "{:.0f} times. Possible reasons: one person with several ids, copied votes, or votes by "
                     "agreement. Together they count as one voter.",
                     cluster.members.size(), names, cluster.comparisons, cluster.differing, cluster.expected),
         "Find out who they are; annotators/copies in the fit lists all of them"});
  }
  std::ranges::stable_sort(findings, std::greater(), &Finding::level);
}

}  // namespace voxpop
