// Files as bytes: votes and fits with anything changed in them. The HDF5 library itself crashes on some;
// scripts/fuzz.sh tells those from ours.

#include <fstream>

#include "files/fit_file.h"
#include "harness.h"
#include "hdf5/hdf5.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace voxpop;
  const std::string path = fuzz::folder() + "/input.h5";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  std::string schema;
  fuzz::ends_well([&] {
    const InputHdf5 file(path, fuzz::context());
    schema = file.attribute("voxpop_schema");
    for (const std::string& name : file.datasets()) file.describe(name);
  });
  if (schema == "fit/1") {
    fuzz::ends_well([&] { read_earlier_fit(path); });
    fuzz::ends_well([&] { read_fit_file(path, fuzz::context()); });
    return 0;
  }
  Votes votes;
  if (fuzz::ends_well([&] { votes = read_votes({path}, fuzz::context()); })) fuzz::check_votes(votes);
  return 0;
}
