#include "guards/copies.h"

#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>
#include <unsupported/Eigen/SpecialFunctions>

#include "core/strings.h"
#include "fit/answer_model.h"
#include "fit/refit.h"
#include "formulas/elementary.h"
#include "formulas/fixed_point.h"
#include "formulas/hash.h"
#include "group/by_annotator.h"
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

/// The decided answers on a pair as Voter::bits, in order of annotators. `answers`: buffer.
void find_voters_on(const Groups& groups, std::uint32_t pair, std::vector<std::uint32_t>& out,
                    std::vector<Answered>& answers) {
  out.clear();
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    if (const VoteCode vote = groups.votes[v]; !groups.is_gold(vote)) {
      const Answered one{vote.annotator(), v, double{groups.given_weight_of(v)} * vote.winner()};
      out.push_back(one.annotator << 2 | static_cast<std::uint32_t>(one.winner() + 1));
    }
  std::ranges::sort(out);
  const auto same_annotator = [](std::uint32_t a, std::uint32_t b) { return a >> 2 == b >> 2; };
  if (std::ranges::adjacent_find(out, same_annotator) == out.end()) {
    std::erase_if(out, [](std::uint32_t bits) { return (bits & 3u) == 1; });
    for (std::uint32_t& bits : out) bits = bits >> 2 << 1 | (bits >> 1 & 1u);
    return;
  }
  out.clear();
  find_answers_on(groups, pair, answers);
  for (const Answered& one : answers)
    if (one.winner() != 0) out.push_back(one.annotator << 1 | (one.winner() > 0));
}

/// Decided answers by pair, for comparing annotators. Only pairs with at least three have voters here.
struct Ballots {
  const Groups& groups;
  Column<std::uint32_t> voters;        ///< [V] Voter::bits; those of pair p are from index groups.pair_votes[p]
  Column<std::uint8_t> count, firsts;  ///< [pairs] number of voters; number of votes for the pair's first item

  std::span<const std::uint32_t> on(std::size_t pair) const {
    return {voters.data() + groups.pair_votes[pair], count[pair]};
  }
};

/// Calls act(pairs) for ranges of pairs, in parallel.
template <class Act>
void in_ranges(std::size_t pairs, const Act& act) {
  oneapi::tbb::parallel_for(Range(0, pairs, 1024), act);
}

Ballots read_ballots(const Groups& groups) {
  constexpr std::size_t kMostVoters = 32;
  Ballots out{groups, {}, {}, {}};
  out.voters.resize(groups.votes.size());
  out.count.resize(groups.pairs());
  out.firsts.resize(groups.pairs());
  in_ranges(groups.pairs(), [&](const Range& range) {
    std::vector<Answered> answers;
    std::vector<std::uint32_t> found;
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      out.count[p] = out.firsts[p] = 0;
      if (groups.pair_votes[p + 1] - groups.pair_votes[p] < 3) continue;
      find_voters_on(groups, static_cast<std::uint32_t>(p), found, answers);
      if (found.size() < 3) continue;
      if (found.size() > kMostVoters) {
        std::ranges::nth_element(found, found.begin() + kMostVoters, {},
                                 [&](std::uint32_t bits) { return mixed(std::uint64_t{p} << 32 | bits >> 1); });
        found.resize(kMostVoters);
        std::ranges::sort(found);
      }
      std::ranges::copy(found, out.voters.begin() + groups.pair_votes[p]);
      out.count[p] = static_cast<std::uint8_t>(found.size());
      for (const std::uint32_t bits : found) out.firsts[p] += bits & 1u;
    }
  });
  return out;
}

/// Sums over one annotator's answers in the ballots. Integers, so that the order does not matter.
struct Tally {
  std::int64_t agreement = 0;  ///< fixed point; of one answer, from -1 (always against the others) to 1 (always with)
  std::uint64_t print = 0;     ///< equal for annotators whose answers are all the same
  std::uint32_t answers = 0;
};

