#pragma once
#include <memory>
#include <string>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/votes.h"

namespace voxpop {

inline constexpr std::uint64_t kMaxEmbedding = 4096;

/// 'items/embedding' of the votes' files, joined by ids; null where no file has it, and with a note where not every
/// one does. Throws Error(kBadInput) naming file, dataset and row: a number that is none, another number of rows than
/// items or of columns than in the file before, an item whose embedding is another one there.
std::shared_ptr<const Embeddings> read_embeddings(const std::vector<std::string>& votes, const Strings& item_ids,
                                                  const Context& context);

/// Those of a file of their own: .npy, or .safetensors with one matrix (or one named 'embedding'), a row an item in the
/// order of 'items/id'; or .h5 with 'items/embedding' and 'items/id', or 'embedding' and 'id', in any order. float16,
/// bfloat16, float32, or float64, which is rounded. Throws Error(kBadInput), also where an item has no row, and
/// Error(kFileSystem).
std::shared_ptr<const Embeddings> read_embedding_file(const std::string& path, const Strings& item_ids,
                                                      const Context& context);

}  // namespace voxpop
