#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fit/component_kernel.h"
#include "group/group.h"

namespace voxpop {

/// What one pass over all votes should bring.
struct PassOptions {
  int sweeps = 1;            ///< EP sweeps over each component: solve, then new sites
  std::uint32_t stride = 1;  ///< only every so-manieth batch of small components: a sample, for the first iterations
  float stretch = 1;         ///< all discriminations were multiplied by this since the last pass: sites follow first
  bool update_sites = true;
  bool annotators = false;  ///< gradients and information of annotators, at the last sweep's cavities
  bool grid = false;        ///< log-likelihood of each annotator on its quadrature nodes
  bool uncertain = false;   ///< sites integrate over the annotators' variances; else annotators are taken as known
  bool exact = false;       ///< the finer mixture: for the last passes
};

struct PassResult {
  std::vector<AnnotatorSums> annotators;  ///< [annotators] or empty
  std::vector<GridSums> grid;             ///< [annotators] or empty
  float change = 0;                       ///< largest change of a pair's mean in the last sweep, in posterior sds
  /// Posterior sum of squares of scores about their component's mean, over so many degrees of freedom; prior: equal.
  double squares = 0, freedom = 0;
};

/// The posterior given the annotators; scores in prior units (sd 1), centred in their component.
struct Posterior {
  std::vector<float> slot_mean, slot_variance;  ///< [S]
  std::vector<float> pair_mean, pair_variance;  ///< [P] of score(first) - score(second)
  std::vector<ReportSums> annotators;           ///< [annotators]
  double log_evidence = 0;                      ///< EP's log p(votes | annotators), without the hyperparameters' priors
};

struct PairLabels {
  std::vector<float> probability, better, information;  ///< [P], of the pair's first item
};

/// Does the work over votes; the fit loop (fit.h) does the work over annotators. One engine for one data set.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string device() const = 0;
  virtual PassResult update_components(const std::vector<RaterRecord>& raters, const PassOptions& options) = 0;
  virtual Posterior posterior(const std::vector<RaterRecord>& raters, bool uncertain) = 0;
  /// Labels from the last posterior; `discrimination` is the reference annotator's, in prior units.
  virtual PairLabels label_pairs(float discrimination) = 0;
};

/// The CPU engine. `kernels`: see choose_kernels(). Threads: those of the calling task arena.
/// Throws Error(kBadInput) for a component of more than 2,048 items, which needs the sparse solver that is to come.
std::unique_ptr<Engine> make_cpu_engine(const Groups& groups, const Kernels& kernels);

}  // namespace voxpop