/// [annotators]
std::vector<Tally> tally(const Ballots& ballots, std::size_t annotators) {
  std::vector<Tally> out(annotators);
  const bool shared = annotators > kPrivateAnnotators;
  oneapi::tbb::enumerable_thread_specific<std::vector<Tally>> threads(shared ? 0 : annotators);
  const auto add = [&](auto& sum, auto more) {
    if (shared)
      std::atomic_ref(sum).fetch_add(more, std::memory_order_relaxed);
    else
      sum += more;
  };
  in_ranges(ballots.count.size(), [&](const Range& range) {
    std::vector<Tally>& mine = shared ? out : threads.local();
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      const double voters = ballots.count[p], firsts = ballots.firsts[p];
      for (const std::uint32_t bits : ballots.on(p)) {
        const Voter voter{bits};
        const double with = (voter.first() ? firsts : voters - firsts) - 1;
        Tally& own = mine[voter.annotator()];
        add(own.agreement, to_fixed(2 * with / (voters - 1) - 1));
        add(own.print, mixed(std::uint64_t{p} << 1 | (bits & 1u)));
        add(own.answers, 1u);
      }
    }
  });
  for (const std::vector<Tally>& some : threads)
    for (std::size_t a = 0; a < some.size(); ++a) {
      out[a].agreement += some[a].agreement;
      out[a].print += some[a].print;
      out[a].answers += some[a].answers;
    }
  return out;
}

/// [annotators] How much each agrees with other voters on its pairs, divided by the mean of all voters.
std::vector<double> find_agreement(const std::vector<Tally>& tallies) {
  std::int64_t sum = 0;
  std::uint64_t answers = 0;
  for (const Tally& own : tallies) {
    sum += own.agreement;
    answers += own.answers;
  }
  const double all = std::max(from_fixed(sum) / static_cast<double>(std::max<std::uint64_t>(answers, 1)), 0.02);
  std::vector<double> out;
  for (const Tally& own : tallies) out.push_back(own.answers > 0 ? from_fixed(own.agreement) / (own.answers * all) : 0);
  return out;
}

struct Edge {
  std::uint32_t a, b;
  double p_value;
};

/// Two annotators' answers on common pairs: expected and actual number of those that differ. Integers, so that the
/// order does not matter.
struct Compared {
  std::int64_t expected = 0;  ///< fixed point
  std::uint32_t differing = 0;
};

/// Compares the voters of one pair.
class Comparison {
 public:
  Comparison(const Ballots& ballots, std::size_t pair, const std::vector<double>& agreement) : agreement_(agreement) {
    const double voters = ballots.count[pair], firsts = ballots.firsts[pair];
    const double differing = firsts * (voters - firsts), couples = voters * (voters - 1) / 2 - 1;
    for (const int differs : {0, 1}) others_agree_[differs] = 1 - 2 * (differing - differs) / couples;
  }
  void add(Voter a, Voter b, Compared& with) const {
    const bool differs = a.first() != b.first();
    const double agree = others_agree_[differs] * agreement_[a.annotator()] * agreement_[b.annotator()];
    with.expected += to_fixed(0.5 - 0.5 * std::clamp(agree, -1.0, 0.99));
    with.differing += differs;
  }

 private:
  const std::vector<double>& agreement_;
  double others_agree_[2];  ///< how much the other voters agree, if these two agree or differ
};

/// Annotator pairs who differ too seldom.
struct Suspicion {
  static constexpr double kFewest = 10;  ///< expected differences; with fewer, copies look like people who agree
  /// Among so many annotator pairs, one pair may look alike by chance. One annotator who looks like several others is
  /// not due to chance.
  static constexpr double kWorthALook = 1e-5;
  std::vector<Edge> edges;
  std::uint64_t tested = 0;  ///< number of annotator pairs with enough common pairs

