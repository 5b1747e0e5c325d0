#include "import/import_votes.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/id_table.h"

namespace voxpop {
namespace {

using Ids = std::vector<std::string>;
using Indices = Column<std::uint32_t>;
using Preferences = Column<std::int8_t>;
using Timestamps = Column<std::int64_t>;

std::vector<std::string> as_vector(const Strings& strings) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < strings.size(); ++i) result.emplace_back(strings[i]);
  return result;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

class Import : public testing::Test {
 protected:
  Import() : folder_(testing::TempDir() + "voxpop_import." + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Import() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

  std::string write_gzip(const std::string& name, const std::string& text) const {
    const gzFile file = gzopen(path(name).c_str(), "wb");
    EXPECT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
    EXPECT_EQ(gzclose(file), Z_OK);
    return path(name);
  }

  std::string bytes_of(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  Votes votes_of(const std::string& name, std::string_view text, const ImportOptions& options = {}) const {
    return import_votes({write(name, text)}, options, {});
  }

  /// The error of an import, without the folder.
  static std::string error_of(const std::string& file, Exit exit = Exit::kBadInput, const ImportOptions& options = {}) {
    try {
      import_votes({file}, options, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), exit) << error.what();
      const std::string folder = std::filesystem::path(file).parent_path().string() + "/";
      const std::string message = error.what();
      return message.starts_with(folder) ? message.substr(folder.size()) : message;
    }
    return "no error";
  }
  std::string error(const std::string& name, std::string_view text, const ImportOptions& options = {}) const {
    return error_of(write(name, text), Exit::kBadInput, options);
  }

 private:
  std::string folder_;
};

TEST_F(Import, csv_numbers_ids_in_order_of_first_appearance) {
  const Votes votes = votes_of("v.csv",
                               "prompt,left,right,annotator,preference,timestamp\n"
                               "p,b,a,eve,left,1700000000\n"
                               "q,c,d,bob,right,1700000001.9\n"
                               "p,a,b,eve,tie,-0.5\n");
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"b", "a", "c", "d"}));
  EXPECT_EQ(as_vector(votes.annotator_ids), (Ids{"eve", "bob"}));
  EXPECT_EQ(as_vector(votes.prompt_ids), (Ids{"p", "q"}));
  EXPECT_EQ(votes.left, (Indices{0, 2, 1}));
  EXPECT_EQ(votes.right, (Indices{1, 3, 0}));
  EXPECT_EQ(votes.annotator, (Indices{0, 1, 0}));
  EXPECT_EQ(votes.prompt, (Indices{0, 0, 1, 1}));
  EXPECT_EQ(votes.preference, (Preferences{1, -1, 0}));
  EXPECT_EQ(votes.timestamp, (Timestamps{1700000000, 1700000001, -1}));
}

TEST_F(Import, optional_columns_may_be_absent) {
  ImportReport report;
  const Votes votes = import_votes({write("v.csv", "left,model,right,preference\na,m,b,left\n")}, {}, {}, &report);
  EXPECT_EQ(as_vector(votes.annotator_ids), (Ids{"anonymous"}));
  EXPECT_TRUE(votes.prompt.empty());
  EXPECT_TRUE(votes.timestamp.empty());
  ASSERT_EQ(votes.anonymous.size(), 1u);
  EXPECT_EQ(votes.anonymous[0].end, 1u);
  EXPECT_EQ(report.unused_columns, (Ids{"model"}));
}

TEST_F(Import, byte_order_mark_crlf_quotes_and_spaces) {
  const Votes votes = votes_of("v.csv",
                               "\xef\xbb\xbf left ,right,preference\r\n"
                               "\"a, \"\"x\"\"\",\"two\r\nlines\",left\r\n"
                               "\r\n"
                               " a,a,\" Right \"");
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"a, \"x\"", "two\r\nlines", " a", "a"}));
  EXPECT_EQ(votes.preference, (Preferences{1, -1}));
}

TEST_F(Import, tsv) {
  const Votes votes = votes_of("v.tsv", "left\tright\tpreference\na, b\t\"c\ttie\n");
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"a, b", "\"c"}));
  ImportOptions options;
  options.quotes = true;
  EXPECT_EQ(as_vector(votes_of("v.tsv", "left\tright\tpreference\na\t\"c\td\"\ttie\n", options).item_ids),
            (Ids{"a", "c\td"}));
}

