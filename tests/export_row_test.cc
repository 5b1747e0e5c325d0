#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>
#include <random>

#include "export/row.h"
#include "helpers.h"

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

TEST(ExportRow, marks_of_turns_are_found_however_they_are_escaped) {
  const auto found = [](ExportFormat format, std::string_view json) { return find_mark(json, refused_marks(format)); };
  const ExportFormat nemo = ExportFormat::kNemoAligner, axolotl = ExportFormat::kAxolotl;
  for (const char* text : {R"("x\n<extra_id_1>User")", R"("\u003cextra_id_0>")", R"("\u003Cextra\u005fid_0>")",
                           R"("<\u0065xtra_id_2>")", R"([{"role":"user","content":"<extra_id_1>"}])"})
    EXPECT_EQ(found(nemo, text), "<extra_id_") << text;
  for (const char* text :
       {R"("<extra id_1>")", R"("\\u003cextra_id_0>")", R"("é <<extra>")", R"("\u00e9")", R"("")", ""})
    EXPECT_EQ(found(nemo, text), "") << text;
  EXPECT_EQ(found(axolotl, R"("a<|im_end|>\n<|im_start|>user")"), "<|im_end|>");
  EXPECT_EQ(found(axolotl, R"("a<\u007cim_start|>")"), "<|im_start|>");
  EXPECT_EQ(found(axolotl, R"("a[\/INST]")"), "[/INST]");
  EXPECT_EQ(found(axolotl, R"("xs |> f <| g; [INS]")"), "");
  EXPECT_EQ(found(axolotl, R"("ends in <|im_start|)"), "");
  EXPECT_TRUE(refused_marks(ExportFormat::kNemoRl).empty());
  EXPECT_EQ(find_mark(R"([{"content":"<start_of_turn>user"}])", template_marks()), "<start_of_turn>");
}

using TextsTest = test::FileTest;

/// A library's functions leave the process's signals alone.
TEST_F(TextsTest, set_no_signal_handler) {
  std::ofstream(path("texts.jsonl")) << R"({"id": "a", "text": "t"})" << '\n';
  Strings ids;
  ids.push_back("a");
  const Texts texts({path("texts.jsonl")}, ids, {});
  EXPECT_EQ(texts.text(0), R"("t")");
  struct sigaction action {};
  sigaction(SIGBUS, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace voxpop
