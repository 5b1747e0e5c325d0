// JSON of files, which may come from anybody: what would take the stack or hours is refused.

#include "core/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace voxpop {
namespace {

std::string object_with(int keys) {
  std::string text = "{";
  for (int i = 0; i < keys; ++i) text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
  return text + "}";
}

TEST(Json, what_voxpop_writes_is_read) {
  const auto json = parse_json(R"({"b": {"x": [1, 2]}, "a": null})");
  EXPECT_EQ(json.dump(), R"({"b":{"x":[1,2]},"a":null})");
  EXPECT_EQ(parse_json(object_with(1000)).size(), 1000u);
  std::string many = "[";
  for (int i = 0; i < 3000; ++i) many += (i > 0 ? "," : "") + object_with(3);
  EXPECT_EQ(parse_json(many + "]").size(), 3000u);  // keys count by object
}

TEST(Json, what_nobody_writes_is_refused) {
  EXPECT_TRUE(parse_json("").is_discarded());
  EXPECT_TRUE(parse_json("{\"a\":").is_discarded());
  EXPECT_TRUE(parse_json(object_with(1001)).is_discarded());
  EXPECT_TRUE(parse_json("[1, {\"a\": " + object_with(1001) + "}]").is_discarded());
  EXPECT_FALSE(parse_json(std::string(90, '[') + std::string(90, ']')).is_discarded());
  EXPECT_TRUE(parse_json(std::string(200, '[') + std::string(200, ']')).is_discarded());
  EXPECT_TRUE(parse_json(std::string(1000000, '[')).is_discarded());
}

/// Each key is compared with all before it: of so many that takes minutes.
TEST(Json, very_many_keys_take_no_time) {
  const std::string text = object_with(400000);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(parse_json(text).is_discarded());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace voxpop
