// CSV, TSV and JSONL, plain and gzip. What is imported must come out of a comparisons file as it went in.
//
// Input: two bytes of options, then the text; with a map of its own, the text's first line.

#include <zlib.h>

#include "core/error.h"
#include "harness.h"
#include "import/import_votes.h"

namespace voxpop {
namespace {

std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

void check_round_trip(const Votes& votes) {
  const std::string path = fuzz::folder() + "/votes.h5";
  OutputFile output(path);
  write_votes(output, votes, false);
  const Votes again = read_votes({path}, fuzz::context());
  VOXPOP_REQUIRE(again.left == votes.left && again.right == votes.right && again.annotator == votes.annotator);
  VOXPOP_REQUIRE(again.preference == votes.preference && again.timestamp == votes.timestamp);
  VOXPOP_REQUIRE(again.item_ids == votes.item_ids && again.annotator_ids == votes.annotator_ids);
  VOXPOP_REQUIRE(again.prompt == votes.prompt && again.prompt_ids == votes.prompt_ids);
}

}  // namespace
}  // namespace voxpop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  if (size < 2) return 0;
  const unsigned choice = data[0], names = data[1];
  std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  ImportOptions options;
  options.format = static_cast<TableFormat>(choice % 4);
  if (choice & 8) options.codes.map = "A>B=left,B>A=right,draw=tie,A>>B=2";
  if (choice & 16) {
    options.codes.map = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(options.codes.map.size() + 1, text.size()));
  }
  if (names & 1) options.left = "a";
  if (names & 2) options.preference = "left";  // one column for two things
  if (names & 4) options.annotator = "annotator";
  if (names & 8) options.prompt = "prompt";
  if (names & 16) options.timestamp = "timestamp";
  if (names & 32) options.within = "prompt";
  if (names & 64) options.each = {"list"};
  if (names & 128) options.skip_bad = 3;
  std::vector<std::string> paths;
  const auto add = [&](std::string_view part) {
    paths.push_back(fuzz::memory_file(choice & 32 ? gzip(part) : std::string(part), static_cast<int>(paths.size())));
  };
  const std::size_t cut = choice & 64 ? text.find("\n\n") : text.npos;
  add(text.substr(0, cut));
  if (cut != text.npos) add(text.substr(cut + 2));
  Votes votes;
  ImportReport report;
  if (!fuzz::ends_well([&] { votes = import_votes(paths, options, fuzz::context(), &report); })) return 0;
  fuzz::check_votes(votes);
  check_round_trip(votes);
  return 0;
}
