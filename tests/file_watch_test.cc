#include "cli/file_watch.h"

#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/output_file.h"
#include "hdf5/hdf5.h"
#include "hdf5/watched_call.h"
#include "helpers.h"

namespace voxpop {
namespace {

using namespace std::chrono_literals;
using Crashes = ProgramFileWatch::Crashes;

std::chrono::nanoseconds used_by_this_thread() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

void compute_for(std::chrono::nanoseconds time) {
  for (const auto end = used_by_this_thread() + time; used_by_this_thread() < end;) continue;
}

constexpr std::chrono::milliseconds kPatience = 100ms, kLong = 10s;
const auto kEndsAsBadInput = testing::ExitedWithCode(3);
constexpr const char* kMessage = "^voxpop: f.h5: the HDF5 library fails on this file, so the file is damaged[^\n]*\n$";

/// Each test ends a process of its own: a program has one watch.
class FileWatchTest : public test::FileTest {
 protected:
  FileWatchTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};
using FileWatchDeathTest = FileWatchTest;

TEST_F(FileWatchDeathTest, ends_what_computes_for_too_long) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("f.h5", 0);
        compute_for(kLong);
        _exit(0);
      },
      kEndsAsBadInput, kMessage);
}

TEST_F(FileWatchDeathTest, an_inner_call_leaves_the_outer_one_watched) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("f.h5", 0);
        for (int i = 0; i < 3; ++i) {
          watch.begin("other.h5", 0);
          watch.begin("third.h5", 0);
          watch.end();
          watch.end();
        }
        compute_for(kLong);
        _exit(0);
      },
      kEndsAsBadInput, kMessage);
}

TEST_F(FileWatchDeathTest, the_outer_call_has_what_it_had_left) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("f.h5", 0);
        for (int i = 0; i < 1000; ++i) {  // else it would never end
          compute_for(kPatience / 10);
          watch.begin("f.h5", 0);
          watch.end();
        }
        _exit(0);
      },
      kEndsAsBadInput, kMessage);
}

TEST_F(FileWatchDeathTest, an_inner_call_is_watched_and_named) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("outer.h5", std::uint64_t{1} << 40);
        watch.begin("f.h5", 0);
        compute_for(kLong);
        _exit(0);
      },
      kEndsAsBadInput, kMessage);
}

TEST_F(FileWatchDeathTest, each_thread_is_watched) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("main.h5", 0);  // it waits, which takes no CPU time
        std::thread([&] {
          watch.begin("f.h5", 0);
          compute_for(kLong);
        }).join();
        _exit(0);
      },
      kEndsAsBadInput, kMessage);
}

TEST_F(FileWatchDeathTest, what_other_threads_do_does_not_count) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("f.h5", 0);
        std::vector<std::thread> others;
        for (int i = 0; i < 4; ++i)
          others.emplace_back([&] {
            compute_for(3 * kPatience);
            watch.begin("f.h5", 0);
            watch.end();
            compute_for(3 * kPatience);
          });
        for (std::thread& other : others) other.join();
        watch.end();
        _exit(0);
      },
      testing::ExitedWithCode(0), "^$");
}

TEST_F(FileWatchDeathTest, what_is_done_between_calls_does_not_count) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        for (int i = 0; i < 3; ++i) {
          watch.begin("f.h5", 0);
          compute_for(kPatience / 2);
          watch.end();
          compute_for(2 * kPatience);
        }
        _exit(0);
      },
      testing::ExitedWithCode(0), "^$");
}

TEST_F(FileWatchDeathTest, more_bytes_may_take_longer) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("f.h5", 200'000'000);
        compute_for(5 * kPatience);
        watch.end();
        _exit(0);
      },
      testing::ExitedWithCode(0), "^$");
}

