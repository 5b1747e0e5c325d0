#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/strings.h"

namespace voxpop {

/// Numbers ids in order of first appearance. Open addressing; beside its text, an id takes 8 bytes and 11 to 21 of
/// slots.
class IdTable {
 public:
  /// The id's number, and whether it is new.
  std::pair<std::uint32_t, bool> number(std::string_view id) {
    if (4 * (ids_.size() + 1) > 3 * slots_.size()) grow();
    const auto hash = static_cast<std::uint32_t>(std::hash<std::string_view>{}(id));
    Slot& slot = find(hash, [&](std::uint32_t index) { return ids_[index] == id; });
    const bool is_new = slot.index == kFree;
    if (is_new) {
      slot = {static_cast<std::uint32_t>(ids_.size()), hash};
      ids_.push_back(id);
    }
    return {slot.index, is_new};
  }

  const Strings& ids() const { return ids_; }
  /// Gives the ids away; the table must not be used again.
  Strings release() { return std::move(ids_); }

 private:
  static constexpr std::uint32_t kFree = 0xffffffffu;
  struct Slot {
    std::uint32_t index = kFree;
    std::uint32_t hash = 0;  ///< spares most comparisons of text, and reading it again when the table grows
  };

  template <class IsIt>
  Slot& find(std::uint32_t hash, const IsIt& is_it) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash & mask;
    while (slots_[i].index != kFree && !(slots_[i].hash == hash && is_it(slots_[i].index))) i = (i + 1) & mask;
    return slots_[i];
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.index != kFree) find(slot.hash, [](std::uint32_t) { return false; }) = slot;
  }

  Strings ids_;
  std::vector<Slot> slots_;
};

}  // namespace voxpop
