#pragma once
#include <memory>

#include "fit/engine.h"
#include "voxpop/context.h"

namespace voxpop {

/// Engine for scores with a prior mean that is linear in the items' embeddings. Each time the fit has converged, the
/// linear function is estimated again from the votes (regression.h), and the fit continues with it, until neither
/// moves. Without embeddings, returns `engine` itself. Throws the errors of EmbeddingRegression.
std::unique_ptr<Engine> make_embedded_engine(const Groups& groups, std::unique_ptr<Engine> engine,
                                             const Context& context);

}  // namespace voxpop
