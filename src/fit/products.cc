// Gives Eigen a separate namespace per instruction set. Otherwise the linker would merge Eigen's functions, and all
// instruction sets would run the code of one.
#define VOXPOP_JOINED(a, b) a##b
#define VOXPOP_NAMED(a, b) VOXPOP_JOINED(a, b)
#define Eigen VOXPOP_NAMED(Eigen_, VOXPOP_TARGET)
#define EIGEN_DONT_PARALLELIZE
#define EIGEN_NO_EXCEPTIONS

#include "fit/products.h"

#include <Eigen/Core>

namespace voxpop::VOXPOP_TARGET {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;

Eigen::Map<const Matrix, 0, Stride> map(MatrixPart part, std::ptrdiff_t rows, std::ptrdiff_t columns) {
  return {part.begin, rows, columns, Stride(part.stride)};
}

Eigen::Map<Matrix, 0, Stride> map(float* out, std::ptrdiff_t stride, std::ptrdiff_t rows, std::ptrdiff_t columns) {
  return {out, rows, columns, Stride(stride)};
}

void multiply(MatrixPart a, MatrixPart b, std::ptrdiff_t rows, std::ptrdiff_t inner, std::ptrdiff_t columns, float* out,
              std::ptrdiff_t out_stride) {
  map(out, out_stride, rows, columns).noalias() = map(a, rows, inner) * map(b, inner, columns);
}

void multiply_transposed(MatrixPart a, MatrixPart b, std::ptrdiff_t rows, std::ptrdiff_t inner, std::ptrdiff_t columns,
                         float* out, std::ptrdiff_t out_stride) {
  map(out, out_stride, rows, columns).noalias() = map(a, inner, rows).transpose() * map(b, inner, columns);
}

#define VOXPOP_TEXT_OF(x) #x
#define VOXPOP_TEXT(x) VOXPOP_TEXT_OF(x)

}  // namespace

extern const Products products;
const Products products = {VOXPOP_TEXT(VOXPOP_TARGET), multiply, multiply_transposed};

}  // namespace voxpop::VOXPOP_TARGET
