#pragma once
// Matrix products by Eigen, compiled once per instruction set like the kernels (component_kernel.h). Row-major floats.
// Each call runs on one thread and sums in a fixed order, so results do not depend on the number of calling threads.

#include <cstddef>

namespace voxpop {

/// A part of a row-major matrix: pointer to its first element, and the distance between rows in elements.
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

/// The products of the instruction set that choose_kernels() chooses by default.
const Products& choose_products();

}  // namespace voxpop
