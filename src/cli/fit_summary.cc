#include "cli/fit_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "cli/print.h"
#include "core/scratch_memory.h"
#include "core/strings.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

/// Ids of rows, padded to the width of the longest. Very long ids are shortened.
template <class IdOf>
std::vector<std::string> names_to_show(const std::vector<std::size_t>& rows, const IdOf& id_of) {
  constexpr std::size_t kLeast = 16, kMost = 40;
  std::vector<std::string> names;
  std::size_t width = kLeast;
  for (const std::size_t row : rows) {
    const std::string id = shown(id_of(row));
    names.push_back(id.size() <= kMost ? id : shortened(id, kMost - 3));
    width = std::max(width, names.back().size());
  }
  for (std::string& name : names) name.resize(width, ' ');
  return names;
}

std::vector<std::string> annotators_named(const Votes& votes, const std::vector<std::size_t>& rows) {
  return names_to_show(rows, [&](std::size_t a) { return votes.annotator_ids[a]; });
}

/// An estimate with its standard error, as a column of a table. A dash if it is unknown (NaN error), such as side bias
/// without known sides.
std::string with_error(float value, float error) {
  return std::isnan(error) ? fmt::format("{:>7}{:9}", "-", "") : fmt::format("{:>7.2f} +- {:<5.2f}", value, error);
}

/// Rows of annotators to show, at most `most`: those with a suspicious flag first, and the most active first.
std::vector<std::size_t> annotators_to_show(const AnnotatorLabels& annotators, std::size_t most) {
  std::vector<std::size_t> rows;
  for (std::size_t a = 0; a < annotators.votes.size(); ++a)
    if (annotators.votes[a] > 0) rows.push_back(a);
  const auto suspicious = [&](std::size_t a) { return is_suspicious(static_cast<Flag>(annotators.flag[a])); };
  std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(!suspicious(a), ~annotators.votes[a]) < std::tuple(!suspicious(b), ~annotators.votes[b]);
  });
  rows.resize(std::min(rows.size(), most));
  return rows;
}

/// Prints how much of the scores' variance the embeddings explain.
void print_embedding(const std::optional<EmbeddingLabels>& embedding) {
  if (!embedding) return;
  print_text("embeddings ({} dimensions) explain {:.1f} +- {:.1f} % of the variance of scores within prompts\n",
             embedding->coefficient.size(), 100 * embedding->explained, 100 * embedding->explained_se);
}

void print_covariates(const CovariateLabels& covariates) {
  for (std::size_t k = 0; k < covariates.names.size(); ++k) {
    print_text("{}: {:+.3f} +- {:.3f} logits per unit", shown(covariates.names[k]), covariates.coefficient[k],
               covariates.coefficient_se[k]);
    if (k < covariates.taste_sd.size())
      print_text("; sd of annotators' own tastes around that: {:.3f}", covariates.taste_sd[k]);
    print_text("\n");
  }
}

/// Prints a leaderboard of the sources, the models that wrote the items.
void print_sources(const Votes& votes, const SourceLabels& sources) {
  if (sources.row.empty()) return;
  const std::vector<std::size_t> rows = best_sources(sources, kShownSources);
  print_text("\n{} of {} sources of items, the best first (logits of the reference annotator; 0: their mean):\n",
             rows.size(), sources.row.size());
  const std::vector<std::string> names =
      names_to_show(rows, [&](std::size_t row) { return votes.source_ids[sources.row[row]]; });
  for (std::size_t i = 0; i < rows.size(); ++i)
    print_text("{} {:>7.2f} +- {:.2f}\n", names[i], sources.score[rows[i]], sources.std_error[rows[i]]);
}

