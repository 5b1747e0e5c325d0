#include "ranks/ranks.h"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/threads.h"

namespace voxpop {

namespace {

/// Largest message in bytes. MPI counts are of type int.
constexpr std::size_t kMessage = std::size_t{1} << 30;

void wait(MPI_Request request) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) return;
    const auto waited = Clock::now() - begin;
    if (waited > std::chrono::milliseconds(2))
      std::this_thread::sleep_for(std::min<Clock::duration>(waited / 20, std::chrono::milliseconds(5)));
  }
}

/// Splits the data into messages and calls exchange(data, bytes) for each.
template <class Byte, class Exchange>
void in_messages(Byte* data, std::size_t bytes, const Exchange& exchange) {
  for (std::size_t at = 0; at < bytes; at += kMessage)
    wait(exchange(data + at, static_cast<int>(std::min(kMessage, bytes - at))));
}

}  // namespace

Ranks::Ranks() {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (provided < MPI_THREAD_SERIALIZED)
    throw usage_error(
        "this MPI allows calls from one thread only, but voxpop needs MPI_THREAD_SERIALIZED; use another MPI, or start "
        "one process only");
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
  int on_node = 1;
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_size(node, &on_node);
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof mine, &mine);
  std::vector<cpu_set_t> all(on_node);
  MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, node);
  MPI_Comm_free(&node);
  const auto sharers =
      std::count_if(all.begin(), all.end(), [&](const cpu_set_t& set) { return CPU_EQUAL(&set, &mine); });
  cores_ = std::max(1, available_cores() / static_cast<int>(sharers));
}

Ranks::~Ranks() { MPI_Finalize(); }

void Ranks::broadcast(void* data, std::size_t bytes) {
  in_messages(static_cast<char*>(data), bytes, [](char* part, int count) {
    MPI_Request request;
    MPI_Ibcast(part, count, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    return request;
  });
}

void Ranks::send(int to, const void* data, std::size_t bytes) {
  in_messages(static_cast<const char*>(data), bytes, [&](const char* part, int count) {
    MPI_Request request;
    MPI_Isend(part, count, MPI_BYTE, to, 0, MPI_COMM_WORLD, &request);
    return request;
  });
}

void Ranks::receive(int from, void* data, std::size_t bytes) {
  in_messages(static_cast<char*>(data), bytes, [&](char* part, int count) {
    MPI_Request request;
    MPI_Irecv(part, count, MPI_BYTE, from, 0, MPI_COMM_WORLD, &request);
    return request;
  });
}

void Ranks::sum(std::span<std::int64_t> values) {
  constexpr std::size_t kMost = kMessage / sizeof(std::int64_t);
  for (std::size_t at = 0; at < values.size(); at += kMost) {
    std::int64_t* part = values.data() + at;
    MPI_Request request;
    MPI_Ireduce(leads() ? MPI_IN_PLACE : part, part, static_cast<int>(std::min(kMost, values.size() - at)), MPI_INT64_T,
                MPI_SUM, 0, MPI_COMM_WORLD, &request);
    wait(request);
  }
}

float Ranks::largest(float value) {
  float out = value;
  MPI_Request request;
  MPI_Ireduce(&value, &out, 1, MPI_FLOAT, MPI_MAX, 0, MPI_COMM_WORLD, &request);
  wait(request);
  return out;
}

void Ranks::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace voxpop
