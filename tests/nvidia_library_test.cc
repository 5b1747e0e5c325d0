#include "fit/nvidia_library.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

namespace voxpop {
namespace {

namespace fs = std::filesystem;

struct NvidiaLibrary : testing::Test {
  fs::path root = fs::path(testing::TempDir()) / ("nvidia_library." + std::to_string(getpid()));
  fs::path site = root / "lib" / "python3.12" / "site-packages";

  ~NvidiaLibrary() override { fs::remove_all(root); }
  void put(const fs::path& file) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "x";
  }
};

TEST_F(NvidiaLibrary, is_found_beside_the_package) {
  put(site / "nvidia/cu13/lib/libcusolver.so.12");
  const fs::path wanted = site / "nvidia/cu13/lib/libcusolver.so.12";
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/bin/voxpop"), wanted);
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/lib/libvoxpop.so"), wanted);
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/libvoxpop.so"), wanted);
}

TEST_F(NvidiaLibrary, of_the_older_packages_is_found_and_another_version_is_not) {
  put(site / "nvidia/cusolver/lib/libcusolver.so.11");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.11", site / "voxpop/bin/voxpop"),
            site / "nvidia/cusolver/lib/libcusolver.so.11");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/bin/voxpop"), "");
}

TEST_F(NvidiaLibrary, nearest_folder_comes_first) {
  put(root / "nvidia/cu13/lib/libcusolver.so.12");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/bin/voxpop"),
            root / "nvidia/cu13/lib/libcusolver.so.12");
  put(site / "nvidia/cu13/lib/libcusolver.so.12");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/bin/voxpop"),
            site / "nvidia/cu13/lib/libcusolver.so.12");
}

TEST_F(NvidiaLibrary, folders_of_that_name_and_odd_starts_are_no_library) {
  fs::create_directories(site / "nvidia/cu13/lib/libcusolver.so.12");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", site / "voxpop/bin/voxpop"), "");
  EXPECT_EQ(find_nvidia_library("libcusolver.so.12", ""), "");
  EXPECT_EQ(find_nvidia_library("no-such-library", "voxpop"), "");
  EXPECT_EQ(find_nvidia_library("no-such-library", "/voxpop"), "");
}

TEST(OwnFile, is_the_program_of_these_tests) { EXPECT_EQ(own_file().filename(), "voxpop_tests"); }

}  // namespace
}  // namespace voxpop
