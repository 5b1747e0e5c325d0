#pragma once
// Dense Cholesky on the device. cuSOLVER is opened only when a component needs it, because it is large and slow to load
// and most data have no such component.

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

namespace voxpop {

class CuSolver {
 public:
  /// For matrices of up to `items` rows. `h`: such a matrix, used to size the workspace and not read. Throws
  /// Error(kDevice) if cuSOLVER cannot be opened.
  CuSolver(double* h, std::uint32_t items);
  ~CuSolver();
  /// Replaces the lower triangle of a column-major matrix by its Cholesky factor. If that fails, h[0] becomes NaN.
  void factor(double* h, std::uint32_t items, cudaStream_t stream);
  /// Replaces a Cholesky factor from factor() by the lower triangle of the matrix's inverse.
  void invert(double* h, std::uint32_t items, cudaStream_t stream);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace voxpop