TEST_F(Import, jsonl) {
  const Votes votes = votes_of(
      "v.NDJSON",
      "{\"left\": 17, \"right\": \"\\u00e9\", \"preference\": -1, \"extra\": {\"x\": [1]}, \"prompt\": null}\r\n"
      "\n"
      "{\"prompt\": null, \"preference\": \"LEFT\", \"right\": 17, \"left\": \"b\"}");
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"17", "\xc3\xa9", "b"}));
  EXPECT_EQ(votes.left, (Indices{0, 2}));
  EXPECT_EQ(votes.right, (Indices{1, 0}));
  EXPECT_EQ(votes.preference, (Preferences{-1, 1}));
  EXPECT_TRUE(votes.prompt.empty());
}

TEST_F(Import, rows_that_cross_blocks) {
  // 100,000 rows are over two blocks of 1 MiB, plain and compressed, whatever the format.
  std::string csv = "left,right,preference\n", jsonl;
  for (int i = 0; i < 100000; ++i) {
    csv += fmt::format("\"item\n{}\",item {},left\n", i, i + 1);
    jsonl += fmt::format("{{\"left\":\"item\\n{}\",\"right\":\"item {}\",\"preference\":\"left\"}}\n", i, i + 1);
  }
  for (const std::string& file : {write("v.csv", csv), write_gzip("v.csv.gz", csv), write("v.jsonl", jsonl)}) {
    const Votes votes = import_votes({file}, {}, {});
    ASSERT_EQ(votes.size(), 100000u);
    EXPECT_EQ(votes.item_ids.size(), 200000u);
    EXPECT_EQ(votes.item_ids[199998], "item\n99999");
    EXPECT_EQ(votes.right[99999], 199999u);
  }
  EXPECT_PRED2(contains, error("v.csv", csv + "a,a,left\n"), "v.csv: line 200002: right is 'a'");
}

TEST_F(Import, several_files_are_one_set) {
  const Votes votes = import_votes(
      {write("1.csv", "left,right,annotator,preference,timestamp,prompt\na,b,eve,left,5,p\n"),
       write("2.jsonl",
             "{\"left\":\"b\",\"right\":\"c\",\"annotator\":\"bob\",\"preference\":\"tie\",\"prompt\":\"p\"}\n")},
      {}, {});
  EXPECT_EQ(votes.left, (Indices{0, 1}));
  EXPECT_EQ(votes.right, (Indices{1, 2}));
  EXPECT_EQ(votes.annotator, (Indices{0, 1}));
  EXPECT_EQ(votes.prompt, (Indices{0, 0, 0}));
  EXPECT_TRUE(votes.timestamp.empty());  // the second file has none
}

TEST_F(Import, prompts_that_not_every_vote_has_are_left_out) {
  const std::string header = "left,right,preference,prompt\n";
  for (const std::string rows : {"a,b,left,p\nc,d,left,\n", "a,b,left,\na,b,left,p\n", "a,b,left,\n"}) {
    const Votes votes = votes_of("v.csv", header + rows);
    EXPECT_TRUE(votes.prompt.empty()) << rows;
    EXPECT_EQ(votes.prompt_ids.size(), 0u) << rows;
  }
  EXPECT_PRED2(
      contains, error("v.csv", header + "a,b,left,p\nc,a,left,q\n"),
      "v.csv: line 3: item 'a' belongs to prompt 'q' here, but to 'p' in an earlier row; if ids are unique only "
      "within a prompt, add --within prompt");
  ImportOptions options;
  options.within = "prompt";
  const Votes votes = votes_of("v.csv", header + "a,b,left,p/1\na,b,left,p%2F1\n", options);
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"p%2F1/a", "p%2F1/b", "p%252F1/a", "p%252F1/b"}));
  EXPECT_EQ(as_vector(votes.prompt_ids), (Ids{"p/1", "p%2F1"}));
}

TEST_F(Import, preferences_without_a_map) {
  const Votes votes =
      votes_of("v.csv", "left,right,preference\na,b,TIE\na,b,+1\na,b,0\na,b,-9\na,b,3\na,b, left\na,b,-1.0\n");
  EXPECT_EQ(votes.preference, (Preferences{0, 1, 0, -9, 3, 1, -1}));
  for (const std::string value : {"10", "-10", "1.0", "+-1", "", "lef", "0.5", "nan"})
    EXPECT_PRED2(contains, error("v.csv", "left,right,preference\na,b," + value + "\n"),
                 "v.csv: line 2: preference is '" + value + "'");
  EXPECT_PRED2(contains, error("v.csv", "left,right,preference\na,b,1\na,b,0\na,b,1\n"),
               "'1' 2 times, '0' 1 time; say what they mean with one of these: --map \"0=left,1=right\" (the index of "
               "the better item)");
}