/// Prints the total weight of the votes, and why it is less than their number.
void print_weights(const VoteWeights& weights, const Limits& limits) {
  std::vector<std::string> why;
  if (weights.in_judgements > 0)
    why.push_back(fmt::format("{} votes are parts of {} judgements, such as rankings", weights.in_judgements,
                              weights.judgements));
  if (weights.shared > 0)
    why.push_back(
        fmt::format("{} votes are repeats on a pair; repeats count together as one vote (--repeats)", weights.shared));
  if (weights.dropped > 0) why.push_back(fmt::format("{} votes are left out as repeats (--repeats)", weights.dropped));
  if (std::abs(weights.total - static_cast<double>(limits.votes)) < 0.5 && why.empty()) return;
  print_text("the votes count as {:.0f} votes{}{}\n", weights.total, why.empty() ? " (comparisons/weight)" : ": ",
             fmt::join(why, "; "));
}

/// The range of 95 % of a normal population of logits, as shares in per cent.
std::string middle_shares(double logit, double sd) {
  return fmt::format("{:.0f} to {:.0f} %", 100 * share_of(logit - 1.96 * sd), 100 * share_of(logit + 1.96 * sd));
}

/// Prints how ties are interpreted, and the spread of annotators' own views.
void print_habits(const Fit& fit) {
  const Population& population = fit.population;
  if (fit.scale.own_ties) {
    print_text("ties: {:.0f} % if an annotator sees no difference", 100 * share_of(population.habit_mean));
    if (population.habit_variance > 0)
      print_text("; {} for 95 % of annotators",
                 middle_shares(population.habit_mean, std::sqrt(population.habit_variance)));
    if (fit.prompt_variance > 0)
      print_text("; {} on 95 % of prompts", middle_shares(population.habit_mean, std::sqrt(fit.prompt_variance)));
    print_text(" (annotators/tie_habit{})\n", fit.prompt_variance > 0 ? ", components/tie_habit" : "");
  }
  if (fit.view_variance > 0)
    print_text(
        "views: annotators differ in how they see an item, with sd {:.2f} (sd of scores: 1). So an annotator's votes "
        "about the same items, such as a ranking, count as one view, not as independent votes (--views)\n",
        std::sqrt(fit.view_variance));
}

/// Prints how many annotators are copies of each other, which count as fewer voters than ids.
void print_copies(const Column<std::int32_t>& copies) {
  const auto members = std::ranges::count_if(copies, [](std::int32_t cluster) { return cluster >= 0; });
  if (members > 0)
    print_text("{} annotators are copies of each other; they count as {} voter{}\n", members,
               *std::ranges::max_element(copies) + 1, *std::ranges::max_element(copies) > 0 ? "s" : "");
}

/// Annotators whose windows differ by more than chance, the most certain first.
std::vector<std::size_t> changed_annotators(const Drift& drift) {
  std::vector<std::size_t> rows;
  for (std::size_t a = 0; a < drift.corrected_p_value.size(); ++a)
    if (drift.corrected_p_value[a] < 0.01f) rows.push_back(a);
  std::stable_sort(rows.begin(), rows.end(),
                   [&](std::size_t a, std::size_t b) { return drift.p_value[a] < drift.p_value[b]; });
  return rows;
}

/// Discrimination of an annotator in its first and in its last window.
std::pair<float, float> first_and_last(const WindowColumns& windows, std::size_t annotator) {
  const auto [begin, end] =
      std::equal_range(windows.annotator.begin(), windows.annotator.end(), static_cast<std::uint32_t>(annotator));
  return {windows.discrimination[begin - windows.annotator.begin()],
          windows.discrimination[end - windows.annotator.begin() - 1]};
}

