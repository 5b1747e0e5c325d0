#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace voxpop {

/// Many short strings in one block of memory. Each costs 8 bytes more than its text, and no allocation of its own.
class Strings {
 public:
  std::size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  std::string_view operator[](std::size_t i) const {
    const std::uint64_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }
  void push_back(std::string_view s) {
    text_.append(s);
    ends_.push_back(text_.size());
  }
  /// Appends one string per field. Fields have `width` characters; string i is the first `lengths[i]` characters of its
  /// field.
  void append_fields(const char* fields, std::size_t width, std::span<const std::uint32_t> lengths);
  void reserve(std::size_t count, std::size_t characters) {
    ends_.reserve(count);
    text_.reserve(characters);
  }
  std::size_t longest() const {
    std::size_t longest = 0;
    for (std::size_t i = 0; i < size(); ++i) longest = std::max(longest, (*this)[i].size());
    return longest;
  }
  std::size_t characters() const { return text_.size(); }
  bool operator==(const Strings& other) const = default;

 private:
  std::string text_;
  std::vector<std::uint64_t> ends_;
};

}  // namespace voxpop
