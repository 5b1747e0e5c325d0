#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/column.h"
#include "core/strings.h"

namespace voxpop {

/// Items' embeddings, in the type in which they are stored: rows of `dimensions` numbers.
struct Embeddings {
  std::string source;  ///< file, and the dataset in it: for messages
  std::uint64_t items = 0, dimensions = 0;
  Column<float> full;          ///< [items x dimensions], or empty:
  Column<std::uint16_t> half;  ///< IEEE 754 binary16

  /// Row `item` as floats.
  void row(std::uint64_t item, float* out) const;
};

inline constexpr std::uint64_t kMaxEmbedding = 4096;

/// 'items/embedding' of the votes' files, joined by ids; null where no file has it, and with a note where not every
/// one does. Throws Error(kBadInput) naming file, dataset and row: a number that is none, another number of rows than
/// items or of columns than in the file before, an item whose embedding is another one there.
std::shared_ptr<const Embeddings> read_embeddings(const std::vector<std::string>& votes, const Strings& item_ids,
                                                  bool quiet);

/// Those of a file of their own: .npy, or .safetensors with one matrix (or one named 'embedding'), a row an item in the
/// order of 'items/id'; or .h5 with 'items/embedding' and 'items/id', or 'embedding' and 'id', in any order. float16,
/// bfloat16, float32, or float64, which is rounded. Throws Error(kBadInput), also where an item has no row, and
/// Error(kFileSystem).
std::shared_ptr<const Embeddings> read_embedding_file(const std::string& path, const Strings& item_ids, bool quiet);

}  // namespace voxpop
