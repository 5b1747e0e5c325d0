#include "fit/regression.h"

#include <fmt/format.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "fit/engine.h"
#include "formulas/hash.h"

namespace voxpop {
namespace {

constexpr std::ptrdiff_t kSlabRows = 2048;
constexpr std::ptrdiff_t kTile = 256;  ///< rows and columns of a product that one task computes
/// Limits of the coefficients' prior variance. The variance explained by embeddings is between 1e-6 and 25
/// (kMostExplained squared) times the variance that they do not explain.
constexpr double kLeastVariance = 1e-6, kMostVariance = kMostExplained * kMostExplained;
constexpr double kMostHaste = 20;  ///< see EmbeddingFit::haste
/// Error of the method: EP treats a single vote like a measurement. On simulated data with one vote per pair, the
/// logarithm of the scores' variance is wrong by this much.
constexpr double kOwnError = 0.2;
/// Number of random directions for the trace of a square (Hutchinson 1990).
constexpr std::ptrdiff_t kProbes = 32;

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;
using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::ptrdiff_t tiles(std::ptrdiff_t count) { return (count + kTile - 1) / kTile; }
std::ptrdiff_t tile_end(std::ptrdiff_t begin, std::ptrdiff_t count) { return std::min(begin + kTile, count); }

/// Helmert matrix: rows are orthonormal, and orthogonal to 1. Row k compares item k + 1 with the mean of the items
/// before it.
double helmert(std::ptrdiff_t row, std::ptrdiff_t item) {
  const auto k = static_cast<double>(row + 1);
  const double length = std::sqrt(k / (k + 1));
  return item <= row ? length / k : item == row + 1 ? -length : 0;
}
Matrix helmert(std::ptrdiff_t items) {
  Matrix out(items - 1, items);
  for (std::ptrdiff_t k = 0; k < items - 1; ++k)
    for (std::ptrdiff_t i = 0; i < items; ++i) out(k, i) = helmert(k, i);
  return out;
}

/// R with R'R = m, where m is positive semidefinite.
Matrix root_of(const Matrix& m) {
  const Eigen::LDLT<Matrix> factor(m);
  Matrix out = factor.transpositionsP() * Matrix::Identity(m.rows(), m.cols());
  out = factor.matrixU() * out;
  return factor.vectorD().cwiseMax(0).cwiseSqrt().asDiagonal() * out;
}

/// Factor of a matrix that is positive definite in exact arithmetic.
Eigen::LLT<Matrix> factor_of(const Matrix& m) {
  Eigen::LLT<Matrix> factor(m);
  if (factor.info() != Eigen::Success)
    throw Error(Exit::kNotConverged,
                "The coefficients of the embeddings cannot be estimated: rounding makes a covariance matrix not "
                "positive definite. Fit without embeddings (--ignore embedding)");
  return factor;
}

Matrix inverse_of(const Matrix& m) { return factor_of(m).solve(Matrix::Identity(m.rows(), m.cols())); }

double log_determinant(const Eigen::LLT<Matrix>& factor) {
  return 2 * factor.matrixLLT().diagonal().array().log().sum();
}

/// log of the integral, over scores N(f, P^-1), of the votes' likelihood exp(h's - s'Bs / 2).
double log_evidence(const Vector& f, const Matrix& prior, const Matrix& b, const Vector& h) {
  const Eigen::LLT<Matrix> posterior = factor_of(prior + b);
  const Vector rest = h - b * f;
  return 0.5 * (rest.dot(posterior.solve(rest)) + 2 * f.dot(h) - f.dot(b * f) + log_determinant(factor_of(prior)) -
                log_determinant(posterior));
}

/// The part of the sites' information on the scores' variance that comes from each site alone. The votes themselves do
/// not contain this part: a single vote has no magnitude. Only agreement or contradiction between votes shows the
/// variance.
double told_by_single_votes(const FitView& view, std::uint32_t c, const Matrix& covariance) {
  if (view.view_variance > 0) return 0;
  const Matrix u = helmert(covariance.rows() + 1);
  const Matrix scores = u.transpose() * covariance * u;
  const std::uint32_t slot = view.component_slots[c];
  double sum = 0;
  for (std::uint32_t p = view.component_pairs[c]; p < view.component_pairs[c + 1]; ++p) {
    const std::uint32_t i = view.pair_first[p] - slot, j = view.pair_second[p] - slot;
    const double variance = scores(i, i) + scores(j, j) - 2 * scores(i, j);
    for (std::uint32_t v = view.pair_votes[p]; v < view.pair_votes[p + 1]; ++v) {
      const double votes = weight_of(view, v), own = std::min(votes, 1.0) * view.site_precision[v] * variance;
      sum += std::max(votes, 1.0) * own * own;
    }
  }
  return sum;
}

/// Adds tiles of a product of slabs to `sum` [rows x columns], in double precision. If `lower`, only tiles with row >=
/// column are computed.
void add_product(const Products& products, MatrixPart a, MatrixPart b, std::ptrdiff_t inner, Matrix& sum, bool lower) {
  const std::ptrdiff_t across = tiles(sum.cols());
  oneapi::tbb::parallel_for(std::ptrdiff_t{0}, tiles(sum.rows()) * across, [&](std::ptrdiff_t task) {
    const std::ptrdiff_t i = task / across * kTile, j = task % across * kTile;
    if (lower && j > i) return;
    const std::ptrdiff_t height = tile_end(i, sum.rows()) - i, width = tile_end(j, sum.cols()) - j;
    FloatRows tile(height, width);
    products.multiply_transposed({a.begin + i, a.stride}, {b.begin + j, b.stride}, height, inner, width, tile.data(),
                                 width);
    sum.block(i, j, height, width) += tile.cast<double>();
  });
}

}  // namespace

/// What the votes say about a component's scores, in the directions of the component's rows (votes do not determine the
/// mean): precision B and shift h. If scores are N(0, I) before the votes, their posterior has covariance G = (I +
/// B)^-1 and mean G h.
struct EmbeddingRegression::Told {
  Matrix b, covariance;
  Vector h;
  /// I - G: the votes' information on w is X' (I - G) X.
  Matrix information() const { return Matrix::Identity(b.rows(), b.cols()) - covariance; }
};

/// Posterior of w. `root` is W, an upper triangle; W W' is the covariance.
struct EmbeddingRegression::Weights {
  Vector mean;
  FloatRows root;
  std::vector<double> variance;
  double prior_variance;
  double log_determinant;  ///< log determinant of I + prior_variance X'(I - G)X
  double determined;       ///< effective number of dimensions determined by the votes (MacKay 1992)
};

EmbeddingRegression::EmbeddingRegression(const Groups& groups, const Context& context)
    : groups_(groups),
      context_(context),
      products_(choose_products()),
      dimensions_(static_cast<std::ptrdiff_t>(groups.embeddings->dimensions)),
      first_row_(groups.components()) {
  Slab slab{0, 0, 0};
  for (std::uint32_t c = 0; c < groups.components(); ++c) {
    const std::ptrdiff_t rows = groups.items_of(c) - std::ptrdiff_t{1};
    if (groups.items_of(c) > kDenseItems)
      throw bad_input(
          "{}: votes connect {} items to one component, but with embeddings a component may have at most {}; fit "
          "without embeddings (--ignore embedding)",
          groups.embeddings->source, groups.items_of(c), kDenseItems);
    if (slab.rows > 0 && slab.rows + rows > kSlabRows) {
      slabs_.push_back(slab);
      slab = {c, c, 0};
    }
    first_row_[c] = slab.rows;
    slab.rows += rows;
    slab.end = c + 1;
    rows_ += rows;
    most_rows_ = std::max(most_rows_, slab.rows);
  }
  slabs_.push_back(slab);
  std::vector<float> x(static_cast<std::size_t>(most_rows_ * dimensions_));
  double squares = 0;
  for (const Slab& some : slabs_) {
    write_rows(some, x.data());
    std::vector<double> square(some.rows);
    oneapi::tbb::parallel_for(std::ptrdiff_t{0}, some.rows, [&](std::ptrdiff_t row) {
      for (std::ptrdiff_t k = 0; k < dimensions_; ++k)
        square[row] += static_cast<double>(x[row * dimensions_ + k]) * x[row * dimensions_ + k];
    });
    squares = std::accumulate(square.begin(), square.end(), squares);
  }
  unit_ = std::sqrt(squares / static_cast<double>(rows_));
  if (!(unit_ > 1e-15))
    throw bad_input(
        "{}: items that are compared have the same embedding, so embeddings cannot explain their scores; are these the "
        "embeddings of prompts?",
        groups.embeddings->source);
}

void EmbeddingRegression::write_rows(const Slab& slab, float* out) const {
  const Embeddings& all = *groups_.embeddings;
  const auto scale = static_cast<float>(1 / unit_);
  oneapi::tbb::parallel_for(
      oneapi::tbb::blocked_range<std::uint32_t>(slab.begin, slab.end, 16), [&](const auto& range) {
        std::vector<float> first(dimensions_), sum(dimensions_), next(dimensions_);
        for (std::uint32_t c = range.begin(); c < range.end(); ++c) {
          // Relative to the first item's embedding, so that equal embeddings differ by exactly 0.
          const std::uint32_t slot = groups_.component_slots[c], items = groups_.items_of(c);
          all.row(groups_.slot_item[slot], first.data());
          std::ranges::fill(sum, 0.0f);
          float* row = out + first_row_[c] * dimensions_;
          for (std::uint32_t k = 1; k < items; ++k, row += dimensions_) {
            all.row(groups_.slot_item[slot + k], next.data());
            const float own = static_cast<float>(-helmert(k - 1, k)) * scale, others = own / static_cast<float>(k);
            for (std::ptrdiff_t d = 0; d < dimensions_; ++d) {
              const float moved = next[d] - first[d];
              row[d] = others * sum[d] - own * moved;
              sum[d] += moved;
            }
          }
        }
      });
}

template <class Work>
void EmbeddingRegression::for_components(const Slab& slab, const Work& work) const {
  oneapi::tbb::parallel_for(oneapi::tbb::blocked_range<std::uint32_t>(slab.begin, slab.end, 8), [&](const auto& range) {
    for (std::uint32_t c = range.begin(); c < range.end(); ++c) work(c, first_row_[c], groups_.items_of(c) - 1);
  });
}

EmbeddingRegression::Told EmbeddingRegression::told_by(const FitView& view, std::uint32_t c) const {
  const std::uint32_t items = groups_.items_of(c);
  std::vector<float> h(std::size_t{items} * items), shift(items);
  std::vector<double> scratch(view.view_variance > 0 ? kViewScratch : 0);
  assemble_component(view, c, items, h.data(), shift.data(), 1, scratch.empty() ? nullptr : scratch.data());
  Matrix whole(items, items);
  Vector moved(items);
  for (std::uint32_t i = 0; i < items; ++i) {
    for (std::uint32_t j = 0; j <= i; ++j) whole(i, j) = whole(j, i) = h[std::size_t{i} * items + j] - (i == j ? 1 : 0);
    moved(i) = shift[i];
  }
  const Matrix u = helmert(items);
  Told out;
  out.b = u * whole * u.transpose();
  out.h = u * moved;
  out.covariance = inverse_of(Matrix::Identity(items - 1, items - 1) + out.b);
  return out;
}

/// With M = I / variance + X' (I - G) X and b = X' G h, w has mean M^-1 b and covariance M^-1. The variance is the
/// limit of MacKay's fixed-point iteration, |mean|^2 / (dimensions - trace(M^-1) / variance).
EmbeddingRegression::Weights EmbeddingRegression::find_weights(const FitView& view, double coefficient_variance) const {
  constexpr int kMostSteps = 20;
  Matrix told = Matrix::Zero(dimensions_, dimensions_), b = Matrix::Zero(dimensions_, 1);
  {
    std::vector<float> x(static_cast<std::size_t>(most_rows_ * dimensions_)), y(x.size()), means(most_rows_);
    for (const Slab& slab : slabs_) {
      context_.check_stop();
      write_rows(slab, x.data());
      for_components(slab, [&](std::uint32_t c, std::ptrdiff_t first, std::ptrdiff_t rows) {
        const Told says = told_by(view, c);
        const FloatRows root = root_of(says.information()).cast<float>();
        products_.multiply({root.data(), rows}, {x.data() + first * dimensions_, dimensions_}, rows, rows, dimensions_,
                           y.data() + first * dimensions_, dimensions_);
        Eigen::Map<Eigen::VectorXf>(means.data() + first, rows) = (says.covariance * says.h).cast<float>();
      });
      add_product(products_, {y.data(), dimensions_}, {y.data(), dimensions_}, slab.rows, told, true);
      add_product(products_, {x.data(), dimensions_}, {means.data(), 1}, slab.rows, b, false);
    }
  }
  Weights out;
  out.prior_variance = coefficient_variance;
  Matrix root(dimensions_, dimensions_);  // the inverse of M's Cholesky factor, transposed
  for (int step = 0; step < kMostSteps; ++step) {
    Matrix m = told;
    m.diagonal().array() += 1 / out.prior_variance;
    const Eigen::LLT<Eigen::Ref<Matrix>> factor(m);
    if (factor.info() != Eigen::Success)
      throw Error(Exit::kNotConverged,
                  fmt::format("{}: the coefficients of the embeddings cannot be estimated: rounding makes their "
                              "information matrix not positive definite; fit without embeddings (--ignore embedding)",
                              groups_.embeddings->source));
    out.mean = factor.solve(b);
    out.log_determinant =
        2 * m.diagonal().array().log().sum() + static_cast<double>(dimensions_) * std::log(out.prior_variance);
    oneapi::tbb::parallel_for(std::ptrdiff_t{0}, tiles(dimensions_), [&](std::ptrdiff_t task) {
      constexpr std::ptrdiff_t kColumns = 32;
      for (std::ptrdiff_t j = task * kTile; j < tile_end(task * kTile, dimensions_); j += kColumns) {
        const std::ptrdiff_t width = std::min(kColumns, dimensions_ - j), height = dimensions_ - j;
        Matrix columns = Matrix::Zero(height, width);
        columns.topRows(width).setIdentity();
        m.bottomRightCorner(height, height).triangularView<Eigen::Lower>().solveInPlace(columns);
        root.middleRows(j, width).setZero();
        root.block(j, j, width, height) = columns.transpose();
      }
    });
    const double trace = root.squaredNorm();
    out.determined = std::max(static_cast<double>(dimensions_) - trace / out.prior_variance, 0.0);
    // A weak hyperprior avoids 0 / 0.
    const double next =
        std::clamp((out.mean.squaredNorm() + 1e-6) / (out.determined + 1e-3), kLeastVariance, kMostVariance);
    const double moved = std::abs(std::log(next / out.prior_variance));
    if (moved < 1e-3 || step + 1 == kMostSteps) break;
    out.prior_variance = next;
  }
  out.root = root.cast<float>();
  out.variance.resize(dimensions_);
  for (std::ptrdiff_t k = 0; k < dimensions_; ++k) out.variance[k] = root.row(k).squaredNorm();
  return out;
}

ScorePrior EmbeddingRegression::solve(const FitView& view, double coefficient_variance) const {
  const Weights w = find_weights(view, coefficient_variance);
  ScorePrior out;
  out.mean.resize(groups_.slot_item.size());
  out.component.resize(groups_.components());
  std::uint64_t numbers = 0;
  for (std::uint32_t c = 0; c < groups_.components(); ++c) {
    out.component[c] = numbers;
    numbers += triangle(std::uint64_t{groups_.items_of(c)}, std::uint64_t{0});
  }
  out.precision.resize(numbers);
  FloatRows probes(dimensions_, kProbes);  // W z for random signs z
  {
    FloatRows signs(dimensions_, kProbes);
    for (std::ptrdiff_t i = 0; i < signs.size(); ++i)
      signs.data()[i] = mixed(static_cast<std::uint64_t>(i)) & 1 ? 1.0f : -1.0f;
    probes.noalias() = w.root * signs;
  }
  const FloatRows mean = w.mean.cast<float>();
  Matrix probed = Matrix::Zero(dimensions_, kProbes), along = Matrix::Zero(dimensions_, 1);
  std::vector<double> evidence(groups_.components()), told(evidence.size()), alone(evidence.size()),
      largest(evidence.size());
  double squares = 0, uncertain = 0;
  std::vector<float> x(static_cast<std::size_t>(most_rows_ * dimensions_)), z(x.size());
  std::vector<float> f(most_rows_), seen(most_rows_ * kProbes);
  for (const Slab& slab : slabs_) {
    context_.check_stop();
    write_rows(slab, x.data());
    const std::ptrdiff_t across = tiles(dimensions_);
    oneapi::tbb::parallel_for(std::ptrdiff_t{0}, tiles(slab.rows) * (across + 1), [&](std::ptrdiff_t task) {
      const std::ptrdiff_t i = task / (across + 1) * kTile, j = task % (across + 1) * kTile;
      const std::ptrdiff_t height = tile_end(i, slab.rows) - i;
      const MatrixPart rows{x.data() + i * dimensions_, dimensions_};
      if (j < dimensions_) {  // W is an upper triangle
        const std::ptrdiff_t end = tile_end(j, dimensions_);
        products_.multiply(rows, {w.root.data() + j, dimensions_}, height, end, end - j, z.data() + i * dimensions_ + j,
                           dimensions_);
        return;
      }
      products_.multiply(rows, {mean.data(), 1}, height, dimensions_, 1, f.data() + i, 1);
      products_.multiply(rows, {probes.data(), kProbes}, height, dimensions_, kProbes, seen.data() + i * kProbes,
                         kProbes);
    });
    add_product(products_, {x.data(), dimensions_}, {seen.data(), kProbes}, slab.rows, probed, false);
    add_product(products_, {x.data(), dimensions_}, {f.data(), 1}, slab.rows, along, false);
    std::vector<double> spread(slab.end - slab.begin);
    for_components(slab, [&](std::uint32_t c, std::ptrdiff_t first, std::ptrdiff_t rows) {
      const Told says = told_by(view, c);
      const Matrix identity = Matrix::Identity(rows, rows), information = says.information();
      FloatRows product(rows, rows);
      const Eigen::Map<const FloatRows> own(z.data() + first * dimensions_, rows, dimensions_);
      product.noalias() = own * own.transpose();
      const Matrix covariance = product.cast<double>();  // X V X'
      const Vector known = Eigen::Map<const Eigen::VectorXf>(f.data() + first, rows).cast<double>();
      spread[c - slab.begin] = covariance.trace();
      // Without the component's own votes: V becomes (M - X'(I - G)X)^-1, with this component's X.
      const Matrix root = root_of(information);
      Matrix left = identity - root * covariance * root.transpose();
      left.diagonal().array() += 1e-5;  // against rounding, if this component alone determines w
      const Matrix turned = root * covariance;
      const Matrix without = covariance + turned.transpose() * factor_of(left).solve(turned);
      const Vector moved = known - covariance * (says.covariance * says.h);
      const Vector others = moved + without * (information * moved);
      const Matrix precision = inverse_of(identity + without);
      evidence[c] = log_evidence(known, identity, says.b, says.h) - log_evidence(others, precision, says.b, says.h) +
                    0.5 * log_determinant(factor_of(precision));
      told[c] = information.squaredNorm();
      largest[c] = without.trace();
      alone[c] = told_by_single_votes(view, c, says.covariance);
      const Matrix u = helmert(rows + 1);
      const Vector of_items = u.transpose() * others;
      const Matrix whole = u.transpose() * precision * u;
      const std::uint32_t slot = groups_.component_slots[c];
      float* triangle_begin = out.precision.data() + out.component[c];
      for (std::ptrdiff_t i = 0; i <= rows; ++i) {
        out.mean[slot + i] = static_cast<float>(of_items(i));
        for (std::ptrdiff_t j = 0; j <= i; ++j)
          *triangle_begin++ = static_cast<float>(whole(i, j) + 1 / static_cast<double>(rows + 1));
      }
    });
    uncertain = std::accumulate(spread.begin(), spread.end(), uncertain);
    for (std::ptrdiff_t row = 0; row < slab.rows; ++row) squares += static_cast<double>(f[row]) * f[row];
  }
  out.least = static_cast<float>(1 / (1 + *std::ranges::max_element(largest)));
  const auto count = static_cast<double>(rows_);
  EmbeddingFit& fit = out.embedding;
  for (std::ptrdiff_t k = 0; k < dimensions_; ++k) {
    fit.coefficient.push_back(w.mean(k) / unit_);
    fit.variance.push_back(w.variance[k] / (unit_ * unit_));
  }
  fit.coefficient_variance = w.prior_variance;
  fit.explained = (squares + uncertain) / count;
  // Variance of w'Sw, S = X'X, with w N(mean, V): 4 mean'S V S mean + 2 trace(S V S V). Each probe z gives |W'S W z|^2.
  const Matrix root = w.root.cast<double>();
  fit.explained_variance = (4 * (root.transpose() * along).squaredNorm() +
                            2 * (root.transpose() * probed).squaredNorm() / static_cast<double>(kProbes)) /
                           (count * count);
  // If part of the explained variance comes from the prior of w, add the error of that prior's variance.
  const double by_prior = fit.explained * (1 - w.determined / static_cast<double>(dimensions_));
  fit.explained_variance += by_prior * by_prior * 2 / std::max(w.determined, 0.5);
  const double all = std::accumulate(told.begin(), told.end(), 0.0);
  const double single = std::accumulate(alone.begin(), alone.end(), 0.0);
  const double own = kOwnError * single / std::max(all, 1e-9);
  fit.unexplained_variance = 2 / std::max(all - single, 1.0) + own * own;
  fit.haste = std::clamp(count / std::max(all, 1.0), 1.0, kMostHaste);
  out.log_evidence = std::accumulate(evidence.begin(), evidence.end(), 0.0) -
                     0.5 * (w.mean.squaredNorm() / w.prior_variance + w.log_determinant);
  return out;
}

}  // namespace voxpop
