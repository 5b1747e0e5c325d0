// Texts by id from JSONL, and rows made of them in every format. What trainers would read must be what stood there:
// rows are parsed by another JSON library, CSV by the reader of imports, and texts compared with what that library
// reads of the texts' file.
//
// Input: three bytes of options, then the file of texts.

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "export/export.h"
#include "harness.h"
#include "text/table.h"

namespace voxpop {
namespace {

using Json = nlohmann::json;
const std::vector<std::string> kIds = {
    "a", "b", "7", "-1", "\xc3\xa4", "x\"\\\n\x01,", "", "long " + std::string(300, 'x')};

FitFile make_fit(bool with_prompts) {
  FitFile fit;
  fit.path = "fit.h5";
  PairColumns& pairs = fit.labels.pairs;
  for (std::uint32_t i = 0; i < kIds.size(); ++i) {
    fit.item_ids.push_back(kIds[i]);
    fit.labels.items.component.push_back(static_cast<std::int32_t>(i / 2));
    if (with_prompts) fit.prompt.push_back(i / 2);
    if (i % 2 == 1) continue;
    if (with_prompts) fit.prompt_ids.push_back(kIds[i]);
    pairs.left.push_back(i);
    pairs.right.push_back(i + 1);
  }
  const auto count = pairs.left.size();
  pairs.votes.assign(count, 4);
  pairs.ties.assign(count, 1);
  pairs.flagged_votes.assign(count, 0);
  pairs.probability.assign(count, 0.7f);
  pairs.probability_better.assign(count, 0.8f);
  pairs.target.assign(count, 0.9f);
  pairs.weight.assign(count, 2);
  pairs.margin.assign(count, 1.5f);
  pairs.margin_se.assign(count, 0.5f);
  return fit;
}

/// Texts by id as another library reads them; false where it refuses a line or an id comes twice.
bool read_again(std::string_view file, std::map<std::string, Json>& texts) {
  if (file.starts_with("\xef\xbb\xbf")) file.remove_prefix(3);
  while (!file.empty()) {
    const std::string_view line = file.substr(0, file.find('\n'));
    file.remove_prefix(std::min(line.size() + 1, file.size()));
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("id") || !json.contains("text")) return false;
    const Json& id = json["id"];
    if (!id.is_string() && !id.is_number_integer()) return false;
    if (!texts.emplace(id.is_string() ? id.get<std::string>() : id.dump(), json["text"]).second) return false;
  }
  return true;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void check_json(const std::string& rows, const std::map<std::string, Json>* texts) {
  std::size_t begin = 0;
  for (std::size_t end; (end = rows.find('\n', begin)) != rows.npos; begin = end + 1) {
    const Json row = Json::parse(rows.substr(begin, end - begin), nullptr, false);
    VOXPOP_REQUIRE(row.is_object());
    if (texts == nullptr || !row.contains("chosen_id") || !row.contains("chosen")) continue;
    for (const std::string side : {"chosen", "rejected"}) {
      const auto text = texts->find(row[side + "_id"].get<std::string>());
      VOXPOP_REQUIRE(text != texts->end() && text->second == row[side]);
    }
  }
  VOXPOP_REQUIRE(begin == rows.size());
}

void check_csv(const std::string& rows, const std::map<std::string, Json>* texts) {
  const Context context;
  Progress progress("", 1, context);
  TextFile file(fuzz::memory_file(rows, 2), progress, 0);
  const std::vector<TableColumn> columns = {
      {"chosen_id", "", true}, {"rejected_id", "", true}, {"chosen", "", true}, {"rejected", "", true}};
  read_table(file, TableFormat::kCsv, columns, [&](const Row& row) {
    for (int side = 0; side < 2 && texts != nullptr; ++side) {
      const auto text = texts->find(std::string(*row.values[side]));
      if (row.values[side + 2]->empty()) continue;
      VOXPOP_REQUIRE(text != texts->end());
      VOXPOP_REQUIRE(!text->second.is_string() || text->second.get<std::string>() == *row.values[side + 2]);
    }
  });
}

}  // namespace
}  // namespace voxpop

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  if (size < 3) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
  ExportOptions options;
  options.format = static_cast<ExportFormat>(data[0] % 7);
  options.drop_missing = (data[0] & 128) == 0;
  options.expand = (data[1] & 1) != 0 ? data[1] >> 4 : 0;
  const bool with_prompts = (data[1] & 2) != 0, as_prompts = with_prompts && (data[1] & 4) != 0,
             two = (data[1] & 8) != 0;
  if (two) options.parts = {0.5, 0.5};
  options.seed = data[2];
  const FitFile fit = make_fit(with_prompts);
  const std::string path = fuzz::memory_file(text);
  fuzz::ends_well([&] {
    const Texts items({path}, fit.item_ids, fuzz::context());
    std::optional<Texts> prompts;
    if (as_prompts) prompts.emplace(std::vector{path}, fit.prompt_ids, fuzz::context());
    std::vector<TextOutput> outputs;
    for (int part = 0; part < 1 + two; ++part) outputs.emplace_back(fuzz::folder() + "/rows" + std::to_string(part));
    export_rows(fit, {&items, prompts ? &*prompts : nullptr}, options, outputs, [](std::uint64_t) {});
    std::map<std::string, Json> again;
    const bool comparable = read_again(text, again);
    for (std::size_t part = 0; part < outputs.size(); ++part) {
      outputs[part].commit();
      const std::string rows = read_file(fuzz::folder() + "/rows" + std::to_string(part));
      (options.format == ExportFormat::kCsv ? check_csv : check_json)(rows, comparable ? &again : nullptr);
    }
  });
  return 0;
}
