#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_sort.h>
#include <utf8proc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "core/seeded_hash.h"
#include "core/strings.h"
#include "guards/guards.h"

namespace voxpop {
namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}
bool is_blank(char c) { return static_cast<unsigned char>(c) <= ' '; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// pandas converts an integer id to 17.0 if its column has gaps.
bool ends_like_a_float(std::string_view text) {
  return text.size() > 2 && text.ends_with(".0") && is_digit(text[text.size() - 3]);
}

/// Whether normal_form() leaves the id unchanged. This is true for most ids, which then need no further check.
bool is_normal(std::string_view id) {
  bool after_blank = true;
  for (const char c : id) {
    if (static_cast<unsigned char>(c) >= 0x80 || (c >= 'A' && c <= 'Z')) return false;
    if (is_blank(c) && (after_blank || c != ' ')) return false;
    after_blank = is_blank(c);
  }
  return !after_blank && !ends_like_a_float(id);
}

std::string_view trimmed_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// NFKC with case folding and without invisible characters (NFKC_Casefold in Unicode).
std::string folded(std::string_view text) {
  utf8proc_uint8_t* out = nullptr;
  const auto flags = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                                    UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &out, flags);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, std::free);
  if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  // Not expected, because ids were checked to be valid UTF-8. The id then stays as it is.
  if (size < 0) return std::string(text);
  return std::string(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
}

/// A form that is equal for ids which a reader would take for the same: case and Unicode form folded, single blanks, no
/// blanks at the ends, no ".0" after a digit.
std::string normal_form(std::string_view id) {
  std::string text(id);
  if (is_ascii(id))
    std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 'a' - 'A') : c; });
  else
    text = folded(id);
  std::string out;
  for (const char c : trimmed_blanks(text)) {
    if (is_blank(c) && is_blank(out.back())) continue;
    out += is_blank(c) ? ' ' : c;
  }
  if (ends_like_a_float(out)) out.resize(out.size() - 2);
  return out;
}

/// Describes how two ids with the same normal form differ.
const char* difference(std::string_view a, std::string_view b) {
  const auto without_zero = [](std::string_view text) {
    return ends_like_a_float(text) ? text.substr(0, text.size() - 2) : text;
  };
  if (trimmed_blanks(a) == trimmed_blanks(b)) return "by spaces";
  if (without_zero(a) == without_zero(b)) return "by \".0\"";
  return is_ascii(a) && is_ascii(b) ? "by case or spaces" : "by case or Unicode form";
}

struct Twins {
  std::uint64_t ids = 0;                ///< ids after the first of each normal form
  std::uint32_t first = 0, second = 0;  ///< rows of one example: the first in the table
};

/// Finds ids with the same normal form. If all ids are in normal form, there are none, because ids are unique.
Twins find_twins(const Strings& ids) {
  std::vector<std::uint8_t> odd(ids.size());
  std::atomic<bool> some_odd = false;
  oneapi::tbb::parallel_for(std::size_t{0}, ids.size(), [&](std::size_t row) {
    odd[row] = !is_normal(ids[row]);
    if (odd[row] && !some_odd.load(std::memory_order_relaxed)) some_odd.store(true, std::memory_order_relaxed);
  });
  if (!some_odd) return {};
  std::vector<std::pair<std::uint64_t, std::uint32_t>> hashed(ids.size());
  oneapi::tbb::parallel_for(std::size_t{0}, ids.size(), [&](std::size_t row) {
    const std::string own = odd[row] ? normal_form(ids[row]) : std::string();
    const std::string_view form = odd[row] ? std::string_view(own) : ids[row];
    hashed[row] = {SeededHash()(form), static_cast<std::uint32_t>(row)};
  });
  oneapi::tbb::parallel_sort(hashed);
  Twins twins;
  for (std::size_t i = 1; i < hashed.size(); ++i) {
    if (hashed[i].first != hashed[i - 1].first) continue;
    const std::uint32_t first = hashed[i - 1].second, second = hashed[i].second;
    if (normal_form(ids[first]) != normal_form(ids[second])) continue;  // hash collision
    if (twins.ids++ == 0 || first < twins.first) {
      twins.first = first;
      twins.second = second;
    }
  }
  return twins;
}

}  // namespace

void guard_ids(const Votes& votes, std::vector<Finding>& findings) {
  for (const auto& [ids, kind, what] : {std::tuple(&votes.item_ids, "similar_item_ids", "item"),
                                        std::tuple(&votes.annotator_ids, "similar_annotator_ids", "annotator")}) {
    const Twins twins = find_twins(*ids);
    if (twins.ids == 0) continue;
    const std::string_view first = (*ids)[twins.first], second = (*ids)[twins.second];
    findings.push_back({kind, Level::kCare,
                        fmt::format("{} {} {} from another only by spaces, case, Unicode form or \".0\", such as '{}' "
                                    "and '{}' ({}). Each counts as a separate {}, so the votes are split.",
                                    twins.ids, what, twins.ids == 1 ? "id differs" : "ids differ", shown(first),
                                    shown(second), difference(first, second), *what == 'i' ? "item" : "annotator"),
                        "Write each id in one way only, then import the table again (voxpop import FILE). In pandas: "
                        "column.astype(str).str.strip().str.normalize('NFC'); read integers with dtype=str"});
  }
}

}  // namespace voxpop
