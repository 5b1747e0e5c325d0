#include "formulas/cholesky.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <random>
#include <vector>

namespace voxpop {
namespace {

TEST(Cholesky, literal_2_by_2) {
  double h[] = {4, -99, 2, 3};  // [[4, 2], [2, 3]]; the upper triangle is not read
  EXPECT_DOUBLE_EQ(invert_positive_definite(h, 2), std::log(8.0));
  EXPECT_DOUBLE_EQ(h[0], 3.0 / 8);
  EXPECT_DOUBLE_EQ(h[2], -2.0 / 8);
  EXPECT_DOUBLE_EQ(h[3], 4.0 / 8);
  EXPECT_EQ(h[1], -99);
}

template <class Real>
void compare_with_eigen(int size, int stride, double tolerance) {
  std::mt19937 random(static_cast<unsigned>(size));
  std::normal_distribution<double> normal;
  Eigen::MatrixXd root(size, size);
  for (double& x : root.reshaped()) x = normal(random);
  const Eigen::MatrixXd h = root * root.transpose() / size + Eigen::MatrixXd::Identity(size, size);
  std::vector<Real> data(size * size * stride, Real(-99));
  for (int i = 0; i < size; ++i)
    for (int j = 0; j <= i; ++j) data[(i * size + j) * stride] = static_cast<Real>(h(i, j));
  const double log_determinant = invert_positive_definite(data.data(), size, stride);
  const Eigen::FullPivLU<Eigen::MatrixXd> lu(h);
  const Eigen::MatrixXd inverse = lu.inverse();
  EXPECT_NEAR(log_determinant, std::log(lu.determinant()), tolerance * size);
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      if (j <= i) {
        EXPECT_NEAR(data[(i * size + j) * stride], inverse(i, j), tolerance) << i << " " << j;
      } else {
        EXPECT_EQ(data[(i * size + j) * stride], Real(-99)) << i << " " << j;
      }
      for (int gap = 1; gap < stride; ++gap) EXPECT_EQ(data[(i * size + j) * stride + gap], Real(-99));
    }
}

TEST(Cholesky, matches_eigen) {
  for (int size = 1; size <= 32; ++size)
    for (const int stride : {1, 3}) {
      SCOPED_TRACE(size);
      compare_with_eigen<double>(size, stride, 1e-13);
      compare_with_eigen<float>(size, stride, 2e-6);
    }
}

}  // namespace
}  // namespace voxpop
