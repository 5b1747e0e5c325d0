#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "export/row.h"

namespace voxpop {
namespace {

TEST(ExportRow, numbers_are_as_printf_has_them) {
  const auto expect = [](float value) {
    std::string text;
    append_number(value, text);
    EXPECT_EQ(text, fmt::format("{:.6g}", value));
  };
  for (const float value : {0.0f,
                            -0.0f,
                            1.0f,
                            -1.0f,
                            0.5f,
                            1e-4f,
                            9.99999e-5f,
                            0.001f,
                            0.1f,
                            9.999995f,
                            9.99999f,
                            10.0f,
                            100.0f,
                            123456.0f,
                            123456.5f,
                            99999.95f,
                            999998.9f,
                            999999.0f,
                            999999.5f,
                            1e6f,
                            1e7f,
                            3e38f,
                            1e-40f,
                            0.99999952f,
                            std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    expect(value);
    expect(-value);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    expect(std::bit_cast<float>(static_cast<std::uint32_t>(random())));  // of all sizes
    expect(std::ldexp(static_cast<float>(random()), -static_cast<int>(random() % 48)));
  }
  for (std::uint32_t i = 0; i <= 1 << 13; ++i)
    expect(static_cast<float>(i) / (1 << 13));  // as targets and weights are rounded
}

}  // namespace
}  // namespace voxpop
