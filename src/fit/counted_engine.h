#pragma once
#include <functional>
#include <memory>

#include "fit/engine.h"

namespace voxpop {

/// Engine for votes with many equal ones. Groups equal votes (count_equal_votes()), so that the engine made by
/// `make` processes each distinct vote once, with the number of its copies as weight. All results are for the original
/// votes. With the Bradley-Terry model, votes of different annotators can be equal too: 10M votes on 100 items become
/// 9,900. If few votes are equal, the result is make(groups) itself.
std::unique_ptr<Engine> make_counted_engine(const Groups& groups, Model model,
                                            const std::function<std::unique_ptr<Engine>(const Groups&)>& make);

}  // namespace voxpop
