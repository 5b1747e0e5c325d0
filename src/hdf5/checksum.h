#pragma once
#include <fmt/format.h>
#include <xxhash.h>

#include <cstddef>
#include <memory>
#include <string>

namespace voxpop {

/// XXH3-64 checksum of all data added so far, in the order of the calls.
class Checksum {
 public:
  Checksum() : state_(XXH3_createState(), XXH3_freeState) { XXH3_64bits_reset(state_.get()); }
  template <class T>
  void add(const T* data, std::size_t count) {
    XXH3_64bits_update(state_.get(), data, count * sizeof(T));
  }
  /// The checksum as 16 hex digits.
  std::string digits() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_.get())); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

}  // namespace voxpop