TEST_F(Import, map_replaces_the_usual_values) {
  ImportOptions options;
  options.codes.map = "A>B=left,A<B=right, A=B =Tie,A>>B=2,A<<B=-2";
  const Votes votes =
      votes_of("v.csv", "left,right,preference\na,b,A>B\na,b,A<B\na,b,A=B\na,b,A>>B\na,b,A<<B\n", options);
  EXPECT_EQ(votes.preference, (Preferences{1, -1, 0, 2, -2}));
  EXPECT_PRED2(contains, error("v.csv", "left,right,preference\na,b,left\n", options),
               "v.csv: line 2: preference is 'left', which has no known meaning");
  options.codes.map = "1=right";
  EXPECT_EQ(votes_of("v.csv", "left,right,preference\na,b,1\n", options).preference, (Preferences{-1}));
  options.codes.map = "true=left,false=right";
  EXPECT_EQ(votes_of("v.jsonl", "{\"left\":1,\"right\":2,\"preference\":false}", options).preference,
            (Preferences{-1}));
  for (const std::string map : {"A", "A=B", "A=10", "A=left,", "A=left,A=right", "\"A,=left"}) {
    options.codes.map = map;
    EXPECT_PRED2(contains, error_of(write("v.csv", "left,right,preference\na,b,A\n"), Exit::kUsage, options),
                 "--map: '")
        << map;
  }
}

TEST_F(Import, columns_by_other_names) {
  ImportOptions options;
  options.left = "model_a", options.right = "model_b", options.preference = "winner", options.annotator = "judge";
  const Votes votes = votes_of("v.csv", "winner,judge,model_b,model_a,left\nleft,j,b,a,x\n", options);
  EXPECT_EQ(as_vector(votes.item_ids), (Ids{"a", "b"}));
  EXPECT_EQ(as_vector(votes.annotator_ids), (Ids{"j"}));
  EXPECT_EQ(
      error("v.csv", "winner,model_b,model_a\nleft,b,a\n", options),
      "v.csv: no column 'judge'; its columns are 'winner', 'model_b', 'model_a' (choose one with --annotator NAME)");
  EXPECT_EQ(error("v.csv", "winner,judge,model_b,model_a\nleft,j,,a\n", options),
            "v.csv: line 2: model_b is empty; every vote needs two items");
  // Values that are their column's name.
  EXPECT_EQ(votes_of("v.csv", "winner,judge,model_b,model_a\nmodel_b,j,b,a\n", options).preference, (Preferences{-1}));
}

TEST_F(Import, columns_that_are_missing_or_twice) {
  EXPECT_EQ(error("v.csv", "a,right,preference\n"),
            "v.csv: no column 'left'; its columns are 'a', 'right', 'preference' (choose one with --left NAME)");
  EXPECT_EQ(error("v.csv", "left,right,left,preference\n"), "v.csv: has two columns 'left'; rename one");
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":1}\n"),
               "v.jsonl: no column 'right'; its columns are 'left' (choose");
}

TEST_F(Import, rows_with_other_columns) {
  const std::string header = "left,right,preference\na,b,left\n";
  EXPECT_EQ(error("v.csv", header + "\n\"a\n\",b,1\na,b\n"),
            "v.csv: line 6: 2 fields, but the header has 3; is the line cut short, or is the separator another "
            "character ('import --delimiter')?");
  EXPECT_EQ(error("v.csv", header + "a,b,left,\n"),
            "v.csv: line 3: 4 fields, but the header has 3; put fields that contain the separator in quotation marks");
  const std::string object = "{\"left\":1,\"right\":2,\"preference\":1}\n";
  EXPECT_PRED2(contains, error("v.jsonl", object + "{\"left\":1,\"preference\":1}"), "v.jsonl: line 2: has no 'right'");
  EXPECT_PRED2(contains, error("v.jsonl", object + "{\"left\":1,\"left\":1,\"right\":2,\"preference\":1}"),
               "v.jsonl: line 2: 'left' occurs twice");
}

