#pragma once
#include <Eigen/Core>
#include <vector>

#include "fit/products.h"
#include "fit/score_prior.h"
#include "group/group.h"
#include "voxpop/context.h"

namespace voxpop {

/// Estimates w of EmbeddingFit from the votes, in passes over the embeddings, slab by slab. Memory in addition to the
/// embeddings: [dimensions x dimensions] and a few slabs. Results do not depend on the number of threads.
class EmbeddingRegression {
 public:
  /// Throws Error(kBadInput) if all embeddings of each component are equal, or if a component has more than kDenseItems
  /// items.
  EmbeddingRegression(const Groups& groups, const Context& context);

  /// `view`: the groups and their sites, without the prior by embeddings. `coefficient_variance`: starting value; it is
  /// estimated by MacKay's fixed-point iteration (1992).
  ScorePrior solve(const FitView& view, double coefficient_variance) const;

 private:
  /// Components that are processed together. A component of K items has K - 1 rows: see write_rows().
  struct Slab {
    std::uint32_t begin, end;
    std::ptrdiff_t rows;
  };
  struct Told;
  struct Weights;
  Told told_by(const FitView& view, std::uint32_t c) const;
  void write_rows(const Slab& slab, float* out) const;
  template <class Work>
  void for_components(const Slab& slab, const Work& work) const;
  Weights find_weights(const FitView& view, double coefficient_variance) const;

  const Groups& groups_;
  Context context_;
  const Products& products_;
  std::ptrdiff_t dimensions_;
  std::vector<Slab> slabs_;
  std::vector<std::ptrdiff_t> first_row_;  ///< [components] row index within its slab
  std::ptrdiff_t most_rows_ = 0, rows_ = 0;
  double unit_ = 1;  ///< scale of embeddings: rows divided by it have a mean squared length of 1
};

}  // namespace voxpop