void print_drift(const Votes& votes, const Drift& drift) {
  const auto tested = std::count_if(drift.p_value.begin(), drift.p_value.end(), [](float p) { return !std::isnan(p); });
  if (tested == 0) return;
  std::vector<std::size_t> rows = changed_annotators(drift);
  print_text(
      "\nover time: {} of {} annotators with 100 votes or more changed (score test over windows of about 50 votes, "
      "corrected p < 0.01){}\n",
      rows.size(), tested, rows.empty() ? "" : "; discrimination in the first and the last window:");
  rows.resize(std::min<std::size_t>(rows.size(), 5));
  const std::vector<std::string> names = annotators_named(votes, rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto [first, last] = first_and_last(drift.windows, rows[i]);
    print_text("{} {:>5.2f} -> {:>5.2f}, p {:.1e}\n", names[i], first, last, drift.corrected_p_value[rows[i]]);
  }
}

/// The strongest taste of an annotator, if its 99 % interval excludes 0. Such a taste can explain votes that look like
/// noise.
std::string strongest_taste(const Labels& labels, std::size_t annotator) {
  const std::size_t count = labels.covariates.taste_sd.size();
  std::string text;
  float most = 2.58f;
  for (std::size_t k = 0; k < count; ++k) {
    const float taste = labels.annotators.taste[annotator * count + k];
    const float error = labels.annotators.taste_se[annotator * count + k];
    if (std::abs(taste) <= most * error) continue;
    most = std::abs(taste) / error;
    text = fmt::format("{} {:+.2f} +- {:.2f}", shown(labels.covariates.names[k]), taste, error);
  }
  return text;
}

void print_annotators(const Votes& votes, const Labels& labels) {
  const AnnotatorLabels& annotators = labels.annotators;
  const std::vector<std::size_t> rows = annotators_to_show(annotators, 10);
  print_text("\n{} of {} annotators, flagged ones first, then by votes{}:\n", rows.size(), annotators.votes.size(),
             votes.truth ? " (truth: discrimination, side bias, kind)" : "");
  const std::vector<std::string> names = annotators_named(votes, rows);
  const std::size_t width = names.empty() ? 0 : names.front().size();
  print_text("{:<{}} {:>8}  {:>16}  {:>16}  {:>9}  {:<13} {:>5}", "annotator", width, "votes", "discrimination",
             "side bias", "agreement", "flag", "p");
  if (!annotators.taste.empty()) print_text("  {:<22}", "taste");
  if (votes.truth) print_text("  {:>16}", "truth");
  print_text("\n");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t a = rows[i];
    const float sure = annotators.flag_probability[a];
    print_text("{} {:>8}  {}  {}  {:>9.2f}  {:<13} {:>5}", names[i], annotators.votes[a],
               with_error(annotators.discrimination[a], annotators.discrimination_se[a]),
               with_error(annotators.side_bias[a], annotators.side_bias_se[a]), annotators.agreement[a],
               flag_names()[annotators.flag[a]], std::isnan(sure) ? "-" : fmt::format("{:.2f}", sure));
    if (!annotators.taste.empty()) print_text("  {:<22}", strongest_taste(labels, a));
    if (votes.truth)
      print_text("  {:>5.2f} {:>5.2f} {}", votes.truth->discrimination[a], votes.truth->side_bias[a],
                 shown(votes.truth->kind[a]));
    print_text("\n");
  }
  std::vector<std::size_t> counts(flag_names().size(), 0);
  for (std::size_t a = 0; a < annotators.votes.size(); ++a)
    if (annotators.votes[a] > 0) ++counts[annotators.flag[a]];
  print_text("flags:");
  for (std::size_t f = 0; f < counts.size(); ++f) print_text("{} {} {}", f ? "," : "", counts[f], flag_names()[f]);
  print_text("\n");
}

