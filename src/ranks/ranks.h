#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace voxpop {

/// The processes that fit together: MPI's ranks, as mpirun or srun started them. The first one leads: it reads, groups,
/// labels and writes. Each rank makes its calls from one thread at a time; what is exchanged has the same size on both
/// sides. While a rank waits it sleeps, so that the leader's threads may use its cores.
class Ranks {
 public:
  /// Joins the others.
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool leads() const { return rank_ == 0; }
  /// Number of this rank among those on its node.
  int local_rank() const { return local_rank_; }
  /// CPU cores for this rank: those it may use, shared with the ranks of its node that may use the same.
  int cores() const { return cores_; }

  /// From the leader to all others.
  void broadcast(void* data, std::size_t bytes);
  void send(int to, const void* data, std::size_t bytes);
  void receive(int from, void* data, std::size_t bytes);
  /// Of all ranks, at the leader.
  void sum(std::span<std::int64_t> values);
  float largest(float value);

  /// Whether an exchange is under way: others then wait for its end, and can be told nothing else.
  bool busy() const { return busy_; }
  void set_busy(bool busy) { busy_ = busy; }
  /// Ends all ranks, now.
  [[noreturn]] void abort(int exit_code);

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, cores_ = 1;
  bool busy_ = false;
};

}  // namespace voxpop