  void examine(std::uint32_t a, std::uint32_t b, const Compared& with) {
    const double expected = from_fixed(with.expected);
    if (expected < kFewest - 1e-5) return;  // sums of just kFewest do occur, but for rounding
    ++tested;
    if (with.differing > kStillCopies * expected) return;
    const double p_value = poisson_below(with.differing, 0.7 * expected);
    if (p_value < kWorthALook) edges.push_back({a, b, p_value});
  }
};
using Suspicions = oneapi::tbb::enumerable_thread_specific<Suspicion>;

/// Each thread has a table of all annotator pairs and reads the ballots in order.
void compare_in_tables(const Ballots& ballots, const std::vector<double>& agreement, Suspicions& found) {
  const std::size_t annotators = agreement.size();
  const auto row_of = [](std::size_t b) { return b * (b - 1) / 2; };  // for a < b
  oneapi::tbb::enumerable_thread_specific<std::vector<Compared>> tables(row_of(annotators));
  in_ranges(ballots.count.size(), [&](const Range& range) {
    std::vector<Compared>& table = tables.local();
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      const std::span<const std::uint32_t> voters = ballots.on(p);
      const Comparison comparison(ballots, p, agreement);
      for (std::size_t j = 1; j < voters.size(); ++j) {  // voters of a pair are sorted
        const Voter b{voters[j]};
        Compared* const row = table.data() + row_of(b.annotator());
        for (std::size_t i = 0; i < j; ++i) comparison.add({voters[i]}, b, row[voters[i] >> 1]);
      }
    }
  });
  oneapi::tbb::parallel_for(std::size_t{1}, annotators, [&](std::size_t b) {
    Suspicion& mine = found.local();
    for (std::size_t a = 0; a < b; ++a) {
      Compared with;
      for (const std::vector<Compared>& table : tables) {
        with.expected += table[row_of(b) + a].expected;
        with.differing += table[row_of(b) + a].differing;
      }
      mine.examine(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b), with);
    }
  });
}

/// One annotator after the other, with all that it met. Memory per thread grows with the annotators, not their pairs;
/// but the ballots are read in random order.
void compare_one_by_one(const Ballots& ballots, const std::vector<Tally>& tallies, const std::vector<double>& agreement,
                        Suspicions& found) {
  const std::size_t annotators = agreement.size();
  std::vector<std::size_t> begin(annotators + 1, 0);  // of each annotator's pairs
  for (std::size_t a = 0; a < annotators; ++a) begin[a + 1] = begin[a] + tallies[a].answers;
  Column<std::uint32_t> pairs(begin.back());
  std::vector<std::size_t> next(begin.begin(), begin.end() - 1);
  in_ranges(ballots.count.size(), [&](const Range& range) {
    for (std::size_t p = range.begin(); p < range.end(); ++p)
      for (const std::uint32_t bits : ballots.on(p)) {
        const std::size_t place = std::atomic_ref(next[bits >> 1]).fetch_add(1, std::memory_order_relaxed);
        pairs[place] = static_cast<std::uint32_t>(p);
      }
  });
  struct Local {
    std::vector<Compared> with;
    std::vector<std::uint32_t> met;
  };
  oneapi::tbb::enumerable_thread_specific<Local> locals([&] { return Local{std::vector<Compared>(annotators), {}}; });
  oneapi::tbb::parallel_for(Range(0, annotators), [&](const Range& range) {
    Local& local = locals.local();
    Suspicion& mine = found.local();
    for (std::size_t a = range.begin(); a < range.end(); ++a) {
      if (tallies[a].answers < Suspicion::kFewest) continue;
      for (std::size_t i = begin[a]; i < begin[a + 1]; ++i) {
        const std::span<const std::uint32_t> voters = ballots.on(pairs[i]);
        const Comparison comparison(ballots, pairs[i], agreement);
        auto v = voters.begin();
        while (*v >> 1 != a) ++v;
        const Voter own{*v};
        for (++v; v != voters.end(); ++v) {  // voters of a pair are sorted
          Compared& with = local.with[*v >> 1];
          if (with.expected == 0) local.met.push_back(*v >> 1);
          comparison.add(own, {*v}, with);
        }
      }
      for (const std::uint32_t b : local.met)
        mine.examine(static_cast<std::uint32_t>(a), b, std::exchange(local.with[b], {}));
      local.met.clear();
    }
  });
}

