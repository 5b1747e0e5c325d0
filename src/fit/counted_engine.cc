#include "fit/counted_engine.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <atomic>

#include "formulas/fixed_point.h"
#include "formulas/label.h"
#include "group/by_annotator.h"
#include "group/weights.h"

namespace voxpop {
namespace {

using Range = oneapi::tbb::blocked_range<std::size_t>;

void add(ReportSums& to, const ReportSums& from) {
  to.agreement += from.agreement;
  to.better += from.better;
  to.bits += from.bits;
  to.decided += from.decided;
}

class CountedEngine : public Engine {
 public:
  CountedEngine(const Groups& groups, CountedVotes counted, bool annotators_alike,
                const std::function<std::unique_ptr<Engine>(const Groups&)>& make)
      : groups_(groups), counted_(std::move(counted)), alike_(annotators_alike), engine_(make(counted_.groups)) {}

  std::string device() const override { return engine_->device(); }
  void iterate(FitRun& run) override { engine_->iterate(run); }
  PassResult update_components(const Raters& raters, const PassOptions& options) override {
    return engine_->update_components(raters, options);
  }
  EngineState save(FitRun& run) override { return engine_->save(run); }
  void load(const EngineState& state) override { engine_->load(state); }

  Posterior posterior(const Raters& raters, const PassOptions& options) override {
    Posterior out = engine_->posterior(raters, options);
    if (alike_) out.annotators = report_annotators(raters, options, out);
    return out;
  }

  const Sites& sites() override {
    const Sites& once = engine_->sites();
    const std::size_t votes = counted_.counted.size();
    sites_.precision.resize(votes);
    sites_.shift.resize(votes);
    oneapi::tbb::parallel_for(Range(0, votes, 1 << 16), [&](const Range& range) {
      for (std::size_t v = range.begin(); v < range.end(); ++v) {
        sites_.precision[v] = once.precision[counted_.counted[v]];
        sites_.shift[v] = once.shift[counted_.counted[v]];
      }
    });
    return sites_;
  }

  PairLabels label_pairs(float discrimination, float view_variance) override {
    return engine_->label_pairs(discrimination, view_variance);
  }

 private:
  /// Report sums of annotators if votes of all annotators were grouped together. Each distinct vote is reported once,
  /// and the reports are added up for each annotator. `raters`: all equal, so the first is used.
  std::vector<ReportSums> report_annotators(const Raters& raters, const PassOptions& options,
                                            const Posterior& posterior) {
    const RaterRecord& rater = raters.records.front();
    const float least = least_precision(raters.prior.get(), options.view_variance);
    const Groups& once = counted_.groups;
    const Sites& sites = engine_->sites();
    std::vector<VoteReport<float>> reports(once.votes.size());
    oneapi::tbb::parallel_for(Range(0, once.pairs(), 256), [&](const Range& range) {
      for (std::size_t p = range.begin(); p < range.end(); ++p)
        for (std::uint32_t v = once.pair_votes[p]; v < once.pair_votes[p + 1]; ++v) {
          const VoteCode vote = once.votes[v];
          Statement<float> said = statement_of(options.scale, vote.level());
          said.habit = 0.5f;  // affects only the log scale, which is not used here
          const Cavity<float> pair{posterior.pair_mean[p], posterior.pair_variance[p]};
          const Site<float> site{sites.precision[v], sites.shift[v]};
          const float part = part_of(once.weight_of(v));
          reports[v] = report_vote<kExact, Likelihood::kOrdinal>(
              static_cast<float>(vote.winner()), said, Rater<float>{rater.discrimination, 0, 0, 0, 0},
              Habit<float>{0, 0, 0}, pair, cavity_without(pair.mean, pair.variance, site, part, least), site, part);
        }
    });
    const bool shared = groups_.annotators > kPrivateAnnotators;
    std::vector<ReportSums> total(groups_.annotators);
    oneapi::tbb::enumerable_thread_specific<std::vector<ReportSums>> parts;
    oneapi::tbb::parallel_for(Range(0, groups_.votes.size(), 1 << 16), [&](const Range& range) {
      std::vector<ReportSums>& mine = shared ? total : parts.local();
      mine.resize(groups_.annotators);
      for (std::size_t v = range.begin(); v < range.end(); ++v) {
        const VoteCode vote = groups_.votes[v];
        if (!vote.seen()) continue;
        const VoteReport<float>& said = reports[counted_.counted[v]];
        const float weight = groups_.weight_of(static_cast<std::uint32_t>(v));
        ReportSums sums{0, 0, to_fixed(weight * said.bits), 0};
        if (vote.decided())
          sums = {to_fixed(weight * said.agreement), to_fixed(weight * said.better), sums.bits, to_fixed(weight)};
        ReportSums& to = mine[vote.annotator()];
        if (!shared) {
          add(to, sums);
          continue;
        }
        for (const auto member : {&ReportSums::agreement, &ReportSums::better, &ReportSums::bits, &ReportSums::decided})
          std::atomic_ref(to.*member).fetch_add(sums.*member, std::memory_order_relaxed);
      }
    });
    for (const std::vector<ReportSums>& part : parts)
      for (std::size_t a = 0; a < part.size(); ++a) add(total[a], part[a]);
    return total;
  }

  const Groups& groups_;
  const CountedVotes counted_;
  const bool alike_;
  std::unique_ptr<Engine> engine_;
  Sites sites_;
};

}  // namespace

std::unique_ptr<Engine> make_counted_engine(const Groups& groups, Model model,
                                            const std::function<std::unique_ptr<Engine>(const Groups&)>& make) {
  const bool alike = model == Model::kBradleyTerry;
  std::optional<CountedVotes> counted = count_equal_votes(groups, alike);
  if (!counted) return make(groups);
  return std::make_unique<CountedEngine>(groups, std::move(*counted), alike, make);
}

}  // namespace voxpop
