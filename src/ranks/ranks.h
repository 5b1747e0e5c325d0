#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace voxpop {

/// The processes that fit together: MPI ranks, started by mpirun or srun. The first rank is the leader: it reads,
/// groups, labels and writes. Each rank may call MPI from one thread at a time. Both sides of an exchange must give the
/// same size. A rank sleeps while it waits, so that the leader's threads can use its cores.
class Ranks {
 public:
  /// Initialises MPI. Throws a usage error if MPI does not support MPI_THREAD_SERIALIZED.
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool leads() const { return rank_ == 0; }
  /// Index of this rank among the ranks on its node.
  int local_rank() const { return local_rank_; }
  /// CPU cores for this rank: the cores that it may use, divided by the number of ranks on its node with the same
  /// cores.
  int cores() const { return cores_; }

  /// From the leader to all other ranks.
  void broadcast(void* data, std::size_t bytes);
  void send(int to, const void* data, std::size_t bytes);
  void receive(int from, void* data, std::size_t bytes);
  /// The sum over all ranks. Only the leader has the result; the same holds for largest().
  void sum(std::span<std::int64_t> values);
  float largest(float value);

  /// Whether an exchange is under way. The other ranks then wait for its end and cannot receive another order.
  bool busy() const { return busy_; }
  void set_busy(bool busy) { busy_ = busy; }
  /// Ends all ranks immediately.
  [[noreturn]] void abort(int exit_code);

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, cores_ = 1;
  bool busy_ = false;
};

}  // namespace voxpop
