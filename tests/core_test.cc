#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "core/error.h"
#include "core/id_table.h"
#include "core/nameless_file.h"
#include "core/output_file.h"
#include "core/scratch_memory.h"
#include "core/strings.h"
#include "core/text_output.h"
#include "helpers.h"
#include "voxpop/column.h"
#include "voxpop/rows.h"

namespace voxpop {
namespace {

using namespace std::string_literals;

TEST(Strings, hold_any_bytes) {
  const std::vector<std::string> texts = {"", "a", "\0\0"s, "", "naïve", std::string(100000, 'x'), "a\nb", ""};
  Strings strings;
  EXPECT_TRUE(strings.empty());
  EXPECT_EQ(strings.longest(), 0u);
  std::size_t characters = 0;
  for (const std::string& text : texts) {
    strings.push_back(text);
    characters += text.size();
  }
  ASSERT_EQ(strings.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(strings[i], texts[i]);
  EXPECT_EQ(strings.longest(), 100000u);
  EXPECT_EQ(strings.characters(), characters);
}

TEST(Strings, of_fields_are_those_pushed_one_by_one) {
  const std::string fields =
      "abcd"
      "e\0\0\0"
      "\0\0\0\0"
      "fg\0\0"s;
  Strings strings;
  strings.push_back("before");
  const std::vector<std::uint32_t> lengths = {4, 1, 0, 2};
  strings.append_fields(fields.data(), 4, lengths);
  strings.append_fields(fields.data(), 4, {});
  Strings same;
  for (const char* text : {"before", "abcd", "e", "", "fg"}) same.push_back(text);
  EXPECT_EQ(strings, same);
  same.push_back("");
  EXPECT_NE(strings, same);  // an empty string more is a string more
}

/// Against a map, with ids that are prefixes of others, empty, and of bytes that are no text.
TEST(IdTable, numbers_in_order_of_first_appearance) {
  std::mt19937 random(1);
  IdTable table;
  std::map<std::string, std::uint32_t> known;
  EXPECT_EQ(table.find(""), std::nullopt);
  EXPECT_EQ(table.find("x"), std::nullopt);
  for (int i = 0; i < 30000; ++i) {
    std::string id(random() % 4, '\0');
    for (char& c : id) c = static_cast<char>(random() % 32 - 16);
    const auto expected = known.find(id);
    EXPECT_EQ(table.find(id), expected == known.end() ? std::nullopt : std::optional(expected->second));
    const auto [number, is_new] = table.number(id);
    EXPECT_EQ(is_new, expected == known.end());
    ASSERT_EQ(number, known.try_emplace(id, static_cast<std::uint32_t>(known.size())).first->second);
  }
  ASSERT_EQ(table.ids().size(), known.size());
  for (const auto& [id, number] : known) EXPECT_EQ(table.ids()[number], id);
  EXPECT_EQ(table.find("an id that is not there"), std::nullopt);
  EXPECT_EQ(table.ids().size(), known.size());  // looking for one does not add it
}

TEST(OneLine, has_no_control_characters) {
  EXPECT_EQ(one_line(""), "");
  EXPECT_EQ(one_line("a\nb\r\tc\x1b[31m\x7f"), "a?b??c?[31m?");
  EXPECT_EQ(one_line("\0x"s), "?x");
  EXPECT_EQ(one_line("a\xc2\x9b"
                     "31m"),
            "a?31m");  // U+009B, which terminals take for ESC [
  EXPECT_EQ(one_line("\xc2\x80\xc2\x9f"), "??");
  EXPECT_EQ(one_line("naïve \xc2\xa0 日本 \xc2"), "naïve \xc2\xa0 日本 ?");  // the last byte is no UTF-8
}

TEST(Shortened, is_cut_between_characters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "abc...");
  EXPECT_EQ(shortened("", 0), "");
  EXPECT_EQ(shortened("é", 1), "...");
  EXPECT_EQ(shortened("aé", 2), "a...");
  EXPECT_EQ(shortened("日本", 5), "日...");
  EXPECT_EQ(shortened("日本", 6), "日本");
  EXPECT_EQ(shortened("\x80\x80\x80", 2), "...");  // not UTF-8: must end all the same
}

TEST(Shown, is_short_and_what_a_terminal_can_show) {
  EXPECT_EQ(shown("naïve"), "naïve");
  EXPECT_EQ(shown("na\xefve \n"), "na?ve ?");
  EXPECT_EQ(shown(std::string(60, 'x')), std::string(60, 'x'));
  EXPECT_EQ(shown(std::string(1000000, 'x')), std::string(60, 'x') + "...");
  // 59 bytes and a character of two: it is left out whole, so that the rest is still UTF-8.
  EXPECT_EQ(shown(std::string(59, 'x') + "é"), std::string(59, 'x') + "...");
}

TEST(CsvField, is_quoted_only_where_it_must_be) {
  const auto field = [](std::string_view text) {
    std::string out = "before,";
    append_csv_field(text, out);
    return out.substr(7);
  };
  EXPECT_EQ(field(""), "");
  EXPECT_EQ(field("a b;'"), "a b;'");
  EXPECT_EQ(field("a,b"), "\"a,b\"");
  EXPECT_EQ(field("say \"hi\""), "\"say \"\"hi\"\"\"");
  EXPECT_EQ(field("\""), "\"\"\"\"");
  EXPECT_EQ(field("a\nb"), "\"a\nb\"");
  EXPECT_EQ(field("a\r"), "\"a\r\"");
}

TEST(Rows, neighbours_become_one) {
  std::vector<Rows> rows;
  EXPECT_FALSE(contains(rows, 0));
  append_rows(rows, {3, 3});  // none
  EXPECT_TRUE(rows.empty());
  append_rows(rows, {2, 4});
  append_rows(rows, {4, 5});
  append_rows(rows, {7, 8});
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_EQ(count_rows(rows), 4u);
  const std::vector<bool> inside = {false, false, true, true, true, false, false, true, false};
  for (std::uint64_t row = 0; row < inside.size(); ++row) EXPECT_EQ(contains(rows, row), inside[row]) << row;
}

/// Below 2 MiB, at it and above it memory comes from different places.
TEST(Column, keeps_its_numbers_wherever_it_lies) {
  constexpr std::size_t kHuge = ColumnAllocator<float>::kHuge;
  Column<std::uint64_t> column;
  for (std::uint64_t i = 0; i < kHuge; ++i) column.push_back(i);  // up to 16 MiB
  for (std::uint64_t i = 0; i < kHuge; ++i) ASSERT_EQ(column[i], i);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(column.data()) % kHuge, 0u);
  for (const std::size_t bytes : {kHuge - 1, kHuge, kHuge + 1, 3 * kHuge}) {
    Column<char> some(bytes, 'x');  // a value that is given is set, unlike one that is not
    some.back() = 'y';
    const Column<char> copy = some;
    EXPECT_EQ(copy, some);
    EXPECT_EQ(std::count(copy.begin(), copy.end(), 'x'), static_cast<std::ptrdiff_t>(bytes - 1));
  }
  struct WithDefault {
    int value = 7;
  };
  const Column<WithDefault> with_default(1000000);
  for (const WithDefault& one : with_default) ASSERT_EQ(one.value, 7);
}

class Files : public test::FileTest {
 protected:
  static std::string text_of(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
};

TEST_F(Files, two_of_one_name_do_not_mix) {
  OutputFile first(path("out")), second(path("out"));
  EXPECT_NE(first.temporary(), second.temporary());
  std::ofstream(first.temporary()) << "first";
  std::ofstream(second.temporary()) << "second, longer";
  second.commit();
  EXPECT_EQ(text_of(path("out")), "second, longer");
  first.commit();
  EXPECT_EQ(text_of(path("out")), "first");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Files, have_the_mode_of_any_new_file) {
  const mode_t before = umask(027);
  OutputFile output(path("out"));
  output.commit();
  umask(before);
  struct stat status {};
  ASSERT_EQ(stat(path("out").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(Files, text_appears_when_it_is_complete) {
  std::ofstream(path("out")) << "older";
  {
    TextOutput output(path("out"));
    output.write("lost");
  }
  EXPECT_EQ(text_of(path("out")), "older");
  TextOutput output(path("out"));
  output.write("a\0b"s);
  output.write("");
  output.write(std::string(100000, 'x'));
  EXPECT_EQ(output.bytes(), 100003u);
  EXPECT_EQ(text_of(path("out")), "older");
  output.commit();
  EXPECT_EQ(text_of(path("out")), "a\0b"s + std::string(100000, 'x'));
  EXPECT_EQ(files(), 1u);
  for (const std::string& target : {path(""), path("none/out"), "/dev/full"s}) EXPECT_THROW(TextOutput{target}, Error);
}

TEST_F(Files, nameless_ones_are_in_no_folder) {
  const int file = open_nameless_file(path(""));
  ASSERT_GE(file, 0);
  EXPECT_EQ(files(), 0u);
  char back[3] = {};
  EXPECT_EQ(pwrite(file, "abc", 3, 0), 3);
  EXPECT_EQ(pread(file, back, 3, 0), 3);
  EXPECT_EQ(std::memcmp(back, "abc", 3), 0);
  close(file);
  EXPECT_EQ(open_nameless_file(path("none")), -1);
  EXPECT_EQ(errno, ENOENT);
}

class Scratch : public Files {};

TEST_F(Scratch, lies_where_there_is_a_disk) {
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  unsetenv("TMPDIR");
  EXPECT_EQ(ScratchMemory::folder_for("some/where/out.h5"), "some/where");
  EXPECT_EQ(ScratchMemory::folder_for("out.h5"), ".");
  setenv("TMPDIR", path("none").c_str(), 1);
  EXPECT_EQ(ScratchMemory::folder_for("some/where/out.h5"), "some/where");
  setenv("TMPDIR", "/dev/shm", 1);  // memory, which scratch is to spare
  EXPECT_EQ(ScratchMemory::folder_for("some/where/out.h5"), "some/where");
  before ? setenv("TMPDIR", kept.c_str(), 1) : unsetenv("TMPDIR");
}

TEST_F(Scratch, none_unless_begun) {
  EXPECT_EQ(allocate_scratch(4096), nullptr);
  int number = 0;
  EXPECT_FALSE(release_scratch(&number));
  EXPECT_FALSE(ScratchMemory::is_exceeded());
  EXPECT_THROW(ScratchMemory::begin(std::size_t{1} << 30, path("none")), Error);
  EXPECT_EQ(allocate_scratch(4096), nullptr);
  EXPECT_GT(ScratchMemory::peak(), std::size_t{1} << 20);
}

/// Of a process of its own, since it cannot be ended: what is wrong, or "".
std::string wrong_with_columns_in(const std::string& folder) {
  constexpr std::size_t kRows = std::size_t{1} << 24;
  const std::size_t limit = ScratchMemory::peak() + (std::size_t{100} << 20);
  ScratchMemory::begin(limit, folder);
  Column<std::uint64_t> a(kRows), b(kRows), few(10);  // 128 MiB each, but the last
  for (std::size_t i = 0; i < kRows; ++i) {
    a[i] = i;
    b[i] = ~i;
    if (i % 4096 == 0) ScratchMemory::keep_within_limit();
  }
  few[9] = 9;
  for (std::size_t i = 0; i < kRows; ++i) {
    if (a[i] != i || b[i] != ~i) return "a number changed";
    if (i % 4096 == 0) ScratchMemory::keep_within_limit();
  }
#ifndef __SANITIZE_ADDRESS__  // which needs memory of its own
  if (ScratchMemory::is_exceeded()) return "the limit was exceeded";
#endif
  if (release_scratch(few.data())) return "a short column is not in scratch";
  if (std::distance(std::filesystem::directory_iterator(folder), {}) != 0) return "a scratch file has a name";
  try {
    allocate_scratch(std::size_t{1} << 50);
    return "a column of a pebibyte was allocated";
  } catch (const Error& error) {
    if (error.exit() != Exit::kFileSystem) return "another error";
  }
  return "";
}

TEST_F(Scratch, columns_keep_their_numbers_within_the_limit) {
  const pid_t child = fork();
  if (child == 0) {
    const std::string wrong = wrong_with_columns_in(path(""));
    std::fprintf(stderr, "%s\n", wrong.c_str());
    _exit(wrong.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace voxpop