/// Prints how often annotators were right on known pairs, and which known answers all other evidence contradicts.
void print_gold(const Votes& votes, const Labels& labels) {
  constexpr std::size_t kMost = 10;
  const GoldLabels& gold = *labels.gold;
  double given = 0, right = 0;
  for (std::size_t a = 0; a < labels.annotators.gold_votes.size(); ++a) {
    const double here = labels.annotators.gold_votes[a];
    given += here;
    if (here > 0) right += here * labels.annotators.gold_right[a];
  }
  const auto used = std::ranges::count_if(gold.without, [](float p) { return !std::isnan(p); });
  print_text("\ngold: {} known pairs", gold.left.size());
  if (static_cast<std::size_t>(used) < gold.left.size())
    print_text(" ({} used; no votes connect the items of the other pairs)", used);
  if (given > 0)
    print_text(
        "; of {:.0f} votes on pairs with a certain answer (0.9 or more), {:.1f} % are right (per annotator: "
        "annotators/gold_right)",
        given, 100 * right / given);
  const auto against = static_cast<std::size_t>(std::ranges::count(gold.contradicted, 1));
  print_text("; {} answer{} contradicted by all other votes{}\n", against, against == 1 ? " is" : "s are",
             against > kMost ? ", ten of them:"
             : against > 0   ? ":"
                             : "");
  for (std::size_t row = 0, shown_rows = 0; row < gold.left.size() && shown_rows < kMost; ++row) {
    if (gold.contradicted[row] == 0) continue;
    ++shown_rows;
    const bool left = gold.probability[row] > 0.5f;  // the left item is better according to the known answer
    const std::uint32_t better = left ? gold.left[row] : gold.right[row],
                        worse = left ? gold.right[row] : gold.left[row];
    print_text("  gold: {} is better than {}; without this answer, the fit gives it a probability of {:.2f}\n",
               shown(votes.item_ids[better]), shown(votes.item_ids[worse]),
               left ? gold.without[row] : 1 - gold.without[row]);
  }
}

}  // namespace

void print_summary(const FitRecord& s, const std::string& output) {
  print_text("{} votes on {} items ({} pairs, {} components){}\n", s.limits.votes, s.limits.items, s.limits.pairs,
             s.limits.components,
             count_rows(s.votes.anonymous) == s.votes.size() ? ", without annotators"
                                                             : fmt::format(" by {} annotators", s.limits.annotators));
  print_weights(s.weights, s.limits);
  print_copies(s.labels.annotators.copies);
  print_text("model {}, ties {} ({} ties{}), on {} with {} thread{}{}\n", name_of(s.request.model),
             name_of(s.request.ties), s.limits.ties,
             s.limits.dropped_ties > 0 ? fmt::format(", {} dropped", s.limits.dropped_ties) : "", s.device, s.threads,
             s.threads == 1 ? "" : "s", s.why_device.empty() ? "" : fmt::format(" (auto: {})", s.why_device));
  print_text("{} after {} iterations; log evidence {:.1f}\n", s.fit.converged ? "converged" : "NOT CONVERGED",
             s.fit.iterations, s.fit.posterior.log_evidence);
  if (s.start)
    print_text("started from {}: {} annotators are known there, {} are new\n", shown(s.request.warm_start),
               s.start->known, s.start->unknown);
  const auto& pairs = s.labels.pairs;
  const auto count = static_cast<double>(pairs.left.size());
  const double sure =
      static_cast<double>(std::count_if(pairs.probability_better.begin(), pairs.probability_better.end(),
                                        [](float p) { return p > 0.95f || p < 0.05f; }));
  if (has_kind(s.findings, kReliabilityUnknown)) {
    print_text("these votes do not show how often votes are right, or who is reliable\n");
  } else {
    if (const double flipped = flip_rate(s.labels); !std::isnan(flipped))
      print_text("{:.1f} % of votes are expected to pick the better item; ", 100 * (1 - flipped));
    print_text("for {:.1f} % of pairs the better item is known with 95 % probability or more\n", 100 * sure / count);
  }
  if (s.reliability.trials() > 0)
    print_text("calibration error {:.4f} (by chance {:.4f}), measured on {}\n", s.reliability.ece(),
               s.reliability.ece_by_chance(), s.reliability.method);
  print_covariates(s.labels.covariates);
  print_embedding(s.labels.embedding);
  print_sources(s.votes, s.labels.sources);
  print_habits(s.fit);
  if (s.fit.model != Model::kBradleyTerry) print_annotators(s.votes, s.labels);
  if (const Standing& standing = s.fit.standing; standing.trusted > 0)
    print_text("\ntrusted: {} of {} trusted annotators follow the scores\n", standing.trusted_follow, standing.trusted);
  if (s.labels.gold) print_gold(s.votes, s.labels);
  if (s.labels.drift) print_drift(s.votes, *s.labels.drift);
  if (s.votes.truth) {
    const TruthComparison t = compare_with_truth(s.labels, *s.votes.truth);
    print_text("\ncompared with the simulated truth                voxpop   majority vote\n");
    print_text("  pairs whose better item ranks first           {:6.2f} %       {:6.2f} %\n", 100 * t.pairs_ordered,
               100 * t.pairs_ordered_majority);
    print_text("  calibration error of pairs/probability        {:7.4f}\n", t.ece_probability);
    print_text("  calibration error of pairs/probability_better {:7.4f}\n", t.ece_probability_better);
    print_text("  correlation of pairs/margin                   {:7.4f}\n", t.margin_correlation);
    if (s.fit.model != Model::kBradleyTerry) {
      print_text("  correlation of discrimination                 {:7.4f}\n", t.discrimination_correlation);
      print_text("  95 % intervals of discrimination with truth   {:6.1f} %\n", 100 * t.coverage);
      print_text("  AUC of annotators who are not good            {:7.4f}\n", t.auc_bad_annotators);
    }
  }
  for (const Finding& finding : s.findings) print_text("\n{}\n", told(finding));
  for (const std::string& warning : s.warnings) print_text("\nWARNING: {}\n", warning);
  print_text("\nread {:.2f} s, group {:.2f} s, fit {:.2f} s, label {:.2f} s, write {:.2f} s; peak memory {:.0f} MiB\n",
             s.seconds.read.wall, s.seconds.group.wall, s.seconds.fit.wall, s.seconds.label.wall, s.seconds.write.wall,
             static_cast<double>(ScratchMemory::peak()) / (1 << 20));
  print_text("wrote {}\n", one_line(output));
  if (s.calibration) print_text("{}\n", told(*s.calibration));
}

