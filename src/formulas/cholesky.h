#pragma once
// Small linear algebra for a component: H = L L', its inverse and log determinant, in place. Element (i, j) of the
// lower triangle is at data[(i * size + j) * stride]; `stride` allows interleaved matrices.

#include "formulas/portable.h"

namespace voxpop {

/// Replaces the lower triangle of a positive definite matrix by that of its inverse. `size` >= 1. Calls on_pivot(x) for
/// each pivot; the determinant is the product of the pivots.
template <class Real, class OnPivot>
VOXPOP_HD void invert_positive_definite(Real* data, int size, int stride, const OnPivot& on_pivot) {
  const auto at = [=](int i, int j) -> Real& { return data[(i * size + j) * stride]; };
  for (int j = 0; j < size; ++j) {  // L; the diagonal contains 1 / L(j, j)
    Real pivot = at(j, j);
    for (int k = 0; k < j; ++k) pivot = pivot - at(j, k) * at(j, k);
    pivot = larger(pivot, Real(1e-30f));
    on_pivot(pivot);
    const Real inverse = Real(1) / square_root(pivot);
    for (int i = j + 1; i < size; ++i) {
      Real sum = at(i, j);
      for (int k = 0; k < j; ++k) sum = sum - at(i, k) * at(j, k);
      at(i, j) = sum * inverse;
    }
    at(j, j) = inverse;
  }
  for (int j = 0; j < size; ++j)  // W = inverse of L, column by column
    for (int i = j + 1; i < size; ++i) {
      Real sum = Real(0);
      for (int k = j; k < i; ++k) sum = sum + at(i, k) * at(k, j);
      at(i, j) = Real(0) - sum * at(i, i);
    }
  for (int j = 0; j < size; ++j)  // H^-1 = W' W
    for (int i = j; i < size; ++i) {
      Real sum = Real(0);
      for (int k = i; k < size; ++k) sum = sum + at(k, i) * at(k, j);
      at(i, j) = sum;
    }
}

/// The same. Returns the logarithm of the determinant.
template <class Real>
VOXPOP_HD Real invert_positive_definite(Real* data, int size, int stride = 1) {
  Real log_determinant = Real(0);
  invert_positive_definite(data, size, stride,
                           [&](Real pivot) { log_determinant = log_determinant + logarithm(pivot); });
  return log_determinant;
}

}  // namespace voxpop