TEST_F(Import, values_that_cannot_be) {
  const std::string header = "left,right,annotator,preference,timestamp\n";
  EXPECT_EQ(error("v.csv", header + "a,a,c,1,0\n"),
            "v.csv: line 2: right is 'a', so the item is compared with itself; remove the row, or add --skip-bad N");
  EXPECT_EQ(error("v.csv", header + ",b,c,1,0\n"), "v.csv: line 2: left is empty; every vote needs two items");
  EXPECT_PRED2(contains, error("v.csv", header + "a,b\xff,c,1,0\n"), "v.csv: line 2: right is 'b?'; ids must be UTF-8");
  EXPECT_PRED2(contains, error("v.csv", header + std::string("a,b,c\0,1,0\n", 11)),
               "annotator is 'c?'; ids must not contain NUL");
  ImportOptions named;
  named.timestamp = "timestamp";
  for (const std::string time : {"2024-02-30", "2024-1-01", "2024-01-01T", "2024-01-01 25:00", "nan", "inf", "1e300",
                                 "1700000000s", "", "300000000000", "-9223372036854775808"}) {
    EXPECT_PRED2(contains, error("v.csv", header + "a,b,c,left," + time + "\n", named),
                 "v.csv: line 2: timestamp is '" + time + "'; it must be seconds since 1970");
    EXPECT_TRUE(votes_of("v.csv", header + "a,b,c,left," + time + "\n").timestamp.empty());
  }
  named.annotator = "annotator";
  EXPECT_PRED2(contains, error("v.csv", header + "a,b,,left,0\n", named), "v.csv: line 2: annotator is empty");
  EXPECT_EQ(as_vector(votes_of("v.csv", header + "a,b,,left,0\na,b,c,left,0\n").annotator_ids),
            (Ids{"anonymous", "c"}));
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":null,\"right\":2,\"preference\":1}"), "line 1: left is empty");
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":[1],\"right\":2,\"preference\":1}"),
               "line 1: 'left' is a list or");
  const std::string longer = error("v.csv", header + "a,b,c," + std::string(58, 'x') + "\xc3\xa9\xc3\xa9,0\n");
  EXPECT_PRED2(contains, longer, "preference is '" + std::string(58, 'x') + "\xc3\xa9...', which");
}

TEST_F(Import, times) {
  const std::string header = "left,right,preference,timestamp\n";
  const Votes votes = votes_of("v.csv", header +
                                            "a,b,left,2024-05-21T19:18:25Z\na,b,left,2024-05-21 21:18:25.999+02:00\n"
                                            "a,b,left,2024-05-21 19:18:25 UTC\na,b,left,1716319105123\n"
                                            "a,b,left,1716319105123456\na,b,left,1716319105.9\na,b,left,2024-05-21\n"
                                            "a,b,left,1970-01-01T00:00-0130\n");
  EXPECT_EQ(votes.timestamp,
            (Timestamps{1716319105, 1716319105, 1716319105, 1716319105, 1716319105, 1716319105, 1716249600, 5400}));
}

TEST_F(Import, json_that_python_writes) {
  const std::string row = "{\"left\":\"a\",\"right\":\"b\",\"preference\":\"left\",\"x\":";
  EXPECT_EQ(votes_of("v.jsonl", row + "NaN}\n" + row + "[-Infinity, \"\\ud83d NaN\"]}\n").size(), 2u);
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":\"a\\udc00\",\"right\":\"b\",\"preference\":\"left\"}"),
               "line 1: 'left' has half of a surrogate pair");
  EXPECT_EQ(
      as_vector(votes_of("v.jsonl", "{\"left\":\"\\ud83d\\ude00\",\"right\":\"b\",\"preference\":\"left\",\"x\":NaN}")
                    .item_ids),
      (Ids{"\xf0\x9f\x98\x80", "b"}));
}

TEST_F(Import, json_arrays_over_many_lines) {
  std::string text = "\n[\n";
  for (int i = 0; i < 50000; ++i)
    text += fmt::format("{}{{\"left\": \"]\\\"{{{}\",\n \"right\": \"b\", \"preference\": \"left\"}}",
                        i > 0 ? ",\n" : "", i);
  const Votes votes = votes_of("v.json", text + "\n]\n");
  EXPECT_EQ(votes.size(), 50000u);
  EXPECT_EQ(votes.item_ids[50000], "]\"{49999");
  EXPECT_PRED2(contains, error("v.json", text), "v.json: line 100002: ends in the middle of its array");
  EXPECT_PRED2(contains, error("v.json", text + "] x"), "instead of the end of the file");
  EXPECT_PRED2(contains, error("v.json", "[{\"left\":1} {}]"), "no column 'right'");
}

