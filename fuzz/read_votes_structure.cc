// Comparisons files that the HDF5 library writes, with whatever may be odd about them. Every file must be read or
// refused; what is read is fitted.

#include "dataset.h"
#include "harness.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  using fuzz::Kind;
  using fuzz::odd;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  FuzzedDataProvider in(data, size);
  const auto up_to = [&](std::uint64_t most) { return in.ConsumeIntegralInRange<std::uint64_t>(0, most); };
  const std::uint64_t items = 2 + up_to(7), annotators = 1 + up_to(3), rows = 1 + up_to(40), features = up_to(3);
  const bool has_prompts = in.ConsumeBool();
  const std::uint64_t prompts = has_prompts ? 1 + up_to(1) : 1;
  const bool named_prompts = in.ConsumeBool(), timed = in.ConsumeBool(), scored = in.ConsumeBool(),
             with_truth = in.ConsumeBool(), anonymous = in.ConsumeBool();
  const int levels = static_cast<int>(up_to(9));
  const std::uint64_t stride = 1 + up_to(6);

  const std::string path = fuzz::folder() + "/votes.h5";
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (in.ConsumeBool()) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  VOXPOP_REQUIRE(file >= 0);
  fuzz::write_attribute(in, file, "voxpop_schema", {"comparisons/1"}, true);
  const bool sourced = odd(in);
  bool own = true;  // whatever votes cannot do without
  const auto write = [&](const char* name, Kind kind, std::uint64_t count, std::function<double(std::uint64_t)> value,
                         std::uint64_t columns = 0) {
    return fuzz::write_dataset(in, file, {name, kind, count, columns, std::move(value)});
  };
  const auto number = [&](std::uint64_t i) { return static_cast<double>(i); };
  const auto drawn = [&](std::uint64_t) { return in.ConsumeFloatingPointInRange(-9.0, 9.0); };
  if (odd(in)) H5Lcreate_external("/dev/zero", "/", file, "far", H5P_DEFAULT, H5P_DEFAULT);
  const Kind index = in.PickValueInArray({Kind::kInt32, Kind::kUint32, Kind::kInt64, Kind::kUint8, Kind::kInt32Be});
  // Items 2k and 2k + 1 answer prompt k % prompts where there are prompts; then pairs keep to a prompt.
  const auto left = [&](std::uint64_t row) { return row * stride % items; };
  const auto right = [&](std::uint64_t row) {
    const std::uint64_t other = (row * stride + prompts * (1 + row % 2)) % items;
    return has_prompts && other % prompts != left(row) % prompts ? left(row) : other;
  };
  own &= write("comparisons/left", index, rows, [&](std::uint64_t row) { return number(left(row)); });
  own &= write("comparisons/right", index, rows, [&](std::uint64_t row) { return number(right(row)); });
  own &= write("comparisons/preference", Kind::kInt8, rows,
               [&](std::uint64_t) { return static_cast<double>(in.ConsumeIntegralInRange(-levels, levels)); });
  own &= write("items/id", in.ConsumeBool() ? Kind::kText : Kind::kFixedText, items, number);
  if (!anonymous) {
    write("comparisons/annotator", index, rows, [&](std::uint64_t row) { return number(row % annotators); });
    write("annotators/id", Kind::kText, annotators, number);
  }
  if (timed) write("comparisons/timestamp", Kind::kInt64, rows, [&](std::uint64_t row) { return 1.7e9 + number(row); });
  if (has_prompts) {
    write("items/prompt", index, items, [&](std::uint64_t item) { return number(item % prompts); });
    if (named_prompts) write("prompts/id", Kind::kText, prompts, number);
  }
  if (sourced) {
    write("items/source", Kind::kInt32, items, [&](std::uint64_t item) { return number(item % 3) - 1; });
    write("sources/id", Kind::kText, 2, number);
  }
  if (scored) write("items/prior_score", Kind::kFloat32, items, drawn);
  if (features > 0) {
    write("items/features", in.ConsumeBool() ? Kind::kFloat32 : Kind::kFloat64, items, drawn, features);
    if (const hid_t dataset = H5Dopen2(file, "items/features", H5P_DEFAULT); dataset >= 0) {
      std::vector<std::string> names;
      for (std::uint64_t f = 0; f < features; ++f) names.push_back("feature " + std::to_string(f));
      if (in.ConsumeBool()) fuzz::write_attribute(in, dataset, "names", names, false);
      H5Dclose(dataset);
    }
  }
  if (with_truth) {
    write("truth/score", Kind::kFloat64, items, drawn);
    for (const char* name : {"truth/discrimination", "truth/side_bias"}) write(name, Kind::kFloat64, annotators, drawn);
    write("truth/kind", Kind::kText, annotators, number);
    if (in.ConsumeBool()) write("truth/lapse_rate", Kind::kFloat64, annotators, drawn);
    if (in.ConsumeBool()) write("truth/drifts", Kind::kInt8, annotators, [](std::uint64_t) { return 1.0; });
    if (in.ConsumeBool()) write("truth/feature_coefficients", Kind::kFloat64, features, drawn);
    if (in.ConsumeBool()) write("truth/taste", Kind::kFloat64, annotators, drawn, features);
  }
  if (odd(in)) write("other/thing", Kind::kText, 3, number);
  if (odd(in)) H5Lcreate_hard(file, "/", file, "loop", H5P_DEFAULT, H5P_DEFAULT);
  VOXPOP_REQUIRE(H5Fclose(file) >= 0);
  H5Pclose(access);

  Votes votes;
  std::vector<std::string> paths = {path};
  if (odd(in)) paths.push_back(path);  // the same votes twice, joined by id
  if (!fuzz::ends_well([&] { votes = read_votes(paths, fuzz::context()); })) return 0;
  VOXPOP_REQUIRE(own);
  fuzz::check_votes(votes);
  FitRequest choice;
  choice.model = in.PickValueInArray({Model::kRater, Model::kBradleyTerry, Model::kCrowdBt});
  choice.max_iterations = 5;
  choice.force = true;
  if (votes.size() <= 100) fuzz::ends_well([&] { fuzz::check_fit(std::move(votes), choice); });
  return 0;
}
