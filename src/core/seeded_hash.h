#pragma once
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string_view>

namespace voxpop {

/// A hash with a secret of this process alone: nobody can choose texts or numbers beforehand that all have one hash,
/// which would make a table as slow as a list. It differs from run to run, so no output may depend on it, nor on the
/// order in which such a table is gone through.
struct SeededHash {
  std::uint64_t operator()(std::string_view text) const { return of(text.data(), text.size()); }
  std::uint64_t operator()(std::uint64_t number) const { return of(&number, sizeof number); }

 private:
  static std::uint64_t of(const void* bytes, std::size_t size) {
    static const auto secret = [] {
      std::array<unsigned, 48> drawn;  // 192 bytes, as XXH3's own secret
      std::random_device random;
      std::generate(drawn.begin(), drawn.end(), std::ref(random));
      return drawn;
    }();
    static_assert(sizeof secret >= XXH3_SECRET_SIZE_MIN);
    return XXH3_64bits_withSecret(bytes, size, secret.data(), sizeof secret);
  }
};

}  // namespace voxpop
