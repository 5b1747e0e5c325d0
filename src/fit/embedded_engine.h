#pragma once
#include <memory>

#include "fit/engine.h"
#include "voxpop/context.h"

namespace voxpop {

/// An engine whose scores lie about a linear function of their items' embeddings: each time the fit has settled, the
/// function is found anew from what votes say of scores (regression.h), and the fit goes on from there, until neither
/// moves. Without embeddings: `engine` as it is. Throws as EmbeddingRegression.
std::unique_ptr<Engine> make_embedded_engine(const Groups& groups, std::unique_ptr<Engine> engine,
                                             const Context& context);

}  // namespace voxpop