TEST_F(Import, text_that_is_not_of_its_format) {
  const std::string header = "left,right,preference\n";
  EXPECT_PRED2(contains, error("v.csv", header + "a,b,1\n\"a,b,1\na,b,1\n"),
               "v.csv: line 3: a quotation mark opens in this row");
  EXPECT_PRED2(contains, error("v.csv", header + "a,b\"c,1\n"), "v.csv: line 2: a quotation mark inside a field");
  EXPECT_PRED2(contains, error("v.csv", header + "a,\"b\"c,1\n"), "v.csv: line 2: a quotation mark inside a field");
  EXPECT_PRED2(contains, error("v.csv", std::string("\xff\xfel\0e\0", 6)), "v.csv: is UTF-16");
  EXPECT_PRED2(contains, error("v.jsonl", "\n[1, 2]\n"), "v.jsonl: line 2: not a JSON object");
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":1} x\n"), "v.jsonl: line 1: not a JSON object");
  EXPECT_PRED2(contains, error("v.jsonl", "{\"left\":\"\xff\"}\n"), "v.jsonl: line 1: not a JSON object");
}

TEST_F(Import, no_votes) {
  EXPECT_PRED2(contains, error("v.csv", ""), "v.csv: is empty");
  EXPECT_PRED2(contains, error("v.csv", "\xef\xbb\xbf\n"), "v.csv: is empty");
  EXPECT_PRED2(contains, error("v.jsonl", "\n"), "v.jsonl: is empty");
  EXPECT_PRED2(contains, error("v.csv", "left,right,preference"), "v.csv: no votes");
}

TEST_F(Import, format_comes_from_the_name_or_the_option) {
  const std::string text = "left,right,preference\na,b,left\n";
  EXPECT_PRED2(contains, error("v.parquet", "PAR1"), "v.parquet: Parquet is not read; convert it with pandas");
  EXPECT_PRED2(contains, error_of(write("v.txt", text), Exit::kUsage), "v.txt: its name does not show its format");
  ImportOptions options;
  options.format = TableFormat::kCsv;
  EXPECT_EQ(votes_of("v.txt", text, options).size(), 1u);
}

TEST_F(Import, gzip_cut_short_at_any_byte_is_a_file_error) {
  std::string text = "left,right,preference\n";
  for (int i = 0; i < 50; ++i) text += fmt::format("a,b{},left\n", i * i);
  EXPECT_EQ(import_votes({write_gzip("v.csv.gz", text)}, {}, {}).size(), 50u);
  const std::string whole = bytes_of("v.csv.gz");
  for (std::size_t size = 2; size < whole.size(); ++size)
    ASSERT_PRED2(contains, error_of(write("cut.csv.gz", whole.substr(0, size)), Exit::kFileSystem),
                 "cut.csv.gz: ends in the middle of its gzip data");
}

TEST_F(Import, damaged_gzip_is_bad_input) {
  write_gzip("v.csv.gz", "left,right,preference\na,b,1\n");
  const std::string whole = bytes_of("v.csv.gz");
  for (std::size_t i = whole.size() - 8; i < whole.size(); ++i) {  // the checksum and the length
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_PRED2(contains, error_of(write("v.csv.gz", damaged)), "v.csv.gz: its gzip data are damaged");
  }
}

TEST_F(Import, files_that_cannot_be_read) {
  EXPECT_EQ(error_of(path("none.csv"), Exit::kFileSystem), "none.csv: cannot open: No such file or directory");
  std::filesystem::create_directory(path("folder.csv"));
  EXPECT_EQ(error_of(path("folder.csv"), Exit::kFileSystem), "folder.csv: cannot read: Is a directory");
}

TEST(IdTable, numbers_stay_when_the_table_grows) {
  IdTable table;
  for (std::uint32_t i = 0; i < 10000; ++i) ASSERT_EQ(table.number("id" + std::to_string(i)), std::pair(i, true));
  for (std::uint32_t i = 0; i < 10000; ++i) ASSERT_EQ(table.number("id" + std::to_string(i)), std::pair(i, false));
  EXPECT_EQ(table.release().size(), 10000u);
}

}  // namespace
}  // namespace voxpop
