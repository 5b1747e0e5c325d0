#pragma once
#include <Eigen/Core>
#include <vector>

#include "fit/products.h"
#include "fit/score_prior.h"
#include "group/group.h"
#include "voxpop/context.h"

namespace voxpop {

/// Finds w of EmbeddingFit from what votes say of scores, in passes over the embeddings, slab by slab. Beside these it
/// keeps [dimensions x dimensions] and some slabs. Results are the same for any number of threads.
class EmbeddingRegression {
 public:
  /// Throws Error(kBadInput) where embeddings cannot tell scores apart, or a component has more than kDenseItems items.
  EmbeddingRegression(const Groups& groups, const Context& context);

  /// `view`: the groups and their sites, without what embeddings say. `coefficient_variance`: to start from; estimated
  /// from there, by MacKay's fixed point (1992).
  ScorePrior solve(const FitView& view, double coefficient_variance) const;

 private:
  /// Components whose rows are worked on at once. A component of K items has K - 1 rows: see write_rows().
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
  std::vector<std::ptrdiff_t> first_row_;  ///< [components] in its slab
  std::ptrdiff_t most_rows_ = 0, rows_ = 0;
  double unit_ = 1;  ///< of embeddings: with it, rows have a mean square of 1
};

}  // namespace voxpop