TEST_F(FileWatchDeathTest, a_path_is_no_command_to_a_terminal) {
  EXPECT_EXIT(
      {
        ProgramFileWatch watch(kPatience, Crashes::kOthers);
        watch.begin("\x1b[2J\nvoxpop.h5", 0);
        compute_for(kLong);
        _exit(0);
      },
      kEndsAsBadInput, "^voxpop: .\\[2J.voxpop.h5: the HDF5 library fails on this file");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST_F(FileWatchDeathTest, crashes_are_bad_input) {
  for (const int crash : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    EXPECT_EXIT(
        {
          ProgramFileWatch watch(kLong, Crashes::kOurs);
          watch.begin("f.h5", 0);
          watch.begin("inner.h5", 0);
          watch.end();
          raise(crash);
          _exit(0);
        },
        kEndsAsBadInput, kMessage)
        << crash;
}

TEST_F(FileWatchDeathTest, crashes_elsewhere_are_crashes) {
  const auto crash_outside = [](bool of_another_thread) {
    ProgramFileWatch watch(kLong, Crashes::kOurs);
    watch.begin("f.h5", 0);
    if (of_another_thread) std::thread([] { raise(SIGSEGV); }).join();
    watch.end();
    raise(SIGSEGV);
    _exit(0);
  };
  for (const bool of_another_thread : {false, true})
    EXPECT_EXIT(crash_outside(of_another_thread), testing::KilledBySignal(SIGSEGV), "");
}

/// As a file's groups within groups can make HDF5 do it.
std::uint64_t recurse(std::uint64_t depth) {
  volatile char frame[256] = {};
  frame[depth % 256] = 1;
  return depth == 0 ? 0 : recurse(depth - 1) + static_cast<std::uint64_t>(frame[7]);
}

TEST_F(FileWatchDeathTest, a_stack_that_is_used_up_is_bad_input_in_any_thread) {
  const auto overflow = [] {
    ProgramFileWatch watch(kLong, Crashes::kOurs);
    std::thread([&] {
      watch.begin("f.h5", 0);
      if (recurse(std::uint64_t{1} << 40) == 0) return;
      watch.end();
    }).join();
    _exit(0);
  };
  EXPECT_EXIT(overflow(), kEndsAsBadInput, kMessage);
}
#endif

TEST_F(FileWatchTest, leaves_signals_as_they_were) {
  const auto handlers = [] {
    std::vector<void (*)(int)> found;
    for (const int signal : {SIGVTALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
      struct sigaction action {};
      sigaction(signal, nullptr, &action);
      found.push_back(action.sa_handler);
    }
    return found;
  };
  const auto before = handlers();
  {
    const ProgramFileWatch watch;
    EXPECT_NE(handlers(), before);
  }
  EXPECT_EQ(handlers(), before);
}

/// Counts the calls that threads are within.
class CountingWatch : public FileWatch {
 public:
  void begin(const std::string& path, std::uint64_t bytes) override {
    ++within;
    ++begun;
    largest = std::max(largest, bytes);
    path_ = path;
  }
  void end() override { --within; }
  int within = 0, begun = 0;
  std::uint64_t largest = 0;
  std::string path_;
};

class WatchedFile : public test::FileTest {
 protected:
  static constexpr std::uint64_t kRows = 4 << 20;
  WatchedFile() {
    std::vector<std::int64_t> numbers(kRows);
    for (std::size_t i = 0; i < kRows; ++i) numbers[i] = static_cast<std::int64_t>(i % 7);
    Strings ids, names;
    for (int i = 0; i < 1000; ++i) ids.push_back("id" + std::to_string(i));
    for (const char* name : {"a", "b"}) names.push_back(name);
    OutputFile output(path("f.h5"));
    OutputHdf5 file(output, true);
    file.write("comparisons/numbers", numbers);
    file.write("comparisons/floats", std::vector<double>(1000, 0.5));
    file.write("comparisons/ids", ids);
    file.write_matrix("items/matrix", std::vector<float>(1000, 0.5f), 2);
    file.write_enum("items/enum", std::vector<std::int8_t>(10, 1), {"no", "yes"});
    file.write_attribute("items/matrix", "names", names);
    file.write_group_attribute("comparisons", "sides", "known");
    file.write_attribute("schema", "none");
    file.finish();
  }
  static Error refuse(std::uint64_t row, const std::string&) { return bad_input("row {} is refused", row); }
};

TEST_F(WatchedFile, whatever_reads_the_file_is_watched) {
  CountingWatch watch;
  const InputHdf5 file(path("f.h5"), {.watch = &watch});
  EXPECT_GT(watch.begun, 0);
  EXPECT_EQ(watch.within, 0);
  const auto is_watched = [&](const char* what, const std::function<void()>& call) {
    const int before = watch.begun;
    call();
    EXPECT_GT(watch.begun, before) << what;
    EXPECT_EQ(watch.within, 0) << what;
  };
  is_watched("has", [&] { file.has("comparisons/numbers"); });
  is_watched("has not", [&] { file.has("comparisons/none"); });
  is_watched("datasets", [&] { EXPECT_EQ(file.datasets().size(), 5u); });
  is_watched("describe", [&] { file.describe("comparisons/numbers"); });
  is_watched("attribute", [&] { EXPECT_EQ(file.attribute("schema"), "none"); });
  is_watched("attributes", [&] { EXPECT_EQ(file.attribute("items/matrix", "names").size(), 2u); });
  is_watched("group_attribute", [&] { EXPECT_EQ(file.group_attribute("comparisons", "sides"), "known"); });
  is_watched("rows", [&] { EXPECT_EQ(file.rows("comparisons/numbers"), kRows); });
  is_watched("matrix_shape", [&] { EXPECT_EQ(file.matrix_shape("items/matrix").columns, 2u); });
  is_watched("read_indices", [&] { file.read_indices("comparisons/numbers", 7, "numbers"); });
  is_watched("read_enum", [&] { file.read_enum("items/enum", 0, 1, refuse); });
  is_watched("read_floats", [&] { file.read_floats("comparisons/floats"); });
  is_watched("read_matrix", [&] { file.read_matrix("items/matrix"); });
  is_watched("read_strings", [&] { EXPECT_EQ(file.read_strings("comparisons/ids").size(), 1000u); });
  is_watched("what throws", [&] { EXPECT_THROW(file.rows("items/matrix"), Error); });
  is_watched("what is missing", [&] { EXPECT_THROW(file.rows("items/none"), Error); });
  EXPECT_EQ(watch.path_, path("f.h5"));
}

TEST_F(WatchedFile, our_own_work_is_not) {
  CountingWatch watch;
  const InputHdf5 file(path("f.h5"), {.watch = &watch});
  int within = -1;
  const auto refuse_and_look = [&](std::uint64_t row, const std::string& value) {
    within = watch.within;
    return refuse(row, value);
  };
  EXPECT_THROW(file.read_integers<std::int32_t>("comparisons/numbers", {0, kRows}, 0, 5, refuse_and_look), Error);
  EXPECT_EQ(within, 0);
  EXPECT_EQ(watch.within, 0);
  bool seen = false;
  file.visit_datasets("items", [&](const std::string& name) {
    seen = seen || name == "items/matrix";
    return true;
  });
  EXPECT_TRUE(seen);
  EXPECT_THROW(file.visit_datasets("/", [](const std::string&) -> bool { throw bad_input("enough"); }), Error);
  EXPECT_EQ(watch.within, 0);
}

TEST_F(WatchedFile, a_long_column_has_time_for_each_part_of_it) {
  using oneapi::tbb::global_control;
  const global_control one_thread(global_control::max_allowed_parallelism, 1);
  ProgramFileWatch watch(10ms, Crashes::kOthers);
  const auto began = used_by_this_thread();
  while (used_by_this_thread() - began < 200ms)
    InputHdf5(path("f.h5"), {.watch = &watch})
        .read_integers<std::int64_t>("comparisons/numbers", {0, kRows}, 0, 6, refuse);
}

TEST_F(WatchedFile, a_large_chunk_may_take_long) {
  constexpr hsize_t kChunk = 80 << 20;  // bytes: more than is read past HDF5
  {
    const std::vector<std::int8_t> zeros(kChunk);
    const Handle file(H5Fcreate(path("large.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    const Handle space(H5Screate_simple(1, &kChunk, nullptr), H5Sclose);
    const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(creation, 1, &kChunk);
    H5Pset_deflate(creation, 1);
    const Handle set(H5Dcreate2(file, "zeros", H5T_STD_I8LE, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose);
    ASSERT_GE(H5Dwrite(set, H5T_STD_I8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data()), 0);
  }
  CountingWatch watch;
  const InputHdf5 file(path("large.h5"), {.watch = &watch});
  EXPECT_EQ(file.read_integers<std::int8_t>("zeros", {0, 5}, 0, 0, refuse).size(), 5u);
  EXPECT_GE(watch.largest, kChunk);
}

class Hdf5State : public WatchedFile {};

/// A program that uses the library and HDF5 finds HDF5 as it left it.
TEST_F(Hdf5State, stays_as_it_was) {
  const auto keep = [](hid_t, void*) -> herr_t { return 0; };
  int mine = 0;
  ASSERT_GE(H5Eset_auto2(H5E_DEFAULT, keep, &mine), 0);
  const auto is_as_before = [&] {
    H5E_auto2_t function = nullptr;
    void* data = nullptr;
    H5Eget_auto2(H5E_DEFAULT, &function, &data);
    return function == static_cast<H5E_auto2_t>(keep) && data == &mine && H5Lis_registered(H5L_TYPE_EXTERNAL) > 0;
  };
  {
    const InputHdf5 file(path("f.h5"));
    EXPECT_TRUE(is_as_before());
    file.read_floats("comparisons/floats");
    EXPECT_THROW(file.rows("none"), Error);
    EXPECT_TRUE(is_as_before());
    OutputFile output(path("g.h5"));
    OutputHdf5 written(output, true);
    EXPECT_TRUE(is_as_before());
    written.write("a/b", std::vector<double>(100'000, 0.5));
    EXPECT_TRUE(is_as_before());
  }
  EXPECT_THROW(InputHdf5(path("none.h5")), Error);
  EXPECT_TRUE(is_as_before());
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

TEST_F(Hdf5State, reasons_are_text_and_short) {
  const std::string name = "\x1b[2J\n" + std::string(10'000'000, 'w');
  H5Eclear2(H5E_DEFAULT);
  H5Epush2(H5E_DEFAULT, "f.c", "f", 1, H5E_ERR_CLS, H5E_FILE, H5E_BADFILE, "%s", name.c_str());
  EXPECT_EQ(hdf5_reason(), "?[2J?" + std::string(195, 'w') + "...");
  H5Eclear2(H5E_DEFAULT);
  EXPECT_EQ(hdf5_reason(), "HDF5 gives no reason");
}

}  // namespace
}  // namespace voxpop
