#pragma once
// Dense Cholesky on the device. cuSOLVER is opened when a component needs it: it is large, takes long to load, and most
// data have no such component.

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

namespace voxpop {

class CuSolver {
 public:
  /// For matrices of up to `items` rows; `h`: one such, not read. Throws Error(kDevice) where cuSOLVER cannot be
  /// opened.
  CuSolver(double* h, std::uint32_t items);
  ~CuSolver();
  /// The lower triangle of a column-major matrix becomes its Cholesky factor ...
  void factor(double* h, std::uint32_t items, cudaStream_t stream);
  /// ... and from that the matrix's inverse.
  void invert(double* h, std::uint32_t items, cudaStream_t stream);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace voxpop
