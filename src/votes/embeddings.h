#pragma once
#include <memory>
#include <string>
#include <vector>

#include "voxpop/context.h"
#include "voxpop/votes.h"

namespace voxpop {

inline constexpr std::uint64_t kMaxEmbedding = 4096;  ///< maximum number of dimensions

/// Reads 'items/embedding' from the vote files `votes` and joins the rows by item id. Returns null if no file has the
/// dataset, and also, with a note, if only some files have it. Throws Error(kBadInput) naming file, dataset and row if
/// - a value is NaN, infinite, or, in all types but float16, above 1e18 in magnitude,
/// - a file's number of rows differs from its number of items,
/// - files differ in the number of columns, or in the embedding of an item.
std::shared_ptr<const Embeddings> read_embeddings(const std::vector<std::string>& votes, const Strings& item_ids,
                                                  const Context& context);

/// Reads embeddings from a separate file:
/// - .npy: a matrix, one row per item in the order of 'items/id';
/// - .safetensors: the same; with several matrices, the one named 'embedding' or 'embeddings';
/// - .h5, .hdf5: 'items/embedding' with 'items/id', or 'embedding' with 'id', rows in any order.
///
/// Number types: float16, float32, and float64, which is rounded to float32; in .safetensors also bfloat16. Throws
/// Error(kBadInput), also if an item has no row, Error(kFileSystem), and Error(kUsage) for other file extensions.
std::shared_ptr<const Embeddings> read_embedding_file(const std::string& path, const Strings& item_ids,
                                                      const Context& context);

}  // namespace voxpop
