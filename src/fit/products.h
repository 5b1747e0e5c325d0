#pragma once
// Products of matrices by Eigen, built once for each instruction set as the kernels are (component_kernel.h). Row-major
// floats; each call runs on one thread and its sums have one order, so that results do not depend on how many call.

#include <cstddef>

namespace voxpop {

/// A part of a row-major matrix: its first element, and from one row to the next.
struct MatrixPart {
  const float* begin;
  std::ptrdiff_t stride;
};

struct Products {
  const char* name;
  /// out [rows][columns] = a b, with a [rows][inner], b [inner][columns].
  void (*multiply)(MatrixPart a, MatrixPart b, std::ptrdiff_t rows, std::ptrdiff_t inner, std::ptrdiff_t columns,
                   float* out, std::ptrdiff_t out_stride);
  /// out [rows][columns] = a' b, with a [inner][rows], b [inner][columns].
  void (*multiply_transposed)(MatrixPart a, MatrixPart b, std::ptrdiff_t rows, std::ptrdiff_t inner,
                              std::ptrdiff_t columns, float* out, std::ptrdiff_t out_stride);
};

/// Those of the set that choose_kernels() takes by default.
const Products& choose_products();

}  // namespace voxpop
