#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/seeded_hash.h"
#include "core/strings.h"

namespace voxpop {

/// Assigns indices 0, 1, 2, ... to ids in order of first appearance. A hash table with open addressing. Memory per id:
/// its text, 8 bytes, and 11 to 21 bytes of hash slots.
class IdTable {
 public:
  /// Returns the id's index, and true if the id was added by this call.
  std::pair<std::uint32_t, bool> number(std::string_view id) {
    if (4 * (ids_.size() + 1) > 3 * slots_.size()) grow();
    const std::uint32_t hash = hash_of(id);
    Slot& slot = slots_[place(hash, [&](std::uint32_t index) { return ids_[index] == id; })];
    const bool is_new = slot.index == kFree;
    if (is_new) {
      slot = {static_cast<std::uint32_t>(ids_.size()), hash};
      ids_.push_back(id);
    }
    return {slot.index, is_new};
  }

  /// Returns the id's index, or nullopt if the table does not contain the id.
  std::optional<std::uint32_t> find(std::string_view id) const {
    if (slots_.empty()) return std::nullopt;
    const std::uint32_t index = slots_[place(hash_of(id), [&](std::uint32_t i) { return ids_[i] == id; })].index;
    return index == kFree ? std::nullopt : std::optional(index);
  }

  const Strings& ids() const { return ids_; }
  /// Moves the ids out of the table. The table must not be used after this call.
  Strings release() { return std::move(ids_); }

 private:
  static constexpr std::uint32_t kFree = 0xffffffffu;
  struct Slot {
    std::uint32_t index = kFree;
    std::uint32_t hash = 0;  ///< avoids most text comparisons, and hashing all ids again when the table grows
  };

  static std::uint32_t hash_of(std::string_view id) { return static_cast<std::uint32_t>(SeededHash()(id)); }

  /// Index of the slot that holds the id, or of the free slot where the id belongs.
  template <class IsIt>
  std::size_t place(std::uint32_t hash, const IsIt& is_it) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash & mask;
    while (slots_[i].index != kFree && !(slots_[i].hash == hash && is_it(slots_[i].index))) i = (i + 1) & mask;
    return i;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.index != kFree) slots_[place(slot.hash, [](std::uint32_t) { return false; })] = slot;
  }

  Strings ids_;
  std::vector<Slot> slots_;
};

}  // namespace voxpop