std::string told(const Calibration& c) {
  return fmt::format(
      "calibration: held-out votes are predicted best with logits times {:.3f}, which lowers their log loss by {:.5f} "
      "+- {:.5f}; {}",
      c.slope, c.gain.value, c.gain.std_error,
      c.helps() ? "pairs/probability is corrected by this factor"
                : "this is no more than chance, so nothing is corrected");
}

Json describe_truth(const TruthComparison& t, Model model) {
  Json json = {{"ece_probability", t.ece_probability},
               {"ece_probability_better", t.ece_probability_better},
               {"pairs_ordered", t.pairs_ordered},
               {"pairs_ordered_majority", t.pairs_ordered_majority},
               {"margin_correlation", t.margin_correlation}};
  if (model != Model::kBradleyTerry)
    json.update({{"discrimination_correlation", t.discrimination_correlation},
                 {"coverage", t.coverage},
                 {"auc_bad_annotators", t.auc_bad_annotators}});
  return json;
}

Json describe_drift(const Votes& votes, const Drift& drift) {
  Json changed = Json::array();
  for (const std::size_t a : changed_annotators(drift)) {
    const auto [first, last] = first_and_last(drift.windows, a);
    changed.push_back({{"annotator", votes.annotator_ids[a]},
                       {"discrimination_first", first},
                       {"discrimination_last", last},
                       {"p_value_corrected", drift.corrected_p_value[a]}});
  }
  return {{"tested", std::count_if(drift.p_value.begin(), drift.p_value.end(), [](float p) { return !std::isnan(p); })},
          {"changed", changed}};
}

}  // namespace voxpop