/// Annotator pairs who differ too seldom. Adds to `tested` the number of annotator pairs with enough common pairs.
std::vector<Edge> compare_annotators(const Ballots& ballots, const std::vector<Tally>& tallies, std::size_t most,
                                     std::uint64_t& tested) {
  constexpr std::uint32_t kMany = 3;
  const std::size_t annotators = tallies.size();
  const std::vector<double> agreement = find_agreement(tallies);
  Suspicions found;
  // Tables are not worth it if they have more cells than there are votes.
  if (annotators <= most && annotators * annotators / 2 <= ballots.voters.size())
    compare_in_tables(ballots, agreement, found);
  else
    compare_one_by_one(ballots, tallies, agreement, found);
  std::vector<Edge> edges;
  for (const Suspicion& some : found) {
    edges.insert(edges.end(), some.edges.begin(), some.edges.end());
    tested += some.tested;
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
void find_twins(const std::vector<Tally>& tallies, std::vector<Edge>& edges) {
  constexpr std::uint32_t kFewest = 50;
  std::vector<std::uint32_t> order;
  for (std::uint32_t a = 0; a < tallies.size(); ++a)
    if (tallies[a].answers >= kFewest) order.push_back(a);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t a) { return tallies[a].print; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (tallies[order[i]].print == tallies[order[i - 1]].print) edges.push_back({order[i - 1], order[i], 0});
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

/// Number of votes of each cluster.
std::vector<std::uint64_t> count_votes_of(const Groups& groups, const Column<std::int32_t>& number,
                                          std::size_t clusters) {
  oneapi::tbb::enumerable_thread_specific<std::vector<std::uint64_t>> threads(clusters);
  oneapi::tbb::parallel_for(Range(0, groups.votes.size(), 1 << 16), [&](const Range& range) {
    std::vector<std::uint64_t>& mine = threads.local();
    for (std::size_t v = range.begin(); v < range.end(); ++v)
      if (const std::int32_t c = cluster_of_vote(groups, number, static_cast<std::uint32_t>(v)); c >= 0) ++mine[c];
  });
  std::vector<std::uint64_t> out(clusters, 0);
  for (const std::vector<std::uint64_t>& some : threads)
    for (std::size_t c = 0; c < clusters; ++c) out[c] += some[c];
  return out;
}

/// Finds the clusters of the votes on a pair, ascending, with repeats. Returns whether there are two votes or more.
bool find_clusters_on(const Groups& groups, const Column<std::int32_t>& number, std::size_t pair,
                      std::vector<std::int32_t>& out) {
  out.clear();
  for (std::uint32_t v = groups.pair_votes[pair]; v < groups.pair_votes[pair + 1]; ++v)
    if (const std::int32_t c = cluster_of_vote(groups, number, v); c >= 0) out.push_back(c);
  std::ranges::sort(out);
  return out.size() >= 2;
}

/// For each cluster: its members' answers on pairs with votes of at least two members and of someone outside the
/// cluster. Of large clusters only a sample of pairs, chosen by a hash. `number`: [annotators] cluster, or -1.
std::vector<Meeting> gather(const Groups& groups, const Column<std::int32_t>& number, std::size_t clusters,
                            const Known& known) {
  constexpr std::size_t kMostSeats = 20'000, kPairs = 1 << 14;
  const std::vector<std::uint64_t> votes = count_votes_of(groups, number, clusters);
  // Blocks of pairs, which are joined in their order.
  struct Part {
    std::vector<std::pair<std::int32_t, Shared>> pairs;  ///< with the cluster of each
    std::vector<Seat> seats;
  };
  std::vector<Part> parts((groups.pairs() + kPairs - 1) / kPairs);
  oneapi::tbb::parallel_for(std::size_t{0}, parts.size(), [&](std::size_t block) {
    Part& part = parts[block];
    std::vector<std::int32_t> here;
    std::vector<Answered> answers;
    const std::size_t pair_end = std::min((block + 1) * kPairs, groups.pairs());
    for (auto p = static_cast<std::uint32_t>(block * kPairs); p < pair_end; ++p) {
      if (!find_clusters_on(groups, number, p, here)) continue;
      find_answers_on(groups, p, answers);
      for (std::size_t i = 0; i < here.size();) {
        const std::int32_t c = here[i];
        const std::size_t before = i, all = groups.pair_votes[p + 1] - groups.pair_votes[p];
        while (i < here.size() && here[i] == c) ++i;
        if (i - before < 2 || i - before == all || mixed(p) % (votes[c] / kMostSeats + 1) != 0) continue;
        Shared shared{{}, part.seats.size(), 0};
        for (const Answered& one : answers)
          if (number[one.annotator] == c && one.winner() != 0)
            part.seats.push_back({one.annotator, one.winner() > 0, known.aside(groups.votes[one.vote], p)});
        shared.end = part.seats.size();
        if (shared.end - shared.begin < 2) {
          part.seats.resize(shared.begin);
          continue;
        }
        shared.others = known.others(p, c, answers);
        part.pairs.emplace_back(c, shared);
      }
    }
  });
  std::vector<Meeting> out(clusters);
  for (const Part& part : parts)
    for (const auto& [c, shared] : part.pairs) {
      std::vector<Seat>& seats = out[c].seats;
      const std::size_t begin = seats.size();
      seats.insert(seats.end(), part.seats.begin() + static_cast<std::ptrdiff_t>(shared.begin),
                   part.seats.begin() + static_cast<std::ptrdiff_t>(shared.end));
      out[c].pairs.push_back({shared.others, begin, seats.size()});
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
  std::vector<Prediction> predictions(2 * kSteps + 1);
  oneapi::tbb::parallel_for(-kSteps, kSteps + 1, [&](int step) {
    const double size = step == 0 ? 0 : 0.1 * std::pow(1.5, std::abs(step) - 1);  // 0.1 to 44
    predictions[step + kSteps] = predict(meeting, step < 0 ? -size : size);
  });
  double best = -INFINITY;
  for (const Prediction& p : predictions) best = std::max(best, p.log_likelihood);
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
    using Sums = std::pair<std::int64_t, std::int64_t>;
    const auto [couples, agreement] = oneapi::tbb::parallel_reduce(
        Range(0, ballots.count.size(), 1024), Sums{0, 0},
        [&](const Range& range, Sums sums) {
          for (std::size_t p = range.begin(); p < range.end(); ++p) {
            std::int64_t voters = 0, firsts = 0;
            for (const std::uint32_t bits : ballots.on(p))
              if (const Voter voter{bits}; number[voter.annotator()] < 0) ++voters, firsts += voter.first();
            sums.first += voters * (voters - 1) / 2;
            sums.second += voters * (voters - 1) / 2 - 2 * firsts * (voters - firsts);
          }
          return sums;
        },
        [](const Sums& a, const Sums& b) {
          return Sums{a.first + b.first, a.second + b.second};
        });
    find_discrimination(static_cast<double>(couples), static_cast<double>(agreement));
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

  /// `agreement`: number of couples of voters who agree minus that of those who differ.
  void find_discrimination(double couples, double agreement) {
    knows_ = agreement > kClear * std::sqrt(couples);
    while (knows_ && discrimination_ < 30 && mean_square() < agreement / couples) discrimination_ *= 1.1;
  }

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

Copies suspect_copies(const Groups& groups, std::size_t most_in_tables) {
  const Ballots ballots = read_ballots(groups);
  const std::vector<Tally> tallies = tally(ballots, groups.annotators);
  Copies out;
  std::vector<Edge> edges = compare_annotators(ballots, tallies, most_in_tables, out.tested);
  find_twins(tallies, edges);
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
    std::vector<std::int32_t> here;
    for (std::size_t p = range.begin(); p < range.end(); ++p) {
      if (!find_clusters_on(groups, number, p, here)) continue;
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
