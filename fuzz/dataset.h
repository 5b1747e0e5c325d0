#pragma once
// HDF5 datasets of every shape that a file may hold them in, as fuzz bytes ask: sound ones where bytes are zero.

#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace voxpop::fuzz {

/// Seldom true of random bytes, never of those behind the input's end.
inline bool odd(FuzzedDataProvider& in) { return (in.ConsumeIntegral<std::uint8_t>() & 15) == 15; }

enum class Kind {
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt32Be,
  kUint64Be,
  kFloat32,
  kFloat64,
  kFloat64Be,
  kFixedText,
  kText,
  kEnum,
  // What no reader wants:
  kCompound,
  kOpaque,
  kFiveBits,
  kBitfield,
  kReference,
  kArray,
  kList,
  kFloat16,
  kMaxValue = kFloat16
};

/// What a sound dataset of that name would be.
struct Shape {
  std::string name;
  Kind kind;
  std::uint64_t rows, columns = 0;  ///< columns 0: of one dimension
  /// Of numbers, by position; texts are this as "i7".
  std::function<double(std::uint64_t)> value;
};

/// Writes it with whatever is odd about it. False: it lies in another file, which must not be read.
bool write_dataset(FuzzedDataProvider& in, hid_t file, const Shape& shape);

/// A string attribute, or with oddities something else.
void write_attribute(FuzzedDataProvider& in, hid_t object, const char* name, const std::vector<std::string>& values,
                     bool scalar);

}  // namespace voxpop::fuzz
