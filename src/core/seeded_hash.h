#pragma once
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string_view>

namespace voxpop {

/// A hash function with a random secret per process. An attacker cannot prepare texts or numbers that all have the same
/// hash, which would make a hash table as slow as a list. Hashes differ from run to run, so no output may depend on
/// them or on the iteration order of a table that uses them.
struct SeededHash {
  std::uint64_t operator()(std::string_view text) const { return of(text.data(), text.size()); }
  std::uint64_t operator()(std::uint64_t number) const { return of(&number, sizeof number); }

 private:
  static std::uint64_t of(const void* bytes, std::size_t size) {
    static const auto secret = [] {
      std::array<unsigned, 48> drawn;  // 192 bytes, the size of XXH3's default secret
      std::random_device random;
      std::generate(drawn.begin(), drawn.end(), std::ref(random));
      return drawn;
    }();
    static_assert(sizeof secret >= XXH3_SECRET_SIZE_MIN);
    return XXH3_64bits_withSecret(bytes, size, secret.data(), sizeof secret);
  }
};

}  // namespace voxpop
