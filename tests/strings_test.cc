#include "core/strings.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace voxpop {
namespace {

TEST(Strings, one_line_keeps_what_only_shows_something) {
  for (const char* text : {"", "plain", "caf\u00e9", "\u4f60\u597d", "\U0001f600", "a\u00a0b", "-> 'x' <b>"})
    EXPECT_EQ(one_line(text), text);
}

TEST(Strings, one_line_replaces_commands_to_a_terminal) {
  EXPECT_EQ(one_line("\x1b]0;title\x07"), "?]0;title?");
  EXPECT_EQ(one_line(std::string("\0\t\r\n\x7f", 5)), "?????");
  EXPECT_EQ(one_line("\u009b2J\u0080\u009f\u00a0"), "?2J??\u00a0");                         // C1, and what follows them
  EXPECT_EQ(one_line("a\u202eb\u202a\u2066\u2069\u200e\u200f\u061c"), "a?b??????");         // directions
  EXPECT_EQ(one_line("a\u2028b\u2029c"), "a?b?c");                                          // ends of lines
  EXPECT_EQ(one_line("\u2027\u202f\u2065\u206a\u200d"), "\u2027\u202f\u2065\u206a\u200d");  // their neighbours
}

TEST(Strings, one_line_replaces_bytes_that_are_not_utf8) {
  EXPECT_EQ(one_line("caf\xe9 \x9b"
                     "2J"),
            "caf? ?2J");                                   // Latin-1, and its CSI
  EXPECT_EQ(one_line("\xc2"), "?");                        // ends too early
  EXPECT_EQ(one_line("\xe2\x80"), "??");                   // ... of three bytes
  EXPECT_EQ(one_line("\xc0\x9b \xe0\x82\x9b"), "?? ???");  // ESC and CSI in more bytes than they need
  EXPECT_EQ(one_line("\xed\xa0\x80"), "???");              // half of a surrogate pair
  EXPECT_EQ(one_line("\xf4\x90\x80\x80 \xff"), "???? ?");  // beyond the last character
  EXPECT_EQ(one_line("\xc2\x1b[2J"), "??[2J");             // a command in the place of a second byte
  EXPECT_EQ(one_line("\xe4\xbd\xa0\xe4\xbd"), "\u4f60??");
}

TEST(Strings, printable_keeps_line_breaks_only) { EXPECT_EQ(printable("a\nb\r\n\x1b[2J"), "a\nb?\n?[2J"); }

TEST(Strings, printable_json_says_the_same) {
  const nlohmann::json json = {{"a\u009b", "\x1b \x7f \u202e \u2028 \u4f60 \\ \" \n"}};
  const std::string text = printable_json(json.dump(2));
  EXPECT_EQ(nlohmann::json::parse(text), json);
  for (const char* command : {"\x1b", "\x7f", "\u009b", "\u202e", "\u2028"}) EXPECT_EQ(text.find(command), text.npos);
  EXPECT_NE(text.find("\\u009b"), text.npos);
  EXPECT_NE(text.find("\u4f60"), text.npos);
}

TEST(Strings, shown_is_short) {
  EXPECT_EQ(shown(std::string(60, 'x')), std::string(60, 'x'));
  EXPECT_EQ(shown(std::string(10'000'000, 'x')), std::string(60, 'x') + "...");
  EXPECT_EQ(shown(std::string(10'000'000, '\x1b')), std::string(60, '?') + "...");
  EXPECT_EQ(shown("ab\ncd", 3), "ab?...");
  EXPECT_EQ(shown(std::string(59, 'x') + "\u4f60\u597d"), std::string(59, 'x') + "...");  // cut between characters
}

}  // namespace
}  // namespace voxpop
